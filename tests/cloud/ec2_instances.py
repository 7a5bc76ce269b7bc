"""Instances after their launch: their states, what is told of them, and what can be done with them (ec2_run.py launches them).

States follow "Amazon EC2 instance state changes" (EC2 user guide). A change that takes time ends when its timer has run and the machine
behind, if there is one, has done what it was told.
"""
import base64

import ec2_types
from errors import Refusal
from front import operation
from world import Resource, Timer, chosen, filtered, find, malformed, now, page

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
NEXT = {"pending": "running", "stopping": "stopped", "shutting-down": "terminated"}


class Instance(Resource):
    def __init__(self, world, region, bodies, image, **fields):
        super().__init__(world, "instance", "i", fields.pop("tags", ()))
        self.region, self.bodies, self.image, self.lane = region, bodies, image, bodies.lane()
        self.reservation = self.interface = self.subnet_id = self.vpc_id = self.private_ip = self.zone = None
        self.type, self.index, self.key_name, self.profile_arn, self.profile_id = "m1.small", 0, None, None, None
        self.group_ids, self.devices, self.volumes = [], [], {}  # volumes: device → Volume
        self.user_data, self.metadata_options, self.shutdown_behavior = b"", {}, "stop"
        self.protected = self.stop_protected = self.monitored = self.ebs_optimized = False
        self.source_dest_check, self.group_name, self.client_token, self.spot, self.tenancy = True, None, "", None, "default"
        self.killed, self.auto_address = False, None  # the public address that ends with the next stop
        self.wants_address = False
        for field, value in fields.items():
            setattr(self, field, value)
        # The image may be gone by the time a stopped instance starts.
        root = next(device for device in self.devices if device["DeviceName"] == image.root_device)
        self.root_data = region.snapshots[root["Ebs"]["SnapshotId"]].blocks
        self.launched_at, self.last_console = now(), b""
        self.phase, self.timer = "pending", Timer(world, "instance", world.settings["instance_pending_ms"])
        self.reason, self.transition = None, ""

    # --- states

    def state(self):
        if self.phase in NEXT and self.timer.done() and not self.lane.busy():
            if self.phase == "pending" and self.lane.error:
                self.reason = {"Code": "Server.InternalError", "Message": f"Server.InternalError: {self.lane.error}"}
                self.release()
                self.phase = "terminated"
            else:
                self.phase = NEXT[self.phase]
                if self.phase == "terminated":
                    self.release()
        return self.phase

    def enter(self, phase, setting):
        self.phase, self.timer = phase, Timer(self.world, "instance", self.world.settings[setting])

    def start(self):
        self.enter("pending", "instance_pending_ms")
        self.reason, self.transition, self.launched_at = None, "", now()
        self.lane.error, self.killed = None, False
        self.assign_address()
        self.bodies.start(self)

    def stop(self, code, message, force=False):
        self.enter("stopping", "instance_stopping_ms")
        self.because(code, message)
        self.auto_address = None
        self.bodies.act(self, "stop", force=force)

    def terminate(self, code, message, force=False):
        self.enter("shutting-down", "instance_terminating_ms")
        self.because(code, message)
        self.bodies.console(self)
        self.bodies.act(self, "terminate", force=force)
        if self.spot:
            self.spot.ended(code)

    def because(self, code, message):
        self.reason = {"Code": code, "Message": f"{code}: {message}"}
        self.transition = f"{message} ({now().strftime('%Y-%m-%d %H:%M:%S')} GMT)"

    def assign_address(self):
        if self.wants_address and self.auto_address is None:
            self.auto_address = self.world.next_public_address()

    def public_ip(self):
        """An elastic address if there is one, else the automatic one."""
        return (getattr(self.interface, "public_ip", None) if self.interface else None) or self.auto_address

    def release(self):
        """What ends with the instance: volumes marked so, its interface, its addresses."""
        for device, volume in list(self.volumes.items()):
            volume.detach()
            if volume.delete_with_instance:
                self.region.volumes.pop(volume.id, None)
                self.bodies.forget_volume(volume)
            self.volumes.pop(device, None)
        self.bodies.behind.drop_interface(self.region, self.interface)
        self.interface = self.auto_address = None

    # --- told

    def dns(self, address, public):
        if not address:
            return ""
        dashed = address.replace(".", "-")
        if public:
            return f"ec2-{dashed}.{'compute-1' if self.region.name == 'us-east-1' else self.region.name + '.compute'}.amazonaws.com"
        return f"ip-{dashed}.{'ec2.internal' if self.region.name == 'us-east-1' else self.region.name + '.compute.internal'}"

    def boot_mode(self):
        modes = ec2_types.facts(self.type).get("SupportedBootModes", ["legacy-bios"])
        if self.image.boot_mode == "uefi-preferred":
            return "uefi" if "uefi" in modes else "legacy-bios"
        return self.image.boot_mode or ("uefi" if self.image.architecture == "arm64" else "legacy-bios")

    def described(self):
        state, live = self.state(), self.interface is not None
        public = self.public_ip() if live else None
        groups = self.bodies.groups_shown(self) if live else []
        return {
            "InstanceId": self.id, "ImageId": self.image.id, "State": {"Code": CODES[state], "Name": state}, "StateTransitionReason": self.transition,
            "StateReason": self.reason, "PrivateDnsName": self.dns(self.private_ip if live else None, False), "PublicDnsName": self.dns(public, True),
            "PrivateIpAddress": self.private_ip if live else None, "PublicIpAddress": public, "KeyName": self.key_name, "AmiLaunchIndex": self.index,
            "ProductCodes": [], "InstanceType": self.type, "LaunchTime": self.launched_at, "KernelId": self.image.kernel,
            "Placement": {"AvailabilityZone": self.zone, "GroupName": self.group_name or "", "Tenancy": self.tenancy},
            "Monitoring": {"State": "enabled" if self.monitored else "disabled"}, "SubnetId": self.subnet_id if live else None,
            "VpcId": self.vpc_id if live else None, "Architecture": self.image.architecture, "BootMode": self.image.boot_mode,
            "CurrentInstanceBootMode": self.boot_mode(), "BlockDeviceMappings": [device_shown(volume) for volume in self.volumes.values()],
            "ClientToken": self.client_token, "EbsOptimized": self.ebs_optimized, "EnaSupport": self.image.ena or None, "Hypervisor": "xen",
            "IamInstanceProfile": {"Arn": self.profile_arn, "Id": self.profile_id} if self.profile_arn else None,
            "InstanceLifecycle": "spot" if self.spot else None, "SpotInstanceRequestId": self.spot.id if self.spot else None,
            "NetworkInterfaces": [self.interface_shown(groups, public)] if live else [], "RootDeviceName": self.image.root_device, "RootDeviceType": "ebs",
            "SecurityGroups": groups, "SourceDestCheck": self.source_dest_check, "Tags": self.tag_list() or None,
            "VirtualizationType": self.image.virtualization, "MetadataOptions": dict(self.metadata_options, State="applied"),
            "PlatformDetails": "Linux/UNIX", "UsageOperation": "RunInstances",
            "CpuOptions": {"CoreCount": max(1, ec2_types.vcpus(self.type) // 2), "ThreadsPerCore": min(2, ec2_types.vcpus(self.type))}}

    def interface_shown(self, groups, public):
        association = {"IpOwnerId": "amazon", "PublicDnsName": self.dns(public, True), "PublicIp": public} if public else None
        return {"NetworkInterfaceId": self.interface.id, "SubnetId": self.subnet_id, "VpcId": self.vpc_id, "OwnerId": self.region.account, "Status": "in-use",
                "MacAddress": self.interface.mac_address, "PrivateIpAddress": self.private_ip, "PrivateDnsName": self.dns(self.private_ip, False),
                "SourceDestCheck": self.source_dest_check, "Groups": groups, "InterfaceType": "interface", "Description": self.interface.description,
                "Attachment": {"AttachmentId": self.interface.attachment_id, "DeviceIndex": 0, "Status": "attached", "AttachTime": self.launched_at,
                               "DeleteOnTermination": True, "NetworkCardIndex": 0}, "Association": association,
                "PrivateIpAddresses": [{"Primary": True, "PrivateIpAddress": self.private_ip, "PrivateDnsName": self.dns(self.private_ip, False),
                                        "Association": association}]}


def device_shown(volume):
    attachment = volume.attachment()
    return {"DeviceName": volume.device, "Ebs": {"VolumeId": volume.id, "Status": attachment["State"], "AttachTime": volume.attached_at,
                                                 "DeleteOnTermination": volume.delete_with_instance}}


GETTERS = {
    "architecture": lambda i: i.image.architecture, "availability-zone": lambda i: i.zone, "client-token": lambda i: i.client_token,
    "block-device-mapping.volume-id": lambda i: [v.id for v in i.volumes.values()], "block-device-mapping.device-name": lambda i: list(i.volumes),
    "dns-name": lambda i: i.dns(i.public_ip(), True), "iam-instance-profile.arn": lambda i: i.profile_arn, "image-id": lambda i: i.image.id,
    "instance-id": lambda i: i.id, "instance-lifecycle": lambda i: "spot" if i.spot else None, "instance-state-code": lambda i: CODES[i.state()],
    "instance-state-name": lambda i: i.state(), "instance-type": lambda i: i.type, "instance.group-id": lambda i: i.group_ids,
    "instance.group-name": lambda i: [g["GroupName"] for g in i.bodies.groups_shown(i)], "ip-address": lambda i: i.public_ip(),
    "key-name": lambda i: i.key_name, "launch-index": lambda i: i.index, "launch-time": lambda i: i.launched_at,
    "network-interface.network-interface-id": lambda i: i.interface and i.interface.id, "network-interface.group-id": lambda i: i.group_ids,
    "network-interface.subnet-id": lambda i: i.subnet_id, "network-interface.vpc-id": lambda i: i.vpc_id,
    "network-interface.addresses.private-ip-address": lambda i: i.private_ip, "owner-id": lambda i: i.region.account,
    "placement-group-name": lambda i: i.group_name, "private-dns-name": lambda i: i.dns(i.private_ip, False), "private-ip-address": lambda i: i.private_ip,
    "reservation-id": lambda i: i.reservation.id, "root-device-name": lambda i: i.image.root_device, "root-device-type": lambda i: "ebs",
    "spot-instance-request-id": lambda i: i.spot and i.spot.id, "state-reason-code": lambda i: i.reason and i.reason["Code"], "subnet-id": lambda i: i.subnet_id,
    "tenancy": lambda i: i.tenancy, "virtualization-type": lambda i: i.image.virtualization, "vpc-id": lambda i: i.vpc_id,
    "metadata-options.http-tokens": lambda i: i.metadata_options.get("HttpTokens"), "network-interface.status": lambda i: "in-use",
}
for group in ("group-id", "group-name"):
    GETTERS.setdefault(group, GETTERS[f"instance.{group}"])


def named(call, name="InstanceIds"):
    """The instances that a call names; all must exist."""
    ids = call.get(name)
    malformed(ids, "i", "InvalidInstanceID.Malformed")
    lost = [i for i in ids if i not in call.region.instances]
    if lost:
        find(call.region.instances, "instance", lost[0])
    return [call.region.instances[i] for i in dict.fromkeys(ids)]


def one(call):
    malformed([call.get("InstanceId")], "i", "InvalidInstanceID.Malformed")
    return find(call.region.instances, "instance", call.get("InstanceId"))


@operation("ec2", "DescribeInstances")
def describe_instances(call):
    ids = call.get("InstanceIds")
    malformed(ids or (), "i", "InvalidInstanceID.Malformed")
    with call.world.lock:
        found = filtered(chosen(call.region.instances, "instance", ids), call.get("Filters"), GETTERS)
        shown, token = page(found, call.parameters, ids="InstanceIds" if ids else None)
        reservations = {}
        for instance in shown:
            reservations.setdefault(instance.reservation, []).append(instance)
        return {"Reservations": [reservation.described(instances) for reservation, instances in reservations.items()], "NextToken": token}


@operation("ec2", "DescribeInstanceStatus")
def describe_instance_status(call):
    ids = call.get("InstanceIds")
    malformed(ids or (), "i", "InvalidInstanceID.Malformed")
    with call.world.lock:
        found = [i for i in chosen(call.region.instances, "instance", ids) if call.get("IncludeAllInstances") or i.state() == "running"]
        getters = {name: GETTERS[name] for name in ("availability-zone", "instance-state-code", "instance-state-name")}
        found = filtered(found, call.get("Filters"), dict(getters, **{"instance-status.status": summary, "system-status.status": summary}))
        shown, token = page(found, call.parameters, ids="InstanceIds" if ids else None)
        return {"InstanceStatuses": [status(instance) for instance in shown], "NextToken": token}


def summary(instance):
    """Status checks are `initializing` for a while after boot."""
    if instance.state() != "running":
        return "not-applicable"
    if not instance.bodies.healthy(instance):
        return "impaired"
    return "ok" if (now() - instance.launched_at).total_seconds() * 1000 > 3 * instance.world.settings["instance_pending_ms"] else "initializing"


def status(instance):
    text = summary(instance)
    detail = {"ok": "passed", "impaired": "failed", "initializing": "initializing"}.get(text)
    shown = {"Status": text, "Details": [{"Name": "reachability", "Status": detail}] if detail else None}
    return {"InstanceId": instance.id, "AvailabilityZone": instance.zone, "InstanceState": {"Code": CODES[instance.state()], "Name": instance.state()},
            "InstanceStatus": shown, "SystemStatus": shown}


def changed(instances, before):
    return [{"InstanceId": i.id, "CurrentState": {"Code": CODES[i.state()], "Name": i.state()}, "PreviousState": {"Code": CODES[before[i.id]], "Name": before[i.id]}}
            for i in instances]


def wrong_state(instance, verb):
    return Refusal("IncorrectInstanceState", f"The instance '{instance.id}' is not in a state from which it can be {verb}.")


@operation("ec2", "StartInstances")
def start_instances(call):
    with call.world.lock:
        instances = named(call)
        before = {i.id: i.state() for i in instances}
        for instance in instances:
            if before[instance.id] not in ("stopped", "pending", "running"):
                raise wrong_state(instance, "started")
        call.front.capacity.check_start(call, [i for i in instances if before[i.id] == "stopped"])
        for instance in instances:
            if before[instance.id] == "stopped":
                instance.start()
        return {"StartingInstances": changed(instances, before)}


@operation("ec2", "StopInstances")
def stop_instances(call):
    with call.world.lock:
        instances = named(call)
        before = {i.id: i.state() for i in instances}
        for instance in instances:
            if before[instance.id] not in ("running", "stopping", "stopped"):
                raise wrong_state(instance, "stopped")
            if instance.spot:
                raise Refusal("UnsupportedOperation", f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot Instance request.")
            if instance.stop_protected:
                raise Refusal("OperationNotPermitted", f"The instance '{instance.id}' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.")
        for instance in instances:
            if before[instance.id] == "running":
                instance.stop("Client.UserInitiatedShutdown", "User initiated shutdown", bool(call.get("Force")))
        return {"StoppingInstances": changed(instances, before)}


@operation("ec2", "TerminateInstances")
def terminate_instances(call):
    with call.world.lock:
        instances = named(call)
        before = {i.id: i.state() for i in instances}
        for instance in instances:
            if instance.protected:
                raise Refusal("OperationNotPermitted", f"The instance '{instance.id}' may not be terminated. "
                              "Modify its 'disableApiTermination' instance attribute and try again.")
        for instance in instances:
            if before[instance.id] not in ("shutting-down", "terminated"):
                instance.terminate("Client.UserInitiatedShutdown", "User initiated", bool(call.get("Force")))
        return {"TerminatingInstances": changed(instances, before)}


@operation("ec2", "RebootInstances")
def reboot_instances(call):
    with call.world.lock:
        instances = named(call)
        for instance in instances:
            if instance.state() != "running":
                raise wrong_state(instance, "rebooted")
        for instance in instances:
            call.front.bodies.act(instance, "reboot")
    return {}


@operation("ec2", "GetConsoleOutput")
def get_console_output(call):
    with call.world.lock:
        instance = one(call)
        if call.get("Latest") and ec2_types.facts(instance.type).get("Hypervisor") != "nitro":
            raise Refusal("UnsupportedOperation", "The latest console output is supported by instances built on the Nitro system only")
        output = call.front.bodies.console(instance)
        return {"InstanceId": instance.id, "Timestamp": now(), "Output": base64.b64encode(output).decode()}


# --- attributes

@operation("ec2", "ModifyInstanceAttribute")
def modify_instance_attribute(call):
    with call.world.lock:
        instance = one(call)
        given = dict(call.parameters)
        legacy = {"instanceType": "InstanceType", "userData": "UserData", "disableApiTermination": "DisableApiTermination", "disableApiStop": "DisableApiStop",
                  "instanceInitiatedShutdownBehavior": "InstanceInitiatedShutdownBehavior", "sourceDestCheck": "SourceDestCheck", "ebsOptimized": "EbsOptimized"}
        if call.get("Attribute") in legacy and call.get("Value") is not None:
            value = call.get("Value")
            given[legacy[call.get("Attribute")]] = {"Value": value if value not in ("true", "false") else value == "true"}
        for name, change in CHANGES.items():
            if name in given:
                change(call, instance, given[name])
    return {}


def stopped_only(instance, what):
    if instance.state() != "stopped":
        raise Refusal("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'stopped' state: its {what} can't be changed.")


def change_type(call, instance, value):
    stopped_only(instance, "type")
    if value["Value"] not in ec2_types.in_region(call.region.name):
        raise Refusal("InvalidParameterValue", f"Invalid value '{value['Value']}' for InstanceType.")
    instance.type = value["Value"]


def change_user_data(_call, instance, value):
    stopped_only(instance, "user data")
    data = value["Value"]
    instance.user_data = data if isinstance(data, bytes) else base64.b64decode(data)


def change_groups(call, instance, groups):
    call.front.launcher.check_groups(call, groups, instance.vpc_id)
    instance.group_ids = list(groups)
    call.front.behind.set_groups(call.region, instance.interface, groups)
    call.front.bodies.update(instance, groups=call.front.bodies.groups(instance))


def change_shutdown(_call, instance, value):
    if value.get("Value") not in ("stop", "terminate"):
        raise Refusal("InvalidParameterValue", f"Value ({value.get('Value')}) for parameter instanceInitiatedShutdownBehavior is invalid.")
    instance.shutdown_behavior = value["Value"]


def change_devices(_call, instance, mappings):
    for mapping in mappings:
        volume = instance.volumes.get(mapping.get("DeviceName"))
        if volume is None:
            raise Refusal("InvalidInstanceAttributeValue", f"No device is currently mapped at {mapping.get('DeviceName')}")
        volume.delete_with_instance = mapping.get("Ebs", {}).get("DeleteOnTermination", volume.delete_with_instance)


def flag(field):
    return lambda _call, instance, value: setattr(instance, field, bool(value.get("Value")))


CHANGES = {"InstanceType": change_type, "UserData": change_user_data, "Groups": change_groups, "InstanceInitiatedShutdownBehavior": change_shutdown,
           "DisableApiTermination": flag("protected"), "DisableApiStop": flag("stop_protected"), "SourceDestCheck": flag("source_dest_check"),
           "EbsOptimized": flag("ebs_optimized"), "BlockDeviceMappings": change_devices}


@operation("ec2", "DescribeInstanceAttribute")
def describe_instance_attribute(call):
    with call.world.lock:
        instance, name = one(call), call.get("Attribute")
        values = {"instanceType": ("InstanceType", instance.type), "disableApiTermination": ("DisableApiTermination", instance.protected),
                  "disableApiStop": ("DisableApiStop", instance.stop_protected), "ebsOptimized": ("EbsOptimized", instance.ebs_optimized),
                  "userData": ("UserData", base64.b64encode(instance.user_data).decode() or None), "rootDeviceName": ("RootDeviceName", instance.image.root_device),
                  "instanceInitiatedShutdownBehavior": ("InstanceInitiatedShutdownBehavior", instance.shutdown_behavior),
                  "sourceDestCheck": ("SourceDestCheck", instance.source_dest_check), "enaSupport": ("EnaSupport", instance.image.ena)}
        if name == "groupSet":
            return {"InstanceId": instance.id, "Groups": call.front.bodies.groups_shown(instance)}
        if name == "blockDeviceMapping":
            return {"InstanceId": instance.id, "BlockDeviceMappings": [device_shown(volume) for volume in instance.volumes.values()]}
        if name not in values:
            raise Refusal("InvalidParameterValue", f"Value ({name}) for parameter attribute is not supported here")
        member, value = values[name]
        return {"InstanceId": instance.id, member: {"Value": value}}


@operation("ec2", "ModifyInstanceMetadataOptions")
def modify_instance_metadata_options(call):
    with call.world.lock:
        instance = one(call)
        names = ("HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint", "InstanceMetadataTags", "HttpProtocolIpv6")
        given = {name: call.get(name) for name in names if name in call.parameters}
        if not 1 <= given.get("HttpPutResponseHopLimit", 1) <= 64:
            raise Refusal("InvalidParameterValue", "HttpPutResponseHopLimit must be 1 to 64")
        instance.metadata_options.update(given)
        call.front.bodies.update(instance, metadata_options=dict(instance.metadata_options))
        return {"InstanceId": instance.id, "InstanceMetadataOptions": dict(instance.metadata_options, State="pending")}


# --- instance profiles, after the launch

def association(instance):
    return {"AssociationId": "iip-assoc-" + instance.id[2:], "InstanceId": instance.id, "IamInstanceProfile": {"Arn": instance.profile_arn, "Id": instance.profile_id},
            "State": "associated"}


@operation("ec2", "AssociateIamInstanceProfile")
def associate_iam_instance_profile(call):
    with call.world.lock:
        instance = one(call)
        if instance.profile_arn:
            raise Refusal("IncorrectState", f"There is an existing association for instance {instance.id}")
        instance.profile_arn, instance.profile_id = call.front.launcher.profile(call, call.get("IamInstanceProfile"))
        call.front.bodies.update(instance, role=call.front.bodies.role(instance))
        return {"IamInstanceProfileAssociation": association(instance)}


@operation("ec2", "DescribeIamInstanceProfileAssociations")
def describe_iam_instance_profile_associations(call):
    with call.world.lock:
        found = [i for i in call.region.instances.values() if i.profile_arn and i.state() != "terminated"]
        found = [i for i in found if not call.get("AssociationIds") or association(i)["AssociationId"] in call.get("AssociationIds")]
        return {"IamInstanceProfileAssociations": [association(i) for i in filtered(found, call.get("Filters"), {"instance-id": lambda i: i.id, "state": lambda i: "associated"})]}


@operation("ec2", "DisassociateIamInstanceProfile")
def disassociate_iam_instance_profile(call):
    with call.world.lock:
        for instance in call.region.instances.values():
            if instance.profile_arn and association(instance)["AssociationId"] == call.get("AssociationId"):
                shown = dict(association(instance), State="disassociating")
                instance.profile_arn = instance.profile_id = None
                call.front.bodies.update(instance, role=None)
                return {"IamInstanceProfileAssociation": shown}
    raise Refusal("InvalidAssociationID.NotFound", f"The association '{call.get('AssociationId')}' does not exist")
