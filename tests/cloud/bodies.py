"""The seam between instances of the API and the machines behind them (machines.py).

What an instance does to its machine goes through its lane: one thing after the other, in the order in which the API was called, while the
calls themselves return at once as EC2's do. Without machines (`up --no-machines`) a lane does nothing and states follow the clock.
"""
import collections
import concurrent.futures
import datetime
import os
import threading
import traceback

import ec2_types


class Lane:
    """Jobs of one instance, in order."""

    def __init__(self, bodies):
        self.bodies, self.jobs, self.lock, self.running = bodies, collections.deque(), threading.Lock(), False
        self.error = None

    def busy(self):
        return self.running

    def add(self, job):
        with self.lock:
            self.jobs.append(job)
            if self.running:
                return
            self.running = True
        self.bodies.pool.submit(self.work)

    def work(self):
        while True:
            with self.lock:
                if not self.jobs:
                    self.running = False
                    return
                job = self.jobs.popleft()
            try:
                job()
            except Exception as error:  # pylint: disable=broad-except
                traceback.print_exc()
                self.error = f"{type(error).__name__}: {error}"


class Bodies:
    def __init__(self, world, behind, machines=None):
        self.world, self.behind, self.machines = world, behind, machines
        # A machine that shuts down is waited for, up to half a minute: others must not wait with it.
        self.pool = concurrent.futures.ThreadPoolExecutor(max_workers=16) if machines else None
        if machines:
            machines.on_exit = self.ended_by_itself

    def lane(self):
        return Lane(self)

    def act(self, instance, method, *arguments, **named):
        """Queues machines.METHOD(instance's id, …)."""
        if self.machines:
            instance.lane.add(lambda: getattr(self.machines, method)(instance.id, *arguments, **named))

    def start(self, instance):
        if self.machines:
            instance.lane.add(lambda: self.boot(instance))

    def boot(self, instance):
        with self.world.lock:
            facts = self.facts(instance)
            rules = {group: self.rules(instance.region, group) for group in instance.group_ids}
        for group, entry in rules.items():
            self.machines.set_group(group, entry)
        self.machines.start(facts)

    def console(self, instance):
        if not self.machines or self.machines.state(instance.id) is None:
            return instance.last_console
        instance.last_console = self.machines.console(instance.id)
        return instance.last_console

    def healthy(self, instance):
        """What the status checks see."""
        return not instance.killed and (not self.machines or self.machines.state(instance.id) == "running")

    def update(self, instance, **changes):
        if self.machines:
            instance.lane.add(lambda: self.machines.state(instance.id) and self.machines.update(instance.id, **changes))

    # --- an instance in the machines' words

    def facts(self, instance):
        region = instance.region
        backend = self.behind.ec2(region)
        subnet = backend.get_subnet(instance.subnet_id)
        vpc = backend.vpcs[subnet.vpc_id]
        volumes = [{"id": volume.id, "device": device, "path": self.volume_path(volume), "size_gib": volume.size, "delete": volume.delete_with_instance}
                   for device, volume in instance.volumes.items() if device != instance.image.root_device]
        key = backend.key_pairs.get(instance.key_name)
        return {"id": instance.id, "image_root": instance.root_data.flat(), "arch": instance.image.architecture,
                "private_ip": instance.private_ip, "public_ip": instance.public_ip(), "subnet": {"id": subnet.id, "cidr": subnet.cidr_block},
                "vpc": {"id": vpc.id, "cidr": vpc.cidr_block}, "user_data": instance.user_data, "groups": self.groups(instance), "role": self.role(instance),
                "tags": dict(instance.tags), "metadata_options": dict(instance.metadata_options), "type": ec2_types.shape(instance.type), "volumes": volumes,
                "spot": instance.spot is not None, "ami": instance.image.id, "launch_index": instance.index, "zone": instance.zone, "region": region.name,
                "account": region.account, "key": {"name": key.key_name, "public_key": text(key.material_public)} if key else None,
                "reservation": instance.reservation.id, "launch_time": instance.launched_at, "interface": instance.interface.id,
                "root_device": instance.image.root_device}

    def groups(self, instance):
        backend = self.behind.ec2(instance.region)
        found = [backend.get_security_group_from_id(group) for group in instance.group_ids]
        return [{"id": group.id, "name": group.name} for group in found if group]

    def groups_shown(self, instance):
        return [{"GroupId": group["id"], "GroupName": group["name"]} for group in self.groups(instance)]

    def role(self, instance):
        profile = self.behind.profile(instance.region, instance.profile_arn) if instance.profile_arn else None
        if profile is None or not profile.roles:
            return None
        role = profile.roles[0]

        def credentials():
            given = self.behind.role_credentials(instance.region, role.arn, instance.id)
            given["Expiration"] = datetime.datetime.fromtimestamp(given["Expiration"], datetime.timezone.utc)
            return given
        return {"name": role.name, "credentials": credentials, "profile_arn": instance.profile_arn}

    def volume_path(self, volume):
        """The volume's raw file; made when a machine needs it first, from its snapshot's data."""
        path = os.path.join(self.world.folder, f"{volume.id}.raw")
        if not os.path.exists(path):
            volume.blocks_to(path)
        return path

    def forget_volume(self, volume):
        path = os.path.join(self.world.folder, f"{volume.id}.raw")
        if os.path.exists(path):
            os.unlink(path)

    def rules(self, region, group_id):
        group = self.behind.ec2(region).get_security_group_from_id(group_id)
        if group is None:
            return None
        return {"ingress": [rule_facts(rule) for rule in group.ingress_rules], "egress": [rule_facts(rule) for rule in group.egress_rules]}

    def tags_changed(self, resource):
        """Instances see their own tags, if they are told to the metadata service."""
        if resource.kind == "instance" and resource.metadata_options.get("InstanceMetadataTags") == "enabled":
            self.update(resource, tags=dict(resource.tags))

    def group_changed(self, region, group_id):
        if self.machines:
            self.machines.set_group(group_id, self.rules(region, group_id))

    # --- what machines do by themselves

    def ended_by_itself(self, instance_id, why):
        """A machine that switched itself off: the instance's shutdown behaviour says what follows. One that crashed stays `running`, its checks fail."""
        with self.world.lock:
            instance = next((region.instances[instance_id] for region in self.world.regions.values() if instance_id in region.instances), None)
            if instance is None or why != "poweroff" or instance.state() not in ("pending", "running"):
                return
            code = "Client.InstanceInitiatedShutdown"
            if instance.shutdown_behavior == "terminate" or instance.spot:
                instance.terminate(code, "Instance initiated shutdown")
            else:
                instance.stop(code, "Instance initiated shutdown")


def rule_facts(rule):
    facts = {"protocol": rule.ip_protocol, "from_port": rule.from_port, "to_port": rule.to_port}
    if rule.source_group:
        facts["group"] = rule.source_group.get("GroupId")
    else:
        facts["cidr"] = rule.cidr_ipv4 or rule.cidr_ipv6 or ""
    return facts


def text(value):
    return value.decode() if isinstance(value, bytes) else value
