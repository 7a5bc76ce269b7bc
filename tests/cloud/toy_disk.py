#!/usr/bin/env python3
"""Makes a raw disk of a machine that is as small as a machine can be: toy_disk.py FILE [MIB]

GPT with one ext4: busybox, curl, bash and an init that says "toy: up" at the console, runs its user data if that is a script (as cloud images do), serves
/srv at ports 80 and 8080, and says "toy: down" when it is to go.
"""
import os
import shutil
import subprocess
import sys
import tempfile

PROGRAMS = ["bash", "curl", "lsblk", "mkfs.ext4", "e2fsck"]
FOLDERS = ["bin", "sbin", "etc", "dev", "proc", "sys", "run", "tmp", "root", "srv", "var", "mnt"]
ROOT_START_MIB = 1
INIT = """#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap 'echo "toy: down"; exit 0' TERM
echo "toy: up $(hostname)"
hostname > /srv/index.html
httpd -p 80 -h /srv
httpd -p 8080 -h /srv
imds=http://169.254.169.254/latest
token=$(curl -s --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $imds/api/token)
curl -s --max-time 5 -f -H "X-aws-ec2-metadata-token: $token" $imds/user-data > /run/user-data && [ "$(head -c 2 /run/user-data)" = '#!' ] && bash /run/user-data
echo "toy: ready"
while :; do sleep 1000 & wait $!; done
"""


def libraries(program):
    """A program's own, and those that names are looked up with."""
    words = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return [word for word in words if word.startswith("/")]


def fill(root):
    for folder in FOLDERS:
        os.makedirs(f"{root}/{folder}")
    shutil.copy(shutil.which("busybox"), f"{root}/bin/busybox")
    applets = subprocess.run([f"{root}/bin/busybox", "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    for applet in applets:
        if applet not in ("busybox", "init"):
            os.symlink("busybox", f"{root}/bin/{applet}")
    for program in PROGRAMS:
        path = os.path.realpath(shutil.which(program))
        target = f"{root}/bin/{program}"
        if os.path.lexists(target):
            os.unlink(target)
        for source, place in [(path, target)] + [(os.path.realpath(library), root + library) for library in libraries(path)]:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if not os.path.exists(place):
                shutil.copy(source, place)
    for name, text, mode in (("sbin/init", INIT, 0o755), ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644), ("etc/group", "root:x:0:\n", 0o644)):
        with open(f"{root}/{name}", "w") as file:
            file.write(text)
        os.chmod(f"{root}/{name}", mode)


def make(path, mib=96):
    with tempfile.TemporaryDirectory() as work:
        fill(f"{work}/root")
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", f"{work}/root", f"{work}/root.img", f"{mib}m"], stdout=subprocess.DEVNULL, check=True)
        with open(path, "wb") as disk:
            disk.truncate((ROOT_START_MIB + mib + 1) << 20)
        subprocess.run(["sfdisk", "--quiet", path], input=f"label: gpt\nstart={ROOT_START_MIB}MiB, size={mib}MiB, type=linux\n", text=True, check=True)
        subprocess.run(["dd", f"if={work}/root.img", f"of={path}", "bs=1M", f"seek={ROOT_START_MIB}", "conv=notrunc,sparse", "status=none"], check=True)


if __name__ == "__main__":
    make(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 96)
