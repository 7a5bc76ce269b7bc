"""What exists in the fake: accounts, partitions, regions and, in each region, the resources that the fake keeps itself.

A Resource is not seen by reads until it has settled (eventual consistency): not for its first `consistency_reads` reads, nor in its
first `consistency_ms`. Changes of state that take time (pending → completed) are computed from the clock when somebody looks, so nothing
runs in the background. One lock guards all of it; block data of snapshots has its own (blocks.py).
"""
import datetime
import fnmatch
import hashlib
import secrets
import threading
import time

import botocore.session

from errors import Refusal, unknown_ids
from signatures import Key

# Regions that an account must ask for ("Regions, Availability Zones, and Local Zones", EC2 user guide); all others are enabled.
OPT_IN = {"af-south-1", "ap-east-1", "ap-east-2", "ap-south-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
          "ca-west-1", "eu-central-2", "eu-south-1", "eu-south-2", "il-central-1", "me-central-1", "me-south-1", "mx-central-1"}

# What a test or a developer may set (POST /_fake/settings). Times are short, but not nothing: who does not wait for a state finds out.
DEFAULTS = {
    "consistency_ms": 50, "consistency_reads": 0,
    "snapshot_ms": 200,  # CompleteSnapshot → completed
    "image_copy_ms": 500,  # CopyImage → available
    "instance_pending_ms": 300, "instance_stopping_ms": 300, "instance_terminating_ms": 300,
    "volume_ms": 100,
    "enabled_regions": [],  # opt-in regions that the account has asked for
    "pending_snapshots": 100,  # "Pending snapshots per account", EBS quotas
    "vcpus": 0,  # running on-demand vCPUs for each account and region; 0: no limit
    "put_blocks_per_second": 0,  # for each account; 0: no limit (1,000 at AWS)
    "capacity": {},  # {"ZONE": instances, "ZONE/TYPE": instances} that a zone has room for; no entry: no limit
    "clock_offset_seconds": 0,  # the service's clock against this machine's
    "hold": [],  # kinds whose pending state lasts until they are taken off the list: snapshot, image, instance
}

PARTITIONS = {
    "aws": {"account": "123456789012", "key": "AKIAKILNFAKE00000001", "region": "us-east-1"},
    "aws-cn": {"account": "210987654321", "key": "AKIAKILNFAKE00000002", "region": "cn-north-1"},
    "aws-us-gov": {"account": "112233445566", "key": "AKIAKILNFAKE00000003", "region": "us-gov-west-1"},
}


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class Resource:
    def __init__(self, world, kind, prefix, tags=()):
        self.world, self.kind = world, kind
        self.id = f"{prefix}-{secrets.token_hex(9)[1:]}"
        self.made, self.made_at = time.monotonic(), now()
        self.reads = 0
        self.tags = {tag["Key"]: tag["Value"] for tag in tags}

    def age_ms(self):
        return (time.monotonic() - self.made) * 1000

    def settled(self, count=True):
        """Whether a read sees it; such a read counts."""
        settings = self.world.settings
        if self.reads < settings["consistency_reads"]:
            self.reads += count
            return False
        return self.age_ms() >= settings["consistency_ms"]

    def tag_list(self):
        return [{"Key": key, "Value": value} for key, value in sorted(self.tags.items())]


class Timer:
    """A change of state that takes a while: done() is true so many milliseconds after the start, unless its kind is held. What is done stays so."""

    def __init__(self, world, kind, duration_ms):
        self.world, self.kind, self.end = world, kind, time.monotonic() + duration_ms / 1000
        self.over = duration_ms <= 0

    def done(self):
        if not self.over:
            self.over = self.kind not in self.world.settings["hold"] and time.monotonic() >= self.end
        return self.over


class Region:
    def __init__(self, world, name, partition, account):
        self.world, self.name, self.partition, self.account = world, name, partition, account
        self.snapshots, self.images, self.instances, self.volumes, self.groups = {}, {}, {}, {}, {}
        self.spot_requests, self.fast_restores, self.tokens = {}, {}, {}

    def own(self, resource_id):
        """A resource that the fake keeps itself, or None."""
        for store in (self.snapshots, self.images, self.instances, self.volumes, self.spot_requests):
            if resource_id in store:
                return store[resource_id]
        return next((group for group in self.groups.values() if group.id == resource_id), None)


class World:
    def __init__(self, folder):
        self.folder = folder
        self.settings = dict(DEFAULTS)
        self.lock = threading.RLock()
        session = botocore.session.Session()
        self.regions, self.region_partition = {}, {}
        for partition, facts in PARTITIONS.items():
            for name in session.get_available_regions("ec2", partition_name=partition):
                self.region_partition[name] = partition
                self.regions[name] = Region(self, name, partition, facts["account"])
        self.secrets = {partition: secrets.token_urlsafe(30) for partition in PARTITIONS}

        self.public_addresses = 0

    def next_public_address(self):
        """Of 198.19.0.0/16, which RFC 2544 keeps for tests: an address is not given twice before 65,000 others."""
        self.public_addresses = self.public_addresses % 65000 + 1
        return f"198.19.{self.public_addresses // 250}.{self.public_addresses % 250 + 1}"

    def clock(self):
        return time.time() + self.settings["clock_offset_seconds"]

    def first_keys(self):
        return [Key(facts["key"], self.secrets[partition], facts["account"], partition, arn=f"arn:{partition}:iam::{facts['account']}:user/kiln")
                for partition, facts in PARTITIONS.items()]

    def enabled(self, region):
        return region not in OPT_IN or region in self.settings["enabled_regions"]

    def region(self, name, key, service):
        """The region's resources, for whom the key belongs to; refused as AWS does where the key is not valid there."""
        region = self.regions.get(name)
        if region is None:
            raise Refusal("InvalidClientTokenId" if service in ("iam", "sts") else "AuthFailure", f"there is no region '{name}'", 401, violation=True)
        if region.partition != key.partition or not self.enabled(name):
            code = "AuthFailure" if service == "ec2" else "UnrecognizedClientException" if service != "sts" else "InvalidClientTokenId"
            raise Refusal(code, "AWS was not able to validate the provided access credentials" if service == "ec2" else
                          "The security token included in the request is invalid.", 401 if service == "ec2" else 403)
        return region


# --- what the EC2 operations share

def find(store, kind, resource_id, read=False):
    """The resource, or NotFound; a read does not see what has not settled."""
    resource = store.get(resource_id)
    if resource is None or (read and not resource.settled()):
        raise unknown_ids(kind, [resource_id])
    return resource


def chosen(store, kind, ids):
    """What a Describe call sees: all that has settled, or those asked for by id, all of which must exist."""
    if not ids:
        return [resource for resource in store.values() if resource.settled()]
    lost = [resource_id for resource_id in ids if resource_id not in store or not store[resource_id].settled()]
    if lost:
        raise unknown_ids(kind, lost)
    return [store[resource_id] for resource_id in dict.fromkeys(ids)]


def malformed(ids, prefix, code):
    for resource_id in ids:
        tail = resource_id.removeprefix(f"{prefix}-")
        if tail == resource_id or len(tail) not in (8, 17) or any(letter not in "0123456789abcdef" for letter in tail):
            raise Refusal(code, f'Invalid id: "{resource_id}"')


def wanted(pattern, value):
    """A filter's value: * and ? are wildcards, a backslash takes their meaning away ("Filtering your resources", EC2 user guide)."""
    if "\\" in pattern:
        pattern = pattern.replace("\\*", "[*]").replace("\\?", "[?]").replace("\\\\", "\\")
    elif "[" in pattern:
        pattern = pattern.replace("[", "[[]")
    return fnmatch.fnmatchcase(value, pattern)


def filtered(resources, filters, getters):
    """Those for which every filter has a value that fits. getters: a filter's name → function of the resource giving a value, or a list."""
    if not filters:
        return resources
    kept = list(resources)
    if len(filters) > 50:
        raise Refusal("FilterLimitExceeded", "The maximum number of filters has been exceeded.")
    for entry in filters:
        name, values = entry.get("Name", ""), entry.get("Values", [])
        if len(values) > 200:
            raise Refusal("FilterLimitExceeded", "The maximum length for a filter value list is 200")
        if not values:
            raise Refusal("InvalidParameterValue", f"The filter '{name}' needs at least one value")
        if name.startswith("tag:"):
            key = name[4:]
            kept = [r for r in kept if key in r.tags and any(wanted(v, r.tags[key]) for v in values)]
        elif name == "tag-key":
            kept = [r for r in kept if any(wanted(v, key) for v in values for key in r.tags)]
        elif name in getters:
            kept = [r for r in kept if any(wanted(v, text) for text in texts(getters[name](r)) for v in values)]
        else:
            raise Refusal("InvalidParameterValue", f"The filter '{name}' is invalid")
    return kept


def texts(value):
    if value is None:
        return []
    if isinstance(value, (list, tuple, set)):
        return [text for inner in value for text in texts(inner)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, datetime.datetime):
        return [value.strftime("%Y-%m-%dT%H:%M:%S.000Z")]
    return [str(value)]


def page(items, parameters, least=5, most=1000, ids=None, default=None):
    """(this page, NextToken or None)."""
    size, token = parameters.get("MaxResults"), parameters.get("NextToken")
    if size is not None and ids:
        raise Refusal("InvalidParameterCombination", f"The parameter {ids} cannot be used with the parameter MaxResults")
    if size is not None and not least <= size <= most:
        raise Refusal("InvalidParameterValue", f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value between {least} and {most}.")
    start = 0
    if token:
        offset, _, mark = token.partition(".")
        if not offset.isdigit() or mark != page_mark(offset):
            raise Refusal("InvalidNextToken", f"The specified NextToken '{token}' is not valid.")
        start = int(offset)
    size = size or default or len(items)
    end = start + size
    return items[start:end], (f"{end}.{page_mark(str(end))}" if end < len(items) else None)


def page_mark(offset):
    return hashlib.sha256(b"kiln fake page" + offset.encode()).hexdigest()[:16]


def tags_of(specifications, kind):
    """The tags that TagSpecifications give a kind of resource."""
    tags = []
    for entry in specifications or ():
        if entry.get("ResourceType") == kind:
            tags += entry.get("Tags", [])
    check_tags(tags)
    return tags


def check_specifications(specifications, kinds, operation):
    """Every kind must be one that the operation makes, and none twice."""
    seen = set()
    for entry in specifications or ():
        kind = entry.get("ResourceType")
        if kind not in kinds:
            raise Refusal("InvalidParameterValue", f"'{kind}' is not a valid taggable resource type for this operation ({operation}).")
        if kind in seen:
            raise Refusal("InvalidParameterValue", f"TagSpecification for '{kind}' is given twice")
        if not entry.get("Tags"):
            raise Refusal("InvalidParameterValue", "Tag specification must have at least one tag")
        seen.add(kind)


def check_tags(tags):
    """"Tag restrictions", EC2 user guide: 50 a resource, keys of 128 and values of 256 characters, none begins with aws:."""
    keys = [tag.get("Key") for tag in tags]
    if len(tags) > 50:
        raise Refusal("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
    if len(set(keys)) != len(keys):
        raise Refusal("InvalidParameterValue", "Duplicate tag keys are not allowed")
    for tag in tags:
        key, value = tag.get("Key"), tag.setdefault("Value", "")
        if not key:
            raise Refusal("InvalidParameterValue", "Tag key can't be empty")
        if key.startswith("aws:"):
            raise Refusal("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
        if len(key) > 128 or len(value) > 256:
            raise Refusal("InvalidParameterValue", f"Tag '{key[:20]}…' is too long: keys have at most 128 characters, values 256")


def once(region, operation, token, parameters, make):
    """ClientToken: the first call makes, the same call again gives the first one's answer, another call with the token is refused
    ("Ensuring idempotency in Amazon EC2 API requests": the parameters must be the same)."""
    if not token:
        return make()
    if len(token) > 64 or not token.isascii():
        raise Refusal("InvalidParameterValue", "ClientToken must be at most 64 ASCII characters")
    compared = {key: value for key, value in parameters.items() if key not in ("ClientToken", "DryRun")}
    known = region.tokens.get((operation, token))
    if known:
        if known[0] != compared:
            raise Refusal("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
        return known[1]() if callable(known[1]) else known[1]
    result = make()
    region.tokens[operation, token] = (compared, result)
    return result
