"""Snapshots as EC2 sees them: describe, delete, copy, share, and fast restores."""
from ebs import Snapshot
from errors import Refusal, unknown_ids
from front import operation
from world import check_specifications, chosen, filtered, find, malformed, now, page, tags_of

GETTERS = {
    "description": lambda s: s.description, "encrypted": lambda s: s.encrypted, "owner-alias": lambda s: s.owner_alias, "owner-id": lambda s: s.owner,
    "progress": lambda s: progress(s), "snapshot-id": lambda s: s.id, "start-time": lambda s: s.started_at, "status": lambda s: s.state(),
    "storage-tier": lambda s: "standard", "transfer-type": lambda s: "standard", "volume-id": lambda s: s.volume_id, "volume-size": lambda s: s.volume_gib,
}


def progress(snapshot):
    return "100%" if snapshot.state() == "completed" else "0%"


def described(snapshot):
    state = snapshot.state()
    return {"SnapshotId": snapshot.id, "State": state, "StateMessage": snapshot.failed, "StartTime": snapshot.started_at, "Progress": progress(snapshot),
            "OwnerId": snapshot.owner, "OwnerAlias": snapshot.owner_alias, "VolumeId": snapshot.volume_id, "VolumeSize": snapshot.volume_gib,
            "Description": snapshot.description, "Encrypted": snapshot.encrypted, "KmsKeyId": snapshot.key, "StorageTier": "standard",
            "CompletionTime": snapshot.completed_at, "Tags": snapshot.tag_list() or None,
            "FullSnapshotSizeInBytes": len(snapshot.blocks.indexes()) * 524288 if state == "completed" else None}


def usable(region, snapshot):
    """Whether the account may make volumes and images of it."""
    return snapshot.owner == region.account or "all" in snapshot.permissions or region.account in snapshot.permissions


@operation("ec2", "DescribeSnapshots")
def describe_snapshots(call):
    region, ids = call.region, call.get("SnapshotIds")
    malformed(ids or (), "snap", "InvalidSnapshotID.Malformed")
    with call.world.lock:
        found = [snapshot for snapshot in chosen(region.snapshots, "snapshot", ids) if usable(region, snapshot)]
        owners = call.get("OwnerIds")
        if owners:
            names = {region.account if name == "self" else name for name in owners}
            found = [snapshot for snapshot in found if snapshot.owner in names or snapshot.owner_alias in names]
        users = call.get("RestorableByUserIds")
        if users:
            names = {region.account if name == "self" else name for name in users}
            found = [snapshot for snapshot in found if snapshot.permissions & names or (snapshot.owner in names)]
        found = filtered(found, call.get("Filters"), GETTERS)
        shown, token = page(found, call.parameters, ids="SnapshotIds" if ids else None)
        return {"Snapshots": [described(snapshot) for snapshot in shown], "NextToken": token}


def image_of(region, snapshot_id):
    """An image that is registered from the snapshot, or None."""
    return next((image for image in region.images.values() if image.state() != "deregistered" and snapshot_id in image.snapshot_ids()), None)


def own_snapshot(call, snapshot_id):
    malformed([snapshot_id], "snap", "InvalidSnapshotID.Malformed")
    snapshot = find(call.region.snapshots, "snapshot", snapshot_id)
    if snapshot.owner != call.region.account:
        raise Refusal("UnauthorizedOperation", "You are not authorized to perform this operation.")
    return snapshot


def delete(call, snapshot):
    image = image_of(call.region, snapshot.id)
    if image:
        raise Refusal("InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently in use by {image.id}")
    del call.region.snapshots[snapshot.id]


@operation("ec2", "DeleteSnapshot")
def delete_snapshot(call):
    with call.world.lock:
        delete(call, own_snapshot(call, call.get("SnapshotId")))
    return {}


def copy(call, source, description, tags, encrypted, key, duration_ms):
    """A copy in the call's region; its data is the source's."""
    snapshot = Snapshot(call.world, call.region, source.volume_gib, description, tags, blocks=source.blocks,
                        encrypted=encrypted or source.encrypted, key=key or source.key)
    snapshot.seal(duration_ms)
    call.region.snapshots[snapshot.id] = snapshot
    return snapshot


def copy_key(call, encrypted, key):
    """The key that a copy is encrypted with, or None; KmsKeyId without Encrypted is refused."""
    if key and not encrypted:
        raise Refusal("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
    if not encrypted:
        return None
    if key and not call.front.behind.key_exists(call.region, key):
        raise Refusal("InvalidParameterValue", f"The KMS key '{key}' does not exist or is not usable in {call.region.name}")
    return call.front.behind.key_arn(call.region, key) if key else call.front.behind.default_key(call.region)


def source_region(call):
    name = call.get("SourceRegion")
    region = call.world.regions.get(name)
    if region is None or region.partition != call.region.partition or not call.world.enabled(name):
        raise Refusal("InvalidRegion", f"The region '{name}' does not exist or can't be copied from")
    return region


@operation("ec2", "CopySnapshot")
def copy_snapshot(call):
    check_specifications(call.get("TagSpecifications"), ("snapshot",), "CopySnapshot")
    with call.world.lock:
        region = source_region(call)
        source = find(region.snapshots, "snapshot", call.get("SourceSnapshotId"))
        if source.state() != "completed":
            raise Refusal("IncorrectState", f"The snapshot {source.id} is not completed")
        tags = tags_of(call.get("TagSpecifications"), "snapshot")
        made = copy(call, source, call.get("Description", f"[Copied {source.id} from {region.name}]"), tags, call.get("Encrypted", False),
                    copy_key(call, call.get("Encrypted"), call.get("KmsKeyId")), call.world.settings["image_copy_ms"])
        return {"SnapshotId": made.id, "Tags": made.tag_list() or None}


@operation("ec2", "ModifySnapshotAttribute")
def modify_snapshot_attribute(call):
    with call.world.lock:
        snapshot = own_snapshot(call, call.get("SnapshotId"))
        change = call.get("CreateVolumePermission") or {}
        kind = call.get("OperationType")
        entries = call.get("UserIds", []) + call.get("GroupNames", [])
        if kind:
            change = {"Add" if kind == "add" else "Remove": [{"UserId": entry} for entry in entries]}
        added = {entry.get("Group") or entry.get("UserId") for entry in change.get("Add", ())}
        check_shared(added, snapshot.encrypted)
        snapshot.permissions |= added
        snapshot.permissions -= {entry.get("Group") or entry.get("UserId") for entry in change.get("Remove", ())}
    return {}


def check_shared(names, encrypted):
    for name in names:
        if name != "all" and not (name and name.isdigit() and len(name) == 12):
            raise Refusal("InvalidUserID.Malformed", f'Invalid user id: "{name}"')
    if "all" in names and encrypted:
        raise Refusal("InvalidParameter", "Encrypted snapshots can't be shared publicly")


@operation("ec2", "DescribeSnapshotAttribute")
def describe_snapshot_attribute(call):
    with call.world.lock:
        snapshot = own_snapshot(call, call.get("SnapshotId"))
        if call.get("Attribute") == "createVolumePermission":
            return {"SnapshotId": snapshot.id, "CreateVolumePermissions": [{"Group": "all"} if name == "all" else {"UserId": name}
                                                                           for name in sorted(snapshot.permissions)]}
        return {"SnapshotId": snapshot.id, "ProductCodes": []}


@operation("ec2", "ResetSnapshotAttribute")
def reset_snapshot_attribute(call):
    with call.world.lock:
        own_snapshot(call, call.get("SnapshotId")).permissions = set()
    return {}


# --- fast snapshot restore: enabling → optimizing → enabled

class Restore:
    def __init__(self, snapshot, zone):
        self.snapshot, self.zone, self.since, self.disabled = snapshot, zone, now(), False

    def state(self):
        if self.disabled:
            return "disabled"
        age_ms = (now() - self.since).total_seconds() * 1000
        return "enabling" if age_ms < 100 else "optimizing" if age_ms < 300 else "enabled"

    def described(self):
        return {"SnapshotId": self.snapshot.id, "AvailabilityZone": self.zone, "State": self.state(), "StateTransitionReason": "Client.UserInitiated",
                "OwnerId": self.snapshot.owner, "EnablingTime": self.since}


def zones_of(call):
    zones = call.get("AvailabilityZones") or []
    known = call.front.behind.zones(call.region)
    for zone in zones:
        if zone not in known:
            raise Refusal("InvalidParameterValue", f"The zone '{zone}' does not exist")
    return zones


@operation("ec2", "EnableFastSnapshotRestores")
def enable_fast_snapshot_restores(call):
    with call.world.lock:
        region, zones, successful, unsuccessful = call.region, zones_of(call), [], []
        for snapshot_id in call.get("SourceSnapshotIds"):
            snapshot = region.snapshots.get(snapshot_id)
            if snapshot is None or snapshot.state() != "completed":
                code = "InvalidSnapshot.NotFound" if snapshot is None else "IncorrectState"
                unsuccessful.append({"SnapshotId": snapshot_id, "FastSnapshotRestoreStateErrors": [
                    {"AvailabilityZone": zone, "Error": {"Code": code, "Message": f"The snapshot '{snapshot_id}' can't be restored fast"}} for zone in zones]})
                continue
            for zone in zones:
                restore = region.fast_restores.setdefault((snapshot_id, zone), Restore(snapshot, zone))
                successful.append(restore.described())
        return {"Successful": successful, "Unsuccessful": unsuccessful}


@operation("ec2", "DisableFastSnapshotRestores")
def disable_fast_snapshot_restores(call):
    with call.world.lock:
        successful = []
        for snapshot_id in call.get("SourceSnapshotIds"):
            for zone in zones_of(call):
                restore = call.region.fast_restores.pop((snapshot_id, zone), None)
                if restore is None:
                    raise unknown_ids("snapshot", [snapshot_id])
                restore.disabled = True
                successful.append(restore.described())
        return {"Successful": successful, "Unsuccessful": []}


@operation("ec2", "DescribeFastSnapshotRestores")
def describe_fast_snapshot_restores(call):
    with call.world.lock:
        found = [restore for restore in call.region.fast_restores.values() if restore.snapshot.id in call.region.snapshots]
        for entry in call.get("Filters", ()):
            getter = {"snapshot-id": lambda r: r.snapshot.id, "availability-zone": lambda r: r.zone, "state": lambda r: r.state(),
                      "owner-id": lambda r: r.snapshot.owner}.get(entry.get("Name"))
            if getter is None:
                raise Refusal("InvalidParameterValue", f"The filter '{entry.get('Name')}' is invalid")
            found = [restore for restore in found if getter(restore) in entry.get("Values", ())]
        return {"FastSnapshotRestores": [restore.described() for restore in found]}
