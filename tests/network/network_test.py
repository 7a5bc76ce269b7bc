"""kiln network against EC2's networks: network_test.py KILN SCRATCH SCHEMA. KILN_TEST_CASE: only cases whose name contains it.

Each case is a process of its own with an EC2 of its own, some at a time: most of their time is kiln's waiting, for an EC2 that is late
or throttles. ALONE are those that would race with others for the processors. They tell how it went in the order of CASES.
"""
import ast
import collections
import contextlib
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import zipfile

import boto3
import hcl2

import vpc_server
from vpc_server import HangUp, Refusal, backend, subnets_of

KILN, SCRATCH, SCHEMA = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
ZONES = ("us-east-1a", "us-east-1b")
SERVER = None  # the case's own
AT_A_TIME = 4  # on two processors: a case takes half of one's time


def environment(**more):
    mine = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return dict(mine, KILN_HOME=str(SCRATCH / "home"), HOME=str(SCRATCH), AWS_ENDPOINT_URL=SERVER.url, AWS_REGION=vpc_server.REGION, AWS_ACCESS_KEY_ID="AKIDTEST",
                AWS_SECRET_ACCESS_KEY="canary-secret", AWS_EC2_METADATA_DISABLED="true", **more)


def start(*words, **more):
    return subprocess.Popen([KILN, "network", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**more))


def kiln(*words, code=0, **more):
    process = start(*words, **more)
    out, error = process.communicate(timeout=120)
    assert not SERVER.mistakes, SERVER.mistakes[0]
    assert process.returncode == code, f"kiln network {' '.join(words)}: exit code {process.returncode}\n{out}{error}"
    assert "canary" not in out + error
    return out + error


def kiln_json(*words):
    process = start(*words, "--json")
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, f"kiln network {' '.join(words)}: exit code {process.returncode}\n{out}{error}"
    return json.loads(out)


def create(name="main", *more):
    return kiln("create", name, "--zones", "a,b", *more)


# --- what there is, from moto itself


def tags_of(thing_id):
    return {tag["key"]: tag["value"] for tag in backend().describe_tags(filters={"resource-id": [thing_id]})}


def of_network(things, name):
    return [thing for thing in things if tags_of(thing.id).get("kiln:network") == name]


def parts(name="main"):
    ec2 = backend()
    return {"vpc": of_network(ec2.vpcs.values(), name),
            "subnet": of_network(ec2.describe_subnets(), name),
            "gateway": of_network(ec2.internet_gateways.values(), name),
            "table": of_network(ec2.route_tables.values(), name),
            "endpoint": [endpoint for endpoint in of_network(ec2.vpc_end_points.values(), name) if endpoint.state != "deleted"],
            "group": of_network([group for groups in ec2.groups.values() for group in groups.values()], name)}


def assert_whole(name="main", zones=ZONES):
    found = parts(name)
    counts = {kind: len(things) for kind, things in found.items()}
    assert counts == {"vpc": 1, "subnet": len(zones), "gateway": 1, "table": 1, "endpoint": 1, "group": 1}, counts
    vpc, table, gateway, group = (found[kind][0] for kind in ("vpc", "table", "gateway", "group"))
    assert all(str(value).lower() == "true" for value in (vpc.enable_dns_hostnames, vpc.enable_dns_support))
    assert sorted(subnet.availability_zone for subnet in found["subnet"]) == sorted(zones)
    assert all(subnet.vpc_id == vpc.id and str(subnet.map_public_ip_on_launch).lower() == "false" for subnet in found["subnet"])
    assert sorted(subnets_of(table)) == sorted(subnet.id for subnet in found["subnet"]), table.associations
    assert gateway.vpc.id == vpc.id
    routes = {route.destination_cidr_block: route for route in table.routes if route.destination_cidr_block}
    assert routes["0.0.0.0/0"].gateway.id == gateway.id
    assert found["endpoint"][0].route_table_ids == [table.id] and found["endpoint"][0].service_name.endswith(".s3")
    # Closed: nothing may come in by it.
    assert group.vpc_id == vpc.id and group.name == f"kiln-{name}-nodes" and not group.ingress_rules
    for things in found.values():
        for thing in things:
            assert tags_of(thing.id)["Name"].startswith(f"kiln-{name}"), tags_of(thing.id)


def forget_association(table, subnet):
    for association in table.associations:
        if association.get("SubnetId") == subnet.id:
            backend().disassociate_route_table(association["RouteTableAssociationId"])


def everything():
    """The account's things of any kind, to see that nothing came or went."""
    ec2 = backend()
    groups = [group for groups in ec2.groups.values() for group in groups.values()]
    live_endpoints = [endpoint for endpoint in ec2.vpc_end_points.values() if endpoint.state != "deleted"]
    kinds = (ec2.vpcs.values(), ec2.describe_subnets(), ec2.internet_gateways.values(), ec2.route_tables.values(), live_endpoints, groups)
    return sorted(thing.id for things in kinds for thing in things)


def fresh(**settings):
    SERVER.reset()
    for name, value in settings.items():
        setattr(SERVER, name, value)
    backend()  # the region's default VPC
    return everything()


def changes(function):
    """What the function's calls changed, as a list of operations."""
    before = len(SERVER.log)
    function()
    return [action for action, mutating in SERVER.log[before:] if mutating]


# --- cases


def creates_it_whole():
    fresh()
    said = create()
    assert_whole()
    assert "made: VPC 10.42.0.0/16" in said and "main is ready" in said, said
    subnets = {subnet.availability_zone: str(subnet.cidr_block) for subnet in parts()["subnet"]}
    assert subnets == {"us-east-1a": "10.42.0.0/19", "us-east-1b": "10.42.32.0/19"}, subnets
    # Each thing was born with its tags, but for what has none: no thing is ever there without.
    assert "CreateTags" not in SERVER.calls(), SERVER.counts()


def again_changes_nothing():
    fresh()
    create()
    before, calls = everything(), len(SERVER.log)
    said = kiln("create", "main")
    assert "whole already" in said, said
    first = SERVER.calls()[calls:]
    assert everything() == before and not [action for action in first if not action.startswith("Describe")], first
    # As many calls with six zones as with two.
    kiln("create", "main", "--zones", "a,b,c,d,e,f")
    assert_whole(zones=[f"us-east-1{letter}" for letter in "abcdef"])
    calls = len(SERVER.log)
    kiln("create", "main")
    assert sorted(SERVER.calls()[calls:]) == sorted(first), SERVER.calls()[calls:]
    print(f"    calls when whole: {len(first)}, none of which changes anything")


def all_zones_without_a_word():
    fresh()
    kiln("create", "main", "--cidr", "10.8.0.0/20")
    assert_whole(zones=[f"us-east-1{letter}" for letter in "abcdef"])
    assert str(parts()["subnet"][0].cidr_block).endswith("/23")


def dry_run_makes_nothing():
    before = fresh()
    said = create("main", "--dry-run")
    assert everything() == before and not SERVER.calls(mutating=True)
    for word in ("VPC 10.42.0.0/16", "subnet 10.42.32.0/19 in us-east-1b", "internet gateway", "route table", "S3 gateway endpoint", "security group kiln-main-nodes"):
        assert f"would make: {word}" in said, said


def mends_what_was_taken_away():
    fresh()
    create()
    ec2 = backend()
    found = parts()
    table = found["table"][0]
    ec2.delete_route(table.id, "0.0.0.0/0")
    ec2.delete_security_group(group_id=found["group"][0].id)
    ec2.delete_vpc_endpoints([found["endpoint"][0].id])
    ec2.delete_subnet(found["subnet"][0].id)
    forget_association(table, found["subnet"][0])
    ec2.modify_vpc_attribute(found["vpc"][0].id, "enable_dns_hostnames", "false")
    lacks = kiln_json("show", "main")["missing"]
    assert len(lacks) == 6, lacks
    create()
    assert_whole()
    assert kiln_json("show", "main")["whole"]


def killed(moment):
    """A trouble that kills kiln at a mutating call: before it acts, or after."""
    state = {}

    def trouble(number, _action, act):
        if number == state["at"]:
            if moment == "after":
                act()
            os.kill(state["process"].pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # communicate() was faster
                os.waitid(os.P_PID, state["process"].pid, os.WEXITED | os.WNOWAIT)
            raise HangUp
        if number > state["at"]:  # side by side with the one that it died of
            raise HangUp
        return act()
    return state, trouble


def walk_kills(words, prepare, finish):
    """Kills `words` before and after each of its mutating calls; calls finish(n) after each. How many points there were."""
    points = 0
    for moment in ("before", "after"):
        number = 0
        while True:
            number += 1
            prepare()
            state, trouble = killed(moment)
            state["at"] = SERVER.mutations + number
            SERVER.trouble = trouble
            ready = threading.Event()
            SERVER.trouble = lambda *given, t=trouble, r=ready: (r.wait(10), t(*given))[1]
            state["process"] = start(*words)
            ready.set()
            out, error = state["process"].communicate(timeout=60)
            SERVER.trouble = None
            if state["process"].returncode == 0:
                break
            assert state["process"].returncode == -signal.SIGKILL, out + error
            points += 1
            finish(points)
        assert number > 5, "the walk ended too early"
    return points


def killed_at_every_call_of_create():
    before = []

    def prepare():
        before[:] = fresh()

    def finish(point):
        # In turn: finished by the next create, or removed without a trace.
        if point % 2:
            create()
            assert_whole()
        kiln("destroy", "main")
        assert everything() == before, set(everything()) ^ set(before)

    points = walk_kills(("create", "main", "--zones", "a,b"), prepare, finish)
    print(f"    create was killed at {points} points")


def killed_at_every_call_of_destroy():
    before = []

    def prepare():
        before[:] = fresh()
        create()

    def finish(point):
        if point % 2:
            create()
            assert_whole()
        kiln("destroy", "main")
        assert everything() == before, set(everything()) ^ set(before)

    points = walk_kills(("destroy", "main"), prepare, finish)
    print(f"    destroy was killed at {points} points")


def refuse(code, status=400):
    def answer(_act):
        raise Refusal(code, status=status)
    return answer


def hang_up_after(act):
    act()
    raise HangUp


def error_after(act):
    act()
    raise Refusal("InternalError", status=500)


FAULTS = {"throttle": refuse("RequestLimitExceeded", 503), "500": refuse("InternalError", 500), "hang-up-after": hang_up_after, "error-after": error_after}


def faulty(kind, at):
    def trouble(number, _action, act):
        return FAULTS[kind](act) if number == at else act()
    return trouble


def a_fault_at_every_call(kind):
    points = 0
    for number in range(1, 40):
        before = fresh()
        SERVER.trouble = faulty(kind, number)
        create()
        assert_whole()
        if SERVER.mutations < number:
            # Create has had its last: now those of destroy.
            break
        points += 1
    made = SERVER.mutations
    for number in range(1, 40):
        if number > 1:
            before = fresh()
            create()
        SERVER.trouble = faulty(kind, made + number)
        kiln("destroy", "main")
        assert everything() == before, (kind, number, set(everything()) ^ set(before))
        if SERVER.mutations < made + number:
            break
        points += 1
    assert points > 10, f"only {points} faults"
    print(f"    {points} faults")


def a_refusal_is_told():
    for code, word in (("VpcLimitExceeded", "VpcLimitExceeded"), ("UnauthorizedOperation", "lack the permission ec2:CreateVpc")):
        before = fresh(trouble=lambda _number, action, act, code=code: refuse(code)(act) if action == "CreateVpc" else act())
        said = kiln("create", "main", code=1)
        assert word in said and everything() == before, said


def things_are_seen_late():
    before = fresh(lag_s=0.7)
    create()
    time.sleep(0.7)  # the lag itself
    assert_whole()
    kiln("destroy", "main")
    assert everything() == before, set(everything()) ^ set(before)


def several_at_once():
    rounds = 0
    for latency, count in ((0.0, 2), (0.02, 2), (0.05, 3), (0.02, 4)):
        before = fresh(latency_s=latency)
        together = [start("create", "main", "--zones", "a,b") for _ in range(count)]
        said = ["".join(process.communicate(timeout=120)) for process in together]
        assert [process.returncode for process in together] == [0] * count, said
        assert_whole()
        kiln("destroy", "main")
        assert everything() == before, set(everything()) ^ set(before)
        rounds += 1
    print(f"    {rounds} races")


def two_left_by_killed_rivals():
    before = fresh()
    create("other")
    ec2 = backend()
    for _ in range(2):
        vpc = ec2.create_vpc("10.42.0.0/16")
        ec2.create_tags([vpc.id], {"Name": "kiln-main", "kiln:network": "main", "kiln:zones": "us-east-1a us-east-1b"})
    assert "one too many" in kiln("show", "main")
    create()
    assert_whole()
    assert_whole("other")
    kiln("destroy", "main")
    kiln("destroy", "other")
    assert everything() == before


def twins_are_made_one():
    fresh()
    create()
    ec2, found = backend(), parts()
    vpc, subnet = found["vpc"][0], found["subnet"][0]
    table = ec2.create_route_table(vpc.id, [{"Key": "kiln:network", "Value": "main"}, {"Key": "Name", "Value": "kiln-main"}])
    mine = found["table"][0]
    forget_association(mine, subnet)
    ec2.associate_route_table(table.id, None, subnet.id)
    gateway = ec2.create_internet_gateway([{"Key": "kiln:network", "Value": "main"}, {"Key": "Name", "Value": "kiln-main"}])
    endpoint = ec2.create_vpc_endpoint(vpc.id, found["endpoint"][0].service_name, "Gateway", None, [table.id], tags={"kiln:network": "main", "Name": "kiln-main-s3"})
    create()
    assert_whole()
    assert gateway.id not in ec2.internet_gateways and endpoint


def adds_zones_and_keeps_its_addresses():
    fresh()
    create()
    kiln("create", "main", "--zones", "c")
    assert_whole(zones=("us-east-1a", "us-east-1b", "us-east-1c"))
    said = kiln("create", "main", "--cidr", "10.43.0.0/16", code=2)
    assert "has the addresses 10.42.0.0/16" in said, said
    kiln("create", "main", "--cidr", "10.42.0.0/16")


def wrong_words():
    fresh()
    for words, code, text in ((("create", "Main"), 2, "'main' would do"), (("create", "main", "--cidr", "10.42.0.1/16"), 2, "10.42.0.0/16 is the block"),
                              (("create", "main", "--cidr", "10.0.0.0/8"), 2, "/16 to /25"), (("create", "main", "--cidr", "words"), 2, "for example 10.42.0.0/16"),
                              (("create", "main", "--cidr", "169.254.0.0/16"), 2, "for no network"), (("create", "main", "--zones", "x"), 2, "it has: us-east-1a"),
                              (("create", "main", "--on", "local"), 2, "there are networks on: aws"), (("show", "nothing"), 2, "`kiln network create nothing` makes it"),
                              (("show", "--vpc", "vpc-123"), 2, "there is no VPC 'vpc-123'"), (("show",), 2, "--vpc ID"),
                              (("show", "main", "--vpc", "vpc-1"), 2, "--vpc ID"), (("export", "nothing", "--terraform", str(SCRATCH / "x")), 2, "no network 'nothing'")):
        assert text in kiln(*words, code=code), words
    assert "there was no network 'main'" in kiln("destroy", "main")
    assert "no networks here" in kiln("list")
    assert not SERVER.calls(mutating=True)


def lists_and_shows():
    fresh()
    create()
    create("second")
    rows = kiln_json("list")
    assert [(row["name"], row["cidr"], row["parts"]) for row in rows] == [("main", "10.42.0.0/16", 7), ("second", "10.42.0.0/16", 7)], rows
    shown = kiln_json("show", "main")
    assert shown["whole"] and len(shown["parts"]) == 7 and shown["region"] == "us-east-1" and not shown["others"], shown
    text = kiln("show", "main")
    assert "it is whole" in text and "public, 8187 addresses free" in text, text


def run_instance(subnet, tags):
    ec2 = backend()
    from moto.ec2.models.amis import Ami
    image = next(iter(ec2.amis), None)
    if image is None:
        ec2.amis["ami-12345678"] = Ami(ec2, "ami-12345678", name="test", virtualization_type="hvm", architecture="x86_64")
        image = "ami-12345678"
    reservation = ec2.run_instances(image, 1, "", [], subnet_id=subnet.id, instance_type="m5.large", tags={"instance": tags}, private_ip=None, is_instance_type_default=False)
    return reservation.instances[0]


def is_not_destroyed_in_use():
    before = fresh()
    create()
    subnet = parts()["subnet"][0]
    instances = [run_instance(subnet, {"kiln:cluster": "demo"}), run_instance(subnet, {"kiln:cluster": "demo"}), run_instance(subnet, {})]
    changed = changes(lambda: None)
    said = kiln("destroy", "main", code=1)
    assert "cluster 'demo' (2 instances)" in said and f"instance {instances[2].id}" in said and "kiln destroy demo" in said, said
    assert "cluster 'demo' (2 instances)" in kiln("show", "main")
    assert_whole()
    assert not changed
    backend().terminate_instances([instance.id for instance in instances])
    for interface in list(backend().enis):
        backend().enis.pop(interface)
    # A cluster's group without its machines: kiln gc's work.
    group = backend().create_security_group("kiln-demo", "x", vpc_id=parts()["vpc"][0].id, tags={"kiln:cluster": "demo"})
    assert "cluster 'demo' (0 instances)" in kiln("destroy", "main", code=1)
    backend().delete_security_group(group_id=group.id)
    # A database, say.
    interface = backend().create_network_interface(subnet, "10.42.0.9", description="RDSNetworkInterface")
    said = kiln("destroy", "main", code=1)
    assert f"network interface {interface.id} (RDSNetworkInterface)" in said, said
    backend().delete_network_interface(interface.id)
    kiln("destroy", "main")
    assert everything() == before


def leaves_what_is_not_its_own():
    before = fresh()
    create()
    create("other")
    ec2, vpc = backend(), parts()["vpc"][0]
    look_alike = ec2.create_security_group("kiln-main-node", "x", vpc_id=vpc.id, tags={"Name": "kiln-main-nodes"})
    subnet = ec2.create_subnet(vpc.id, "10.42.224.0/20", "us-east-1a", tags={"subnet": {"Name": "kiln-main"}})
    would = kiln("destroy", "main", "--dry-run")
    assert_whole()
    assert f"would stay: subnet {subnet.id}" in would and "would remove: route table" in would, would
    said = kiln("destroy", "main", code=1)
    assert f"stays: subnet {subnet.id}" in said and f"stays: security group {look_alike.id}" in said and f"stays: VPC {vpc.id}" in said, said
    assert subnet.id in everything() and look_alike.id in everything()
    counts = {kind: len(things) for kind, things in parts().items()}
    assert counts == {"vpc": 1, "subnet": 0, "gateway": 0, "table": 0, "endpoint": 0, "group": 0}, counts
    assert_whole("other")
    # Made whole again around it, or gone with it.
    create()
    assert_whole()
    ec2.delete_subnet(subnet.id)
    ec2.delete_security_group(group_id=look_alike.id)
    kiln("destroy", "main")
    kiln("destroy", "other")
    assert everything() == before


def keeps_the_way_out_of_others():
    fresh()
    create()
    ec2, found = backend(), parts()
    vpc, gateway = found["vpc"][0], found["gateway"][0]
    table = ec2.create_route_table(vpc.id, [])
    ec2.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)
    said = kiln("destroy", "main", code=1)
    assert f"stays: route table {table.id}" in said, said
    assert gateway.id in ec2.internet_gateways and gateway.vpc.id == vpc.id


def a_vpc_of_somebody_else():
    fresh()
    ec2 = backend()
    vpc = ec2.create_vpc("10.9.0.0/16")
    shown = kiln_json("show", "--vpc", vpc.id)
    assert not shown["whole"] and shown["missing"] == ["there is no subnet"], shown
    subnet = ec2.create_subnet(vpc.id, "10.9.0.0/24", "us-east-1a")
    shown = kiln_json("show", "--vpc", vpc.id)
    assert len(shown["missing"]) == 1 and "way out" in shown["missing"][0], shown
    assert any("S3 gateway endpoint" in words for words in shown["advice"]) and any("DNS host names" in words for words in shown["advice"]), shown
    gateway = ec2.create_internet_gateway()
    ec2.attach_internet_gateway(gateway.id, vpc.id)
    main = next(table for table in ec2.route_tables.values() if table.vpc_id == vpc.id)
    ec2.create_route(main.id, "0.0.0.0/0", gateway_id=gateway.id)
    ec2.modify_vpc_attribute(vpc.id, "enable_dns_support", "false")
    shown = kiln_json("show", "--vpc", vpc.id)
    assert len(shown["missing"]) == 1 and "DNS support" in shown["missing"][0], shown
    ec2.modify_vpc_attribute(vpc.id, "enable_dns_support", "true")
    assert "clusters can be launched in it" in kiln("show", "--vpc", vpc.id)
    file, text = export("--vpc", vpc.id)
    assert 'resource "aws_default_route_table" "main"' in text and f'id = "{vpc.id}"' in text and subnet.id in text, text
    assert not SERVER.calls(mutating=True) and file


# --- Terraform


def ec2_client():
    return boto3.client("ec2", endpoint_url=SERVER.url, region_name=vpc_server.REGION, aws_access_key_id="AKIDTEST", aws_secret_access_key="x")


def export(*words):
    folder = SCRATCH / "terraform"
    shutil.rmtree(folder, ignore_errors=True)
    kiln("export", *words, "--terraform", str(folder))
    return folder / "main.tf", (folder / "main.tf").read_text()


def parsed(file):
    with open(file, encoding="utf-8") as stream:
        document = hcl2.load(stream)
    strip = lambda text: text.strip('"')  # noqa: E731  the parser's versions differ
    resources = {}
    for entry in document["resource"]:
        for kind, named in entry.items():
            for label, body in named.items():
                resources[f"{strip(kind)}.{strip(label)}"] = body
    imports = {block["to"].removeprefix("${").removesuffix("}"): strip(block["id"]) for block in document["import"]}
    return document, resources, imports


def writes_terraform():
    fresh()
    create()
    ec2, found = backend(), parts()
    ec2.create_tags([found["vpc"][0].id], {"owner": 'a "quoted" ${word} \\ %{x}'})
    before = len(SERVER.log)
    file, _ = export("main")
    assert not [action for action, mutating in SERVER.log[before:] if mutating]
    document, resources, imports = parsed(file)
    ids = {kind: [thing.id for thing in things] for kind, things in found.items()}
    table = ids["table"][0]
    expected = {"aws_vpc.main": ids["vpc"][0], "aws_internet_gateway.main": ids["gateway"][0], "aws_route_table.main": table,
                "aws_vpc_endpoint.s3": ids["endpoint"][0], "aws_security_group.nodes": ids["group"][0]}
    for subnet in found["subnet"]:
        label = subnet.availability_zone.replace("-", "_")
        expected[f"aws_subnet.{label}"] = subnet.id
        expected[f"aws_route_table_association.{label}"] = f"{subnet.id}/{table}"
    assert imports == expected, imports
    assert set(resources) == set(expected), resources
    assert ">= 1.5" in str(document["terraform"]), document["terraform"]
    group = resources["aws_security_group.nodes"]
    assert group["ingress"] == [] or group["ingress"] == [[]], group
    assert "0.0.0.0/0" in str(group["egress"]), group
    assert "aws_internet_gateway.main.id" in str(resources["aws_route_table.main"]["route"])
    assert all(body["tags"] for name, body in resources.items() if "association" not in name)
    assert "kiln:network" in str(resources["aws_vpc.main"]["tags"])


def terraform_formats_it_so():
    if not shutil.which("terraform"):
        print("SKIPPED: there is no terraform to check its formatting with")
        return
    fresh()
    create()
    ec2, found = backend(), parts()
    ec2.create_tags([found["vpc"][0].id], {"owner": 'a "quoted" ${word} \\ %{x}'})
    group = found["group"][0].id
    client = ec2_client()
    client.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.1.0.0/16", "Description": "office"}, {"CidrIp": "10.2.0.0/16"}]},
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}])
    for words in (("main",), ("--vpc", found["vpc"][0].id)):
        file, text = export(*words)
        result = subprocess.run(["terraform", "fmt", "-check", "-diff", "main.tf"], cwd=file.parent, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr + text
        assert 'description = "office"' in text and 'self      = true' in text, text
        assert '$${word}' in text


def arguments_of(archive, kind):
    """{class: (all arguments, required ones)} of a resource's module in the package made from the provider's schema."""
    module = ast.parse(archive.read(f"cdktf_cdktf_provider_aws/{kind.removeprefix('aws_')}/__init__.py"))
    found = {}
    for definition in (node for node in module.body if isinstance(node, ast.ClassDef)):
        for function in (node for node in definition.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"):
            names = [argument.arg.removesuffix("_attribute") for argument in function.args.kwonlyargs]
            found[definition.name] = (set(names), {name for name, default in zip(names, function.args.kw_defaults) if default is None})
    return found


def terraforms_provider_takes_every_argument():
    package = next(SCHEMA.glob("*.whl"), None)
    if not package:
        print("SKIPPED: the package with the schema of Terraform's AWS provider cannot be had")
        return
    fresh()
    create()
    vpc, table, group = (parts()[kind][0] for kind in ("vpc", "table", "group"))
    client = ec2_client()
    client.create_route(RouteTableId=table.id, DestinationCidrBlock="192.168.0.0/24", NetworkInterfaceId=backend().create_network_interface(parts()["subnet"][0], "10.42.0.9").id)
    client.authorize_security_group_ingress(GroupId=group.id, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.1.0.0/16", "Description": "office"}], "Ipv6Ranges": [{"CidrIpv6": "fd00::/8"}],
         "PrefixListIds": [{"PrefixListId": "pl-12345678"}], "UserIdGroupPairs": [{"GroupId": group.id}]}])
    checked = 0
    with zipfile.ZipFile(package) as archive:
        for words in (("main",), ("--vpc", vpc.id)):
            for address, body in parsed(export(*words)[0])[1].items():
                kind = address.split(".")[0]
                classes = arguments_of(archive, kind)
                name = "".join(word.capitalize() for word in kind.split("_")[1:])
                blocks = [(f"{name}Config", body)]
                for block in ("route", "ingress", "egress"):
                    blocks += [(name + block.capitalize(), each) for each in body.get(block, []) if each]
                for class_name, given in blocks:
                    known, required = classes[class_name]
                    names = {argument for argument in given if not argument.startswith("__")}
                    assert names <= known, f"{address}: {class_name} has no {names - known}"
                    assert required <= names, f"{address}: {class_name} needs {required - names}"
                    checked += len(names)
    print(f"    {checked} arguments")


def run(name, title, case):
    """In the case's own process: whether it held."""
    global SERVER, SCRATCH
    started = time.monotonic()
    SCRATCH = SCRATCH / name
    SCRATCH.mkdir()
    SERVER = vpc_server.Server()
    try:
        case()
        assert not SERVER.mistakes, SERVER.mistakes[0]
        print(f"ok: {title} ({time.monotonic() - started:.1f} s)", flush=True)
        return True
    except Exception:  # pylint: disable=broad-except
        print(f"FAILED: {title}")
        print("".join(f"    | {line}\n" for line in traceback.format_exc().splitlines()[-40:]), end="", flush=True)
        return False


def start_case(name, title, case):
    """The process of a case; what it says goes to a file."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            said = os.open(SCRATCH / f"{name}.said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(said, 1)
            os.dup2(said, 2)
            code = 0 if run(name, title, case) else 1
            sys.stdout.flush()
        finally:
            os._exit(code)
    return process


def main():
    global SERVER
    only = os.environ.get("KILN_TEST_CASE", "")
    SERVER = vpc_server.Server()
    ec2_client().describe_vpcs()  # what a first request loads is there for all
    cases = [(name, title, case) for name, (title, case) in CASES.items() if only in name]
    waiting, told, running, ended = collections.deque(cases), collections.deque(cases), {}, {}
    while told:
        while waiting and len(running) < (AT_A_TIME if ALONE.isdisjoint([waiting[0][0], *running.values()]) else 1):
            case = waiting.popleft()
            running[start_case(*case)] = case[0]
        process, status = os.wait()
        ended[running.pop(process)] = status
        while told and told[0][0] in ended:
            name, title, _ = told.popleft()
            said = (SCRATCH / f"{name}.said").read_text()
            print(said, end="", flush=True)
            if ended[name] != 0 and "FAILED: " not in said:
                print(f"FAILED: {title}: it ended with status {ended[name]}", flush=True)
    sys.exit(1 if any(ended.values()) or not ended else 0)


ALONE = {"several_at_once"}
# The longest first.
CASES = {
    "several_at_once": ("several that create one network at once make one", several_at_once),
    **{f"a_fault_at_every_call_{kind}": (f"a fault at every call of create and destroy ({kind}): nothing is left, nothing is there twice",
                                         functools.partial(a_fault_at_every_call, kind)) for kind in FAULTS},
    "killed_at_every_call_of_create": ("create killed before and after every call that changes something: finished or removed by the next", killed_at_every_call_of_create),
    "killed_at_every_call_of_destroy": ("destroy killed before and after every call: made again, or gone by the next", killed_at_every_call_of_destroy),
    "two_left_by_killed_rivals": ("two VPCs that killed rivals left become one", two_left_by_killed_rivals),
    "creates_it_whole": ("create: a VPC, subnets, a gateway, an endpoint, a table and a closed group, each born with its tags", creates_it_whole),
    "again_changes_nothing": ("create again: nothing is changed, by a number of calls that does not grow", again_changes_nothing),
    "all_zones_without_a_word": ("create: every zone of the region, addresses of one's own", all_zones_without_a_word),
    "dry_run_makes_nothing": ("create --dry-run says what would be made, and makes nothing", dry_run_makes_nothing),
    "mends_what_was_taken_away": ("create mends what was taken away, and show says what", mends_what_was_taken_away),
    "a_refusal_is_told": ("a quota and a missing permission are told, and nothing was made", a_refusal_is_told),
    "things_are_seen_late": ("things that EC2 shows late are waited for, not made twice", things_are_seen_late),
    "twins_are_made_one": ("a table, a gateway and an endpoint too many are removed", twins_are_made_one),
    "adds_zones_and_keeps_its_addresses": ("zones can be added; addresses are for good", adds_zones_and_keeps_its_addresses),
    "wrong_words": ("wrong words: what, why and what to do", wrong_words),
    "lists_and_shows": ("list and show", lists_and_shows),
    "is_not_destroyed_in_use": ("destroy refuses while anybody is in it, and says who", is_not_destroyed_in_use),
    "leaves_what_is_not_its_own": ("destroy leaves what is not kiln's, and says so", leaves_what_is_not_its_own),
    "keeps_the_way_out_of_others": ("destroy leaves the gateway that others' routes go to", keeps_the_way_out_of_others),
    "a_vpc_of_somebody_else": ("show --vpc: what clusters need of a VPC that kiln did not make, changing nothing", a_vpc_of_somebody_else),
    "writes_terraform": ("export: a resource and an import block for every part, read by another parser", writes_terraform),
    "terraforms_provider_takes_every_argument": ("export: every argument is one of Terraform's AWS provider, and none that it needs is missing", terraforms_provider_takes_every_argument),
    "terraform_formats_it_so": ("export: as terraform fmt would write it", terraform_formats_it_so),
}
main()
