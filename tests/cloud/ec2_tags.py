"""Tags of everything: the fake's own resources keep theirs, moto's are in its backend; one view over both."""
from errors import Refusal, unknown_ids
from front import operation
from world import check_tags, filtered, page

KINDS = {"snap": "snapshot", "ami": "image", "i": "instance", "vol": "volume", "pg": "placement-group", "sir": "spot-instances-request", "vpc": "vpc",
         "subnet": "subnet", "sg": "security-group", "igw": "internet-gateway", "rtb": "route-table", "eni": "network-interface", "vpce": "vpc-endpoint",
         "key": "key-pair", "eipalloc": "elastic-ip", "nat": "natgateway", "acl": "network-acl", "dopt": "dhcp-options", "lt": "launch-template",
         "sgr": "security-group-rule", "eigw": "egress-only-internet-gateway"}
NOT_FOUND = {"snapshot": "InvalidSnapshot.NotFound", "image": "InvalidAMIID.NotFound", "instance": "InvalidInstanceID.NotFound", "volume": "InvalidVolume.NotFound",
             "vpc": "InvalidVpcID.NotFound", "subnet": "InvalidSubnetID.NotFound", "security-group": "InvalidGroup.NotFound",
             "internet-gateway": "InvalidInternetGatewayID.NotFound", "route-table": "InvalidRouteTableID.NotFound",
             "network-interface": "InvalidNetworkInterfaceID.NotFound", "vpc-endpoint": "InvalidVpcEndpointId.NotFound", "key-pair": "InvalidKeyPair.NotFound",
             "elastic-ip": "InvalidAllocationID.NotFound", "placement-group": "InvalidPlacementGroup.Unknown"}


def kind_of(resource_id):
    return KINDS.get(resource_id.split("-")[0])


def check_exists(call, resource_id):
    kind = kind_of(resource_id)
    if kind is None or not resource_id.partition("-")[2]:
        raise Refusal("InvalidID", f"The ID '{resource_id}' is not valid")
    if kind in ("snapshot", "image", "instance", "volume"):
        if call.region.own(resource_id) is None or getattr(call.region.own(resource_id), "gone", False):
            raise unknown_ids(kind, [resource_id])
    elif call.region.own(resource_id) is None and not call.front.behind.exists(call.region, kind, resource_id):
        raise Refusal(NOT_FOUND.get(kind, "InvalidID"), f"The {kind} ID '{resource_id}' does not exist")


@operation("ec2", "CreateTags")
def create_tags(call):
    ids, tags = call.get("Resources"), call.get("Tags")
    if len(ids) > 1000:
        raise Refusal("InvalidParameterValue", "At most 1000 resources can be tagged in one request")
    if not tags:
        raise Refusal("MissingParameter", "The request must contain the parameter Tag")
    check_tags(tags)
    with call.world.lock:
        for resource_id in ids:
            check_exists(call, resource_id)
        given = {tag["Key"]: tag["Value"] for tag in tags}
        for resource_id in ids:
            own = call.region.own(resource_id)
            if own is None:
                call.front.behind.ec2(call.region).create_tags([resource_id], given)
                continue
            if len({**own.tags, **given}) > 50:
                raise Refusal("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
            own.tags.update(given)
            call.front.bodies.tags_changed(own)
    return {}


@operation("ec2", "DeleteTags")
def delete_tags(call):
    with call.world.lock:
        for resource_id in call.get("Resources"):
            own = call.region.own(resource_id)
            tags = own.tags if own is not None else call.front.behind.ec2(call.region).tags.get(resource_id, {})
            if not call.get("Tags"):
                tags.clear()
            for tag in call.get("Tags", ()):
                if "Value" not in tag or tags.get(tag["Key"]) == tag["Value"]:
                    tags.pop(tag["Key"], None)
            if own is not None:
                call.front.bodies.tags_changed(own)
    return {}


class Entry:
    def __init__(self, resource_id, key, value):
        self.id, self.key, self.value, self.tags = resource_id, key, value, {key: value}


@operation("ec2", "DescribeTags")
def describe_tags(call):
    region = call.region
    with call.world.lock:
        entries = []
        for store in (region.snapshots, region.images, region.instances, region.volumes, region.spot_requests, {g.id: g for g in region.groups.values()}):
            for resource in store.values():
                if not getattr(resource, "gone", False):
                    entries += [Entry(resource.id, key, value) for key, value in sorted(resource.tags.items())]
        for resource_id, tags in call.front.behind.ec2(region).tags.items():
            # moto keeps the tags of what is gone.
            if kind_of(resource_id) and call.front.behind.exists(region, kind_of(resource_id), resource_id):
                entries += [Entry(resource_id, key, value) for key, value in sorted(tags.items())]
        entries = filtered(entries, call.get("Filters"), {"key": lambda e: e.key, "value": lambda e: e.value, "resource-id": lambda e: e.id,
                                                          "resource-type": lambda e: kind_of(e.id)})
        shown, token = page(entries, call.parameters)
        return {"Tags": [{"ResourceId": e.id, "ResourceType": kind_of(e.id), "Key": e.key, "Value": e.value} for e in shown], "NextToken": token}
