#!/usr/bin/env python3
"""Compares endpoints with botocore's, for seven services in every region that its data know: endpoints.py PROBE [all]

Then the variants (FIPS, dual stack) in each partition, and one's own endpoints (variables, [services], endpoint_url), each against botocore in the same surroundings.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import botocore.config
import botocore.exceptions
import botocore.session

SERVICES = ["ec2", "ebs", "iam", "sts", "ssm", "s3", "pricing"]
CONFIG = """[default]
region = eu-central-1
[profile own]
endpoint_url = http://127.0.0.1:1/own/
[profile lab]
services = lab
endpoint_url = http://127.0.0.1:2
[profile ignoring]
endpoint_url = http://127.0.0.1:3
ignore_configured_endpoint_urls = true
[services lab]
ec2 =
  endpoint_url = http://127.0.0.1:4
ssm =
  other = x
"""
# Variables and a profile.
OWN = [
    ({}, ""), ({}, "own"), ({}, "lab"), ({}, "ignoring"),
    ({"AWS_ENDPOINT_URL": "http://127.0.0.1:5"}, ""), ({"AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:6"}, ""),
    ({"AWS_ENDPOINT_URL": "http://127.0.0.1:5", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:7"}, ""),
    ({"AWS_ENDPOINT_URL_SSM": "http://127.0.0.1:8"}, "lab"), ({"AWS_ENDPOINT_URL": "http://127.0.0.1:5"}, "lab"),
    ({"AWS_ENDPOINT_URL": "http://127.0.0.1:5", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, "lab"),
    ({"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "TRUE"}, "own"), ({"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "no"}, "own"),
]


def by_botocore(session, service, region):
    client = session.create_client(service, region_name=region, aws_access_key_id="a", aws_secret_access_key="b",
                                   config=botocore.config.Config(s3={"us_east_1_regional_endpoint": "regional"}))
    # The rules are asked for an operation without a bucket; the region that signs is in what they answer.
    context = {}
    client.meta.events.register("before-sign", lambda signing_name, region_name, **_: context.update(name=signing_name, region=region_name))

    def stop(request, **_):
        context["url"] = request.url
        raise InterruptedError

    client.meta.events.register("before-send", stop)
    call = {"ec2": lambda: client.describe_vpcs(), "ebs": lambda: client.list_snapshot_blocks(SnapshotId="snap-12345678"), "iam": lambda: client.list_roles(),
            "sts": lambda: client.get_caller_identity(), "ssm": lambda: client.describe_parameters(), "s3": lambda: client.list_buckets(),
            "pricing": lambda: client.describe_services()}[service]
    try:
        call()
    except InterruptedError:
        pass
    url = context["url"].split("?")[0].split("/snapshots")[0].rstrip("/")
    return {"url": url, "signing_region": context["region"], "signing_name": context["name"]}


def ours(probe, asked, environment):
    lines = "".join(json.dumps(one) + "\n" for one in asked)
    out = subprocess.run([probe, "endpoint"], input=lines, capture_output=True, text=True, check=True, env=environment).stdout
    return [json.loads(line) for line in out.splitlines()]


def compare(probe, cases, environment, what):
    """How many differ, and how many were compared."""
    wrong = count = 0
    os.environ.clear()
    os.environ.update(environment)
    found = ours(probe, [case for case, _ in cases], environment)
    for (case, session), answer in zip(cases, found, strict=True):
        try:
            theirs = by_botocore(session, case["service"], case["region"])
        except botocore.exceptions.EndpointVariantError:
            continue  # its older data know no such variant there; its rules are never asked
        except botocore.exceptions.EndpointProviderError as error:
            theirs = answer if "error" in answer else f"refused: {error}"
        count += 1
        if case["service"] == "iam" and "USE_" in what and case["region"].startswith(("cn-", "us-iso", "eu-iso", "eusc-")):
            # For these botocore's older data give the region that signs (us-east-1 for a secret partition), against its own rules.
            answer.pop("signing_region")
            theirs.pop("signing_region")
        if answer != theirs:
            wrong += 1
            print(f"{what} {case}: differs\n  ours   {answer}\n  theirs {theirs}")
    return wrong, count


def main():
    probe = sys.argv[1]
    base = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "config"
        config.write_text(CONFIG)
        base |= {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": folder + "/none"}
        session = botocore.session.Session()
        partitions = botocore.session.get_session().get_component("data_loader").load_data("partitions")["partitions"]
        regions = [region for partition in partitions for region in partition["regions"] if "global" not in region]
        regions += ["eu-newtown-9", "cn-south-7", "us-gov-central-3", "us-isob-north-1"]  # newer than the data
        cases = [({"service": service, "region": region}, session) for service in SERVICES for region in regions]
        wrong, count = compare(probe, cases, base, "AWS's")
        for variant in ({"AWS_USE_FIPS_ENDPOINT": "true"}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"}):
            environment = base | variant
            os.environ.clear()
            os.environ.update(environment)
            session = botocore.session.Session()
            variants = regions if sys.argv[2:] == ["all"] else ["us-east-1", "eu-central-1", "cn-north-1", "cn-northwest-1", "us-gov-west-1", "us-gov-east-1", "us-iso-east-1",
                                                               "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1"]
            cases = [({"service": service, "region": region}, session) for service in SERVICES for region in variants]
            more_wrong, more = compare(probe, cases, environment, str(variant))
            wrong, count = wrong + more_wrong, count + more
        for variables, profile in OWN:
            environment = base | variables
            os.environ.clear()
            os.environ.update(environment)
            session = botocore.session.Session(profile=profile or None)
            cases = [({"service": service, "region": "eu-central-1", "profile": profile}, session) for service in SERVICES]
            more_wrong, more = compare(probe, cases, environment, f"{variables} {profile}")
            wrong, count = wrong + more_wrong, count + more
    print(f"{count - wrong} of {count} endpoints are botocore's ({len(regions)} regions)")
    sys.exit(1 if wrong else 0)


main()
