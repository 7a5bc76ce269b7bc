"""moto behind the fake: VPCs, gateways, security groups, key pairs, IAM, STS, SSM, KMS, S3 and whatever else it knows.

A request that the fake does not answer itself is given to moto's own web application in this process, as it came (its signature is checked
by then). Where the fake's resources stand on moto's (subnets, security groups, instance profiles) its backends are asked directly. Keys
that STS and IAM hand out are read from the answers, so that requests signed with them are known.
"""
import io
import os
import re
import threading
import time
import types
import urllib.parse

# Before moto is loaded: it has no machine images here, and Amazon's managed policies can be attached to roles.
os.environ.update(MOTO_EC2_LOAD_DEFAULT_AMIS="false", MOTO_IAM_LOAD_MANAGED_POLICIES="true", MOTO_ALLOW_NONEXISTENT_REGION="true")

from moto.ec2.models import elastic_ip_addresses  # noqa: E402  pylint: disable=wrong-import-position
from moto.backends import get_backend  # noqa: E402  pylint: disable=wrong-import-position
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402  pylint: disable=wrong-import-position

import models  # noqa: E402  pylint: disable=wrong-import-position
from signatures import Key  # noqa: E402  pylint: disable=wrong-import-position


class Behind:
    def __init__(self, world):
        self.world, self.front = world, None
        self.application = DomainDispatcherApplication(create_backend_app)
        self.lock = threading.RLock()
        # moto's are of 127.0.0.0/8, where a machine can't be reached.
        elastic_ip_addresses.random_ip = world.next_public_address

    # --- requests passed on

    def answer(self, call):
        """(status, headers, body) of moto's answer."""
        request = call.request
        account = call.key.account if call.key else "123456789012"
        told = {}

        def start_response(status, headers, _exc_info=None):
            told["status"], told["headers"] = int(status.split()[0]), dict(headers)

        with self.lock:
            body = b"".join(self.application(self.environment(request, account), start_response))
        if told["status"] < 300 and request.service in ("sts", "iam"):
            self.learn_keys(call, body.decode("utf-8", "replace"))
        headers = {name: value for name, value in told["headers"].items() if name.lower() not in ("connection", "date", "server")}
        if body:
            headers.pop("Content-Length", None)
        return told["status"], headers, body

    def environment(self, request, account):
        headers = dict(request.headers)
        headers["x-moto-account-id"] = account
        if request.headers.get("transfer-encoding"):
            headers.pop("transfer-encoding")
        environment = {"REQUEST_METHOD": request.method, "SCRIPT_NAME": "", "PATH_INFO": urllib.parse.unquote(request.path, "latin-1"), "QUERY_STRING": request.target.partition("?")[2],
                       "RAW_URI": request.target, "REQUEST_URI": request.target, "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
                       "CONTENT_TYPE": headers.get("content-type", ""), "CONTENT_LENGTH": str(len(request.body)), "wsgi.version": (1, 0),
                       "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(bytes(request.body)), "wsgi.errors": io.StringIO(), "wsgi.multithread": True,
                       "wsgi.multiprocess": False, "wsgi.run_once": False, "REMOTE_ADDR": "127.0.0.1"}
        for name, value in headers.items():
            environment["HTTP_" + name.upper().replace("-", "_")] = value
        return environment

    def learn_keys(self, call, body):
        key_id, secret = re.search("<AccessKeyId>(.*?)</AccessKeyId>", body), re.search("<SecretAccessKey>(.*?)</SecretAccessKey>", body)
        if not key_id or not secret:
            return
        token, expires = re.search("<SessionToken>(.*?)</SessionToken>", body), re.search("<Expiration>(.*?)</Expiration>", body)
        arn = re.search("<Arn>(.*?)</Arn>", body)
        self.front.keys.add(Key(key_id[1], secret[1], call.key.account if call.key else "123456789012", call.key.partition if call.key else "aws",
                                token[1] if token else None, models.parse_time(expires[1]).timestamp() if expires else None, arn[1] if arn else None))

    # --- its state, for the fake's own services

    def ec2(self, region):
        return get_backend("ec2")[region.account][region.name]

    def iam(self, region):
        return get_backend("iam")[region.account][region.partition]

    def zones(self, region):
        """The names of a region's zones."""
        return {zone.name: zone.zone_id for zone in self.ec2(region).describe_availability_zones()}

    def exists(self, region, kind, resource_id):
        """Whether moto has a resource of EC2's with that id."""
        backend = self.ec2(region)
        with self.lock:
            if kind == "subnet":
                return any(resource_id in subnets for subnets in backend.subnets.values())
            if kind == "security-group":
                return backend.get_security_group_from_id(resource_id) is not None
            if kind == "key-pair":
                return any(pair.id == resource_id for pair in backend.key_pairs.values())
            if kind == "elastic-ip":
                return any(address.allocation_id == resource_id for address in backend.addresses)
            stores = {"vpc": "vpcs", "internet-gateway": "internet_gateways", "route-table": "route_tables", "network-interface": "enis",
                      "vpc-endpoint": "vpc_end_points", "natgateway": "nat_gateways", "network-acl": "network_acls", "dhcp-options": "dhcp_options_sets"}
            return kind not in stores or resource_id in getattr(backend, stores[kind])

    def profile(self, region, name):
        """An instance profile by name or ARN, or None."""
        for profile in self.iam(region).instance_profiles.values():
            if name in (profile.name, profile.arn):
                return profile
        return None

    # --- network interfaces: moto keeps them, so that its subnets and groups know who uses them

    def make_interface(self, region, subnet, instance, groups, address, description, tags):
        backend = self.ec2(region)
        with self.lock:
            holder = types.SimpleNamespace(id=instance.id, owner_id=region.account, security_groups=[])
            if address is None:
                address = subnet.get_available_subnet_ip(holder)
            else:
                subnet.request_ip(address, holder)
            interface = backend.create_network_interface(subnet, address, group_ids=list(groups), description=description, delete_on_termination=True,
                                                         tags={tag["Key"]: tag["Value"] for tag in tags})
            interface.instance, interface.device_index, interface.status = holder, 0, "in-use"
            interface.attachment_id, interface.attach_time = f"eni-attach-{instance.id[2:]}", instance.launched_at
            return interface

    def drop_interface(self, region, interface):
        if interface is None:
            return
        backend = self.ec2(region)
        with self.lock:
            for address in backend.addresses:
                if address.eni is interface:
                    address.eni = address.association_id = None
            backend.enis.pop(interface.id, None)
            backend.tags.pop(interface.id, None)
            interface.subnet.del_subnet_ip(interface.private_ip_address)

    def set_groups(self, region, interface, groups):
        backend = self.ec2(region)
        interface._group_set = [backend.get_security_group_from_id(group) for group in groups]  # pylint: disable=protected-access

    def kms(self, region):
        return get_backend("kms")[region.account][region.name]

    def key_arn(self, region, name):
        """A KMS key's ARN, given by id, alias or ARN; KeyError when there is none."""
        backend = self.kms(region)
        with self.lock:
            alias = name.rpartition(":")[2] if ":alias/" in name else name
            key_id = backend.get_key_id_from_alias(alias) if alias.startswith("alias/") else name.rpartition("/")[2]
            return backend.keys[key_id].arn

    def key_exists(self, region, name):
        if name.startswith("arn:") and name.split(":")[3] != region.name:
            return False
        try:
            return bool(self.key_arn(region, name))
        except KeyError:
            return False

    def default_key(self, region):
        """The account's aws/ebs key in the region; made when first used."""
        backend = self.kms(region)
        with self.lock:
            if not hasattr(backend, "kiln_default_key"):
                key = backend.create_key(None, "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "Default key that protects my EBS volumes", None)
                backend.kiln_default_key = key.arn
            return backend.kiln_default_key

    def role_credentials(self, region, role_arn, session_name, seconds=6 * 3600):
        """Credentials for a role as the metadata service gives them; the front knows them from then on."""
        with self.lock:
            role = get_backend("sts")[region.account][region.partition].assume_role(
                region_name=region.name, role_session_name=session_name, role_arn=role_arn, policy=None, duration=seconds, external_id=None)
        expires = time.time() + seconds
        self.front.keys.add(Key(role.access_key_id, role.secret_access_key, region.account, region.partition, role.session_token, expires, role_arn))
        return {"AccessKeyId": role.access_key_id, "SecretAccessKey": role.secret_access_key, "Token": role.session_token, "Expiration": expires}
