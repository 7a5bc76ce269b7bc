"""Instance types, where they are offered, and what spot instances cost.

Types and offerings are what EC2 itself answered when moto's makers asked it (moto/ec2/resources). Prices are our own: so much for a vCPU, a
little different in each zone, always the same.
"""
import datetime
import functools
import gzip
import hashlib
import json
import pathlib

import moto.ec2

import models
from errors import Refusal
from front import operation
from world import filtered, now, page, texts

RESOURCES = pathlib.Path(moto.ec2.__file__).parent / "resources"


@functools.lru_cache(None)
def types():
    with gzip.open(RESOURCES / "instance_types.json.gz") as file:
        return json.load(file)


@functools.lru_cache(None)
def offered(region, kind="region"):
    """Location → the types offered there, by region or availability-zone. For a region that the data lacks: what eu-west-1 has, in every zone."""
    path = RESOURCES / "instance_type_offerings" / kind / f"{region}.json.gz"
    if not path.exists():
        return None
    with gzip.open(path) as file:
        entries = json.load(file)
    found = {}
    for entry in entries:
        found.setdefault(entry["Location"], set()).add(entry["InstanceType"])
    return found


def in_region(region):
    found = offered(region)
    return found[region] if found else offered("eu-west-1")["eu-west-1"]


def in_zone(region, zone):
    found = offered(region, "availability-zone")
    # A zone that the data does not know is like its region.
    return found[zone] if found and zone in found else in_region(region)


def facts(name):
    """A type's DescribeInstanceTypes entry, or None."""
    return types().get(name)


def shape(name):
    """In the machines' words."""
    entry = facts(name)
    disks = entry.get("InstanceStorageInfo", {}).get("Disks", [])
    return {"name": name, "vcpus": entry["VCpuInfo"]["DefaultVCpus"], "memory_mib": entry["MemoryInfo"]["SizeInMiB"],
            "instance_store": [disk["SizeInGB"] for disk in disks for _ in range(disk["Count"])]}


def vcpus(name):
    return facts(name)["VCpuInfo"]["DefaultVCpus"]


def price(name, zone):
    """Dollars an hour on spot."""
    share = 0.25 + hashlib.sha256(f"{name} {zone}".encode()).digest()[0] / 1024
    return round(0.048 * vcpus(name) * share, 6)


# --- filters: the kebab-case names of the documentation are paths into the answer

PATHS = {
    "auto-recovery-supported": "AutoRecoverySupported", "bare-metal": "BareMetal", "burstable-performance-supported": "BurstablePerformanceSupported",
    "current-generation": "CurrentGeneration", "dedicated-hosts-supported": "DedicatedHostsSupported", "ebs-info.ebs-optimized-support": "EbsInfo.EbsOptimizedSupport",
    "ebs-info.encryption-support": "EbsInfo.EncryptionSupport", "ebs-info.nvme-support": "EbsInfo.NvmeSupport", "free-tier-eligible": "FreeTierEligible",
    "hibernation-supported": "HibernationSupported", "hypervisor": "Hypervisor", "instance-storage-info.disk.count": "InstanceStorageInfo.Disks.Count",
    "instance-storage-info.disk.size-in-gb": "InstanceStorageInfo.Disks.SizeInGB", "instance-storage-info.disk.type": "InstanceStorageInfo.Disks.Type",
    "instance-storage-info.total-size-in-gb": "InstanceStorageInfo.TotalSizeInGB", "instance-storage-info.nvme-support": "InstanceStorageInfo.NvmeSupport",
    "instance-storage-supported": "InstanceStorageSupported", "instance-type": "InstanceType", "memory-info.size-in-mib": "MemoryInfo.SizeInMiB",
    "network-info.efa-supported": "NetworkInfo.EfaSupported", "network-info.ena-support": "NetworkInfo.EnaSupport",
    "network-info.ipv6-supported": "NetworkInfo.Ipv6Supported", "network-info.maximum-network-interfaces": "NetworkInfo.MaximumNetworkInterfaces",
    "network-info.network-performance": "NetworkInfo.NetworkPerformance", "nitro-enclaves-support": "NitroEnclavesSupport", "nitro-tpm-support": "NitroTpmSupport",
    "processor-info.supported-architecture": "ProcessorInfo.SupportedArchitectures",
    "processor-info.sustained-clock-speed-in-ghz": "ProcessorInfo.SustainedClockSpeedInGhz", "supported-boot-mode": "SupportedBootModes",
    "supported-root-device-type": "SupportedRootDeviceTypes", "supported-usage-class": "SupportedUsageClasses",
    "supported-virtualization-type": "SupportedVirtualizationTypes", "vcpu-info.default-cores": "VCpuInfo.DefaultCores",
    "vcpu-info.default-threads-per-core": "VCpuInfo.DefaultThreadsPerCore", "vcpu-info.default-vcpus": "VCpuInfo.DefaultVCpus",
    "vcpu-info.valid-cores": "VCpuInfo.ValidCores", "vcpu-info.valid-threads-per-core": "VCpuInfo.ValidThreadsPerCore",
}


def at(value, path):
    for number, part in enumerate(path):
        if isinstance(value, list):
            return [at(inner, path[number:]) for inner in value]
        value = value.get(part) if isinstance(value, dict) else None
    return value


class Shown:
    tags = {}

    def __init__(self, entry):
        self.entry = entry


GETTERS = {name: lambda shown, path=path: texts(at(shown.entry, path.split("."))) for name, path in PATHS.items()}


def known_members(shape_, value):
    """Without what this botocore's model does not have."""
    if shape_.type_name == "structure":
        return {key: known_members(shape_.members[key], inner) for key, inner in value.items() if key in shape_.members}
    if shape_.type_name == "list":
        return [known_members(shape_.member, inner) for inner in value]
    return value


@operation("ec2", "DescribeInstanceTypes")
def describe_instance_types(call):
    names, there = call.get("InstanceTypes"), in_region(call.region.name)
    if names and len(names) > 100:
        raise Refusal("InvalidParameterValue", "At most 100 instance types can be named in one request")
    wrong = [name for name in names or () if name not in there or name not in types()]
    if wrong:
        raise Refusal("InvalidInstanceType", f"The following supplied instance types do not exist: [{', '.join(wrong)}]")
    found = [Shown(types()[name]) for name in (names or sorted(there)) if name in types()]
    found = filtered(found, call.get("Filters"), GETTERS)
    shown, token = page(found, call.parameters, least=5, most=100, ids="InstanceTypes" if names else None, default=100)
    member = models.service("ec2").operation_model("DescribeInstanceTypes").output_shape.members["InstanceTypes"].member
    return {"InstanceTypes": [known_members(member, entry.entry) for entry in shown], "NextToken": token}


class Offering:
    tags = {}

    def __init__(self, kind, location, name):
        self.kind, self.location, self.type = kind, location, name


@operation("ec2", "DescribeInstanceTypeOfferings")
def describe_instance_type_offerings(call):
    region, kind = call.region, call.get("LocationType", "region")
    zones = call.front.behind.zones(region)
    places = {"region": {region.name: in_region(region.name)}, "availability-zone": {zone: in_zone(region.name, zone) for zone in zones},
              "availability-zone-id": {zones[zone]: in_zone(region.name, zone) for zone in zones}}
    if kind not in places:
        raise Refusal("InvalidParameterValue", f"Value ({kind}) for parameter locationType is not supported here")
    found = [Offering(kind, location, name) for location, names in places[kind].items() for name in sorted(names)]
    found = filtered(found, call.get("Filters"), {"instance-type": lambda o: o.type, "location": lambda o: o.location})
    shown, token = page(found, call.parameters, least=5, most=1000, default=1000)
    return {"InstanceTypeOfferings": [{"InstanceType": o.type, "LocationType": o.kind, "Location": o.location} for o in shown], "NextToken": token}


# --- spot prices

class Price:
    tags = {}

    def __init__(self, name, zone, product, moment):
        self.type, self.zone, self.product, self.moment, self.price = name, zone, product, moment, f"{price(name, zone):.6f}"


@operation("ec2", "DescribeSpotPriceHistory")
def describe_spot_price_history(call):
    region = call.region
    zones = list(call.front.behind.zones(region))
    if call.get("AvailabilityZone"):
        if call.get("AvailabilityZone") not in zones:
            raise Refusal("InvalidParameterValue", f"Invalid availability zone: [{call.get('AvailabilityZone')}]")
        zones = [call.get("AvailabilityZone")]
    names = call.get("InstanceTypes") or sorted(in_region(region.name))
    products = call.get("ProductDescriptions") or ["Linux/UNIX"]
    start, end = call.get("StartTime") or now() - datetime.timedelta(days=90), call.get("EndTime") or now()
    if start > end:
        raise Refusal("InvalidParameterCombination", "StartTime is after EndTime")
    # The price of the hour; a request that begins now gives the current one.
    moment = end.replace(minute=0, second=0, microsecond=0)
    found = [Price(name, zone, product, moment) for zone in zones for name in names if name in types() and name in in_zone(region.name, zone)
             for product in products]
    found = filtered(found, call.get("Filters"), {"availability-zone": lambda p: p.zone, "instance-type": lambda p: p.type,
                                                  "product-description": lambda p: p.product, "spot-price": lambda p: p.price,
                                                  "timestamp": lambda p: p.moment})
    shown, token = page(found, call.parameters, least=1, default=1000)
    return {"SpotPriceHistory": [{"AvailabilityZone": p.zone, "InstanceType": p.type, "ProductDescription": p.product, "SpotPrice": p.price,
                                  "Timestamp": p.moment} for p in shown], "NextToken": token or ""}
