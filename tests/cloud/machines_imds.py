"""The instance metadata service (IMDS) of the fake EC2: what an instance finds at http://169.254.169.254.

One server for each VPC, in its router; who asks is known by the address that the request comes from, which an instance cannot forge there.
IMDSv2: PUT /latest/api/token with X-aws-ec2-metadata-token-ttl-seconds, then GET with X-aws-ec2-metadata-token. The answer to the PUT leaves with
the instance's hop limit as its TTL, so what is behind one more router in the instance (a container) cannot have a token with a limit of 1.
Without a token everything is 401, unless the instance's HttpTokens is "optional".

Sources: EC2 User Guide, "Use IMDSv2", "Instance metadata categories", "Spot Instance interruption notices", "Retrieve security
credentials from instance metadata", "Instance identity documents".
"""
import datetime
import http.server
import json
import re
import secrets
import socket
import socketserver
import threading
import time

from machines_net import ethernet_address, host_name

TOKEN, TTL = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"
MAX_TTL_SECONDS = 21600
VERSION = re.compile(r"latest|20\d\d-\d\d-\d\d")


def stamp(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(value):
    """A time as the API part gives it: a datetime, or text as AWS writes it."""
    return value if isinstance(value, datetime.datetime) else datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00"))


class Credentials:
    """A role's credentials, asked anew of the API part before they end: five minutes before, as EC2 promises, or half-way when they live shorter."""

    def __init__(self):
        self.lock, self.role, self.value, self.renew_at, self.updated = threading.Lock(), None, None, 0, ""

    def get(self, role):
        with self.lock:
            if self.role is not role or time.time() >= self.renew_at:
                value, now = role["credentials"](), time.time()
                end = moment_of(value["Expiration"]).timestamp()
                self.role, self.value, self.updated = role, value, stamp(datetime.datetime.utcnow())
                self.renew_at = end - min(300, (end - now) / 2)
            value = self.value
            return json.dumps({"Code": "Success", "LastUpdated": self.updated, "Type": "AWS-HMAC", "AccessKeyId": value["AccessKeyId"],
                               "SecretAccessKey": value["SecretAccessKey"], "Token": value.get("SessionToken") or value["Token"],
                               "Expiration": stamp(moment_of(value["Expiration"]))}, indent=2)


class Metadata:
    """One instance's: its tokens, notices and credentials. `instance` is the dict of machines.py."""

    def __init__(self, instance):
        self.instance, self.tokens, self.credentials = instance, {}, Credentials()
        self.notices = {}  # path below meta-data -> text

    def options(self):
        return self.instance.get("metadata_options") or {}

    def new_token(self, seconds):
        token = secrets.token_urlsafe(40) + "=="
        self.tokens = {old: end for old, end in self.tokens.items() if end > time.monotonic()} | {token: time.monotonic() + seconds}
        return token

    def token_is_valid(self, token):
        return self.tokens.get(token, 0) > time.monotonic()

    def spot_notice(self, action="terminate", seconds=120):
        moment = datetime.datetime.utcnow() + datetime.timedelta(seconds=seconds)
        self.notices["spot/instance-action"] = json.dumps({"action": action, "time": stamp(moment)})
        if action == "terminate":
            self.notices["spot/termination-time"] = stamp(moment)

    def rebalance(self):
        self.notices["events/recommendations/rebalance"] = json.dumps({"noticeTime": stamp(datetime.datetime.utcnow())})

    def identity(self):
        i = self.instance
        launched = i.get("launch_time") or datetime.datetime.utcnow()
        return json.dumps({"accountId": i.get("account", "123456789012"), "architecture": {"amd64": "x86_64"}.get(i.get("arch"), i.get("arch", "x86_64")), "availabilityZone": i.get("zone"),
                           "billingProducts": None, "devpayProductCodes": None, "marketplaceProductCodes": None, "imageId": i.get("ami"), "instanceId": i["id"],
                           "instanceType": (i.get("type") or {}).get("name"), "kernelId": None, "pendingTime": launched if isinstance(launched, str) else stamp(launched),
                           "privateIp": i["private_ip"], "ramdiskId": None, "region": i.get("region"), "version": "2017-09-30"}, indent=2)

    def interface(self):
        i, subnet, vpc = self.instance, self.instance["subnet"], self.instance["vpc"]
        values = {"device-number": "0", "interface-id": i.get("interface", "eni-" + i["id"][2:]), "local-ipv4s": i["private_ip"], "mac": ethernet_address(i["private_ip"]),
                  "owner-id": i.get("account", "123456789012"), "subnet-id": subnet["id"], "subnet-ipv4-cidr-block": subnet["cidr"], "vpc-id": vpc["id"],
                  "vpc-ipv4-cidr-block": vpc["cidr"], "vpc-ipv4-cidr-blocks": vpc["cidr"], "security-group-ids": "\n".join(group["id"] for group in i.get("groups", ()))}
        if i.get("public_ip"):
            values |= {"public-hostname": self.public_name(), "public-ipv4s": i["public_ip"], f"ipv4-associations/{i['public_ip']}": i["private_ip"]}
        return values

    def public_name(self):
        """As DescribeInstances tells it; None without a public address."""
        address, region = self.instance.get("public_ip"), self.instance.get("region") or "us-east-1"
        return address and f"ec2-{address.replace('.', '-')}.{'compute-1' if region == 'us-east-1' else region + '.compute'}.amazonaws.com"

    def devices(self):
        """block-device-mapping: how the launcher called the root, the volumes (ebs1, …) and the instance store (ephemeral0, …)."""
        root = self.instance.get("root_device", "/dev/xvda")
        names = {"ami": root.removeprefix("/dev/"), "root": root}
        for number, volume in enumerate(self.instance.get("volumes", ()), 1):
            names[f"ebs{number}"] = volume["device"].removeprefix("/dev/")
        # NVMe instance store is not in EC2's mapping; only older types' "ephemeralN" are.
        return names

    def values(self):
        """Everything below /latest/: path -> text, or a function that gives it."""
        i = self.instance
        name = host_name(i["private_ip"]) + ".ec2.internal"
        meta = {"ami-id": i.get("ami"), "ami-launch-index": str(i.get("launch_index", 0)), "ami-manifest-path": "(unknown)", "hostname": name, "instance-action": "none",
                "instance-id": i["id"], "instance-life-cycle": "spot" if i.get("spot") else "on-demand", "instance-type": (i.get("type") or {}).get("name"),
                "local-hostname": name, "local-ipv4": i["private_ip"], "mac": ethernet_address(i["private_ip"]), "placement/availability-zone": i.get("zone"),
                "placement/region": i.get("region"), "profile": "default-hvm", "public-hostname": self.public_name(), "public-ipv4": i.get("public_ip"), "reservation-id": i.get("reservation"),
                "security-groups": "\n".join(group.get("name", group["id"]) for group in i.get("groups", ())), "services/domain": "amazonaws.com", "services/partition": "aws",
                "system": "nitro"}
        meta |= {f"network/interfaces/macs/{meta['mac']}/{key}": value for key, value in self.interface().items()}
        meta |= {f"block-device-mapping/{key}": value for key, value in self.devices().items()}
        if i.get("key"):
            meta |= {"public-keys/0/openssh-key": i["key"]["public_key"]}
        if self.options().get("InstanceMetadataTags") == "enabled":
            meta |= {f"tags/instance/{key}": value for key, value in (i.get("tags") or {}).items()}
        if i.get("role"):
            role = i["role"]
            profile = role.get("profile_arn", f"arn:aws:iam::{i.get('account', '123456789012')}:instance-profile/{role['name']}")
            meta |= {f"iam/security-credentials/{role['name']}": lambda: self.credentials.get(role),
                     "iam/info": json.dumps({"Code": "Success", "LastUpdated": stamp(datetime.datetime.utcnow()), "InstanceProfileArn": profile,
                                             "InstanceProfileId": role.get("profile_id", "AIPAFAKE")}, indent=2)}
        meta |= self.notices
        values = {f"meta-data/{key}": value for key, value in meta.items() if value is not None}
        if i.get("user_data"):
            values["user-data"] = i["user_data"]
        values["dynamic/instance-identity/document"] = self.identity
        return values

    def get(self, path):
        """The text at a path below the version, a folder's list, or None."""
        values, path = self.values(), path.strip("/")
        if path in values:
            value = values[path]
            value = value() if callable(value) else value
            return value if isinstance(value, bytes) else value.encode()
        # Keys have a listing of their own form.
        if path == "meta-data/public-keys":
            return f"0={self.instance['key']['name']}".encode() if self.instance.get("key") else None
        prefix = path + "/" if path else ""
        below = {rest.split("/")[0] + ("/" if "/" in rest else "") for rest in (key[len(prefix):] for key in values if key.startswith(prefix))}
        return "\n".join(sorted(below)).encode() if below else None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "EC2ws", ""
    timeout = 60

    def log_message(self, *_):
        pass

    def metadata(self):
        return self.server.find(self.client_address[0])

    def answer(self, status, body=b"", headers=()):
        if status != 200 and not body:
            body = f"{status} - {self.responses.get(status, ('',))[0]}\n".encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self):
        metadata = self.metadata()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not metadata or metadata.options().get("HttpEndpoint") == "disabled" or "X-Forwarded-For" in self.headers:
            return self.answer(403)
        if not re.fullmatch("/(latest|20[0-9-]+)/api/token", self.path):
            return self.answer(405)
        try:
            seconds = int(self.headers[TTL])
        except (TypeError, ValueError):
            return self.answer(400)
        if not 1 <= seconds <= MAX_TTL_SECONDS:
            return self.answer(400)
        hops = int(metadata.options().get("HttpPutResponseHopLimit") or 1)
        self.connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        self.answer(200, metadata.new_token(seconds).encode(), [(TTL, str(seconds))])

    def do_GET(self):
        metadata = self.metadata()
        if not metadata or metadata.options().get("HttpEndpoint") == "disabled":
            return self.answer(403)
        token = self.headers[TOKEN]
        if not metadata.token_is_valid(token) if token else metadata.options().get("HttpTokens", "required") != "optional":
            return self.answer(401)
        path = self.path.split("?")[0].lstrip("/")
        version, _, rest = path.partition("/")
        if not path:
            return self.answer(200, b"latest")
        body = metadata.get(rest) if VERSION.fullmatch(version) else None
        self.answer(404) if body is None else self.answer(200, body)

    do_HEAD = do_GET


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """`find(address)` gives the Metadata of the instance that has it, or None."""

    daemon_threads = True

    def __init__(self, listening, find):
        super().__init__(listening.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.find = listening, find
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # an instance that went away meanwhile

    def close(self):
        self.shutdown()
        self.server_close()
