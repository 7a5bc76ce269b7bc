"""moto's networks with what it lacks: nothing goes while something stands on it, and machines learn of changed rules.

The refusals are DependencyViolation and its kin ("Error codes for the Amazon EC2 API"; "Delete your VPC", VPC user guide).
"""
from errors import Refusal
from front import operation
from world import find, malformed


# What moto would do to instances, images and snapshots of its own: the fake's are not among them.
@operation("ec2", "CreateFleet", "RequestSpotInstances", "RequestSpotFleet", "RunScheduledInstances", "CreateImage", "ImportImage", "ImportSnapshot", "ImportVolume",
           "ImportInstance", "CreateSnapshots", "ReplaceIamInstanceProfileAssociation", "ModifyInstancePlacement", "MonitorInstances", "UnmonitorInstances",
           "GetPasswordData", "AttachNetworkInterface", "DetachNetworkInterface", "DescribeVolumeAttribute", "ModifyVolumeAttribute", "DescribeVolumeStatus",
           "EnableImage", "DisableImage", "ExportImage", "CreateRestoreImageTask", "CreateStoreImageTask", "RestoreSnapshotFromRecycleBin", "LockSnapshot",
           "EnableEbsEncryptionByDefault", "ModifyInstanceCreditSpecification", "ModifyInstanceMaintenanceOptions", "ResetInstanceAttribute")
def not_known(call):
    raise Refusal("UnsupportedOperation", f"The fake does not know {call.name}", violation=True)


def dependency(message):
    return Refusal("DependencyViolation", message)


def interfaces(call, fits):
    return [interface for interface in call.front.behind.ec2(call.region).enis.values() if fits(interface)]


@operation("ec2", "DeleteSecurityGroup")
def delete_security_group(call):
    backend = call.front.behind.ec2(call.region)
    with call.world.lock:
        settle(call)
        group_id = call.get("GroupId")
        group = backend.get_security_group_from_id(group_id) if group_id else backend.get_security_group_from_name(call.get("GroupName", ""))
        if group is None:
            raise Refusal("InvalidGroup.NotFound", f"The security group '{group_id or call.get('GroupName')}' does not exist")
        if group.name == "default":
            raise Refusal("CannotDelete", f"the specified group: \"{group.id}\" name: \"default\" cannot be deleted by a user")
        used = interfaces(call, lambda i: any(g.id == group.id for g in i.group_set))
        others = [g for groups in backend.groups.values() for g in groups.values() if g.id != group.id]
        named = [g for g in others if any(rule.source_group.get("GroupId") == group.id for rule in g.ingress_rules + g.egress_rules)]
        if used or named:
            raise dependency(f"resource {group.id} has a dependent object")
        result = call.front.behind.answer(call)
        backend.tags.pop(group.id, None)
        call.front.bodies.group_changed(call.region, group.id)
        return result


def settle(call):
    """Instances whose end is due, end: their interfaces go with them."""
    for instance in call.region.instances.values():
        instance.state()


@operation("ec2", "DeleteSubnet")
def delete_subnet(call):
    with call.world.lock:
        settle(call)
        if interfaces(call, lambda i: i.subnet.id == call.get("SubnetId")):
            raise dependency(f"The subnet '{call.get('SubnetId')}' has dependencies and cannot be deleted.")
        return call.front.behind.answer(call)


@operation("ec2", "DeleteVpc")
def delete_vpc(call):
    backend, vpc_id = call.front.behind.ec2(call.region), call.get("VpcId")
    with call.world.lock:
        settle(call)
        groups = [group for group in backend.groups.get(vpc_id, {}).values() if group.name != "default"]
        gateways = [gateway for gateway in backend.internet_gateways.values() if gateway.vpc and gateway.vpc.id == vpc_id]
        endpoints = [endpoint for endpoint in backend.vpc_end_points.values() if endpoint.vpc_id == vpc_id and endpoint.state != "deleted"]
        if groups or gateways or endpoints or interfaces(call, lambda i: i.vpc_id == vpc_id):
            raise dependency(f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
        return call.front.behind.answer(call)


@operation("ec2", "DetachInternetGateway")
def detach_internet_gateway(call):
    with call.world.lock:
        settle(call)
        mapped = [i for i in call.region.instances.values() if i.interface is not None and i.vpc_id == call.get("VpcId") and i.public_ip()]
        if mapped:
            raise dependency(f"Network {call.get('VpcId')} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.")
        return call.front.behind.answer(call)


@operation("ec2", "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress",
           "ModifySecurityGroupRules")
def change_rules(call):
    result = call.front.behind.answer(call)
    backend = call.front.behind.ec2(call.region)
    group_id = call.get("GroupId")
    if group_id is None and call.get("GroupName"):
        group = backend.get_security_group_from_name(call.get("GroupName"), backend.default_vpc.id if backend.default_vpc else None)
        group_id = group.id if group else None
    if group_id and result[0] < 300:
        call.front.bodies.group_changed(call.region, group_id)
    return result


# --- elastic addresses: moto keeps them, on the instance's network interface

@operation("ec2", "AssociateAddress")
def associate_address(call):
    if not call.get("InstanceId"):
        return call.front.behind.answer(call)
    with call.world.lock:
        malformed([call.get("InstanceId")], "i", "InvalidInstanceID.Malformed")
        instance = find(call.region.instances, "instance", call.get("InstanceId"))
        if instance.state() not in ("running", "stopped", "pending"):
            raise Refusal("InvalidInstanceID", f"The instance '{instance.id}' is not in a valid state for this operation.")
        backend = call.front.behind.ec2(call.region)
        address = next((a for a in backend.addresses if call.get("AllocationId", "") == a.allocation_id or call.get("PublicIp", "") == a.public_ip), None)
        if address is None:
            raise Refusal("InvalidAllocationID.NotFound" if call.get("AllocationId") else "InvalidAddress.NotFound",
                          f"The address '{call.get('AllocationId') or call.get('PublicIp')}' does not exist")
        if address.eni is not None and address.eni is not instance.interface and not call.get("AllowReassociation", True):
            raise Refusal("Resource.AlreadyAssociated", f"resource {address.allocation_id} is already associated with associate-id {address.association_id}")
        with call.front.behind.lock:
            if address.eni is not None:
                address.eni.public_ip = None
            backend.associate_address(eni=instance.interface, allocation_id=address.allocation_id, reassociate=True)
        call.front.bodies.update(instance, public_ip=instance.public_ip())
        return {"AssociationId": address.association_id}


@operation("ec2", "DisassociateAddress", "ReleaseAddress")
def let_address_go(call):
    with call.world.lock:
        backend = call.front.behind.ec2(call.region)
        named = (call.get("AssociationId"), call.get("AllocationId"), call.get("PublicIp"))
        address = next((a for a in backend.addresses if a.association_id and a.association_id == named[0] or a.allocation_id == named[1] or a.public_ip == named[2]), None)
        if address is not None and address.eni is not None:
            if call.name == "ReleaseAddress":
                raise Refusal("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")
            interface = address.eni
            interface.public_ip = None
            address.eni = None
            for instance in call.region.instances.values():
                if instance.interface is interface:
                    call.front.bodies.update(instance, public_ip=instance.public_ip())
            address.association_id = None
            return {}
        return call.front.behind.answer(call)
