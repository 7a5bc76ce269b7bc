#!/usr/bin/env python3
"""Runs a command and sends it a signal at a chosen moment: stop_at.py SIGNAL MOMENT COMMAND…

MOMENT is the number of a line of its standard error (`kiln -v` tells every step's begin and end there), or a time such as 250ms.
Exits with the command's code as shells tell it (137 after SIGKILL), or 77 when it had ended before that moment.
What it said, and when it was stopped, is printed.
"""
import os
import re
import select
import signal
import subprocess
import sys
import time


def main():
    number, moment, command = getattr(signal, sys.argv[1]), sys.argv[2], sys.argv[3:]
    milliseconds = re.fullmatch(r"(\d+)ms", moment)
    last_line = None if milliseconds else int(moment)
    deadline = time.monotonic() + int(milliseconds[1]) / 1000 if milliseconds else None
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    ended = os.pidfd_open(process.pid)
    said, sent = b"", False
    # Until the command has ended, not until the pipe has: somebody whom it started may hold that for longer.
    while True:
        wait = max(0.0, deadline - time.monotonic()) if deadline and not sent else None
        ready, _, _ = select.select([process.stderr, ended], [], [], wait)
        if process.stderr in ready:
            piece = os.read(process.stderr.fileno(), 65536)
            said += piece
            if not piece:
                select.select([ended], [], [])
                break
        elif ended in ready:
            break
        if not sent and (said.count(b"\n") >= last_line if last_line else time.monotonic() >= deadline):
            print(f"{sys.argv[1]} at {moment}")
            process.send_signal(number)
            sent = True
    code = process.wait()
    print(said.decode(errors="replace"), end="")
    print(f"exit code {code}")
    sys.exit(77 if not sent else 128 - code if code < 0 else code)


main()
