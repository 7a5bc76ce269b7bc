"""What the fake must refuse, request by request, each with AWS's code: well-formed requests that the state of things, or AWS's rules, forbid.

walk() yields (title, the code that came, the code that must come).
"""
import base64
import hashlib
import time

from botocore.exceptions import ClientError

BLOCK = 512 * 1024
NO_SNAPSHOT, NO_IMAGE, NO_INSTANCE, NO_VOLUME = "snap-0123456789abcdef0", "ami-0123456789abcdef0", "i-0123456789abcdef0", "vol-0123456789abcdef0"


class Scene:
    """What the requests stand on: an image with its snapshot, a pending snapshot, a network."""

    def __init__(self, fake, upload, register, stock_image):
        self.ebs, self.ec2, self.ssm, self.iam = (fake.client(name, config={"parameter_validation": False}) for name in ("ebs", "ec2", "ssm", "iam"))
        self.other = fake.client("ec2", "eu-west-1")
        self.data = b"x" * BLOCK
        self.snapshot = upload(fake, {0: self.data}, gib=2)
        self.stranger = upload(fake, {0: self.data})
        self.image = register(fake, self.snapshot, "refusals")
        self.arm = register(fake, self.snapshot, "refusals-arm", Architecture="arm64", BootMode="uefi")
        self.plain = register(fake, self.snapshot, "refusals-without-ena", EnaSupport=None)
        self.pending = self.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        kernels = {}
        for arch in ("i386", "x86_64"):
            found = self.ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": [f"pv-grub-hd0_1.05-{arch}.gz"]}])["Images"]
            kernels[arch] = found[0]["ImageId"]
        self.kernels, self.stock = kernels, stock_image(fake)
        self.paravirtual = register(fake, self.snapshot, "refusals-pv", VirtualizationType="paravirtual", BootMode=None, EnaSupport=None, KernelId=kernels["x86_64"])
        subnets = self.ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": ["us-east-1a"]}])["Subnets"]
        self.subnet, self.vpc = subnets[0]["SubnetId"], subnets[0]["VpcId"]
        other = self.ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
        self.foreign_group = self.ec2.create_security_group(GroupName="foreign", Description="of another network", VpcId=other)["GroupId"]
        self.instance = self.run()["Instances"][0]["InstanceId"]
        self.volume = self.ec2.create_volume(AvailabilityZone="us-east-1b", Size=1)["VolumeId"]
        self.ec2.create_placement_group(GroupName="refusals")
        time.sleep(0.4)  # until the instance runs

    def put(self, **over):
        fields = {"SnapshotId": self.pending, "BlockIndex": 0, "BlockData": self.data, "DataLength": BLOCK, "ChecksumAlgorithm": "SHA256",
                  "Checksum": base64.b64encode(hashlib.sha256(self.data).digest()).decode()}
        return self.ebs.put_snapshot_block(**{**fields, **over})

    def register(self, **over):
        device = {"SnapshotId": self.snapshot, **over.pop("Ebs", {})}
        fields = {"Name": f"refused {time.monotonic_ns()}", "Architecture": "x86_64", "VirtualizationType": "hvm", "RootDeviceName": "/dev/xvda",
                  "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": device}]}
        fields.update(over)
        return self.ec2.register_image(**{name: value for name, value in fields.items() if value is not None})

    def copy(self, **over):
        return self.other.copy_image(**{"Name": "refused copy", "SourceImageId": self.image, "SourceRegion": "us-east-1", **over})

    def run(self, **over):
        fields = {"ImageId": self.image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "SubnetId": self.subnet, **over}
        return self.ec2.run_instances(**{name: value for name, value in fields.items() if value is not None})

    def root(self, **ebs):
        return self.run(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": ebs}])


def snapshots(s):
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    yield "a block whose checksum is another's", "ValidationException", lambda: s.put(Checksum=wrong)
    yield "a block of another size", "ValidationException", lambda: s.put(BlockData=b"x" * 1024, DataLength=1024)
    yield "a block announced with another size", "ValidationException", lambda: s.put(DataLength=1024)
    yield "a block beyond the volume's end", "ValidationException", lambda: s.put(BlockIndex=2048)
    yield "a block for a snapshot that is completed", "ValidationException", lambda: s.put(SnapshotId=s.snapshot)
    yield "a block for a snapshot that does not exist", "ResourceNotFoundException", lambda: s.put(SnapshotId=NO_SNAPSHOT)
    yield "a volume of no size", "ValidationException", lambda: s.ebs.start_snapshot(VolumeSize=0)
    yield "a volume of more than 64 TiB", "ValidationException", lambda: s.ebs.start_snapshot(VolumeSize=65537)
    yield "a child smaller than its parent", "ValidationException", lambda: s.ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=s.snapshot)
    yield "a child of a pending snapshot", "ValidationException", lambda: s.ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=s.pending)
    yield "an unknown parent", "ResourceNotFoundException", lambda: s.ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=NO_SNAPSHOT)
    yield "encryption and a parent at once", "ValidationException", lambda: s.ebs.start_snapshot(VolumeSize=2, ParentSnapshotId=s.snapshot, Encrypted=True)
    yield "a key that does not exist", "ValidationException", lambda: s.ebs.start_snapshot(
        VolumeSize=1, Encrypted=True, KmsKeyArn="arn:aws:kms:us-east-1:123456789012:key/0000")
    yield "a timeout below ten minutes", "ValidationException", lambda: s.ebs.start_snapshot(VolumeSize=1, Timeout=5)
    yield "tags of AWS's own", "ValidationException", lambda: s.ebs.start_snapshot(VolumeSize=1, Tags=[{"Key": "aws:x", "Value": ""}])
    yield "blocks of a pending snapshot", "ValidationException", lambda: s.ebs.list_snapshot_blocks(SnapshotId=s.pending)
    yield "a block without its token", "ValidationException", lambda: s.ebs.get_snapshot_block(SnapshotId=s.snapshot, BlockIndex=0, BlockToken="AAAA")
    yield "a page token made up", "ValidationException", lambda: s.ebs.list_snapshot_blocks(SnapshotId=s.snapshot, NextToken="AAAA")
    yield "the difference of strangers", "ValidationException", lambda: s.ebs.list_changed_blocks(FirstSnapshotId=s.stranger, SecondSnapshotId=s.snapshot)
    yield "an unknown snapshot completed", "ResourceNotFoundException", lambda: s.ebs.complete_snapshot(SnapshotId=NO_SNAPSHOT, ChangedBlocksCount=0)
    yield "a malformed snapshot id", "InvalidSnapshotID.Malformed", lambda: s.ec2.describe_snapshots(SnapshotIds=["snap-1"])
    yield "an unknown filter", "InvalidParameterValue", lambda: s.ec2.describe_snapshots(Filters=[{"Name": "colour", "Values": ["red"]}])
    yield "a page too small", "InvalidParameterValue", lambda: s.ec2.describe_snapshots(MaxResults=1)
    yield "pages of named snapshots", "InvalidParameterCombination", lambda: s.ec2.describe_snapshots(SnapshotIds=[s.snapshot], MaxResults=5)


def images(s):
    yield "an image of an unknown snapshot", "InvalidSnapshot.NotFound", lambda: s.register(Ebs={"SnapshotId": NO_SNAPSHOT})
    yield "an image of a pending snapshot", "IncorrectState", lambda: s.register(Ebs={"SnapshotId": s.pending})
    yield "a name that is taken", "InvalidAMIName.Duplicate", lambda: s.register(Name="refusals")
    yield "a name too short", "InvalidAMIName.Malformed", lambda: s.register(Name="ab")
    yield "a name with a colon", "InvalidAMIName.Malformed", lambda: s.register(Name="spark:4.1")
    yield "no mapping of the root device", "InvalidBlockDeviceMapping", lambda: s.register(RootDeviceName="/dev/sda1")
    yield "a volume smaller than its snapshot", "InvalidBlockDeviceMapping", lambda: s.register(Ebs={"VolumeSize": 1})
    yield "encryption of a mapping with a snapshot", "InvalidBlockDeviceMapping", lambda: s.register(Ebs={"Encrypted": True})
    yield "a device twice", "InvalidBlockDeviceMapping", lambda: s.register(BlockDeviceMappings=2 * [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": s.snapshot}}])
    yield "IOPS for gp2", "InvalidParameterCombination", lambda: s.register(Ebs={"VolumeType": "gp2", "Iops": 3000})
    yield "io2 without IOPS", "MissingParameter", lambda: s.register(Ebs={"VolumeType": "io2", "VolumeSize": 10})
    yield "gp3 with more throughput than IOPS allow", "InvalidParameterCombination", lambda: s.register(Ebs={"VolumeType": "gp3", "Iops": 3000, "Throughput": 1000})
    yield "legacy BIOS for arm64", "InvalidParameterCombination", lambda: s.register(Architecture="arm64", BootMode="legacy-bios")
    yield "UEFI for i386", "InvalidParameterCombination", lambda: s.register(Architecture="i386", BootMode="uefi")
    yield "paravirtual arm64", "InvalidParameterCombination", lambda: s.register(Architecture="arm64", VirtualizationType="paravirtual", KernelId=s.kernels["x86_64"])
    yield "paravirtual with ENA", "InvalidParameterCombination", lambda: s.register(VirtualizationType="paravirtual", KernelId=s.kernels["x86_64"], EnaSupport=True)
    yield "paravirtual with UEFI", "InvalidParameterCombination", lambda: s.register(VirtualizationType="paravirtual", KernelId=s.kernels["x86_64"], BootMode="uefi")
    yield "paravirtual without a kernel", "MissingParameter", lambda: s.register(VirtualizationType="paravirtual")
    yield "a kernel of another architecture", "InvalidParameterCombination", lambda: s.register(VirtualizationType="paravirtual", KernelId=s.kernels["i386"])
    yield "a kernel that does not exist", "InvalidAMIID.NotFound", lambda: s.register(VirtualizationType="paravirtual", KernelId="aki-01234567")
    yield "a kernel for hvm", "InvalidParameterCombination", lambda: s.register(KernelId=s.kernels["x86_64"])
    yield "a TPM without UEFI", "InvalidParameterCombination", lambda: s.register(TpmSupport="v2.0", BootMode="legacy-bios")
    yield "tags for what is not made", "InvalidParameterValue", lambda: s.register(TagSpecifications=[{"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "b"}]}])
    yield "a copy of an unknown image", "InvalidAMIID.NotFound", lambda: s.copy(SourceImageId=NO_IMAGE)
    yield "a copy from another partition", "InvalidRegion", lambda: s.copy(SourceRegion="cn-north-1")
    yield "a key without encryption", "InvalidParameterDependency", lambda: s.copy(KmsKeyId="alias/x")
    yield "a deprecation in the past", "InvalidParameterValue", lambda: s.ec2.enable_image_deprecation(ImageId=s.image, DeprecateAt="2020-01-01T00:00:00Z")
    yield "somebody else's image deregistered", "AuthFailure", lambda: s.ec2.deregister_image(ImageId=s.stock)
    yield "an account that is none", "InvalidUserID.Malformed", lambda: s.ec2.modify_image_attribute(ImageId=s.image, LaunchPermission={"Add": [{"UserId": "me"}]})
    yield "a snapshot in use deleted", "InvalidSnapshot.InUse", lambda: s.ec2.delete_snapshot(SnapshotId=s.snapshot)
    yield "an unknown image described", "InvalidAMIID.NotFound", lambda: s.ec2.describe_images(ImageIds=[NO_IMAGE])
    yield "a malformed image id", "InvalidAMIID.Malformed", lambda: s.ec2.describe_images(ImageIds=["ami-xyz"])


def instances(s):
    yield "an unknown image", "InvalidAMIID.NotFound", lambda: s.run(ImageId=NO_IMAGE)
    yield "an unknown type", "InvalidParameterValue", lambda: s.run(InstanceType="m5.tiny")
    yield "another architecture", "InvalidParameterValue", lambda: s.run(ImageId=s.arm)
    yield "an image without ENA on a type that needs it", "InvalidParameterCombination", lambda: s.run(ImageId=s.plain)
    yield "a paravirtual image on a type that can't", "InvalidParameterCombination", lambda: s.run(ImageId=s.paravirtual)
    yield "more at least than at most", "InvalidParameterValue", lambda: s.run(MinCount=2)
    yield "more than 16 KiB of user data", "InvalidParameterValue", lambda: s.run(UserData="x" * 16385)
    yield "an unknown key pair", "InvalidKeyPair.NotFound", lambda: s.run(KeyName="nobody's")
    yield "an unknown subnet", "InvalidSubnetID.NotFound", lambda: s.run(SubnetId="subnet-0123456789abcdef0")
    yield "an unknown group", "InvalidGroup.NotFound", lambda: s.run(SecurityGroupIds=["sg-0123456789abcdef0"])
    yield "a group of another network", "InvalidParameter", lambda: s.run(SecurityGroupIds=[s.foreign_group])
    yield "a subnet and an interface", "InvalidParameterCombination", lambda: s.run(NetworkInterfaces=[{"DeviceIndex": 0, "AssociatePublicIpAddress": True}])
    yield "a zone that is not the subnet's", "InvalidParameterValue", lambda: s.run(Placement={"AvailabilityZone": "us-east-1b"})
    yield "an address outside of the subnet", "InvalidParameterValue", lambda: s.run(PrivateIpAddress="10.1.2.3")
    yield "an unknown instance profile", "InvalidParameterValue", lambda: s.run(IamInstanceProfile={"Name": "nobody's"})
    yield "an unknown placement group", "InvalidPlacementGroup.Unknown", lambda: s.run(Placement={"GroupName": "nobody's"})
    yield "a burstable type in a cluster group", "InvalidParameterCombination", lambda: s.run(Placement={"GroupName": "refusals"})
    yield "a root volume smaller than its snapshot", "InvalidBlockDeviceMapping", lambda: s.root(VolumeSize=1)
    yield "another snapshot for the root device", "InvalidBlockDeviceMapping", lambda: s.root(SnapshotId=s.stranger)
    yield "a device name that is none", "InvalidBlockDeviceMapping", lambda: s.run(BlockDeviceMappings=[{"DeviceName": "disk2", "Ebs": {"VolumeSize": 1}}])
    yield "a volume of no size", "MissingParameter", lambda: s.run(BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeType": "gp3"}}])
    yield "a hop limit of 65", "InvalidParameterValue", lambda: s.run(MetadataOptions={"HttpPutResponseHopLimit": 65})
    yield "the same tag twice", "InvalidParameterValue", lambda: s.run(TagSpecifications=[{"ResourceType": "instance", "Tags": 2 * [{"Key": "a", "Value": "b"}]}])
    yield "51 tags", "TagLimitExceeded", lambda: s.run(TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": str(n), "Value": ""} for n in range(51)]}])
    yield "a spot instance that is to stop", "InvalidParameterCombination", lambda: s.run(
        InstanceMarketOptions={"MarketType": "spot", "SpotOptions": {"InstanceInterruptionBehavior": "stop"}})
    yield "a token of 65 characters", "InvalidParameterValue", lambda: s.run(ClientToken="x" * 65)
    yield "an unknown instance terminated", "InvalidInstanceID.NotFound", lambda: s.ec2.terminate_instances(InstanceIds=[NO_INSTANCE])
    yield "a malformed instance id", "InvalidInstanceID.Malformed", lambda: s.ec2.describe_instances(InstanceIds=["i-1"])
    yield "the type of a running instance", "IncorrectInstanceState", lambda: s.ec2.modify_instance_attribute(InstanceId=s.instance, InstanceType={"Value": "t3.small"})
    yield "a volume of another zone attached", "InvalidVolume.ZoneMismatch", lambda: s.ec2.attach_volume(VolumeId=s.volume, InstanceId=s.instance, Device="/dev/sdf")
    yield "an unknown volume deleted", "InvalidVolume.NotFound", lambda: s.ec2.delete_volume(VolumeId=NO_VOLUME)
    yield "a volume made smaller", "InvalidParameterValue", lambda: s.ec2.modify_volume(VolumeId=s.volume, Size=0)
    yield "a placement group twice", "InvalidPlacementGroup.Duplicate", lambda: s.ec2.create_placement_group(GroupName="refusals")
    yield "tags of what does not exist", "InvalidInstanceID.NotFound", lambda: s.ec2.create_tags(Resources=[NO_INSTANCE], Tags=[{"Key": "a", "Value": "b"}])
    yield "a tag of AWS's own", "InvalidParameterValue", lambda: s.ec2.create_tags(Resources=[s.instance], Tags=[{"Key": "aws:a", "Value": "b"}])
    yield "a type that does not exist described", "InvalidInstanceType", lambda: s.ec2.describe_instance_types(InstanceTypes=["m5.tiny"])
    yield "a public parameter that is not there", "ParameterNotFound", lambda: s.ssm.get_parameter(Name="/aws/service/debian/release/1/latest/amd64")
    yield "somebody else's role", "NoSuchEntity", lambda: s.iam.get_role(RoleName="nobody's")


def walk(fake, upload, register, stock_image):
    scene = Scene(fake, upload, register, stock_image)
    for part in (snapshots, images, instances):
        for title, wanted, action in part(scene):
            try:
                action()
                found = "nothing: it was accepted"
            except ClientError as error:
                found = error.response["Error"]["Code"]
            yield title, found, wanted
    scene.ec2.terminate_instances(InstanceIds=[scene.instance])
