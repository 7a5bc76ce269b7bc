"""Machine images: register, copy, share, deprecate, find ("RegisterImage", "CopyImage", "DescribeImages" … in the EC2 API reference).

paravirtual images boot by a pv-grub kernel, an image of type `kernel` that Amazon owns in the older regions; it is found by its name
("User provided kernels", EC2 user guide). Their ids here are our own.
"""
import datetime
import hashlib
import re

import ec2_devices
import ec2_snapshots
from errors import Refusal, unknown_ids
from front import operation
from models import iso
from world import Resource, Timer, check_specifications, filtered, find, malformed, now, once, page, tags_of

PV_REGIONS = ("us-east-1", "us-west-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1", "ap-southeast-1", "ap-southeast-2", "sa-east-1",
              "us-gov-west-1", "cn-north-1")
KERNELS = [(f"pv-grub-{disk}_1.0{minor}-{arch}.gz", arch) for minor in (4, 5) for disk in ("hd0", "hd00") for arch in ("i386", "x86_64")]
CONCURRENT_COPIES = 50  # "Destination Regions are limited to 50 concurrent AMI copies" ("Copy an AMI", EC2 user guide)


class Image(Resource):
    def __init__(self, world, region, name, **fields):
        super().__init__(world, "image", fields.pop("prefix", "ami"), fields.pop("tags", ()))
        self.region, self.name, self.owner, self.owner_alias = region, name, region.account, None
        self.architecture, self.virtualization, self.description = "i386", "paravirtual", None
        self.boot_mode = self.imds = self.tpm = self.kernel = self.ramdisk = self.sriov = self.root_device = self.source = None
        self.ena, self.type, self.devices = False, "machine", []
        self.permissions = set()  # account ids, or "all"
        self.deprecated_at = None
        self.pending, self.gone = Timer(world, "image", 0), False
        for field, value in fields.items():
            setattr(self, field, value)

    def state(self):
        return "deregistered" if self.gone else "available" if self.pending.done() else "pending"

    def snapshot_ids(self):
        return [device["Ebs"]["SnapshotId"] for device in self.devices if "SnapshotId" in device.get("Ebs", {})]

    def public(self):
        return "all" in self.permissions

    def described(self):
        # A copy names its snapshots when they are there.
        devices = [ec2_devices.shown(device, self.state() == "available") for device in self.devices]
        return {"ImageId": self.id, "Name": self.name, "ImageLocation": f"{self.owner}/{self.name}", "State": self.state(), "OwnerId": self.owner,
                "ImageOwnerAlias": self.owner_alias, "CreationDate": iso(self.made_at), "Public": self.public(), "Architecture": self.architecture,
                "ImageType": self.type, "KernelId": self.kernel, "RamdiskId": self.ramdisk, "BlockDeviceMappings": devices,
                "Description": self.description, "EnaSupport": self.ena or None, "Hypervisor": "xen", "RootDeviceName": self.root_device,
                "RootDeviceType": "ebs" if self.root_device else "instance-store", "SriovNetSupport": self.sriov, "Tags": self.tag_list() or None,
                "VirtualizationType": self.virtualization, "BootMode": self.boot_mode, "TpmSupport": self.tpm, "ImdsSupport": self.imds,
                "DeprecationTime": iso(self.deprecated_at) if self.deprecated_at else None, "PlatformDetails": "Linux/UNIX",
                "UsageOperation": "RunInstances", "SourceImageId": self.source[0] if self.source else None,
                "SourceImageRegion": self.source[1] if self.source else None}


GETTERS = {
    "architecture": lambda i: i.architecture, "boot-mode": lambda i: i.boot_mode, "creation-date": lambda i: iso(i.made_at),
    "description": lambda i: i.description, "ena-support": lambda i: i.ena, "hypervisor": lambda i: "xen", "image-id": lambda i: i.id,
    "image-type": lambda i: i.type, "imds-support": lambda i: i.imds, "is-public": lambda i: i.public(), "kernel-id": lambda i: i.kernel,
    "manifest-location": lambda i: f"{i.owner}/{i.name}", "name": lambda i: i.name, "owner-alias": lambda i: i.owner_alias, "owner-id": lambda i: i.owner,
    "root-device-name": lambda i: i.root_device, "root-device-type": lambda i: "ebs" if i.root_device else "instance-store",
    "source-image-id": lambda i: i.source and i.source[0], "source-image-region": lambda i: i.source and i.source[1],
    "sriov-net-support": lambda i: i.sriov, "state": lambda i: i.state(), "tpm-support": lambda i: i.tpm,
    "virtualization-type": lambda i: i.virtualization, "platform-details": lambda i: "Linux/UNIX",
    "block-device-mapping.device-name": lambda i: [d["DeviceName"] for d in i.devices],
    "block-device-mapping.snapshot-id": lambda i: i.snapshot_ids(),
    "block-device-mapping.volume-size": lambda i: [d["Ebs"].get("VolumeSize") for d in i.devices if "Ebs" in d],
    "block-device-mapping.volume-type": lambda i: [d["Ebs"].get("VolumeType") for d in i.devices if "Ebs" in d],
    "block-device-mapping.encrypted": lambda i: [d["Ebs"].get("Encrypted", False) for d in i.devices if "Ebs" in d],
    "block-device-mapping.delete-on-termination": lambda i: [d["Ebs"].get("DeleteOnTermination", True) for d in i.devices if "Ebs" in d],
}


def add_kernels(world):
    """Amazon's pv-grub kernels, in the regions that have them."""
    for name in PV_REGIONS:
        region = world.regions.get(name)
        for kernel, arch in KERNELS if region else ():
            image = Image(world, region, kernel, prefix="aki", owner="137112412989", owner_alias="amazon", architecture=arch, type="kernel", permissions={"all"})
            image.id = "aki-" + hashlib.sha256(f"{name} {kernel}".encode()).hexdigest()[:8]
            image.made, image.made_at = 0, datetime.datetime(2014, 9, 19, tzinfo=datetime.timezone.utc)
            region.images[image.id] = image


# --- register

def check_name(region, name):
    if not re.fullmatch(r"[A-Za-z0-9()\[\]./'@_ -]{3,128}", name):
        raise Refusal("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, "
                      "'(', ')', '.', '-', '/' and '_'")
    for image in region.images.values():
        if image.name == name and image.owner == region.account and not image.gone:
            raise Refusal("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image.id}")


def combination(message):
    return Refusal("InvalidParameterCombination", message)


def check_hardware(call, architecture, virtualization):
    """What goes with what: architecture × virtualization × boot mode × kernel."""
    boot_mode, kernel = call.get("BootMode"), call.get("KernelId")
    if virtualization == "paravirtual":
        if architecture not in ("i386", "x86_64"):
            raise combination(f"The architecture '{architecture}' does not support paravirtual virtualization")
        for name in ("EnaSupport", "SriovNetSupport", "BootMode", "TpmSupport", "UefiData"):
            if call.get(name):
                raise combination(f"{name} is not supported for paravirtual images")
        if kernel is None:
            raise Refusal("MissingParameter", "A paravirtual image needs the parameter KernelId")
        check_kernel(call.region, kernel, architecture)
    elif kernel or call.get("RamdiskId"):
        raise combination("Kernel and ramdisk ids can't be given for hvm images")
    if boot_mode in ("legacy-bios", "uefi-preferred") and architecture == "arm64":
        raise combination(f"The boot mode '{boot_mode}' is not supported for the architecture arm64")
    if boot_mode in ("uefi", "uefi-preferred") and architecture == "i386":
        raise combination(f"The boot mode '{boot_mode}' is not supported for the architecture i386")
    if call.get("TpmSupport") and boot_mode != "uefi":
        raise combination("TpmSupport needs the boot mode uefi")
    if call.get("UefiData") and boot_mode not in ("uefi", "uefi-preferred"):
        raise combination("UefiData needs the boot mode uefi or uefi-preferred")
    if call.get("SriovNetSupport") not in (None, "simple"):
        raise Refusal("InvalidParameterValue", f"Invalid value '{call.get('SriovNetSupport')}' for SriovNetSupport")


def check_kernel(region, kernel_id, architecture):
    kernel = region.images.get(kernel_id)
    if kernel is None or kernel.type != "kernel":
        raise Refusal("InvalidAMIID.NotFound", f"The AKI ID '{kernel_id}' does not exist")
    if kernel.architecture != architecture:
        raise combination(f"The kernel '{kernel_id}' is for {kernel.architecture}, the image for {architecture}")


def root_of(call, devices):
    """The root device's name; its mapping must have a snapshot."""
    root = call.get("RootDeviceName") or "/dev/sda1"
    mapping = next((device for device in devices if device["DeviceName"] == root), None)
    if mapping is None or "SnapshotId" not in mapping.get("Ebs", {}):
        raise Refusal("InvalidBlockDeviceMapping", "No root snapshot specified in device mapping.")
    return root


@operation("ec2", "RegisterImage")
def register_image(call):
    world, region, name = call.world, call.region, call.get("Name")
    check_specifications(call.get("TagSpecifications"), ("image",), "RegisterImage")
    with world.lock:
        check_name(region, name)
        if call.get("ImageLocation") and call.get("BlockDeviceMappings") is None:
            raise Refusal("InvalidManifest", "The manifest could not be read: instance-store images can't be registered here")
        if not call.get("BlockDeviceMappings"):
            raise Refusal("MissingParameter", "The request must contain the parameter BlockDeviceMapping")
        devices = ec2_devices.checked(call, call.get("BlockDeviceMappings"), "RegisterImage")
        root = root_of(call, devices)
        architecture, virtualization = call.get("Architecture", "i386"), call.get("VirtualizationType", "paravirtual")
        check_hardware(call, architecture, virtualization)
        image = Image(world, region, name, tags=tags_of(call.get("TagSpecifications"), "image"), architecture=architecture, virtualization=virtualization,
                      description=call.get("Description"), boot_mode=call.get("BootMode"), imds=call.get("ImdsSupport"), tpm=call.get("TpmSupport"),
                      kernel=call.get("KernelId"), ramdisk=call.get("RamdiskId"), sriov=call.get("SriovNetSupport"), ena=call.get("EnaSupport", False),
                      root_device=root, devices=devices)
        region.images[image.id] = image
        return {"ImageId": image.id}


# --- copy

@operation("ec2", "CopyImage")
def copy_image(call):
    check_specifications(call.get("TagSpecifications"), ("image", "snapshot"), "CopyImage")
    with call.world.lock:
        return once(call.region, "CopyImage", call.get("ClientToken"), call.parameters, lambda: copied(call))


def copied(call):
    world, region = call.world, call.region
    from_region = ec2_snapshots.source_region(call)
    source = find(from_region.images, "image", call.get("SourceImageId"))
    if not visible(from_region, source) or source.gone:
        raise unknown_ids("image", [source.id])
    if source.state() != "available":
        raise Refusal("InvalidRequest", f"The image {source.id} is not available for copying: it is {source.state()}")
    if source.type != "machine":
        raise Refusal("InvalidRequest", "Images from [Amazon EC2] kernels can't be copied")
    check_name(region, call.get("Name"))
    if sum(1 for image in region.images.values() if image.state() == "pending") >= CONCURRENT_COPIES:
        raise Refusal("ResourceLimitExceeded", f"You have exceeded the limit of {CONCURRENT_COPIES} concurrent AMI copies into {region.name}")
    key = ec2_snapshots.copy_key(call, call.get("Encrypted"), call.get("KmsKeyId"))
    tags = tags_of(call.get("TagSpecifications"), "image")
    if call.get("CopyImageTags"):
        given = {tag["Key"] for tag in tags}
        tags += [tag for tag in source.tag_list() if tag["Key"] not in given and not tag["Key"].startswith("aws:")]
    image = Image(world, region, call.get("Name"), tags=tags, description=call.get("Description"), architecture=source.architecture,
                  virtualization=source.virtualization, boot_mode=source.boot_mode, imds=source.imds, tpm=source.tpm, sriov=source.sriov, ena=source.ena,
                  kernel=kernel_here(region, from_region, source), root_device=source.root_device, source=(source.id, from_region.name))
    image.pending = Timer(world, "image", world.settings["image_copy_ms"])
    for device in source.devices:
        device = {name: dict(value) if isinstance(value, dict) else value for name, value in device.items()}
        if "SnapshotId" in device.get("Ebs", {}):
            snapshot = from_region.snapshots[device["Ebs"]["SnapshotId"]]
            made = ec2_snapshots.copy(call, snapshot, f"Copied for DestinationAmi {image.id} from SourceAmi {source.id} for SourceSnapshot {snapshot.id}. "
                                      f"Task created on {int(now().timestamp() * 1000)}.", tags_of(call.get("TagSpecifications"), "snapshot"),
                                      call.get("Encrypted", False), key, world.settings["image_copy_ms"])
            device["Ebs"].update(SnapshotId=made.id, Encrypted=made.encrypted)
        image.devices.append(device)
    region.images[image.id] = image
    return {"ImageId": image.id}


def kernel_here(region, from_region, source):
    """The same kernel in another region; EC2 refuses where there is none."""
    if source.kernel is None:
        return None
    name = from_region.images[source.kernel].name
    for image in region.images.values():
        if image.type == "kernel" and image.name == name:
            return image.id
    raise Refusal("InvalidRequest", f"The kernel of image {source.id} has no equivalent in {region.name}")


# --- change and remove

def own_image(call, image_id):
    malformed([image_id], "ami", "InvalidAMIID.Malformed")
    image = find(call.region.images, "image", image_id)
    if image.gone:
        raise Refusal("InvalidAMIID.Unavailable", f"The image id '[{image_id}]' is no longer available")
    if image.owner != call.region.account:
        raise Refusal("AuthFailure", f"Not authorized for image:{image_id}", 403)
    return image


@operation("ec2", "DeregisterImage")
def deregister_image(call):
    with call.world.lock:
        image = own_image(call, call.get("ImageId"))
        image.gone = True
        results = []
        for snapshot_id in image.snapshot_ids() if call.get("DeleteAssociatedSnapshots") else ():
            code = "success"
            snapshot = call.region.snapshots.get(snapshot_id)
            try:
                if snapshot:
                    ec2_snapshots.delete(call, snapshot)
            except Refusal:
                code = "skipped"
            results.append({"SnapshotId": snapshot_id, "ReturnCode": code})
        return {"Return": True, "DeleteSnapshotResults": results or None}


@operation("ec2", "ModifyImageAttribute")
def modify_image_attribute(call):
    with call.world.lock:
        image = own_image(call, call.get("ImageId"))
        attribute = call.get("Attribute")
        if attribute not in (None, "launchPermission", "description", "imdsSupport", "productCodes"):
            raise Refusal("InvalidParameterValue", f"Value ({attribute}) for parameter attribute is invalid. Unknown attribute")
        change = call.get("LaunchPermission")
        if call.get("OperationType") or call.get("UserIds") or call.get("UserGroups"):
            if attribute != "launchPermission" or not call.get("OperationType"):
                raise combination("UserId and UserGroup need Attribute launchPermission and OperationType")
            entries = [{"UserId": name} for name in call.get("UserIds", ())] + [{"Group": name} for name in call.get("UserGroups", ())]
            change = {"Add" if call.get("OperationType") == "add" else "Remove": entries}
        if change is not None:
            permit(call, image, change)
        if call.get("Description") is not None:
            image.description = call.get("Description").get("Value")
        if attribute == "description" and call.get("Value") is not None:
            image.description = call.get("Value")
        imds = call.get("ImdsSupport", {}).get("Value") if call.get("ImdsSupport") else call.get("Value") if attribute == "imdsSupport" else None
        if imds is not None:
            if imds != "v2.0":
                raise Refusal("InvalidParameterValue", f"Value ({imds}) for parameter imdsSupport is invalid")
            image.imds = imds
    return {}


def permit(call, image, change):
    added = {entry.get("Group") or entry.get("UserId") for entry in change.get("Add", ())}
    encrypted = any(snapshot_id in call.region.snapshots and call.region.snapshots[snapshot_id].encrypted for snapshot_id in image.snapshot_ids())
    ec2_snapshots.check_shared(added, encrypted)
    if image.state() != "available":
        raise Refusal("InvalidAMIID.Unavailable", f"The image id '[{image.id}]' is not available")
    image.permissions |= added
    image.permissions -= {entry.get("Group") or entry.get("UserId") for entry in change.get("Remove", ())}


@operation("ec2", "ResetImageAttribute")
def reset_image_attribute(call):
    with call.world.lock:
        own_image(call, call.get("ImageId")).permissions = set()
    return {}


@operation("ec2", "DescribeImageAttribute")
def describe_image_attribute(call):
    with call.world.lock:
        image = own_image(call, call.get("ImageId"))
        wanted = call.get("Attribute")
        values = {"launchPermission": {"LaunchPermissions": [{"Group": "all"} if name == "all" else {"UserId": name} for name in sorted(image.permissions)]},
                  "description": {"Description": {"Value": image.description}}, "kernel": {"KernelId": {"Value": image.kernel}},
                  "bootMode": {"BootMode": {"Value": image.boot_mode}}, "imdsSupport": {"ImdsSupport": {"Value": image.imds}},
                  "blockDeviceMapping": {"BlockDeviceMappings": [ec2_devices.shown(device, True) for device in image.devices]}}
        if wanted not in values:
            raise Refusal("InvalidParameterValue", f"Value ({wanted}) for parameter attribute is not supported here")
        return dict(values[wanted], ImageId=image.id)


@operation("ec2", "EnableImageDeprecation")
def enable_image_deprecation(call):
    with call.world.lock:
        image, when = own_image(call, call.get("ImageId")), call.get("DeprecateAt")
        # "You can't specify a date in the past"; at most ten years, two for public images.
        limit = datetime.timedelta(days=(2 if image.public() else 10) * 365 + 3)
        if when <= now() or when > image.made_at + limit:
            raise Refusal("InvalidParameterValue", f"Invalid value '{iso(when)}' for DeprecateAt: it must be in the future, and within "
                          f"{2 if image.public() else 10} years of the image's creation")
        image.deprecated_at = when.replace(second=0, microsecond=0) + datetime.timedelta(minutes=1 if when.second >= 30 else 0)
    return {"Return": True}


@operation("ec2", "DisableImageDeprecation")
def disable_image_deprecation(call):
    with call.world.lock:
        own_image(call, call.get("ImageId")).deprecated_at = None
    return {"Return": True}


# --- find

def visible(region, image):
    return image.owner == region.account or image.public() or region.account in image.permissions


def owned(region, image, names):
    return any(name == image.owner or (name == "self" and image.owner == region.account) or (name == image.owner_alias) for name in names)


def executable(region, image, names):
    """ExecutableUsers: all (public), self, or an account."""
    for name in names:
        if (name == "all" and image.public()) or (name == "self" and region.account in image.permissions) or name in image.permissions:
            return True
    return False


@operation("ec2", "DescribeImages")
def describe_images(call):
    region, ids = call.region, call.get("ImageIds")
    for image_id in ids or ():
        malformed([image_id], image_id[:3] if image_id[:4] in ("ami-", "aki-", "ari-") else "ami", "InvalidAMIID.Malformed")
    with call.world.lock:
        if ids:
            lost = [i for i in ids if i not in region.images or region.images[i].gone or not visible(region, region.images[i]) or not region.images[i].settled()]
            if lost:
                raise unknown_ids("image", lost)
            found = [region.images[image_id] for image_id in dict.fromkeys(ids)]
        else:
            found = [image for image in list(region.images.values()) if not image.gone and visible(region, image) and image.settled()]
            if not call.get("IncludeDeprecated"):
                # The owner sees them all the same.
                found = [i for i in found if i.deprecated_at is None or i.deprecated_at > now() or i.owner == region.account]
        if call.get("Owners"):
            found = [image for image in found if owned(region, image, call.get("Owners"))]
        if call.get("ExecutableUsers"):
            found = [image for image in found if executable(region, image, call.get("ExecutableUsers"))]
        found = filtered(found, call.get("Filters"), GETTERS)
        shown, token = page(found, call.parameters, least=1)
        return {"Images": [image.described() for image in shown], "NextToken": token}
