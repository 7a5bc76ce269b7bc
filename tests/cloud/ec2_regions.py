"""Regions: which there are, and which of them the account has enabled."""
from errors import Refusal
from front import operation
from world import OPT_IN, filtered


class Shown:
    def __init__(self, world, region):
        suffix = "amazonaws.com.cn" if region.partition == "aws-cn" else "amazonaws.com"
        self.name, self.endpoint, self.tags = region.name, f"ec2.{region.name}.{suffix}", {}
        self.status = "opt-in-not-required" if region.name not in OPT_IN else "opted-in" if world.enabled(region.name) else "not-opted-in"


@operation("ec2", "DescribeRegions")
def describe_regions(call):
    world = call.world
    shown = [Shown(world, region) for region in world.regions.values() if region.partition == call.region.partition]
    names = call.get("RegionNames")
    for name in names or ():
        if name not in [region.name for region in shown]:
            raise Refusal("InvalidParameterValue", f"Invalid region provided: {name}")
    shown = [region for region in shown if (not names or region.name in names) and (call.get("AllRegions") or region.status != "not-opted-in")]
    shown = filtered(shown, call.get("Filters"), {"endpoint": lambda r: r.endpoint, "opt-in-status": lambda r: r.status, "region-name": lambda r: r.name})
    return {"Regions": [{"RegionName": region.name, "Endpoint": region.endpoint, "OptInStatus": region.status} for region in shown]}
