"""Placement groups."""
import secrets

from errors import Refusal
from front import operation
from world import Resource, check_specifications, filtered, tags_of


class PlacementGroup(Resource):
    def __init__(self, world, name, strategy, partitions, tags):
        super().__init__(world, "placement group", "pg", tags)
        self.id = f"pg-{secrets.token_hex(9)[1:]}"
        self.name, self.strategy, self.partitions = name, strategy, partitions

    def described(self, region):
        return {"GroupName": self.name, "State": "available", "Strategy": self.strategy, "PartitionCount": self.partitions, "GroupId": self.id,
                "Tags": self.tag_list() or None, "SpreadLevel": "rack" if self.strategy == "spread" else None,
                "GroupArn": f"arn:{region.partition}:ec2:{region.name}:{region.account}:placement-group/{self.name}"}


def unknown(name):
    return Refusal("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")


@operation("ec2", "CreatePlacementGroup")
def create_placement_group(call):
    check_specifications(call.get("TagSpecifications"), ("placement-group",), "CreatePlacementGroup")
    with call.world.lock:
        name, strategy, partitions = call.get("GroupName"), call.get("Strategy", "cluster"), call.get("PartitionCount")
        if not name or len(name) > 255:
            raise Refusal("InvalidParameterValue" if name else "MissingParameter", "A placement group's name has 1 to 255 characters")
        if name in call.region.groups:
            raise Refusal("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists.")
        if partitions is not None and (strategy != "partition" or not 1 <= partitions <= 7):
            raise Refusal("InvalidParameterCombination", "PartitionCount is for the strategy partition, and 1 to 7")
        group = PlacementGroup(call.world, name, strategy, partitions or (2 if strategy == "partition" else None),
                               tags_of(call.get("TagSpecifications"), "placement-group"))
        call.region.groups[name] = group
        return {"PlacementGroup": group.described(call.region)}


@operation("ec2", "DeletePlacementGroup")
def delete_placement_group(call):
    with call.world.lock:
        name = call.get("GroupName")
        if name not in call.region.groups:
            raise unknown(name)
        used = next((i for i in call.region.instances.values() if i.group_name == name and i.state() != "terminated"), None)
        if used:
            raise Refusal("InvalidPlacementGroup.InUse", f"The placement group '{name}' is in use and may not be deleted.")
        del call.region.groups[name]
    return {}


@operation("ec2", "DescribePlacementGroups")
def describe_placement_groups(call):
    with call.world.lock:
        groups = call.region.groups
        for name in call.get("GroupNames", ()):
            if name not in groups or not groups[name].settled():
                raise unknown(name)
        ids = call.get("GroupIds")
        found = [group for group in groups.values() if group.settled() and (not call.get("GroupNames") or group.name in call.get("GroupNames"))
                 and (not ids or group.id in ids)]
        found = filtered(found, call.get("Filters"), {"group-name": lambda g: g.name, "state": lambda g: "available", "strategy": lambda g: g.strategy,
                                                      "spread-level": lambda g: "rack" if g.strategy == "spread" else None})
        return {"PlacementGroups": [group.described(call.region) for group in found]}
