#!/usr/bin/env python3
"""What kiln has left in an EC2, seen by AWS's own library (boto3), for tests/82-ami.test. Run by the Python that has it (tests/cloud/up).

  ami_facts.py amis REGION…            a line an AMI: region name virtualization boot-mode state snapshot, sorted
  ami_facts.py same REGION AMI DISK    reads the AMI's root snapshot block by block and compares it with the disk, byte for byte
  ami_facts.py changed REGION OLD NEW  how many blocks differ in two AMIs' snapshots, of which one stems from the other
  ami_facts.py check REGION AMI …      exits with 1 unless each EXPRESSION over `image` (DescribeImages) and `snapshot` holds
  ami_facts.py counts REGION…          "AMIs snapshots pending" that the account has there in all
  ami_facts.py regions                 every region that is enabled, one a line
  ami_facts.py put-look-alikes REGION  AMIs and snapshots that are not kiln's, but look so; prints their ids
  ami_facts.py serve SOCKET            answers the above by HTTP over a Unix socket until it is killed: to start Python with that library
                                       takes seconds. A request's body: NAME=VALUE of the environment…, an empty word, the words; each ends
                                       with a NUL. Status 200 and what was printed, or 500 and why not.
"""
import base64
import contextlib
import functools
import hashlib
import http.server
import io
import os
import socketserver
import sys
import time
import traceback

import boto3

BLOCK = 512 * 1024


@functools.cache
def session_of(environment):  # pylint: disable=unused-argument
    """One for each set of credentials: it reads AWS's models once."""
    return boto3.Session(profile_name=os.environ.get("FACTS_PROFILE"))


def session():
    return session_of(frozenset(pair for pair in os.environ.items() if pair[0].startswith(("AWS_", "FACTS_"))))


def client(service, region):
    return session().client(service, region_name=region)


def images_of(region):
    return [image for image in client("ec2", region).describe_images(Owners=["self"])["Images"] if image["State"] != "deregistered"]


def root(image):
    return next(mapping["Ebs"] for mapping in image["BlockDeviceMappings"] if mapping["DeviceName"] == image["RootDeviceName"])


def amis(*regions):
    lines = []
    for region in regions:
        for image in images_of(region):
            lines.append(f"{region} {image['Name']} {image['VirtualizationType']} {image.get('BootMode', '-')} {image['State']} {root(image).get('SnapshotId')}")
    print("\n".join(sorted(lines)))


def blocks_of(ebs, snapshot):
    """(index, token) of every block, and the volume's size in GiB."""
    found, token = [], None
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=100, **({"NextToken": token} if token else {}))
        found += [(block["BlockIndex"], block["BlockToken"]) for block in page["Blocks"]]
        token = page.get("NextToken")
        if not token:
            return found, page["VolumeSize"]


def same(region, ami, disk):
    image = client("ec2", region).describe_images(ImageIds=[ami])["Images"][0]
    ebs, snapshot = client("ebs", region), root(image)["SnapshotId"]
    blocks, size_gib = blocks_of(ebs, snapshot)
    assert size_gib << 30 == os.path.getsize(disk), (size_gib, os.path.getsize(disk))
    there = dict(blocks)
    compared = 0
    with open(disk, "rb") as file:
        for index in range((size_gib << 30) // BLOCK):
            wanted = file.read(BLOCK)
            if index not in there:
                assert not any(wanted), f"block {index} is missing"
                continue
            answer = ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=index, BlockToken=there[index])
            data = answer["BlockData"].read()
            assert base64.b64encode(hashlib.sha256(data).digest()).decode() == answer["Checksum"]
            assert data == wanted, f"block {index} differs"
            compared += 1
    print(f"{compared} blocks are the disk's")


def changed(region, *two):
    ec2, ebs = client("ec2", region), client("ebs", region)
    first, second = (root(ec2.describe_images(ImageIds=[ami])["Images"][0])["SnapshotId"] for ami in two)
    print(len(ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)["ChangedBlocks"]))


def check(region, ami, *expressions):
    ec2 = client("ec2", region)
    image = ec2.describe_images(ImageIds=[ami])["Images"][0]
    snapshot = ec2.describe_snapshots(SnapshotIds=[root(image)["SnapshotId"]])["Snapshots"][0]
    names = {"image": image, "snapshot": snapshot, "root": root(image), "ec2": ec2,
             "tags": {tag["Key"]: tag["Value"] for tag in image.get("Tags", [])},
             "snapshot_tags": {tag["Key"]: tag["Value"] for tag in snapshot.get("Tags", [])},
             "permissions": ec2.describe_image_attribute(ImageId=ami, Attribute="launchPermission")["LaunchPermissions"]}
    for expression in expressions:
        if not eval(expression, names):  # pylint: disable=eval-used
            sys.exit(f"this does not hold: {expression}\n{image}\n{snapshot}\n{names['permissions']}")


def counts(*regions):
    images = snapshots = pending = 0
    for region in regions:
        images += len(images_of(region))
        found = client("ec2", region).describe_snapshots(OwnerIds=["self"])["Snapshots"]
        snapshots += len(found)
        pending += sum(1 for snapshot in found if snapshot["State"] == "pending")
    print(images, snapshots, pending)


def regions():
    ec2 = session().client("ec2")
    print("\n".join(sorted(region["RegionName"] for region in ec2.describe_regions()["Regions"])))


def put_look_alikes(region):
    ec2, ebs = client("ec2", region), client("ebs", region)
    made = []
    for tags in ([{"Key": "Name", "Value": "toy"}, {"Key": "kiln", "Value": "toy"}], [{"Key": "kiln:images", "Value": "toy"}]):
        snapshot = ebs.start_snapshot(VolumeSize=1, Description="kiln image toy 0123456789ab", Tags=tags)["SnapshotId"]
        ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=0)
        while [one["State"] for one in ec2.describe_snapshots(Filters=[{"Name": "snapshot-id", "Values": [snapshot]}])["Snapshots"]] != ["completed"]:
            time.sleep(0.1)
        image = ec2.register_image(Name=f"kiln/toy/x86_64/hvm/uefi-preferred/{len(made)}", Architecture="x86_64", VirtualizationType="hvm",
                                   RootDeviceName="/dev/xvda", BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}],
                                   TagSpecifications=[{"ResourceType": "image", "Tags": tags}])["ImageId"]
        made += [image, snapshot]
    print(" ".join(made))


ANSWERS = {"amis": amis, "same": same, "changed": changed, "check": check, "counts": counts, "regions": regions, "put-look-alikes": put_look_alikes}


class Asked(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        environment, _, words = body.partition("\0\0")
        for name in [name for name in os.environ if name.startswith(("AWS_", "FACTS_"))]:
            del os.environ[name]
        os.environ.update(pair.split("=", 1) for pair in environment.split("\0"))
        question, *arguments = words.removesuffix("\0").split("\0")
        said, status = io.StringIO(), 200
        try:
            with contextlib.redirect_stdout(said):
                ANSWERS[question](*arguments)
        except SystemExit as refusal:  # check: what does not hold
            status = 500
            said.write(f"{refusal}\n")
        except Exception:  # pylint: disable=broad-except
            status = 500
            said.write(traceback.format_exc())
        answer = said.getvalue().encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if answer:
            self.wfile.write(answer)

    def address_string(self):
        return "the test"

    def log_message(self, *_):
        pass


def serve(socket):
    with socketserver.UnixStreamServer(socket, Asked) as server:
        server.serve_forever()


if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    ANSWERS[sys.argv[1]](*sys.argv[2:])
