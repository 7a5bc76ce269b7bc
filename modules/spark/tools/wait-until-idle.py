#!/usr/bin/env python3
"""wait-until-idle.py SECONDS WORKER_URL…: until workers that are being decommissioned run no executor and no driver; fails after so long."""
import json
import sys
import time
import urllib.error
import urllib.request

seconds, urls = float(sys.argv[1]), sys.argv[2:]


def running_on(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            worker = json.load(answer)
    except (urllib.error.URLError, OSError):
        return 0  # the worker has gone, and with it what it ran
    return len(worker.get("executors", [])) + len(worker.get("drivers", []))


end = time.monotonic() + seconds
while running := sum(running_on(url) for url in urls):
    if time.monotonic() > end:
        sys.exit(f"{running} executors and drivers still run after {seconds:.0f} s")
    time.sleep(0.3)
