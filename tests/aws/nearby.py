#!/usr/bin/env python3
"""The addresses that only a machine or container on AWS has, in a network of its own: nearby.py PROBE

169.254.169.254 (instance metadata) and 169.254.170.2 (ECS), both on port 80. It starts itself again in new namespaces.
"""
import json
import os
import subprocess
import sys

from servers import Servers

PROBE = sys.argv[1]


def ask(**variables):
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"} | variables
    # A proxy must not see what belongs to this machine alone.
    environment["http_proxy"] = environment["HTTP_PROXY"] = "http://127.0.0.1:9"
    out = subprocess.run([PROBE, "credentials"], input="{}\n", capture_output=True, text=True, env=environment, timeout=60)
    found = json.loads(out.stdout)
    out = subprocess.run([PROBE, "endpoint"], input='{"service": "ec2"}\n', capture_output=True, text=True, env=environment, timeout=60)
    return found, json.loads(out.stdout)


def report(what, ok, found):
    print(("ok: " if ok else "FAILED: ") + "nearby: " + what, "" if ok else found)
    return ok


def inside():
    for arguments in (("link", "set", "lo", "up"), ("addr", "add", "169.254.169.254/32", "dev", "lo"), ("addr", "add", "169.254.170.2/32", "dev", "lo")):
        subprocess.run(["ip", *arguments], check=True)
    Servers("169.254.169.254", 80)
    Servers("169.254.170.2", 80)
    good = True
    found, endpoint = ask()
    good &= report("an instance's role, found without any setting", found.get("key") == "ASIA-imds-node-role", found)
    good &= report("and its region", endpoint.get("url") == "https://ec2.ap-south-1.amazonaws.com", endpoint)
    found, _ = ask(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/container")
    good &= report("a container's role on ECS", found.get("key") == "ASIA-container", found)
    found, endpoint = ask(AWS_EC2_METADATA_DISABLED="true")
    good &= report("the metadata service switched off", "switched off" in found.get("error", "") and "no AWS region" in endpoint.get("error", ""), (found, endpoint))
    sys.exit(0 if good else 1)


if os.environ.get("NEARBY_INSIDE"):
    inside()
as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
os.environ["NEARBY_INSIDE"] = "1"
os.execvp("unshare", ["unshare", *as_root, "--net", sys.executable, *sys.argv])
