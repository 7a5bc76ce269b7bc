"""What there is, all of it, for tests that look for leaks: GET /_fake/things?region=REGION.

From the fake's own state, not through the API: what has not settled yet is there too. A VPC's own groups are left out, and so are the
images that are there from the start.
"""
import base64


class Inventory:
    def __init__(self, front):
        self.front, self.world = front, front.world
        front.pages["GET", "things"] = self.things

    def things(self, _rest, query, _body):
        region = self.world.regions[query["region"]]
        behind = self.front.behind
        ec2, iam = behind.ec2(region), behind.iam(region)
        with self.world.lock, behind.lock:
            instances = [self.instance(one) for one in region.instances.values() if one.state() != "terminated"]
            return {
                "instances": instances,
                "volumes": [{"id": one.id, "instance": one.instance and one.instance.id} for one in region.volumes.values()],
                "spot": [one.id for one in region.spot_requests.values() if one.state == "active"],
                "groups": [{"id": one.id, "name": one.name, "tags": {tag["key"]: tag["value"] for tag in ec2.describe_tags({"resource-id": [one.id]})},
                            "rules": len(one.ingress_rules)}
                           for groups in ec2.groups.values() for one in groups.values() if one.name != "default"],
                "placement_groups": sorted(region.groups),
                "interfaces": sorted(ec2.enis), "keys": sorted(ec2.key_pairs), "addresses": [one.allocation_id for one in ec2.addresses],
                "roles": sorted(role.name for role in iam.roles.values()), "profiles": sorted(one.name for one in iam.instance_profiles.values()),
            }

    @staticmethod
    def instance(one):
        return {"id": one.id, "state": one.state(), "tags": one.tags, "index": one.index, "private_ip": one.private_ip, "public_ip": one.public_ip(),
                "user_data": base64.b64encode(one.user_data).decode()}
