"""The EBS direct APIs: snapshots written and read block by block ("Amazon EBS direct APIs", EBS API reference and user guide).

A snapshot is pending from StartSnapshot until a while after CompleteSnapshot; it ends in `error` when the count or the aggregated
checksum given there is not that of the blocks which arrived (and the log of violations says so), or when nothing came for the timeout.
The aggregated checksum is over the raw digests in order of their index.
"""
import base64
import datetime
import hashlib
import hmac
import secrets
import struct
import threading
import time

from blocks import PER_GIB, SIZE, Blocks
from errors import Refusal
from front import operation
from world import Resource, Timer, check_tags, now

TOKEN_SECRET = secrets.token_bytes(16)
TOKEN_LIFETIME = datetime.timedelta(days=7)  # block tokens "expire after 7 days"


def invalid(message, reason="INVALID_PARAMETER_VALUE"):
    return Refusal("ValidationException", message, 400, reason)


class Snapshot(Resource):
    """What EC2 and the EBS direct APIs call a snapshot."""

    def __init__(self, world, region, volume_gib, description="", tags=(), parent=None, blocks=None, encrypted=False, key=None):
        super().__init__(world, "snapshot", "snap", tags)
        self.region, self.volume_gib, self.description, self.parent = region, volume_gib, description, parent
        self.encrypted, self.key = encrypted, key
        self.volume_id = "vol-ffffffff"
        self.owner, self.owner_alias = region.account, None
        self.blocks = blocks or Blocks(world.folder, self.id, volume_gib, parent.blocks if parent else None)
        self.permissions = set()  # account ids, or "all"
        self.failed = None  # why it is in state error
        self.sealing = None  # Timer, once CompleteSnapshot was called
        self.started_at, self.completed_at = now(), None
        self.touched, self.timeout_seconds = time.monotonic(), 3600

    def state(self):
        if self.failed:
            return "error"
        if self.sealing is None:
            if time.monotonic() - self.touched > self.timeout_seconds:
                self.failed = "The snapshot timed out: no blocks came"
                return "error"
            return "pending"
        if not self.sealing.done():
            return "pending"
        self.completed_at = self.completed_at or now()
        return "completed"

    def seal(self, duration_ms):
        self.sealing = Timer(self.world, "snapshot", duration_ms)


# --- tokens

def mark(*parts):
    return hmac.new(TOKEN_SECRET, repr(parts).encode(), hashlib.sha256).digest()[:12]


def block_token(snapshot, index, expires):
    stamp = struct.pack(">Q", int(expires.timestamp()))
    return base64.b64encode(stamp + mark("block", snapshot.id, index, stamp)).decode()


def check_block_token(snapshot, index, token):
    try:
        raw = base64.b64decode(token, validate=True)
        stamp = raw[:8]
        right = hmac.compare_digest(raw[8:], mark("block", snapshot.id, index, stamp)) and struct.unpack(">Q", stamp)[0] > now().timestamp()
    except (ValueError, struct.error):
        right = False
    if not right:
        raise invalid("The block token is not valid", "INVALID_BLOCK_TOKEN")


def page_token(kind, ids, start):
    return base64.b64encode(struct.pack(">I", start) + mark("page", kind, ids, start)).decode()


def page_start(kind, ids, token):
    try:
        raw = base64.b64decode(token, validate=True)
        start = struct.unpack(">I", raw[:4])[0]
        if hmac.compare_digest(raw[4:], mark("page", kind, ids, start)):
            return start
    except (ValueError, struct.error):
        pass
    raise invalid("The page token is not valid", "INVALID_PAGE_TOKEN")


# --- writing

def snapshot_of(call, snapshot_id):
    snapshot = call.region.snapshots.get(snapshot_id)
    if snapshot is None or snapshot.owner != call.region.account:
        raise Refusal("ResourceNotFoundException", f"The snapshot '{snapshot_id}' does not exist.", 404, "SNAPSHOT_NOT_FOUND")
    return snapshot


@operation("ebs", "StartSnapshot")
def start_snapshot(call):
    world, region = call.world, call.region
    with world.lock:
        token = call.get("ClientToken")
        compared = {name: value for name, value in call.parameters.items() if name != "ClientToken"}
        if token and ("StartSnapshot", token) in region.tokens:
            before, snapshot = region.tokens["StartSnapshot", token]
            if before != compared:
                raise Refusal("ConflictException", "The request uses the same client token as a previous, but non-identical request.", 409)
            return started(snapshot)
        check_start(call)
        parent = parent_of(call)
        pending = sum(1 for other in region.snapshots.values() if other.sealing is None and other.state() == "pending")
        if pending >= world.settings["pending_snapshots"]:
            raise Refusal("ConcurrentLimitExceededException", "You have reached the limit for concurrent API requests: too many pending snapshots.", 400)
        key = parent.key if parent else kms_key(call)
        snapshot = Snapshot(world, region, call.get("VolumeSize"), call.get("Description", ""), call.get("Tags", ()), parent,
                            encrypted=parent.encrypted if parent else call.get("Encrypted", False), key=key)
        snapshot.timeout_seconds = call.get("Timeout", 60) * 60
        region.snapshots[snapshot.id] = snapshot
        if token:
            region.tokens["StartSnapshot", token] = (compared, snapshot)
        return started(snapshot)


def check_start(call):
    if not 1 <= call.get("VolumeSize") <= 65536:
        raise invalid("The volume size must be 1 to 65536 GiB", "INVALID_VOLUME_SIZE")
    if "Encrypted" in call.parameters and "ParentSnapshotId" in call.parameters:
        raise invalid("Encrypted and ParentSnapshotId can't be given in one request")
    if "KmsKeyArn" in call.parameters and not call.get("Encrypted"):
        raise invalid("KmsKeyArn needs Encrypted", "INVALID_CUSTOMER_KEY")
    try:
        check_tags(call.get("Tags", []))
    except Refusal as refusal:
        raise invalid(refusal.message, "INVALID_TAG") from None


def parent_of(call):
    parent_id = call.get("ParentSnapshotId")
    if parent_id is None:
        return None
    parent = snapshot_of(call, parent_id)
    if parent.state() != "completed":
        raise invalid(f"The parent snapshot '{parent_id}' is not completed", "INVALID_SNAPSHOT_ID")
    if call.get("VolumeSize") < parent.volume_gib:
        raise invalid(f"The volume size is smaller than the parent's, {parent.volume_gib} GiB", "INVALID_VOLUME_SIZE")
    return parent


def kms_key(call):
    if not call.get("Encrypted"):
        return None
    arn = call.get("KmsKeyArn")
    if arn is None:
        return call.front.behind.default_key(call.region)
    if not call.front.behind.key_exists(call.region, arn):
        raise invalid(f"The KMS key '{arn}' does not exist or can't be used", "INVALID_CUSTOMER_KEY")
    return arn


def started(snapshot):
    return {"Description": snapshot.description or None, "SnapshotId": snapshot.id, "OwnerId": snapshot.owner, "Status": snapshot.state(),
            "StartTime": snapshot.started_at, "VolumeSize": snapshot.volume_gib, "BlockSize": SIZE, "Tags": snapshot.tag_list() or None,
            "ParentSnapshotId": snapshot.parent.id if snapshot.parent else None, "KmsKeyArn": snapshot.key,
            "SseType": "sse-kms" if snapshot.encrypted else None}


class Rate:
    """Requests in a second's window, for each account: beyond the limit they are throttled."""

    def __init__(self):
        self.lock, self.windows = threading.Lock(), {}

    def take(self, account, limit):
        second = int(time.monotonic())
        with self.lock:
            window = self.windows.get(account)
            count = window[1] + 1 if window and window[0] == second else 1
            self.windows[account] = (second, count)
        if count > limit:
            raise Refusal("RequestThrottledException", "The number of API requests has exceeded the maximum allowed API request throttling limit.", 400,
                          "ACCOUNT_THROTTLED")


PUTS = Rate()


@operation("ebs", "PutSnapshotBlock")
def put_snapshot_block(call):
    limit = call.world.settings["put_blocks_per_second"]
    if limit:
        PUTS.take(call.region.account, limit)
    snapshot, index, data = snapshot_of(call, call.get("SnapshotId")), call.get("BlockIndex"), call.request.body
    if snapshot.sealing is not None or snapshot.state() != "pending":
        raise invalid(f"The snapshot '{snapshot.id}' is {snapshot.state()}: blocks go to pending ones only", "INVALID_SNAPSHOT_ID")
    if index >= snapshot.volume_gib * PER_GIB:
        raise invalid(f"Block {index} is outside of a volume of {snapshot.volume_gib} GiB", "INVALID_BLOCK")
    if call.get("DataLength") != SIZE or len(data) != SIZE:
        raise invalid(f"A block has {SIZE} bytes; {call.get('DataLength')} were announced, {len(data)} came", "INVALID_BLOCK")
    digest = bytes.fromhex(call.request.digest())
    checksum = base64.b64encode(digest).decode()
    if checksum != call.get("Checksum"):
        raise invalid("The checksum is not that of the block's data", "INVALID_BLOCK")
    if not snapshot.blocks.put(index, data, digest):
        raise invalid(f"The snapshot '{snapshot.id}' is being completed", "INVALID_SNAPSHOT_ID")
    snapshot.touched = time.monotonic()
    return {"Checksum": checksum, "ChecksumAlgorithm": "SHA256"}


@operation("ebs", "CompleteSnapshot")
def complete_snapshot(call):
    snapshot = snapshot_of(call, call.get("SnapshotId"))
    with call.world.lock:
        if snapshot.state() == "error":
            raise invalid(f"The snapshot '{snapshot.id}' is in the error state", "INVALID_SNAPSHOT_ID")
        # Calling it again is no mistake: a client whose answer was lost has to.
        if snapshot.sealing is None:
            count, digest = snapshot.blocks.seal()
            snapshot.seal(call.world.settings["snapshot_ms"])
            checksum = base64.b64encode(digest).decode()
            if count != call.get("ChangedBlocksCount"):
                fail(call, snapshot, f"{count} blocks were written, {call.get('ChangedBlocksCount')} announced")
            elif call.get("Checksum", checksum) != checksum:
                fail(call, snapshot, "the aggregated checksum is not that of the blocks written")
        return {"Status": snapshot.state()}


def fail(call, snapshot, why):
    snapshot.failed = why
    call.front.log.violation("ebs", "CompleteSnapshot", call.region.name, invalid(f"{snapshot.id}: {why}", "INVALID_BLOCK"))


# --- reading

def readable(call, snapshot_id):
    snapshot = snapshot_of(call, snapshot_id)
    if snapshot.state() != "completed":
        raise invalid(f"The snapshot '{snapshot_id}' is not completed", "INVALID_SNAPSHOT_ID")
    return snapshot


def listed(call, kind, ids, indexes):
    """(the page's indexes, NextToken)."""
    token = call.get("NextToken")
    start = page_start(kind, ids, token) if token else call.get("StartingBlockIndex", 0)
    size = call.get("MaxResults", 10000)
    rest = [index for index in indexes if index >= start]
    return rest[:size], (page_token(kind, ids, rest[size]) if len(rest) > size else None)


@operation("ebs", "ListSnapshotBlocks")
def list_snapshot_blocks(call):
    snapshot = readable(call, call.get("SnapshotId"))
    indexes, token = listed(call, "blocks", (snapshot.id,), snapshot.blocks.indexes())
    expires = now() + TOKEN_LIFETIME
    return {"Blocks": [{"BlockIndex": index, "BlockToken": block_token(snapshot, index, expires)} for index in indexes], "ExpiryTime": expires,
            "VolumeSize": snapshot.volume_gib, "BlockSize": SIZE, "NextToken": token}


@operation("ebs", "ListChangedBlocks")
def list_changed_blocks(call):
    second = readable(call, call.get("SecondSnapshotId"))
    if "FirstSnapshotId" not in call.parameters:
        raise invalid("FirstSnapshotId must be given together with SecondSnapshotId", "INVALID_SNAPSHOT_ID")
    first = readable(call, call.get("FirstSnapshotId"))
    if first.blocks.lineage() is not second.blocks.lineage():
        raise invalid("The snapshots are not of the same volume or lineage", "UNRELATED_SNAPSHOTS")
    indexes, token = listed(call, "changed", (first.id, second.id), second.blocks.changed(first.blocks))
    expires = now() + TOKEN_LIFETIME
    changed = []
    for index in indexes:
        entry = {"BlockIndex": index}
        for name, snapshot in (("FirstBlockToken", first), ("SecondBlockToken", second)):
            if snapshot.blocks.lookup(index):
                entry[name] = block_token(snapshot, index, expires)
        changed.append(entry)
    return {"ChangedBlocks": changed, "ExpiryTime": expires, "VolumeSize": second.volume_gib, "BlockSize": SIZE, "NextToken": token}


@operation("ebs", "GetSnapshotBlock")
def get_snapshot_block(call):
    snapshot, index = readable(call, call.get("SnapshotId")), call.get("BlockIndex")
    check_block_token(snapshot, index, call.get("BlockToken"))
    found = snapshot.blocks.lookup(index)
    if found is None:
        raise invalid(f"The snapshot has no block {index}", "INVALID_BLOCK")
    return {"DataLength": SIZE, "BlockData": snapshot.blocks.read(index), "Checksum": base64.b64encode(found[1]).decode(), "ChecksumAlgorithm": "SHA256"}
