"""EBS volumes: made, attached, detached, changed, deleted; and snapshots made of them."""
import subprocess

import ec2_devices
from ebs import Snapshot
from errors import Refusal
from front import operation
from world import Resource, Timer, check_specifications, chosen, filtered, find, malformed, now, once, page, tags_of


class Volume(Resource):
    def __init__(self, world, region, zone, size, fields, tags=(), snapshot=None):
        super().__init__(world, "volume", "vol", tags)
        self.region, self.zone, self.size, self.snapshot = region, zone, size, snapshot
        self.type, self.iops, self.throughput = fields.get("VolumeType", "gp2"), fields.get("Iops"), fields.get("Throughput")
        if self.type == "gp3":
            self.iops, self.throughput = self.iops or 3000, self.throughput or 125
        elif self.type == "gp2":
            self.iops = min(16000, max(100, 3 * size))
        self.encrypted = fields.get("Encrypted", False) or bool(snapshot and snapshot.encrypted)
        self.key = fields.get("KmsKeyId") or (snapshot.key if snapshot else None)
        self.data = snapshot.blocks if snapshot else None
        self.creating = Timer(world, "volume", world.settings["volume_ms"])
        self.instance = self.device = self.attached_at = self.modification = None
        self.attaching, self.delete_with_instance = None, False

    def state(self):
        if self.instance is not None:
            return "in-use"
        return "available" if self.creating.done() else "creating"

    def attach(self, instance, device, delete):
        self.instance, self.device, self.attached_at, self.delete_with_instance = instance, device, now(), delete
        self.attaching = Timer(self.world, "volume", self.world.settings["volume_ms"])
        instance.volumes[device] = self

    def detach(self):
        self.instance.volumes.pop(self.device, None)
        self.instance = self.device = None

    def attachment(self):
        return {"VolumeId": self.id, "InstanceId": self.instance.id, "Device": self.device, "State": "attached" if self.attaching.done() else "attaching",
                "AttachTime": self.attached_at, "DeleteOnTermination": self.delete_with_instance}

    def described(self):
        return {"VolumeId": self.id, "Size": self.size, "SnapshotId": self.snapshot.id if self.snapshot else "", "AvailabilityZone": self.zone,
                "State": self.state(), "CreateTime": self.made_at, "Attachments": [self.attachment()] if self.instance else [], "Encrypted": self.encrypted,
                "KmsKeyId": self.key, "VolumeType": self.type, "Iops": self.iops, "Throughput": self.throughput, "Tags": self.tag_list() or None,
                "MultiAttachEnabled": False}

    def blocks_to(self, path):
        """Its data as a raw file at path."""
        if self.data is not None:
            subprocess.run(["cp", "--reflink=auto", "--sparse=always", self.data.flat(), f"{path}.new"], check=True)
        with open(f"{path}.new", "ab") as file:
            file.truncate(self.size << 30)
        subprocess.run(["mv", f"{path}.new", path], check=True)


GETTERS = {
    "attachment.attach-time": lambda v: v.attached_at, "attachment.delete-on-termination": lambda v: v.delete_with_instance if v.instance else None,
    "attachment.device": lambda v: v.device, "attachment.instance-id": lambda v: v.instance and v.instance.id,
    "attachment.status": lambda v: v.attachment()["State"] if v.instance else None, "availability-zone": lambda v: v.zone,
    "create-time": lambda v: v.made_at, "encrypted": lambda v: v.encrypted, "size": lambda v: v.size, "snapshot-id": lambda v: v.snapshot and v.snapshot.id,
    "status": lambda v: v.state(), "volume-id": lambda v: v.id, "volume-type": lambda v: v.type, "multi-attach-enabled": lambda v: False,
}


@operation("ec2", "DescribeVolumes")
def describe_volumes(call):
    ids = call.get("VolumeIds")
    malformed(ids or (), "vol", "InvalidVolumeID.Malformed")
    with call.world.lock:
        found = filtered(chosen(call.region.volumes, "volume", ids), call.get("Filters"), GETTERS)
        shown, token = page(found, call.parameters, ids="VolumeIds" if ids else None)
        return {"Volumes": [volume.described() for volume in shown], "NextToken": token}


@operation("ec2", "CreateVolume")
def create_volume(call):
    check_specifications(call.get("TagSpecifications"), ("volume",), "CreateVolume")
    with call.world.lock:
        return once(call.region, "CreateVolume", call.get("ClientToken"), call.parameters, lambda: created(call))


def created(call):
    zone = call.get("AvailabilityZone")
    if zone not in call.front.behind.zones(call.region):
        raise Refusal("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
    fields = {name: call.get(name) for name in ("SnapshotId", "VolumeType", "Iops", "Throughput", "Encrypted", "KmsKeyId") if name in call.parameters}
    if call.get("Size") is not None:
        fields["VolumeSize"] = call.get("Size")
    if "SnapshotId" not in fields and "VolumeSize" not in fields:
        raise Refusal("MissingParameter", "The request must contain the parameter size/snapshot")
    fields = ec2_devices.ebs(call, "the volume", fields, "CreateVolume")
    if fields["Encrypted"] and "KmsKeyId" not in fields:
        fields["KmsKeyId"] = call.front.behind.default_key(call.region)
    snapshot = call.region.snapshots.get(fields.get("SnapshotId"))
    volume = Volume(call.world, call.region, zone, fields["VolumeSize"], fields, tags_of(call.get("TagSpecifications"), "volume"), snapshot)
    call.region.volumes[volume.id] = volume
    return volume.described()


def own(call, name="VolumeId"):
    malformed([call.get(name)], "vol", "InvalidVolumeID.Malformed")
    return find(call.region.volumes, "volume", call.get(name))


@operation("ec2", "DeleteVolume")
def delete_volume(call):
    with call.world.lock:
        volume = own(call)
        if volume.instance is not None:
            raise Refusal("VolumeInUse", f"Volume {volume.id} is currently attached to {volume.instance.id}")
        remove(call.front, volume)
    return {}


def remove(front, volume):
    del volume.region.volumes[volume.id]
    front.bodies.forget_volume(volume)


@operation("ec2", "AttachVolume")
def attach_volume(call):
    with call.world.lock:
        volume, device = own(call), call.get("Device")
        malformed([call.get("InstanceId")], "i", "InvalidInstanceID.Malformed")
        instance = find(call.region.instances, "instance", call.get("InstanceId"))
        if volume.state() != "available":
            raise Refusal("VolumeInUse" if volume.instance else "IncorrectState", f"{volume.id} is {volume.state()}")
        if instance.state() not in ("running", "stopped"):
            raise Refusal("IncorrectState", f"Instance '{instance.id}' is not 'running' or 'stopped'.")
        if volume.zone != instance.zone:
            raise Refusal("InvalidVolume.ZoneMismatch", f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'")
        if not ec2_devices.NAME.fullmatch(device):
            raise Refusal("InvalidParameterValue", f"Value ({device}) for parameter device is invalid. {device} is not a valid EBS device name.")
        if device in instance.volumes:
            raise Refusal("InvalidParameterValue", f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use")
        volume.attach(instance, device, False)
        if call.front.bodies.machines:
            path = call.front.bodies.volume_path(volume)
            call.front.bodies.act(instance, "attach_volume", {"id": volume.id, "device": device, "path": path, "size_gib": volume.size})
        return volume.attachment()


@operation("ec2", "DetachVolume")
def detach_volume(call):
    with call.world.lock:
        volume = own(call)
        if volume.instance is None or call.get("InstanceId", volume.instance.id) != volume.instance.id:
            raise Refusal("IncorrectState", f"Volume '{volume.id}' is in the '{volume.state()}' state.")
        instance = volume.instance
        if volume.device == instance.image.root_device and instance.state() != "stopped":
            raise Refusal("OperationNotPermitted", f"Unable to detach root volume '{volume.id}' from instance '{instance.id}'")
        shown = dict(volume.attachment(), State="detaching")
        call.front.bodies.act(instance, "detach_volume", volume.device)
        volume.detach()
        return shown


@operation("ec2", "ModifyVolume")
def modify_volume(call):
    with call.world.lock:
        volume = own(call)
        size, kind = call.get("Size", volume.size), call.get("VolumeType", volume.type)
        if size < volume.size:
            raise Refusal("InvalidParameterValue", "New size cannot be smaller than existing size")
        iops = call.get("Iops", volume.iops if kind == volume.type and kind != "gp2" else None)
        throughput = call.get("Throughput", volume.throughput if kind == volume.type else None)
        ec2_devices.check_volume(kind, size, iops, throughput)
        before = {"OriginalSize": volume.size, "OriginalVolumeType": volume.type, "OriginalIops": volume.iops, "OriginalThroughput": volume.throughput}
        after = Volume(call.world, call.region, volume.zone, size, {"VolumeType": kind, "Iops": iops, "Throughput": throughput})
        volume.size, volume.type, volume.iops, volume.throughput = size, kind, after.iops, after.throughput
        volume.modification = {"VolumeId": volume.id, "ModificationState": "completed", "TargetSize": size, "TargetVolumeType": kind,
                               "TargetIops": volume.iops, "TargetThroughput": volume.throughput, "Progress": 100, "StartTime": now(), "EndTime": now(), **before}
        return {"VolumeModification": dict(volume.modification, ModificationState="modifying", Progress=0, EndTime=None)}


@operation("ec2", "DescribeVolumesModifications")
def describe_volumes_modifications(call):
    with call.world.lock:
        found = chosen(call.region.volumes, "volume", call.get("VolumeIds"))
        return {"VolumesModifications": [volume.modification for volume in found if volume.modification]}


@operation("ec2", "CreateSnapshot")
def create_snapshot(call):
    check_specifications(call.get("TagSpecifications"), ("snapshot",), "CreateSnapshot")
    with call.world.lock:
        volume = own(call)
        snapshot = Snapshot(call.world, call.region, volume.size, call.get("Description", ""), tags_of(call.get("TagSpecifications"), "snapshot"),
                            encrypted=volume.encrypted, key=volume.key)
        snapshot.volume_id = volume.id
        if volume.data is not None or call.front.bodies.machines:
            snapshot.blocks.adopt(call.front.bodies.volume_path(volume))
        snapshot.blocks.seal()
        snapshot.seal(call.world.settings["snapshot_ms"])
        call.region.snapshots[snapshot.id] = snapshot
        return {"SnapshotId": snapshot.id, "VolumeId": volume.id, "State": snapshot.state(), "StartTime": snapshot.started_at, "Progress": "",
                "OwnerId": snapshot.owner, "VolumeSize": volume.size, "Description": snapshot.description, "Encrypted": snapshot.encrypted,
                "Tags": snapshot.tag_list() or None}
