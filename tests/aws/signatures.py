#!/usr/bin/env python3
"""Compares Authorization headers, byte by byte, with botocore's signer: signatures.py PROBE [COUNT]

The requests are made by a generator with a fixed seed: the same ones on every machine.
"""
import base64
import datetime
import json
import random
import subprocess
import sys
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials

METHODS = ["GET", "PUT", "POST", "DELETE", "HEAD"]
REGIONS = ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "ap-southeast-3"]
SERVICES = ["ec2", "ebs", "iam", "sts", "ssm", "s3", "s3"]
PATHS = ["", "/", "/a", "/a/b/", "//", "/a//b", "/a/./b", "/a/../b", "/..", "/../..", "/./", "/%20", "/a%20b", "/%E2%98%83", "/a%2Fb", "/~me/-_.",
         "/a+b", "/snapshots/snap-1/blocks/7", "/a;b=c", "/a,b", "/a:b@c", "/$x&y", "/(x)!*'", "/%25", "/a/b/../../c//d/", "/...", "/%2e%2e/x"]
QUERIES = ["", "a=1", "b=2&a=1", "a", "a=", "uploads", "b&a", "a=2&a=1", "a=1&a=1", "a=1&a", "A=1&a=2", "x=%20", "x=a+b", "prefix=a%2Fb&list-type=2", "a=b=c",
           "k=%E2%98%83", "x-y=1&x=2", "a1=1&a=2&a-=3", "&a=1", "a=1&&b=2", "Action=X&Version=1", "z=%7E~", "=v", "marker=&prefix="]
HEADERS = [
    [], [("Content-Type", "application/json")], [("x-amz-checksum-algorithm", "SHA256"), ("x-amz-checksum", "abc=")],
    [("x-amz-a", "1"), ("x-amz-a-b", "2"), ("x-amz-a-b-c", "3")], [("X-Amz-Meta", "v"), ("x-amz-meta-x", "w"), ("x-amz-metax", "u")],
    [("x-amz-target", "AmazonSSM.GetParameter"), ("Content-Type", "application/x-amz-json-1.1")],
    [("x-space", "  a   b\t c  ")], [("x-empty", "")], [("X-UPPER", "Value"), ("x-lower", "Value")], [("x-twice", "b"), ("x-twice", "a")],
    [("User-Agent", "kiln/1"), ("Expect", "100-continue"), ("x-amzn-trace-id", "1"), ("Connection", "close")],
    [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")], [("x-long", "v" * 500)], [("x-quote", '"a  b"')],
    [("x-amz-acl", "private"), ("x-amz-acl-", "p"), ("x-amz-ac", "q")],
]
BODIES = [b"", b"", b"{}", "Snow ☃, 雪".encode(), bytes(range(256)), b"A" * (512 * 1024), b"Action=DescribeVpcs&Version=2016-11-15"]


def request(random_of, number):
    def pick(choices):
        # The first rounds take each choice once, so that none is left out; then chance.
        return choices[number] if number < len(choices) else random_of.choice(choices)

    path = pick(PATHS)
    if number % 7 == 6:
        letters = "abcXYZ019-_.~%41%2F%C3%A9/".replace("%41", "")
        path = "/" + "".join(random_of.choice(letters.replace("%", "")) for _ in range(random_of.randrange(1, 40)))
    query = pick(QUERIES)
    service = SERVICES[number % len(SERVICES)]
    if service == "s3":
        path = path or "/"  # over the wire there is no empty path; botocore's signer for S3 leaves it empty when it is called by itself
    host = random_of.choice([f"{service}.example.amazonaws.com", f"{service}.example.amazonaws.com:443", "127.0.0.1:4566", "EC2.Example.COM", "[::1]:80"])
    return {
        "method": METHODS[number % len(METHODS)], "url": f"https://{host}{path}" + (f"?{query}" if query else ""), "headers": pick(HEADERS),
        "body": base64.b64encode(pick(BODIES)).decode(), "region": REGIONS[number % len(REGIONS)], "service": service,
        "time": (datetime.datetime(2015, 8, 30, 12, 36) + datetime.timedelta(hours=random_of.randrange(100000))).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "key": "AKID" + str(number), "secret": random_of.choice(["wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "short", "ünïcode"]),
        "token": random_of.choice(["", "", "AQoDYXdz//token==" * 20]),
    }


def by_botocore(one):
    body = base64.b64decode(one["body"])
    made = botocore.awsrequest.AWSRequest(method=one["method"], url=one["url"], data=body)
    for name, value in one["headers"]:
        made.headers.add_header(name, value)
    credentials = botocore.credentials.Credentials(one["key"], one["secret"], one["token"] or None)
    signer = (botocore.auth.S3SigV4Auth if one["service"] == "s3" else botocore.auth.SigV4Auth)(credentials, one["service"], one["region"])
    time = datetime.datetime.strptime(one["time"], "%Y-%m-%dT%H:%M:%SZ")
    with mock.patch("botocore.auth.get_current_datetime", return_value=time):
        signer.add_auth(made)
    return made.headers["Authorization"]


def main():
    probe, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 400
    random_of = random.Random(20261121)
    requests = [request(random_of, number) for number in range(count)]
    answers = subprocess.run([probe, "sign"], input="".join(json.dumps(one) + "\n" for one in requests), capture_output=True, text=True, check=True)
    lines = answers.stdout.splitlines()
    assert len(lines) == count, f"{len(lines)} answers for {count} requests"
    wrong = 0
    for one, line in zip(requests, lines):
        ours, theirs = json.loads(line).get("authorization"), by_botocore(one)
        if ours != theirs:
            wrong += 1
            print("differs:", {k: v for k, v in one.items() if k != "body"}, "\n  ours  ", ours or line, "\n  theirs", theirs)
    print(f"{count - wrong} of {count} signatures are botocore's")
    sys.exit(1 if wrong else 0)


main()
