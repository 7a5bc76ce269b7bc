"""What a launch of a large cluster on EC2 costs the launcher; a part of bench/run (--only fleet).

kiln launches 10, 100 and 1,000 workers against an endpoint made for it: it answers EC2's query API with instances as EC2 describes them
(some 4 KB each) and 50 ms after each request; the fake EC2, in Python and faithful, would need longer than that for a thousand
machines. One agent (tests/walk/agents.py) speaks the channel of docs/channel.md as the master of them all, from behind a stand-in for
OpenSSH's client (tests/walk/ssh): the master's own time with a thousand nodes, and the machines' boot, are not in these figures.

The baseline is the same launch with 10 workers: as many calls that change something, and nearly as much time.
"""
import collections
import http.server
import os
import pathlib
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/walk"))
from agents import Agents  # noqa: E402  pylint: disable=wrong-import-position

LATENCY_SECONDS = 0.05
FLEETS = (10, 100, 1000)
RUNS = 3
GROUP, SUBNET, VPC, IMAGE = "sg-0123456789abcdef0", "subnet-0123456789abcdef0", "vpc-0123456789abcdef0", "ami-0123456789abcdef0"
OWNER, ZONE = "123456789012", "us-east-1a"


def items(name, values):
    return f"<{name}>{''.join(f'<item>{value}</item>' for value in values)}</{name}>"


def elements(**values):
    return "".join(f"<{name}>{value}</{name}>" for name, value in values.items())


def tags_of(parameters, kind):
    """The tags that a request gives to a kind of resource."""
    tags = {}
    for number in range(1, 9):
        if parameters.get(f"TagSpecification.{number}.ResourceType") == kind:
            for tag in range(1, 51):
                key = parameters.get(f"TagSpecification.{number}.Tag.{tag}.Key")
                if key is not None:
                    tags[key] = parameters[f"TagSpecification.{number}.Tag.{tag}.Value"]
    return tags


def tag_set(tags):
    return items("tagSet", [elements(key=key, value=value) for key, value in tags.items()])


class Cloud:
    """The resources of one launch, and the answers about them."""

    def __init__(self):
        self.group, self.instances, self.told, self.calls = None, [], [], collections.Counter()
        self.lock = threading.Lock()

    # --- what the agents see

    def things(self):
        return {"instances": self.instances}

    # --- operations

    def answer(self, parameters):
        operation = parameters["Action"]
        with self.lock:
            self.calls[operation] += 1
        return getattr(self, operation)(parameters)

    def DescribeImages(self, _):
        return items("imagesSet", [elements(imageId=IMAGE, imageState="available", imageOwnerId=OWNER, architecture="x86_64", rootDeviceName="/dev/xvda", virtualizationType="hvm",
                                            creationDate="2026-01-01T00:00:00.000Z") + tag_set({"kiln:image": "fleet", "kiln:digest": "0" * 64})])

    def DescribeInstanceTypes(self, parameters):
        return items("instanceTypeSet", [elements(instanceType=parameters["InstanceType.1"])
                                         + f"<processorInfo>{items('supportedArchitectures', ['x86_64'])}</processorInfo>"])

    def DescribeSubnets(self, _):
        return items("subnetSet", [elements(subnetId=SUBNET, vpcId=VPC, state="available", availabilityZone=ZONE, cidrBlock="172.31.0.0/16", defaultForAz="true")])

    def DescribeSecurityGroups(self, _):
        groups = [] if self.group is None else [elements(ownerId=OWNER, groupId=GROUP, groupName=self.group["Name"], groupDescription="kiln cluster", vpcId=VPC) + tag_set(self.group)]
        return items("securityGroupInfo", groups)

    def CreateSecurityGroup(self, parameters):
        self.group = tags_of(parameters, "security-group")
        return elements(**{"return": "true", "groupId": GROUP})

    def AuthorizeSecurityGroupIngress(self, _):
        return elements(**{"return": "true"})

    def CreateTags(self, parameters):
        self.group[parameters["Tag.1.Key"]] = parameters["Tag.1.Value"]
        return elements(**{"return": "true"})

    def RunInstances(self, parameters):
        tags, first = tags_of(parameters, "instance"), len(self.instances)
        asked = [(first + n, n) for n in range(int(parameters["MinCount"]))]
        private = {number: f"172.31.{number // 250}.{number % 250 + 4}" for number, _ in asked}
        token = parameters["ClientToken"]
        self.told += [instance(number, index, private[number], tags, token) for number, index in asked]
        answer = reservation(self.told[first:])
        self.instances += [{"id": f"i-{number:017x}", "state": "running", "tags": tags, "index": index, "private_ip": private[number], "public_ip": public(number),
                            "user_data": parameters["UserData"]} for number, index in asked]
        return answer

    def DescribeInstances(self, parameters):
        # As many as EC2 gives at a time.
        begin, size = int(parameters.get("NextToken", 0)), int(parameters.get("MaxResults", 1000))
        some, end = self.told[begin:begin + size], begin + size
        return f"<reservationSet><item>{reservation(some)}</item></reservationSet>" + (elements(nextToken=end) if end < len(self.told) else "") if some else "<reservationSet/>"

    def DescribeInstanceAttribute(self, parameters):
        number = int(parameters["InstanceId"][2:], 16)
        return elements(instanceId=parameters["InstanceId"], userData=elements(value=self.instances[number]["user_data"]))


def public(number):
    return f"198.19.{number // 250}.{number % 250 + 1}"


def reservation(described):
    return elements(reservationId="r-0123456789abcdef0", ownerId=OWNER) + "<groupSet/>" + items("instancesSet", described)


def instance(number, index, address, tags, token):
    """All that EC2 tells of one (DescribeInstances, EC2 API reference), of the length that it has there."""
    name, outside = f"ip-{address.replace('.', '-')}.ec2.internal", public(number)
    group = items("groupSet", [elements(groupId=GROUP, groupName="kiln-fleet")])
    association = elements(association=elements(publicIp=outside, publicDnsName=f"ec2-{outside.replace('.', '-')}.compute-1.amazonaws.com", ipOwnerId="amazon"))
    interface = (elements(networkInterfaceId=f"eni-{number:017x}", subnetId=SUBNET, vpcId=VPC, description="", ownerId=OWNER, status="in-use",
                          macAddress=f"0a:ff:c0:00:{number // 256:02x}:{number % 256:02x}", privateIpAddress=address, privateDnsName=name, sourceDestCheck="true", interfaceType="interface")
                 + group + elements(attachment=elements(attachmentId=f"eni-attach-{number:017x}", deviceIndex=0, status="attached", attachTime="2026-01-01T00:00:00.000Z",
                                                        deleteOnTermination="true", networkCardIndex=0)) + association
                 + items("privateIpAddressesSet", [elements(privateIpAddress=address, privateDnsName=name, primary="true") + association]) + "<ipv6AddressesSet/>"
                 + elements(operator=elements(managed="false")))
    disk = elements(deviceName="/dev/xvda", ebs=elements(volumeId=f"vol-{number:017x}", status="attached", attachTime="2026-01-01T00:00:00.000Z", deleteOnTermination="true"))
    return (elements(instanceId=f"i-{number:017x}", imageId=IMAGE, instanceState=elements(code=16, name="running"), privateDnsName=name,
                     dnsName=f"ec2-{outside.replace('.', '-')}.compute-1.amazonaws.com", reason="", amiLaunchIndex=index, productCodes="", instanceType="m5.large",
                     launchTime="2026-01-01T00:00:00.000Z", placement=elements(availabilityZone=ZONE, groupName="", tenancy="default"), monitoring=elements(state="disabled"),
                     subnetId=SUBNET, vpcId=VPC, privateIpAddress=address, ipAddress=outside, sourceDestCheck="true") + group
            + elements(architecture="x86_64", rootDeviceType="ebs", rootDeviceName="/dev/xvda") + items("blockDeviceMapping", [disk])
            + elements(virtualizationType="hvm", clientToken=token) + tag_set(tags) + elements(hypervisor="xen") + items("networkInterfaceSet", [interface])
            + elements(ebsOptimized="false", enaSupport="true", cpuOptions=elements(coreCount=1, threadsPerCore=2),
                       capacityReservationSpecification=elements(capacityReservationPreference="open"), hibernationOptions=elements(configured="false"),
                       metadataOptions=elements(state="applied", httpTokens="required", httpPutResponseHopLimit=1, httpEndpoint="enabled", httpProtocolIpv6="disabled",
                                                instanceMetadataTags="disabled"),
                       enclaveOptions=elements(enabled="false"), bootMode="uefi-preferred", currentInstanceBootMode="uefi", platformDetails="Linux/UNIX", usageOperation="RunInstances",
                       usageOperationUpdateTime="2026-01-01T00:00:00.000Z", privateDnsNameOptions=elements(hostnameType="ip-name", enableResourceNameDnsARecord="false"),
                       maintenanceOptions=elements(autoRecovery="default"), operator=elements(managed="false")))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", 1 << 20
    disable_nagle_algorithm = True

    def do_POST(self):  # pylint: disable=invalid-name
        parameters = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode(), keep_blank_values=True))
        due = time.monotonic() + LATENCY_SECONDS
        body = f'<?xml version="1.0"?><{parameters["Action"]}Response>{elements(requestId="0")}{self.server.cloud.answer(parameters)}</{parameters["Action"]}Response>'.encode()
        time.sleep(max(0.0, due - time.monotonic()))
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, request_queue_size = True, 64


def peak_mib_of(process):
    """Waits for its end. What wait4 tells of a child has its parent's memory in it; what /proc says is the child's own, the peak so far."""
    peak = 0.0
    while process.poll() is None:
        try:
            lines = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
            peak = max([peak] + [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM") and not exe(process).startswith(sys.prefix)])
        except OSError:
            pass
        time.sleep(0.005)
    return peak


def exe(process):
    return os.readlink(f"/proc/{process.pid}/exe")


def launch(kiln, workers):
    """(seconds, peak MiB, calls that change something, calls)."""
    with tempfile.TemporaryDirectory(prefix="kiln-bench-fleet-") as folder:
        server = Server(("127.0.0.1", 0), Handler)
        server.cloud = cloud = Cloud()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        agents = Agents(f"{folder}/agents", cloud.things)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment.update(AWS_ACCESS_KEY_ID="AKIABENCH", AWS_SECRET_ACCESS_KEY="bench", AWS_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/dev/null",
                           AWS_SHARED_CREDENTIALS_FILE="/dev/null", AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_address[1]}", KILN_HOME=f"{folder}/home",
                           PATH=f"{ROOT}/tests/walk:{os.environ['PATH']}", WALK_AGENTS=agents.path)
        words = [kiln, "launch", "fleet", "--on", "aws", "--image", "fleet", "--workers", str(workers), "--instance-type", "m5.large", "--authorized", "198.51.100.10/32",
                 "--no-timeline", "-q"]
        started = time.monotonic()
        process = subprocess.Popen(words, env=environment)
        peak = peak_mib_of(process)
        seconds = time.monotonic() - started
        server.shutdown()
        server.server_close()
        if process.returncode != 0:
            sys.exit(f"bench: the launch of {workers} workers failed")
        changing = sum(count for name, count in cloud.calls.items() if not name.startswith("Describe"))
        return seconds, peak, changing, sum(cloud.calls.values())


def bench_fleet(report, build):
    found = {}
    for workers in FLEETS:
        runs = sorted(launch(str(build / "kiln"), workers) for _ in range(RUNS))
        found[workers] = runs[len(runs) // 2]
        seconds, peak, changing, calls = found[workers]
        print(f"  {workers:>5} workers: {seconds:6.2f} s, {peak:5.1f} MiB, {changing} calls that change something, {calls} in all", flush=True)
    few, many = found[FLEETS[0]], found[FLEETS[-1]]
    words = ["{2} calls that change something, {0:.2f} s, {1:.1f} MiB".format(*one) for one in (many, few)]
    report("a launch's mutating calls with 1,000 workers and with 10", many[2] / few[2], "1.0", *words)
    report("all of its calls with 1,000 workers and with 10", many[3] / few[3], "<= 2", *(f"{one[3]} calls" for one in (many, few)))
    report("the launcher's time with 1,000 workers, 50 ms a call, against 10 s", many[0] / 10, "<= 1", words[0])
    report("the launcher's peak memory with 1,000 workers against 64 MB", many[1] * 1.048576 / 64, "<= 1", words[0])
