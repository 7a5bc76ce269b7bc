#!/usr/bin/env python3
"""Boots a disk image in QEMU as a cloud would: boot_disk.py DISK WORK --firmware bios|uefi --bus virtio|nvme|scsi [--architecture arm64]

The machine gets a disk 1 GiB larger than the image and finds a metadata service at 169.254.169.254 (tests/fake_metadata.py by guestfwd).
Waits until Spark's master answers from outside (of an image without Spark: until the console says the text of --ready), presses the power
button, and looks at the disk that is left: its file system must be clean, have grown, and hold what each machine makes for itself. Prints
what it measured as JSON.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT_START = 36 << 20  # src/image/disk.h
GUEST = "169.254.2.15"  # what QEMU's DHCP server gives first
DEVICES = {"virtio": ["virtio-blk-pci,drive=d,bootindex=1"],
           "nvme": ["nvme,drive=d,serial=vol0123456789abcdef,bootindex=1"],       # EC2's
           "scsi": ["virtio-scsi-pci", "scsi-hd,drive=d,bootindex=1"]}            # Compute Engine's
# Neoverse N1 is what Graviton 2 has. UEFI's flash: its code, and the variables that a machine gets a copy of.
MACHINES = {"amd64": (["qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-vga", "none"],
                      "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
            "arm64": (["qemu-system-aarch64", "-machine", "virt,gic-version=3", "-cpu", "neoverse-n1"],
                      "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd")}
DOCUMENT = {"kiln": 1, "cluster": "boot", "role": "master", "modules": [{"name": "spark"}], "secret": "5e" * 32,
            "power_off": True, "swap_bytes": 64 << 20,
            "nodes": [{"name": "master-1", "role": "master", "address": GUEST}]}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, condition, limit, process, log):
    """Asks again and again, every tenth of a second; tells the end of the console's log when it takes too long."""
    started = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        if process.poll() is not None:
            raise SystemExit(f"QEMU ended ({process.returncode}) before {what}:\n{tail(log)}")
        if time.monotonic() - started > limit:
            raise SystemExit(f"not within {limit} s: {what}; the console says:\n{tail(log)}")
        time.sleep(0.1)


def tail(log):
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(re.sub(r"[^\x20-\x7e]", "", line) for line in text.splitlines()[-25:])


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def said(log, text):
    return log.exists() and text in log.read_text(errors="replace")


class Machine:
    def __init__(self, options, metadata_port):
        work = options.work
        self.console, self.qmp_path = work / "console.log", work / "qmp"
        self.ui, self.rpc = free_port(), free_port()
        fake = f"{sys.executable} {HERE}/fake_metadata.py --connect 127.0.0.1:{metadata_port}"
        network = (f"user,id=n,net=169.254.0.0/16,guestfwd=tcp:169.254.169.254:80-cmd:{fake},"
                   f"hostfwd=tcp:127.0.0.1:{self.ui}-{GUEST}:8080,hostfwd=tcp:127.0.0.1:{self.rpc}-{GUEST}:7077")
        machine, code, variables = MACHINES[options.architecture]
        command = [*machine, "-accel", "tcg,thread=multi", "-smp", "2", "-m", "2048",
                   "-display", "none", "-no-reboot", "-serial", f"file:{self.console}", "-qmp", f"unix:{self.qmp_path},server,nowait",
                   "-drive", f"file={work}/machine.qcow2,format=qcow2,if=none,id=d,cache=unsafe",
                   *(word for device in DEVICES[options.bus] for word in ("-device", device)),
                   "-netdev", network, "-device", "virtio-net-pci,netdev=n,romfile="]
        if options.firmware == "uefi":
            shutil.copy(variables, work / "vars.fd")
            command += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}",
                        "-drive", f"if=pflash,unit=1,format=raw,file={work}/vars.fd"]
        if options.blocks:
            command += ["-trace", f"enable=blk_co_preadv,file={work}/reads.log"]
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(work / "qemu.log", "wb"), stderr=subprocess.STDOUT)

    def seconds(self):
        return round(time.monotonic() - self.started, 1)

    def qmp(self, command):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.qmp_path))
            stream = s.makefile("rw")
            stream.readline()  # its greeting
            for word in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": word}) + "\n")
                stream.flush()
                while "return" not in (answer := json.loads(stream.readline())):
                    if "error" in answer:
                        raise SystemExit(f"QEMU refuses {word}: {answer}")
            return answer["return"]


def disk_reads(log):
    """Offset and size of each read of the disk, by QEMU's own record."""
    reads = {}
    for line in log.read_text(errors="replace").splitlines():
        found = re.search(r"blk_co_preadv blk (\S+) .*offset (\d+) bytes (\d+)", line)
        if found:
            reads.setdefault(found[1], []).append((int(found[2]), int(found[3])))
    # The firmware's own flash is read by the same functions, but ends at 4 MiB.
    return max(reads.values(), key=lambda ranges: max(offset for offset, _ in ranges))


def count_blocks(options):
    """The 512 KiB blocks of the disk that were read: that is what a volume made from a snapshot loads."""
    if not options.blocks:
        return {}
    disk = disk_reads(options.work / "reads.log")
    blocks = {block for offset, size in disk for block in range(offset >> 19, ((offset + size - 1) >> 19) + 1)}
    return {"blocks_read": len(blocks), "bytes_read": sum(size for _, size in disk)}


def debugfs(image, command):
    return subprocess.run(["debugfs", "-R", command, image], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout


def look_at_disk(options):
    """What the machine left on its disk."""
    raw, root = options.work / "after.raw", options.work / "root.img"
    subprocess.run(["qemu-img", "convert", "-O", "raw", options.work / "machine.qcow2", raw], check=True)
    table = json.loads(subprocess.run(["sfdisk", "--json", raw], stdout=subprocess.PIPE, check=True).stdout)["partitiontable"]
    partition = table["partitions"][-1]
    assert partition["start"] * 512 == ROOT_START, partition
    subprocess.run(["dd", f"if={raw}", f"of={root}", "bs=1M", f"skip={ROOT_START >> 20}", f"count={partition['size'] // 2048}", "conv=sparse", "status=none"], check=True)
    raw.unlink()
    check = subprocess.run(["e2fsck", "-fn", root], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert check.returncode == 0, check.stdout
    blocks = int(re.search(r"Block count: +(\d+)", debugfs(root, "stats -h"))[1])
    result = {"partition_bytes": partition["size"] * 512, "root_bytes": blocks * 4096, "machine_id": debugfs(root, "cat /etc/machine-id").strip(),
              "host_key": debugfs(root, "cat /etc/ssh/ssh_host_ed25519_key.pub").strip(), "swap": debugfs(root, "cat /var/log/kiln/swap.log")}
    root.unlink()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("disk", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--firmware", choices=["bios", "uefi"], required=True)
    parser.add_argument("--bus", choices=sorted(DEVICES), required=True)
    parser.add_argument("--architecture", choices=sorted(MACHINES), default="amd64")
    parser.add_argument("--ready", help="what the console of an image without Spark says when all is started")
    parser.add_argument("--limit", type=int, default=400, help="seconds until Spark's master must answer")
    parser.add_argument("--until", choices=["document", "master", "off"], default="off", help="what is waited for; the machine is cut off then")
    parser.add_argument("--blocks", action="store_true", help="count the disk's 512 KiB blocks that are read until then (QEMU's trace)")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    (options.work / "document.json").write_text(json.dumps(DOCUMENT | ({"modules": []} if options.ready else {})))
    size = options.disk.stat().st_size + (1 << 30)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", options.disk.resolve(), "-F", "raw", options.work / "machine.qcow2", str(size)], check=True)
    requests = options.work / "requests.log"
    metadata = subprocess.Popen([sys.executable, HERE / "fake_metadata.py", "--user-data", options.work / "document.json", "--address", GUEST, "--log", requests],
                                stdout=subprocess.PIPE, text=True)
    machine = None
    result = {"architecture": options.architecture, "firmware": options.firmware, "bus": options.bus}
    try:
        port = metadata.stdout.readline().strip().rsplit(":", 1)[1]
        machine = Machine(options, port)
        wait = lambda what, condition: wait_for(what, condition, options.limit - machine.seconds(), machine.process, machine.console)
        wait("the agent asks for its document", lambda: said(requests, "GET /latest/user-data 200"))
        result["document_seconds"] = machine.seconds()
        if options.until == "document":
            return print(json.dumps(result | count_blocks(options)))
        wait("the agent says whose node it is", lambda: said(machine.console, "master-1 of cluster 'boot'"))
        if options.ready:
            wait(f"the console says '{options.ready}'", lambda: said(machine.console, options.ready))
            result["ready_seconds"] = machine.seconds()
        else:
            wait("Spark's master answers", lambda: '"ALIVE"' in fetch(f"http://127.0.0.1:{machine.ui}/json/"))
            result["master_seconds"] = machine.seconds()
            if options.until == "master":
                return print(json.dumps(result | count_blocks(options)))
            socket.create_connection(("127.0.0.1", machine.rpc), timeout=10).close()
        machine.qmp("system_powerdown")
        machine.process.wait(timeout=100)
        result["off_seconds"] = machine.seconds()
    finally:
        for process in (machine.process if machine else None, metadata):
            if process and process.poll() is None:
                process.kill()
                process.wait()
    result.update(look_at_disk(options))
    assert size - result["partition_bytes"] < ROOT_START + (2 << 20), f"the partition has not grown: {result}"
    assert 0 <= result["partition_bytes"] - result["root_bytes"] < 4096 * 32768, f"the file system has not grown: {result}"
    assert re.fullmatch("[0-9a-f]{32}", result["machine_id"]), result
    assert result["host_key"].startswith("ssh-ed25519 "), result
    assert result.pop("swap").endswith("/swap is in use\n"), "swap was not switched on"
    print(json.dumps(result))


if __name__ == "__main__":
    main()
