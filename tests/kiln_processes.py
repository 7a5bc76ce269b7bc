#!/usr/bin/env python3
"""Prints the processes that belong to clusters and bakes of one kiln home, one a line: kiln_processes.py HOME

A cell has its home in its environment; what runs inside is known by its ancestors. Others' clusters on this machine are none of ours.
"""
import os
import re
import sys

NAMES = re.compile(rb"^(/usr/lib/kiln/)?kiln-node run|^kiln __cell|^(/usr/bin/)?slirp4netns")


def read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def parent(pid):
    stat = read(pid, "stat")
    return int(stat.rsplit(b")", 1)[1].split()[1]) if stat else 0


def home_of(pid):
    """The nearest KILN_HOME among the process and its ancestors, or nothing."""
    while pid > 1:
        for entry in read(pid, "environ").split(b"\0"):
            if entry.startswith(b"KILN_HOME="):
                return entry[len(b"KILN_HOME="):]
        pid = parent(pid)
    return None


def owner(pid):
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
    command = read(pid, "cmdline").replace(b"\0", b" ")
    if owner(pid) == os.getuid() and NAMES.search(command) and home_of(pid) in (None, os.fsencode(sys.argv[1])):
        print("process", pid)
