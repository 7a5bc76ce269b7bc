#!/usr/bin/env python3
"""kiln doctor --on aws, as users call it: doctor.py KILN MOTO_SERVER"""
import json
import os
import subprocess
import sys
import tempfile

from servers import Servers, start_moto

KILN = sys.argv[1]
BASE = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
failures = 0


def doctor(variables, *options):
    out = subprocess.run([KILN, "doctor", "--on", "aws", *options], capture_output=True, text=True, env=BASE | variables, timeout=60)
    for secret in ("secret-", "token-"):
        assert secret not in out.stdout + out.stderr, out
    return out


def equal(found, wanted):
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


def good(url, config):
    """an account that works"""
    keys = {"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "secret-x", "AWS_ENDPOINT_URL": url, "AWS_CONFIG_FILE": config, "AWS_SHARED_CREDENTIALS_FILE": "/none"}
    out = doctor(keys, "--json")
    equal(out.returncode, 0)
    facts = json.loads(out.stdout)
    equal((facts["ok"], facts["region"], facts["region_source"], facts["account"], facts["partition"]), (True, "eu-central-1", "profile 'default'", "123456789012", "aws"))
    assert facts["arn"].startswith("arn:aws:sts::123456789012:") and facts["credentials"] == "environment variables", facts
    assert "eu-central-1" in facts["regions"] and len(facts["regions"]) > 10 and facts["endpoints"]["ec2"] == url, facts
    out = doctor(keys, "--region", "us-west-2")
    equal(out.returncode, 0)
    for words in ("us-west-2 (--region)", "account 123456789012", "AWS_ENDPOINT_URL", "environment variables"):
        assert words in out.stdout, out.stdout
    out = doctor({"AWS_ENDPOINT_URL": url, "AWS_CONFIG_FILE": config, "AWS_SHARED_CREDENTIALS_FILE": "/none"}, "--profile", "dev", "--json")
    equal((json.loads(out.stdout)["credentials"], json.loads(out.stdout)["region"]), (f"profile 'dev' in '{config}'", "eu-west-3"))


def bad(url, config):
    """what lacks is told, with what to do, and exit code 1"""
    nothing = {"AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none", "AWS_EC2_METADATA_DISABLED": "true"}
    out = doctor(nothing)
    equal(out.returncode, 1)
    for words in ("MISSING  region", "MISSING  credentials", "To mend:", "--region", "aws configure"):
        assert words in out.stdout, out.stdout
    keys = nothing | {"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "secret-x", "AWS_REGION": "eu-west-1", "AWS_MAX_ATTEMPTS": "1"}
    out = doctor(keys | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "--json")
    equal((out.returncode, json.loads(out.stdout)["ok"]), (1, False))
    last = json.loads(out.stdout)["checks"][-1]
    equal((last["name"], last["ok"]), ("identity", False))
    assert "http://127.0.0.1:9" in last["found"] and "AWS_ENDPOINT_URL" in last["mend"], last
    # A server that refuses: neither STS's form nor EC2's.
    refusing = Servers()
    out = doctor(keys | {"AWS_ENDPOINT_URL": refusing.url + "/no/such"})
    refusing.stop()
    equal(out.returncode, 1)
    assert "MISSING  identity" in out.stdout and "Http404" in out.stdout, out.stdout
    for wrong, words in ((("--profile", "devv"), "did you mean 'dev'?"), (("--region", "../x"), "no AWS region")):
        out = doctor(keys | {"AWS_CONFIG_FILE": config}, *wrong)
        assert out.returncode in (1, 2) and words in out.stdout + out.stderr, out


def main():
    global failures
    with tempfile.TemporaryDirectory() as folder:
        config = folder + "/config"
        with open(config, "w") as file:
            file.write("[default]\nregion = eu-central-1\n[profile dev]\nregion = eu-west-3\naws_access_key_id = AKIADEV\naws_secret_access_key = secret-dev\n")
        moto, url = start_moto(sys.argv[2], folder)
        try:
            for test in (good, bad):
                try:
                    test(url, config)
                    print("ok: doctor:", test.__doc__)
                except Exception as error:  # noqa: BLE001
                    failures += 1
                    print("FAILED: doctor:", test.__doc__, repr(error)[:1500])
        finally:
            moto.terminate()
            moto.wait(20)
    sys.exit(1 if failures else 0)


main()
