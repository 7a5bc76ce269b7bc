#!/usr/bin/env python3
"""Makes a tarball of a few of this machine's programs and their libraries, for bakes that need a root but no distribution: toy_base.py FILE"""
import io
import os
import shutil
import subprocess
import sys
import tarfile

PROGRAMS = ["sh", "bash", "cat", "mkdir", "rm", "ls", "cp", "env", "dd", "hostname", "touch", "timeout", "ps", "setsid", "sleep", "stty"]
FOLDERS = ["bin", "etc", "dev", "proc", "sys", "run", "tmp", "var/tmp", "root", "home", "opt"]


def add_text(tar, name, text):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text), 0o644
    tar.addfile(entry, io.BytesIO(text))


def main():
    files = {}
    for name in PROGRAMS:
        program = os.path.realpath(shutil.which(name))
        files[f"bin/{name}"] = program
        for word in subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout.split():
            if word.startswith("/"):
                files[word[1:]] = os.path.realpath(word)
    with tarfile.open(sys.argv[1], "w") as tar:
        for folder in FOLDERS:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, path in sorted(files.items()):
            entry = tar.gettarinfo(path, name)
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            entry.type = tarfile.REGTYPE
            with open(path, "rb") as file:
                entry.size = os.fstat(file.fileno()).st_size
                tar.addfile(entry, file)
        add_text(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")


main()
