"""RunInstances: its rules, where an instance goes, and what is made for it ("RunInstances" in the EC2 API reference; launch templates are not
known here). The same ClientToken gives the same instances; nothing is made when anything is refused."""
import base64
import binascii
import ipaddress
import secrets

import ec2_devices
import ec2_types
from ec2_images import visible
from ec2_instances import Instance
from ec2_volumes import Volume
from errors import Refusal, unknown_ids
from front import operation
from world import Resource, check_specifications, filtered, find, malformed, now, once, page, tags_of

KNOWN = {"BlockDeviceMappings", "ImageId", "InstanceType", "KeyName", "MaxCount", "MinCount", "Monitoring", "Placement", "SecurityGroupIds", "SecurityGroups",
         "SubnetId", "UserData", "TagSpecifications", "InstanceMarketOptions", "CreditSpecification", "MetadataOptions", "DisableApiStop", "DryRun",
         "DisableApiTermination", "InstanceInitiatedShutdownBehavior", "PrivateIpAddress", "ClientToken", "NetworkInterfaces", "IamInstanceProfile",
         "EbsOptimized", "MaintenanceOptions", "PrivateDnsNameOptions", "KernelId", "RamdiskId"}
USER_DATA_BYTES = 16384  # "User data is limited to 16 KB, in raw form, before it is base64-encoded"
NO_CAPACITY = "We currently do not have sufficient {type} capacity in the Availability Zone you requested ({zone}). Our system will be working on provisioning additional capacity."


def combination(message):
    return Refusal("InvalidParameterCombination", message)


class Reservation:
    def __init__(self, account):
        self.id, self.owner = f"r-{secrets.token_hex(9)[1:]}", account
        self.instances = []

    def described(self, instances):
        return {"ReservationId": self.id, "OwnerId": self.owner, "Groups": [], "Instances": [instance.described() for instance in instances]}


class SpotRequest(Resource):
    """What EC2 keeps of a one-time spot launch."""

    def __init__(self, world, instance, options, tags):
        super().__init__(world, "spot request", "sir", tags)
        self.instance, self.max_price = instance, options.get("MaxPrice")
        self.state, self.code, self.message = "active", "fulfilled", "Your Spot request is fulfilled."

    def ended(self, reason):
        self.state, self.code = "closed", "instance-terminated-no-capacity" if reason.startswith("Server.Spot") else "instance-terminated-by-user"
        self.message = "The Spot Instance was ended."

    def described(self):
        return {"SpotInstanceRequestId": self.id, "State": self.state, "Status": {"Code": self.code, "Message": self.message, "UpdateTime": now()},
                "InstanceId": self.instance.id, "Type": "one-time", "CreateTime": self.made_at, "SpotPrice": self.max_price,
                "ProductDescription": "Linux/UNIX", "LaunchedAvailabilityZone": self.instance.zone, "InstanceInterruptionBehavior": "terminate",
                "Tags": self.tag_list() or None}


class Capacity:
    """How many instances a zone has room for (setting `capacity`), and the account's quota of vCPUs (setting `vcpus`)."""

    @staticmethod
    def live(region):
        return [i for i in region.instances.values() if i.state() in ("pending", "running")]

    def room(self, region, zone, kind):
        """How many more of a type fit a zone; None: as many as you like."""
        limits, rooms = region_settings(region)["capacity"], []
        for key, count in ((zone, lambda i: i.zone == zone), (f"{zone}/{kind}", lambda i: i.zone == zone and i.type == kind)):
            if key in limits:
                rooms.append(limits[key] - sum(1 for i in self.live(region) if count(i)))
        return max(0, min(rooms)) if rooms else None

    def check(self, region, zone, kind, least, most):
        """How many of least…most may be launched."""
        limit = region_settings(region)["vcpus"]
        if limit:
            used = sum(ec2_types.vcpus(i.type) for i in self.live(region))
            fits = (limit - used) // ec2_types.vcpus(kind)
            if fits < least:
                raise Refusal("VcpuLimitExceeded", f"You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the instance bucket "
                              "that the specified instance type belongs to.")
            most = min(most, fits)
        room = self.room(region, zone, kind)
        if room is not None and room < least:
            raise Refusal("InsufficientInstanceCapacity", NO_CAPACITY.format(type=kind, zone=zone), 500)
        return most if room is None else min(most, room)

    def check_start(self, call, instances):
        for instance in instances:
            self.check(call.region, instance.zone, instance.type, 1, 1)


def region_settings(region):
    return region.world.settings


class Launcher:
    def __init__(self, front):
        self.front = front

    # --- what is asked for

    def image(self, call):
        if "ImageId" not in call.parameters:
            raise Refusal("MissingParameter", "The request must contain the parameter ImageId")
        image_id = call.get("ImageId")
        if image_id.startswith("resolve:ssm:"):  # "Use a Systems Manager parameter instead of an AMI ID", EC2 user guide
            image_id = self.front.stock.parameters(call.region).get(image_id.removeprefix("resolve:ssm:"))
            if image_id is None:
                raise Refusal("InvalidParameterValue", f"Invalid systems manager parameter: {call.get('ImageId')}")
        malformed([image_id], "ami", "InvalidAMIID.Malformed")
        image = find(call.region.images, "image", image_id)
        if image.gone or not visible(call.region, image):
            raise unknown_ids("image", [image.id])
        if image.state() != "available":
            raise Refusal("InvalidAMIID.Unavailable", f"The image id '[{image.id}]' is no longer available")
        if image.type != "machine":
            raise Refusal("InvalidAMIID.NotFound", f"The image id '[{image.id}]' is not a machine image")
        return image

    @staticmethod
    def type(call, image):
        """The type's name; what image and type demand of each other."""
        name = call.get("InstanceType", "m1.small")
        if name not in ec2_types.in_region(call.region.name) or ec2_types.facts(name) is None:
            raise Refusal("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")
        facts = ec2_types.facts(name)
        supported = facts["ProcessorInfo"]["SupportedArchitectures"]
        if image.architecture not in supported:
            raise Refusal("InvalidParameterValue", f"The architecture '{','.join(supported)}' of the specified instance type does not match the architecture "
                          f"'{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.")
        if image.virtualization not in facts["SupportedVirtualizationTypes"]:
            raise combination(f"Non-Windows instances with a virtualization type of '{image.virtualization}' are currently not supported for this instance type.")
        if facts["NetworkInfo"]["EnaSupport"] == "required" and not image.ena:
            raise combination(f"Enhanced networking with the Elastic Network Adapter (ENA) is required for the '{name}' instance type. "
                              "Ensure that you are using an AMI that is enabled for ENA.")
        if image.boot_mode in ("uefi", "legacy-bios") and image.boot_mode not in facts.get("SupportedBootModes", ["legacy-bios"]):
            raise combination(f"The boot mode '{image.boot_mode}' of the AMI is not supported by the instance type '{name}'.")
        return name

    @staticmethod
    def user_data(call):
        text = call.get("UserData", "")
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise Refusal("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
        if len(data) > USER_DATA_BYTES:
            raise Refusal("InvalidParameterValue", "User data is limited to 16384 bytes")
        return data

    def profile(self, call, given):
        """(ARN, id) of an instance profile, by name or ARN; one that was just made is not known yet."""
        name, arn = given.get("Name"), given.get("Arn")
        if bool(name) == bool(arn):
            raise combination("The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'")
        profile = self.front.behind.profile(call.region, arn or name)
        age_ms = (now().replace(tzinfo=None) - profile.create_date.replace(tzinfo=None)).total_seconds() * 1000 if profile else 0
        if profile is None or age_ms < call.world.settings["consistency_ms"]:
            which = "name" if name else "arn"
            raise Refusal("InvalidParameterValue", f"Value ({arn or name}) for parameter iamInstanceProfile.{which} is invalid. Invalid IAM Instance Profile {which}")
        return profile.arn, profile.id

    @staticmethod
    def metadata_options(call, image):
        """"Order of precedence for instance metadata options": the launch's word, then the image's."""
        strict = image.imds == "v2.0"
        options = {"HttpTokens": "required" if strict else "optional", "HttpPutResponseHopLimit": 2 if strict else 1, "HttpEndpoint": "enabled",
                   "HttpProtocolIpv6": "disabled", "InstanceMetadataTags": "disabled"}
        options.update(call.get("MetadataOptions", {}))
        if not 1 <= options["HttpPutResponseHopLimit"] <= 64:
            raise Refusal("InvalidParameterValue", f"Value ({options['HttpPutResponseHopLimit']}) for parameter HttpPutResponseHopLimit is invalid: 1 to 64")
        return options

    @staticmethod
    def devices(call, image):
        """The image's mappings with the launch's over them; blanks where the launch says NoDevice."""
        merged = {device["DeviceName"]: dict(device) for device in image.devices}
        for mapping in call.get("BlockDeviceMappings", ()):
            name = mapping.get("DeviceName")
            before = merged.get(name, {}).get("Ebs")
            if before and "Ebs" in mapping:
                if mapping["Ebs"].get("SnapshotId", before.get("SnapshotId")) != before.get("SnapshotId") and name == image.root_device:
                    raise Refusal("InvalidBlockDeviceMapping", "snapshotId cannot be modified on root device")
                over = dict(mapping["Ebs"])
                kept = dict(before)
                if "VolumeType" in over and over["VolumeType"] != kept.get("VolumeType"):
                    kept.pop("Iops", None)
                    kept.pop("Throughput", None)
                if over.get("Encrypted") is None and not kept.get("Encrypted"):
                    kept.pop("Encrypted", None)
                mapping = dict(mapping, Ebs={**kept, **over})
            if name == image.root_device and "Ebs" not in mapping:
                raise Refusal("InvalidBlockDeviceMapping", f"The root device '{name}' can't be removed")
            merged[name] = mapping
        # What the launch gave twice is still a mistake.
        names = [mapping.get("DeviceName") for mapping in call.get("BlockDeviceMappings", ())]
        if len(set(names)) != len(names):
            raise Refusal("InvalidBlockDeviceMapping", "A device is used in more than one block-device mapping")
        return [device for device in ec2_devices.checked(call, list(merged.values()), "RunInstances") if "NoDevice" not in device]

    # --- where it goes

    def network(self, call):
        """(subnet, group ids, private address, public address wanted or None for the subnet's default, description)."""
        behind, interfaces = self.front.behind, call.get("NetworkInterfaces")
        backend = behind.ec2(call.region)
        subnet_id, groups, address, public, description = call.get("SubnetId"), call.get("SecurityGroupIds", []), call.get("PrivateIpAddress"), None, ""
        if interfaces:
            for name, what in (("SubnetId", "subnet ID"), ("SecurityGroupIds", "security groups"), ("SecurityGroups", "security groups"), ("PrivateIpAddress", "private address")):
                if call.get(name):
                    raise combination(f"Network interfaces and an instance-level {what} may not be specified on the same request")
            if len(interfaces) != 1:
                raise Refusal("UnsupportedOperation", "The fake gives an instance one network interface", violation=True)
            entry = interfaces[0]
            if entry.get("DeviceIndex") != 0:
                raise Refusal("InvalidParameterValue" if "DeviceIndex" in entry else "MissingParameter", "The first network interface needs DeviceIndex 0")
            subnet_id, groups, address = entry.get("SubnetId"), entry.get("Groups", []), entry.get("PrivateIpAddress")
            public, description = entry.get("AssociatePublicIpAddress"), entry.get("Description", "")
        if subnet_id is not None and not behind.exists(call.region, "subnet", subnet_id):
            raise Refusal("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")
        zone = call.get("Placement", {}).get("AvailabilityZone")
        if zone is not None and zone not in behind.zones(call.region):
            raise Refusal("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
        subnet = backend.get_subnet(subnet_id) if subnet_id else self.default_subnet(call, zone)
        if zone is not None and subnet.availability_zone != zone:
            raise Refusal("InvalidParameterValue", f"The availability zone '{zone}' is not that of the subnet '{subnet.id}', {subnet.availability_zone}")
        groups = self.groups(call, subnet, groups)
        if address is not None:
            self.check_address(call, subnet, address)
        return subnet, groups, address, public, description

    def default_subnet(self, call, zone):
        backend = self.front.behind.ec2(call.region)
        defaults = sorted((s for s in backend.get_default_subnets().values() if zone in (None, s.availability_zone)), key=lambda s: s.availability_zone)
        if not defaults:
            raise Refusal("MissingInput", "No subnets found for the default VPC. Please specify a subnet.")
        kind = call.get("InstanceType", "m1.small")
        offered = [s for s in defaults if kind in ec2_types.in_zone(call.region.name, s.availability_zone)] or defaults
        # EC2 takes a zone that has room.
        for subnet in offered:
            room = self.front.capacity.room(call.region, subnet.availability_zone, kind)
            if room is None or room >= call.get("MinCount"):
                return subnet
        return offered[0]

    def groups(self, call, subnet, groups):
        backend = self.front.behind.ec2(call.region)
        if call.get("SecurityGroups"):
            if call.get("SubnetId"):
                raise combination("The parameter groupName cannot be used with the parameter subnet")
            for name in call.get("SecurityGroups"):
                group = backend.get_security_group_from_name(name, subnet.vpc_id)
                if group is None:
                    raise Refusal("InvalidGroup.NotFound", f"The security group '{name}' does not exist in default VPC '{subnet.vpc_id}'")
                groups = groups + [group.id]
        if not groups:
            return [backend.get_default_security_group(subnet.vpc_id).id]
        self.check_groups(call, groups, subnet.vpc_id)
        return list(dict.fromkeys(groups))

    def check_groups(self, call, groups, vpc_id):
        for group_id in groups:
            malformed([group_id], "sg", "InvalidGroupId.Malformed")
            group = self.front.behind.ec2(call.region).get_security_group_from_id(group_id)
            if group is None:
                raise Refusal("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")
            if group.vpc_id != vpc_id:
                raise Refusal("InvalidParameter", f"Security group {group_id} and the subnet belong to different networks.")

    @staticmethod
    def check_address(call, subnet, address):
        if call.get("MaxCount") > 1:
            raise combination("A private address can be given for one instance only")
        try:
            inside = ipaddress.ip_address(address) in subnet.cidr
        except ValueError:
            inside = False
        first, last = subnet.cidr[4], subnet.cidr[-2]
        if not inside or not first <= ipaddress.ip_address(address) <= last:
            raise Refusal("InvalidParameterValue", f"Address {address} does not fall within the subnet's address range {subnet.cidr_block}")
        if address in subnet._subnet_ips:  # pylint: disable=protected-access
            raise Refusal("InvalidIPAddress.InUse", f"Address {address} is in use.")

    @staticmethod
    def placement(call, kind, zone):
        """The placement group's name, or None."""
        name = call.get("Placement", {}).get("GroupName")
        if not name:
            return None
        group = call.region.groups.get(name)
        if group is None:
            raise Refusal("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
        members = [i for i in call.region.instances.values() if i.group_name == name and i.state() in ("pending", "running")]
        if group.strategy == "cluster":
            if "cluster" not in ec2_types.facts(kind).get("PlacementGroupInfo", {}).get("SupportedStrategies", ()):
                raise combination(f"Cluster placement groups are not supported by the '{kind}' instance type. Specify a supported instance type or change the placement group strategy, and try again.")
            if any(i.zone != zone for i in members):
                raise combination(f"The placement group '{name}' is in another zone, {members[0].zone}")
        if group.strategy == "spread" and sum(1 for i in members if i.zone == zone) + call.get("MaxCount") > 7:
            raise Refusal("InstanceLimitExceeded", "A spread placement group has at most 7 running instances in a zone")
        return name

    @staticmethod
    def spot_options(call, kind, zone):
        market = call.get("InstanceMarketOptions")
        if not market:
            return None
        if market.get("MarketType") != "spot":
            raise Refusal("UnsupportedOperation", f"The fake knows no market '{market.get('MarketType')}'", violation=True)
        options = market.get("SpotOptions", {})
        if options.get("SpotInstanceType", "one-time") == "one-time" and options.get("InstanceInterruptionBehavior", "terminate") != "terminate":
            raise combination("InstanceInterruptionBehavior stop or hibernate needs a persistent Spot request")
        if options.get("SpotInstanceType", "one-time") != "one-time":
            raise Refusal("UnsupportedOperation", "The fake knows one-time Spot requests only", violation=True)
        if "MaxPrice" in options:
            try:
                most = float(options["MaxPrice"])
            except ValueError:
                raise Refusal("InvalidParameterValue", f"Value ({options['MaxPrice']}) for parameter maxPrice is invalid") from None
            price = ec2_types.price(kind, zone)
            if most < price:
                raise Refusal("SpotMaxPriceTooLow", f"Your Spot request price of {most} is lower than the minimum required Spot request fulfillment price of {price}.")
        return options

    # --- the launch

    def run(self, call):
        world, region = call.world, call.region
        unknown = sorted(set(call.parameters) - KNOWN)
        if unknown:
            raise Refusal("UnsupportedOperation", f"The fake does not know RunInstances' parameter {unknown[0]}", violation=True)
        least, most = call.get("MinCount"), call.get("MaxCount")
        if not 1 <= least <= most:
            raise Refusal("InvalidParameterValue", f"Value ({least}, {most}) for parameters minCount and maxCount is invalid: 1 ≤ minCount ≤ maxCount")
        image = self.image(call)
        kind = self.type(call, image)
        data = self.user_data(call)
        if call.get("KeyName") is not None and call.get("KeyName") not in self.front.behind.ec2(region).key_pairs:
            raise Refusal("InvalidKeyPair.NotFound", f"The key pair '{call.get('KeyName')}' does not exist")
        subnet, groups, address, public, description = self.network(call)
        zone = subnet.availability_zone
        if kind not in ec2_types.in_zone(region.name, zone):
            raise Refusal("Unsupported", f"Your requested instance type ({kind}) is not supported in your requested Availability Zone ({zone}).")
        profile = self.profile(call, call.get("IamInstanceProfile")) if call.get("IamInstanceProfile") else (None, None)
        group_name, spot = self.placement(call, kind, zone), self.spot_options(call, kind, zone)
        devices, options = self.devices(call, image), self.metadata_options(call, image)
        count = self.front.capacity.check(region, zone, kind, least, most)
        free = subnet.cidr.num_addresses - 5 - len(subnet._subnet_ips)  # pylint: disable=protected-access
        if free < least:
            raise Refusal("InsufficientFreeAddressesInSubnet", f"There are not enough free addresses in subnet '{subnet.id}' to satisfy the requested number of instances.")
        count = min(count, free)
        reservation = Reservation(region.account)
        for index in range(count):
            instance = Instance(
                world, region, self.front.bodies, image, tags=tags_of(call.get("TagSpecifications"), "instance"), reservation=reservation, type=kind, index=index,
                key_name=call.get("KeyName"), profile_arn=profile[0], profile_id=profile[1], group_ids=groups, devices=devices, user_data=data, zone=zone,
                metadata_options=dict(options), shutdown_behavior=call.get("InstanceInitiatedShutdownBehavior", "stop"), protected=call.get("DisableApiTermination", False),
                stop_protected=call.get("DisableApiStop", False), monitored=call.get("Monitoring", {}).get("Enabled", False),
                ebs_optimized=call.get("EbsOptimized", False), group_name=group_name, client_token=call.get("ClientToken", ""),
                tenancy=call.get("Placement", {}).get("Tenancy", "default"), subnet_id=subnet.id, vpc_id=subnet.vpc_id,
                wants_address=truth(subnet.map_public_ip_on_launch) if public is None else public)
            instance.interface = self.front.behind.make_interface(region, subnet, instance, groups, address, description, tags_of(call.get("TagSpecifications"), "network-interface"))
            instance.private_ip = instance.interface.private_ip_address
            instance.assign_address()
            self.make_volumes(call, instance)
            if spot is not None:
                instance.spot = SpotRequest(world, instance, spot, tags_of(call.get("TagSpecifications"), "spot-instances-request"))
                region.spot_requests[instance.spot.id] = instance.spot
            region.instances[instance.id] = instance
            reservation.instances.append(instance)
        for instance in reservation.instances:
            self.front.bodies.start(instance)
        return lambda: reservation.described(reservation.instances)

    def make_volumes(self, call, instance):
        for device in instance.devices:
            fields = device.get("Ebs")
            if not fields:
                continue
            snapshot = call.region.snapshots.get(fields.get("SnapshotId"))
            volume = Volume(call.world, call.region, instance.zone, fields["VolumeSize"], fields, tags_of(call.get("TagSpecifications"), "volume"), snapshot)
            volume.attach(instance, device["DeviceName"], fields["DeleteOnTermination"])
            call.region.volumes[volume.id] = volume


def truth(value):
    return value is True or str(value).lower() == "true"


# A place or a role given as an empty word is one not given: EC2's query protocol knows no difference, and boto3's users rely on it (Flintrock's
# ec2.py: "We set some of these defaults to empty strings", boto3 issue 400).
BLANK = {"SubnetId": (), "IamInstanceProfile": ("Arn", "Name"), "Placement": ("AvailabilityZone", "GroupName")}


def without_blanks(parameters):
    kept = {}
    for name, value in parameters.items():
        if name in BLANK and isinstance(value, dict):
            value = {key: one for key, one in value.items() if key not in BLANK[name] or one != ""}
        if name not in BLANK or value not in ("", {}):
            kept[name] = value
    return kept


@operation("ec2", "RunInstances")
def run_instances(call):
    call.parameters = without_blanks(call.parameters)
    check_specifications(call.get("TagSpecifications"), ("instance", "volume", "spot-instances-request", "network-interface"), "RunInstances")
    with call.world.lock:
        result = once(call.region, "RunInstances", call.get("ClientToken"), call.parameters, lambda: call.front.launcher.run(call))
        return result() if callable(result) else result


@operation("ec2", "DescribeSpotInstanceRequests")
def describe_spot_instance_requests(call):
    with call.world.lock:
        requests = call.region.spot_requests
        for request_id in call.get("SpotInstanceRequestIds", ()):
            if request_id not in requests:
                raise Refusal("InvalidSpotInstanceRequestID.NotFound", f"The spot instance request ID '{request_id}' does not exist")
        found = [r for r in requests.values() if not call.get("SpotInstanceRequestIds") or r.id in call.get("SpotInstanceRequestIds")]
        found = filtered(found, call.get("Filters"), {"instance-id": lambda r: r.instance.id, "state": lambda r: r.state, "status-code": lambda r: r.code,
                                                      "spot-instance-request-id": lambda r: r.id, "type": lambda r: "one-time"})
        shown, token = page(found, call.parameters)
        return {"SpotInstanceRequests": [request.described() for request in shown], "NextToken": token}


@operation("ec2", "CancelSpotInstanceRequests")
def cancel_spot_instance_requests(call):
    with call.world.lock:
        cancelled = []
        for request_id in call.get("SpotInstanceRequestIds"):
            request = call.region.spot_requests.get(request_id)
            if request is None:
                raise Refusal("InvalidSpotInstanceRequestID.NotFound", f"The spot instance request ID '{request_id}' does not exist")
            request.state = "cancelled" if request.state in ("active", "open") else request.state
            cancelled.append({"SpotInstanceRequestId": request.id, "State": request.state})
        return {"CancelledSpotInstanceRequests": cancelled}

