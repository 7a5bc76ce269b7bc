"""Block device mappings of images and instances: the rules of EbsBlockDevice and BlockDeviceMapping (EC2 API reference, EBS user guide)."""
import re

from errors import Refusal
from world import find, malformed

# Volume types: sizes in GiB, IOPS, throughput in MiB/s ("Amazon EBS volume types", EBS user guide, as of 2024; newer limits are wider).
TYPES = {
    "gp3": {"size": (1, 65536), "iops": (3000, 80000), "throughput": (125, 2000)}, "gp2": {"size": (1, 16384)},
    "io1": {"size": (4, 16384), "iops": (100, 64000), "needs": True}, "io2": {"size": (4, 65536), "iops": (100, 256000), "needs": True},
    "st1": {"size": (125, 16384)}, "sc1": {"size": (125, 16384)}, "standard": {"size": (1, 1024)},
}
NAME = re.compile(r"/dev/(sd[a-z]{1,2}\d{0,2}|xvd[a-z]{1,2}\d{0,2}|hd[a-z]\d{0,2}|nvme\d+n1)|sd[a-z]{1,2}\d{0,2}|xvd[a-z]{1,2}")


def bad(message):
    return Refusal("InvalidBlockDeviceMapping", message)


def check_volume(kind, size, iops, throughput):
    """A volume's type, size, IOPS and throughput together."""
    rules = TYPES.get(kind)
    if rules is None:
        raise Refusal("InvalidParameterValue", f"Value ({kind}) for parameter volumeType is invalid")
    if size is not None and not rules["size"][0] <= size <= rules["size"][1]:
        raise Refusal("InvalidParameterValue", f"Volume of {size}GiB is invalid. {kind} volumes have {rules['size'][0]} to {rules['size'][1]} GiB")
    if iops is None and rules.get("needs"):
        raise Refusal("MissingParameter", f"The parameter iops must be specified for {kind} volumes.")
    for name, value in (("iops", iops), ("throughput", throughput)):
        if value is None:
            continue
        if name not in rules:
            raise Refusal("InvalidParameterCombination", f"The parameter {name} is not supported for {kind} volumes.")
        if not rules[name][0] <= value <= rules[name][1]:
            raise Refusal("InvalidParameterValue", f"Volume {name} of {value} is invalid: {kind} volumes have {rules[name][0]} to {rules[name][1]}")
    if kind == "gp3" and size is not None:
        if iops and iops > max(3000, 500 * size):
            raise Refusal("InvalidParameterCombination", "Iops to volume size ratio is too high; maximum is 500 IOPS/GiB")
        if throughput and throughput > 0.25 * (iops or 3000):
            raise Refusal("InvalidParameterCombination", "Throughput (MiBps) to iops ratio is too high; maximum is 0.250000 MiBps per iops")


def checked(call, mappings, operation):
    """The mappings with defaults filled in: SnapshotId, VolumeSize, VolumeType, DeleteOnTermination, Encrypted in each Ebs."""
    devices, names = [], set()
    for mapping in mappings:
        name = mapping.get("DeviceName")
        if not name:
            raise Refusal("MissingParameter", "The request must contain the parameter BlockDeviceMapping.DeviceName")
        if not NAME.fullmatch(name):
            raise bad(f"Invalid device name {name}")
        if name in names:
            raise bad(f"The device '{name}' is used in more than one block-device mapping")
        names.add(name)
        kinds = [kind for kind in ("Ebs", "VirtualName", "NoDevice") if kind in mapping]
        if len(kinds) > 1:
            raise bad(f"The mapping of '{name}' has both {kinds[0]} and {kinds[1]}")
        device = {"DeviceName": name}
        if "Ebs" in mapping:
            device["Ebs"] = ebs(call, name, dict(mapping["Ebs"]), operation)
        elif "VirtualName" in mapping:
            if not re.fullmatch(r"ephemeral\d{1,2}", mapping["VirtualName"]):
                raise bad(f"Invalid virtual name '{mapping['VirtualName']}'")
            device["VirtualName"] = mapping["VirtualName"]
        else:
            device["NoDevice"] = ""
        devices.append(device)
    return devices


def ebs(call, name, given, operation):
    snapshot_id, size = given.get("SnapshotId"), given.get("VolumeSize")
    if snapshot_id is not None:
        malformed([snapshot_id], "snap", "InvalidSnapshotID.Malformed")
        snapshot = find(call.region.snapshots, "snapshot", snapshot_id)
        if snapshot.owner != call.region.account and not snapshot.permissions & {"all", call.region.account}:
            raise Refusal("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
        if snapshot.state() != "completed":
            raise Refusal("IncorrectState", f"The snapshot '{snapshot_id}' is not in the completed state: {snapshot.state()}")
        if "Encrypted" in given and operation == "RegisterImage":
            raise bad("The parameter encrypted can't be given for a mapping that has a snapshot")
        if given.get("Encrypted") is False and snapshot.encrypted:
            raise Refusal("InvalidParameterCombination", f"The snapshot '{snapshot_id}' is encrypted: a volume of it can't be unencrypted")
        size = size if size is not None else snapshot.volume_gib
        if size < snapshot.volume_gib:
            raise bad(f"Volume of size {size}GB is smaller than snapshot '{snapshot_id}', expect size >= {snapshot.volume_gib}GB")
        given["Encrypted"] = given.get("Encrypted", False) or snapshot.encrypted
    elif size is None:
        raise Refusal("MissingParameter", f"The mapping of '{name}' needs either a snapshot or a volume size")
    if given.get("KmsKeyId") and not given.get("Encrypted"):
        raise Refusal("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
    given["VolumeSize"] = size
    given.setdefault("VolumeType", "io1" if "Iops" in given else "gp2")
    check_volume(given["VolumeType"], size, given.get("Iops"), given.get("Throughput"))
    given.setdefault("DeleteOnTermination", True)
    given.setdefault("Encrypted", False)
    return given


def shown(device, with_snapshot):
    """A mapping as DescribeImages gives it."""
    device = dict(device)
    if "Ebs" in device:
        device["Ebs"] = {key: value for key, value in device["Ebs"].items() if key != "SnapshotId" or with_snapshot}
    return device
