#!/usr/bin/env python3
"""The services' classes against moto, with boto3 as the other eye on the same account: services.py PROBE MOTO_SERVER"""
import base64
import json
import os
import subprocess
import sys
import tempfile

for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret-test", "AWS_DEFAULT_REGION": "eu-central-1"}

import boto3  # noqa: E402
from servers import start_moto  # noqa: E402

failures = 0


class Probe:
    """aws_probe call, kept running: one session for all calls, as a command of kiln has it."""

    def __init__(self, program):
        self.process = subprocess.Popen([program, "call"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def raw(self, service, operation, **more):
        self.process.stdin.write(json.dumps({"service": service, "operation": operation} | more) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __call__(self, service, operation, **more):
        out = self.raw(service, operation, **more)
        assert "answer" in out, out
        return out["answer"]

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0


def case(what, test, *arguments):
    global failures
    try:
        test(*arguments)
        print("ok: services:", what)
    except Exception as error:  # noqa: BLE001
        failures += 1
        print("FAILED: services:", what, repr(error)[:1500])


def equal(found, wanted):
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


def vpcs(probe):
    ec2 = boto3.client("ec2")
    made = probe("ec2", "CreateVpc", params={"CidrBlock": "10.7.0.0/16", "TagSpecification": [{"ResourceType": "vpc", "Tag": [{"Key": "Name", "Value": "a b&c=☃"}]}]})
    vpc = made["vpc"]["vpcId"]
    seen = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]
    equal((seen["CidrBlock"], seen["Tags"]), ("10.7.0.0/16", [{"Key": "Name", "Value": "a b&c=☃"}]))
    found = probe("ec2", "DescribeVpcs", params={"Filter": [{"Name": "cidr", "Value": ["10.7.0.0/16"]}, {"Name": "is-default", "Value": ["false"]}]})["vpcSet"]
    equal([(one["vpcId"], one["isDefault"], one["tagSet"]) for one in found], [(vpc, "false", [{"key": "Name", "value": "a b&c=☃"}])])
    equal(probe("ec2", "DescribeVpcs", params={"Filter": [{"Name": "cidr", "Value": ["10.99.0.0/16"]}]})["vpcSet"], None)
    probe("ec2", "CreateTags", params={"ResourceId": [vpc], "Tag": [{"Key": "k", "Value": ""}, {"Key": "x", "Value": "y"}]})
    probe("ec2", "DeleteTags", params={"ResourceId": [vpc], "Tag": [{"Key": "x"}]})
    equal({tag["Key"] for tag in ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Tags"]}, {"Name", "k"})
    probe("ec2", "DeleteVpc", params={"VpcId": vpc})
    error = probe.raw("ec2", "DeleteVpc", params={"VpcId": vpc})
    equal((error["code"], error["status"], error["may_have_acted"]), ("InvalidVpcID.NotFound", 400, False))
    assert error["request_id"] and vpc in error["error"], error


def rules(probe):
    group = probe("ec2", "CreateSecurityGroup", params={"GroupName": "g", "GroupDescription": "d"})["groupId"]
    probe("ec2", "AuthorizeSecurityGroupIngress", params={"GroupId": group, "IpPermissions": [
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.1/32"}, {"CidrIp": "192.0.2.2/32", "Description": "two"}]},
        {"IpProtocol": "-1", "Groups": [{"GroupId": group}]}]})
    seen = boto3.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    equal(sorted((rule["IpProtocol"], rule.get("FromPort"), len(rule["IpRanges"]), len(rule["UserIdGroupPairs"])) for rule in seen),
          [("-1", None, 0, 1), ("tcp", 22, 2, 0)])
    again = probe.raw("ec2", "AuthorizeSecurityGroupIngress", params={"GroupId": group, "IpPermissions": [
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.1/32"}]}]})
    equal(again["code"], "InvalidPermission.Duplicate")


def key_pairs(probe):
    pair = probe("ec2", "CreateKeyPair", params={"KeyName": "k1", "KeyType": "ed25519"})
    assert "PRIVATE KEY" in pair["keyMaterial"], pair
    equal([one["keyName"] for one in probe("ec2", "DescribeKeyPairs")["keySet"]], ["k1"])
    equal(probe.raw("ec2", "CreateKeyPair", params={"KeyName": "k1"})["code"], "InvalidKeyPair.Duplicate")


def many_pages(probe):
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    wanted = set()
    for i in range(12):
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.8.{i}.0/24")["Subnet"]["SubnetId"]
        for _ in range(2):
            wanted.add(ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"])
    image = ec2.describe_images()["Images"][0]["ImageId"]
    instances = ec2.run_instances(ImageId=image, MinCount=23, MaxCount=23, InstanceType="t3.micro")["Instances"]
    items = probe("ec2", "DescribeInstances", all="reservationSet", params={"MaxResults": 5, "Filter": [{"Name": "instance-state-name", "Value": ["running", "pending"]}]})
    equal({one["instanceId"] for item in items for one in item["instancesSet"]}, {one["InstanceId"] for one in instances})
    types = probe("ec2", "DescribeInstanceTypes", all="instanceTypeSet", params={"MaxResults": 100})
    pages = ec2.get_paginator("describe_instance_types").paginate()
    equal({one["instanceType"] for one in types}, {one["InstanceType"] for page in pages for one in page["InstanceTypes"]})
    assert len(types) > 300, len(types)
    ec2.terminate_instances(InstanceIds=[one["InstanceId"] for one in instances])


def images(probe):
    found = probe("ec2", "DescribeImages", params={"Owner": ["amazon"], "Filter": [{"Name": "architecture", "Value": ["x86_64"]}]})["imagesSet"]
    theirs = boto3.client("ec2").describe_images(Owners=["amazon"], Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"]
    equal({one["imageId"] for one in found}, {one["ImageId"] for one in theirs})
    assert found and all(isinstance(one["blockDeviceMapping"], list) for one in found if one.get("blockDeviceMapping")), found[:1]
    regions = probe("ec2", "DescribeRegions")["regionInfo"]
    equal({one["regionName"] for one in regions}, {one["RegionName"] for one in boto3.client("ec2").describe_regions()["Regions"]})


def iam(probe):
    client = boto3.client("iam")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
    rights = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
    for i in range(7):
        probe("iam", "CreateRole", params={"RoleName": f"kiln-{i}", "AssumeRolePolicyDocument": policy, "Path": "/kiln/", "Tags": [{"Key": "kiln", "Value": "x"}, {"Key": "n", "Value": str(i)}]})
    equal(client.get_role(RoleName="kiln-3")["Role"]["Tags"], [{"Key": "kiln", "Value": "x"}, {"Key": "n", "Value": "3"}])
    equal(client.get_role(RoleName="kiln-3")["Role"]["AssumeRolePolicyDocument"], json.loads(policy))
    roles = probe("iam", "ListRoles", all="Roles", params={"PathPrefix": "/kiln/", "MaxItems": 2})
    equal(sorted(role["RoleName"] for role in roles), [f"kiln-{i}" for i in range(7)])  # moto's order is none
    probe("iam", "PutRolePolicy", params={"RoleName": "kiln-0", "PolicyName": "p", "PolicyDocument": rights})
    equal(client.get_role_policy(RoleName="kiln-0", PolicyName="p")["PolicyDocument"], json.loads(rights))
    probe("iam", "CreateInstanceProfile", params={"InstanceProfileName": "prof"})
    probe("iam", "AddRoleToInstanceProfile", params={"InstanceProfileName": "prof", "RoleName": "kiln-0"})
    equal(probe("iam", "GetInstanceProfile", params={"InstanceProfileName": "prof"})["InstanceProfile"]["Roles"][0]["RoleName"], "kiln-0")
    equal(probe.raw("iam", "GetRole", params={"RoleName": "none"})["code"], "NoSuchEntity")
    equal(probe.raw("iam", "CreateRole", params={"RoleName": "kiln-0", "AssumeRolePolicyDocument": policy})["code"], "EntityAlreadyExists")


def sts(probe):
    ours, theirs = probe("sts", "GetCallerIdentity"), boto3.client("sts").get_caller_identity()
    equal((ours["Account"], ours["Arn"], ours["UserId"]), (theirs["Account"], theirs["Arn"], theirs["UserId"]))
    role = probe("sts", "AssumeRole", params={"RoleArn": "arn:aws:iam::123456789012:role/kiln-0", "RoleSessionName": "s", "Tags": [{"Key": "a", "Value": "b"}]})
    assert role["Credentials"]["AccessKeyId"].startswith("ASIA"), role


def ssm(probe):
    client = boto3.client("ssm")
    for i in range(23):
        client.put_parameter(Name=f"/kiln/test/{i:02}", Value=f"ami-{i}", Type="String")
    equal(probe("ssm", "GetParameter", params={"Name": "/kiln/test/07"})["Parameter"]["Value"], "ami-7")
    found = probe("ssm", "GetParametersByPath", all="Parameters", params={"Path": "/kiln/test", "MaxResults": 5})
    equal([one["Value"] for one in found], [f"ami-{i}" for i in range(23)])
    probe("ssm", "PutParameter", params={"Name": "/kiln/own", "Value": "ü\n\"x\"", "Type": "SecureString"})
    equal(client.get_parameter(Name="/kiln/own", WithDecryption=True)["Parameter"]["Value"], "ü\n\"x\"")
    error = probe.raw("ssm", "GetParameter", params={"Name": "/none"})
    equal((error["code"], error["status"]), ("ParameterNotFound", 400))


ODD_KEYS = ["plain", "a/b/c", "a b", "a+b", "a%20b", "100%", "ünï/雪☃", "q?x=1&y=2#z", "~tilde", "'quotes\"", "a//b", "./dot", "x/../y", "trailing/", "(a)!*,;:@$=", "<&>]]>", " lead",
            "tab\tkey", "a\\b", "[x]{y}|^`", "long/" + "n" * 900, "𝄞"]


def s3(probe):
    client = boto3.client("s3")
    client.create_bucket(Bucket="kiln-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for i, key in enumerate(ODD_KEYS):
        data = bytes(range(256)) * i
        probe("s3", "put", bucket="kiln-bucket", key=key, data=base64.b64encode(data).decode())
        equal(client.get_object(Bucket="kiln-bucket", Key=key)["Body"].read(), data)
        equal(base64.b64decode(probe("s3", "get", bucket="kiln-bucket", key=key)), data)
        equal(probe("s3", "head", bucket="kiln-bucket", key=key)["size"], len(data))
    theirs = [one["Key"] for page in client.get_paginator("list_objects_v2").paginate(Bucket="kiln-bucket") for one in page["Contents"]]
    equal(sorted(theirs), sorted(ODD_KEYS))
    equal(probe("s3", "list", bucket="kiln-bucket", page=4), theirs)
    equal(probe("s3", "list", bucket="kiln-bucket", prefix="a/"), ["a//b", "a/b/c"])
    equal(probe("s3", "list", bucket="kiln-bucket", prefix="none"), [])
    for key in ODD_KEYS:
        probe("s3", "remove", bucket="kiln-bucket", key=key)
    probe("s3", "remove", bucket="kiln-bucket", key="plain")
    equal(client.list_objects_v2(Bucket="kiln-bucket").get("Contents"), None)
    equal((probe("s3", "get", bucket="kiln-bucket", key="none"), probe("s3", "head", bucket="kiln-bucket", key="none")), (None, None))
    error = probe.raw("s3", "get", bucket="no-such-bucket-x", key="k")
    assert "no-such-bucket-x" in error["error"], error


def ebs(probe):
    blocks = {0: b"a" * 524288, 5: bytes(range(256)) * 2048, 2047: b"z" * 524288}
    snapshot = probe("ebs", "start")
    for index, data in blocks.items():
        probe("ebs", "put", id=snapshot, index=index, data=base64.b64encode(data).decode())
    equal(probe("ebs", "complete", id=snapshot, count=len(blocks)), "completed")
    read = {one["index"]: base64.b64decode(one["data"]) for one in probe("ebs", "read", id=snapshot)}
    equal(read, blocks)
    client = boto3.client("ebs")
    equal([one["BlockIndex"] for one in client.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]], sorted(blocks))


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"AWS_CONFIG_FILE": folder + "/none", "AWS_SHARED_CREDENTIALS_FILE": folder + "/none"}
        moto, url = start_moto(sys.argv[2], folder)
        os.environ["AWS_ENDPOINT_URL"] = url
        probe = Probe(sys.argv[1])
        try:
            for what, test in (("VPCs and tags", vpcs), ("security groups", rules), ("key pairs", key_pairs), ("many pages", many_pages), ("images and regions", images),
                               ("IAM", iam), ("STS", sts), ("SSM", ssm), ("S3 with odd keys", s3), ("EBS direct", ebs)):
                case(what, test, probe)
            probe.close()
        finally:
            moto.terminate()
            moto.wait(20)
    sys.exit(1 if failures else 0)


main()
