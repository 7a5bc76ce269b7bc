#!/usr/bin/env python3
"""wait.py SECONDS URL TEXT: waits until the page at URL has TEXT in it. wait.py SECONDS PORT: until the port is open.

With WAIT_PID in the environment it gives up as soon as that process is gone."""
import os
import socket
import sys
import time
import urllib.request


def ready(target, text):
    try:
        if target.isdigit():
            socket.create_connection(("localhost", int(target)), 1).close()
            return True
        with urllib.request.urlopen(target, timeout=5) as page:
            return text in page.read().decode()
    except OSError:
        return False


target, text = sys.argv[2], (sys.argv + [""])[3]
end = time.monotonic() + float(sys.argv[1])
while not ready(target, text):
    if "WAIT_PID" in os.environ and not os.path.exists(f"/proc/{os.environ['WAIT_PID']}"):
        sys.exit(f"wait.py: the process that {target} was expected of has ended")
    if time.monotonic() > end:
        sys.exit(f"wait.py: {target} was not ready after {sys.argv[1]} s")
    time.sleep(0.02)  # between two looks; the condition is above
