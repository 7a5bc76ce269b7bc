"""Stock images (Debian, Ubuntu, Amazon Linux) in every region, and the public SSM parameters that name the latest of them.

Owners, names and parameters are the makers' own (Debian wiki "Cloud/AmazonEC2Image", Canonical's and Amazon's documentation of public
parameters). Their disks are empty until one is given: POST /_fake/stock {"image": "debian-12-amd64", "path": "/a/raw/disk"}.
"""
import base64
import os

from blocks import Blocks
from ebs import Snapshot
from ec2_images import Image
from errors import Refusal
from front import operation
from world import now

DEBIAN, CANONICAL, AMAZON = "136693071363", "099720109477", "137112412989"

# name here: owner, alias, image's name, architecture, root device, boot mode, IMDS, GiB, parameters
STOCK = {
    "debian-12-amd64": (DEBIAN, None, "debian-12-amd64-20250316-2053", "x86_64", "/dev/xvda", "uefi-preferred", None, 8,
                        ["/aws/service/debian/release/12/latest/amd64", "/aws/service/debian/release/bookworm/latest/amd64"]),
    "debian-12-arm64": (DEBIAN, None, "debian-12-arm64-20250316-2053", "arm64", "/dev/xvda", "uefi", None, 8,
                        ["/aws/service/debian/release/12/latest/arm64", "/aws/service/debian/release/bookworm/latest/arm64"]),
    "debian-13-amd64": (DEBIAN, None, "debian-13-amd64-20250814-2204", "x86_64", "/dev/xvda", "uefi-preferred", None, 8,
                        ["/aws/service/debian/release/13/latest/amd64", "/aws/service/debian/release/trixie/latest/amd64"]),
    "debian-13-arm64": (DEBIAN, None, "debian-13-arm64-20250814-2204", "arm64", "/dev/xvda", "uefi", None, 8,
                        ["/aws/service/debian/release/13/latest/arm64", "/aws/service/debian/release/trixie/latest/arm64"]),
    "ubuntu-22.04-amd64": (CANONICAL, None, "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20250516", "x86_64", "/dev/sda1", "uefi-preferred", None, 8,
                           ["/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"]),
    "ubuntu-24.04-amd64": (CANONICAL, None, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20250516", "x86_64", "/dev/sda1", "uefi-preferred", "v2.0", 8,
                           ["/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"]),
    "ubuntu-24.04-arm64": (CANONICAL, None, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-20250516", "arm64", "/dev/sda1", "uefi", "v2.0", 8,
                           ["/aws/service/canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id"]),
    "al2023-x86_64": (AMAZON, "amazon", "al2023-ami-2023.7.20250609.0-kernel-6.1-x86_64", "x86_64", "/dev/xvda", "uefi-preferred", "v2.0", 8,
                      ["/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-x86_64", "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"]),
    "al2023-arm64": (AMAZON, "amazon", "al2023-ami-2023.7.20250609.0-kernel-6.1-arm64", "arm64", "/dev/xvda", "uefi", "v2.0", 8,
                     ["/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-arm64", "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"]),
    "amzn2-x86_64": (AMAZON, "amazon", "amzn2-ami-hvm-2.0.20250603.0-x86_64-gp2", "x86_64", "/dev/xvda", None, None, 8,
                     ["/aws/service/ami-amazon-linux-latest/amzn2-ami-hvm-x86_64-gp2"]),
}
PREFIXES = ("/aws/service/debian", "/aws/service/canonical", "/aws/service/ami-amazon-linux-latest")


class Stock:
    """Makes the images of a region when it is first used; all regions share one disk for each."""

    def __init__(self, world):
        self.world, self.disks, self.images, self.ready = world, {}, {}, set()  # images: (region, name here) → Image

    def disk(self, name, gib):
        if name not in self.disks:
            self.disks[name] = Blocks(self.world.folder, f"stock-{name}", gib)
            self.disks[name].seal()
        return self.disks[name]

    def ensure(self, region):
        if region.name in self.ready:
            return
        with self.world.lock:
            for name, (owner, alias, title, arch, root, boot_mode, imds, gib, _) in STOCK.items():
                if (region.name, name) in self.images:
                    continue
                snapshot = Snapshot(self.world, region, gib, title, blocks=self.disk(name, gib))
                snapshot.owner, snapshot.owner_alias, snapshot.made = owner, alias, 0
                snapshot.permissions.add("all")
                snapshot.seal(0)
                image = Image(self.world, region, title, architecture=arch, virtualization="hvm", boot_mode=boot_mode, imds=imds, ena=True, sriov="simple",
                              root_device=root, owner=owner, owner_alias=alias, permissions={"all"}, description=title,
                              devices=[{"DeviceName": root, "Ebs": {"SnapshotId": snapshot.id, "VolumeSize": gib, "VolumeType": "gp3", "Encrypted": False,
                                                                    "DeleteOnTermination": True}}])
                image.made = 0
                region.snapshots[snapshot.id] = snapshot
                region.images[image.id] = image
                self.images[region.name, name] = image
            self.ready.add(region.name)

    def set_disk(self, _rest, _query, body):
        """POST /_fake/stock: a raw disk for one of them, in all regions."""
        name, path = body["image"], body["path"]
        if name not in STOCK:
            raise ValueError(f"no stock image '{name}': there are {', '.join(STOCK)}")
        with self.world.lock:
            gib = max(STOCK[name][7], -(-os.path.getsize(path) >> 30))
            disk = Blocks(self.world.folder, f"stock-{name}-{len(self.disks)}-{now().timestamp()}", gib)
            disk.adopt(path)
            disk.seal()
            self.disks[name] = disk
            for (region, known), image in self.images.items():
                if known == name:
                    snapshot = self.world.regions[region].snapshots[image.snapshot_ids()[0]]
                    snapshot.blocks, snapshot.volume_gib = disk, gib
                    image.devices[0]["Ebs"]["VolumeSize"] = gib
        return {"blocks": len(disk.digests)}

    def parameters(self, region):
        """The region's public parameters: name → image id."""
        self.ensure(region)
        return {parameter: self.images[region.name, name].id for name, facts in STOCK.items() for parameter in facts[8]}


def parameter(call, name, value):
    return {"Name": name, "Type": "String", "Value": value, "Version": 1, "LastModifiedDate": 1750000000.0, "DataType": "text",
            "ARN": f"arn:{call.region.partition}:ssm:{call.region.name}::parameter{name}"}


@operation("ssm", "GetParameter")
def get_parameter(call):
    if not call.get("Name").startswith(PREFIXES):
        return call.front.behind.answer(call)
    known = call.front.stock.parameters(call.region)
    if call.get("Name") not in known:
        raise Refusal("ParameterNotFound", "")
    return {"Parameter": parameter(call, call.get("Name"), known[call.get("Name")])}


@operation("ssm", "GetParameters")
def get_parameters(call):
    names = call.get("Names")
    if not any(name.startswith(PREFIXES) for name in names):
        return call.front.behind.answer(call)
    known = call.front.stock.parameters(call.region)
    return {"Parameters": [parameter(call, name, known[name]) for name in names if name in known],
            "InvalidParameters": [name for name in names if name not in known]}


@operation("ssm", "GetParametersByPath")
def get_parameters_by_path(call):
    path = call.get("Path").rstrip("/") + "/"
    if not path.startswith(PREFIXES):
        return call.front.behind.answer(call)
    known = sorted((name, value) for name, value in call.front.stock.parameters(call.region).items()
                   if name.startswith(path) and (call.get("Recursive") or "/" not in name[len(path):]))
    token = call.get("NextToken")
    start = int(base64.b64decode(token)) if token else 0
    size = call.get("MaxResults", 10)
    result = {"Parameters": [parameter(call, name, value) for name, value in known[start:start + size]]}
    if start + size < len(known):
        result["NextToken"] = base64.b64encode(str(start + size).encode()).decode()
    return result
