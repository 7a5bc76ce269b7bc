"""What tests do to instances from outside: /_fake/instances, and where clients of the machines run: /_fake/client.

    GET  /_fake/instances                  all of them: region, state, addresses, machine's state
    POST /_fake/instances/ID/spot-notice   {"seconds": 120, "action": "terminate"}: the metadata service tells; after that the instance is taken back
    POST /_fake/instances/ID/kill          its machine is lost; the instance stays `running`, its status checks fail
    POST /_fake/instances/ID/retire        EC2 takes it at once (Server.SpotInstanceTermination, or Server.InternalError when it is not spot)
    GET  /_fake/client                     the command that a program must be started with to be where public addresses lead to machines;
                                           with ?vpc=ID it is in that VPC too, as by a VPN
    GET  /_fake/client/ID                  the same for the instance's own network: to ask what its groups let nobody ask
"""
import threading

VPN_ADDRESS = "198.51.100.77"  # of a client that is in a VPC


class InstanceControl:
    def __init__(self, front):
        self.front, self.world = front, front.world
        front.pages["GET", "instances"] = self.list
        front.pages["POST", "instances"] = self.act
        front.pages["GET", "client"] = self.client

    def list(self, rest, _query, _body):
        with self.world.lock:
            return [self.shown(region, instance) for region in self.world.regions.values() for instance in region.instances.values()
                    if rest in ("", instance.id)]

    def shown(self, region, instance):
        machines = self.front.machines
        return {"id": instance.id, "region": region.name, "state": instance.state(), "private_ip": instance.private_ip,
                "public_ip": instance.public_ip() if instance.interface else None, "machine": machines.state(instance.id) if machines else None,
                "spot": instance.spot is not None, "tags": instance.tags, "error": instance.lane.error}

    def find(self, instance_id):
        for region in self.world.regions.values():
            if instance_id in region.instances:
                return region.instances[instance_id]
        raise ValueError(f"there is no instance '{instance_id}'")

    def act(self, rest, _query, body):
        instance_id, _, verb = rest.partition("/")
        with self.world.lock:
            instance = self.find(instance_id)
            if verb == "spot-notice":
                seconds = float((body or {}).get("seconds", 120))
                if instance.spot is None:
                    raise ValueError(f"'{instance_id}' is not a spot instance")
                if self.front.machines:
                    self.front.machines.spot_notice(instance_id, (body or {}).get("action", "terminate"), seconds)
                timer = threading.Timer(seconds, self.retire, [instance])
                timer.daemon = True
                timer.start()
            elif verb == "kill":
                if self.front.machines:
                    self.front.machines.kill(instance_id)
                instance.killed = True
            elif verb == "retire":
                self.retire(instance)
            else:
                raise ValueError(f"no control path instances/ID/{verb}")
            return self.shown(instance.region, instance)

    def retire(self, instance):
        with self.world.lock:
            if instance.state() in ("pending", "running"):
                if instance.spot:
                    instance.terminate("Server.SpotInstanceTermination", "Spot instance termination", True)
                else:
                    instance.terminate("Server.InternalError", "Internal error on launch", True)

    def client(self, rest, query, _body):
        machines, prefix = self.front.machines, []
        if rest:
            with self.world.lock:
                instance = self.find(rest)
                if not machines or machines.state(instance.id) != "running":
                    raise ValueError(f"no machine runs behind '{rest}' now")
            return {"prefix": machines.network_of(rest)}
        if machines:
            prefix = machines.client(VPN_ADDRESS, self.vpc(query["vpc"])) if "vpc" in query else machines.client()
        return {"prefix": prefix, "endpoint": self.front.inner_endpoint}

    def vpc(self, identity):
        with self.world.lock:
            for region in self.world.regions.values():
                found = self.front.behind.ec2(region).vpcs.get(identity)
                if found:
                    return {"id": found.id, "cidr": found.cidr_block}
        raise ValueError(f"there is no VPC '{identity}'")
