#!/usr/bin/env python3
"""Runs a command that opens a shell, on a terminal of its own, and types at it: shell_in_pty.py COMMAND…

Exits 0 when the shell has a terminal: it stops a job by Ctrl-C and goes on, knows the window's size, and ends with `exit`.
"""
import os
import pty
import re
import select
import sys
import time

LIMIT_SECONDS = 60


def main():
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    seen = b""
    deadline = time.monotonic() + LIMIT_SECONDS

    def wait_for(pattern):
        nonlocal seen
        while not re.search(pattern, seen, re.DOTALL):
            ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
            try:
                more = os.read(terminal, 4096) if ready else b""
            except OSError:
                more = b""
            if not more:
                how = "ended" if ready else f"{LIMIT_SECONDS} s"
                sys.exit(f"{how} without {pattern!r}; it said:\n{seen.decode(errors='replace')}")
            seen += more

    def type_in(text):
        os.write(terminal, text)

    # Quotes apart in what is typed: the terminal's echo of it must not be taken for the answer.
    wait_for(rb"[$#] ")
    type_in(b"echo re''ady\n")
    wait_for(rb"ready\r")
    # A process of its own says it: once it speaks, it is the terminal's foreground, and Ctrl-C is its.
    type_in(b"sh -c 'echo sle\"\"eping; exec sleep 1000'\n")
    wait_for(rb"sleeping\r")
    type_in(b"\x03")
    # The signal comes before its echo: the new prompt may stand on either side of "^C".
    wait_for(rb"sleeping\r.*[$#] ")
    type_in(b"echo al''ive; stty size\n")
    wait_for(rb"alive\r\n24 80")
    type_in(b"exit 0\n")
    try:
        while more := os.read(terminal, 4096):
            seen += more
    except OSError:
        pass  # Linux's way to say that nobody has the other end any more
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 1:
        sys.exit(f"exit code {status}, expected the bake's own 1; it said:\n{seen.decode(errors='replace')}")


main()
