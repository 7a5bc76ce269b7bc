"""A walk over every API call of launch, resize, stop, start and destroy: at each of them kiln is killed, or the call goes wrong, and then
nothing may be left and nothing be there twice.

Calls are those that an undisturbed run makes (the survey), reads too. Points, at each of them:

  killed before, killed after   kiln is gone for good (SIGKILL) when the call has not been done, or has been and nobody heard the answer;
                                then the same command again, `kiln gc` where that removes what is there, or `kiln launch --resume`
  passing faults                throttling, an internal error before or after the call was done, a cut connection likewise, something that was
                                just made and is not shown yet: the command itself has to reach its end
  lasting faults                no capacity, quotas, credentials that expire at this very call: the command ends with exit code 1 and the reason,
                                leaves nothing where EC2 still lets it remove what it made, and else the next command or `kiln gc` does

What there is, is what the fake EC2 has (/_fake/things), not what kiln says. Machines are states only; agents.py speaks for them.

usage: walk.py KILN SCRATCH [ACTION…]        in the venv of tests/cloud
"""
import base64
import collections
import concurrent.futures
import hashlib
import itertools
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cloud")]
from agents import Agents, node_of  # noqa: E402  pylint: disable=wrong-import-position
from fake import Fake, in_venv  # noqa: E402  pylint: disable=wrong-import-position

# A partition is a lane of its own: `kiln gc` looks into all of an account's regions. Those with two regions make that cheap.
FAKES, PARTITIONS = 3, (("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1"))
SETTINGS = {"instance_pending_ms": 10, "instance_stopping_ms": 10, "instance_terminating_ms": 10, "consistency_ms": 0, "snapshot_ms": 10, "volume_ms": 10}
LIMIT_SECONDS = 90  # of one command; the longest pauses of retries are 20 s

KILLED = {"killed before": "stop-before", "killed after": "stop-after"}
PASSING = {"throttling": "throttle", "500": "500", "hang-up before": "hang-up-before"}
PASSING_AFTER = {"500 after acting": "error-after", "hang-up after acting": "hang-up-after"}
EXPIRED = {"kind": "code:RequestExpired", "message": "Request has expired.", "status": 400, "times": 0}
# What EC2 documents that these refuse with when something was made a moment ago ("Eventual consistency"; "Error codes").
NOT_FOUND = {"AuthorizeSecurityGroupIngress": "InvalidGroup.NotFound", "RunInstances": "InvalidGroup.NotFound", "CreateTags": "InvalidGroup.NotFound",
             "DeleteSecurityGroup": "InvalidGroup.NotFound", "DescribeInstanceAttribute": "InvalidInstanceID.NotFound",
             "TerminateInstances": "InvalidInstanceID.NotFound", "StopInstances": "InvalidInstanceID.NotFound",
             "StartInstances": "InvalidInstanceID.NotFound"}
QUOTA = {"RunInstances": "VcpuLimitExceeded", "StartInstances": "VcpuLimitExceeded", "CreateSecurityGroup": "SecurityGroupLimitExceeded",
         "AuthorizeSecurityGroupIngress": "RulesPerSecurityGroupLimitExceeded", "CreateTags": "TagLimitExceeded"}
READS = ("Describe", "Get")

Point = collections.namedtuple("Point", "action operation nth what fault outcome")  # outcome: killed, passes, fails, expires


def points_of(action, calls):
    """All that can go wrong in an undisturbed run's calls."""
    seen, points = collections.Counter(), []
    for number, operation in enumerate(calls, 1):
        seen[operation] += 1
        nth = seen[operation]

        def add(what, outcome, **fault):
            points.append(Point(action, operation, nth, what, {"operation": operation, "nth": nth, **fault}, outcome))  # pylint: disable=cell-var-from-loop
        for what, kind in KILLED.items():
            add(what, "killed", kind=kind)
        for what, kind in {**PASSING, **({} if operation.startswith(READS) else PASSING_AFTER)}.items():
            add(what, "passes", kind=kind)
        if operation in NOT_FOUND:
            add("not found", "passes", kind="code:" + NOT_FOUND[operation])
        if operation in QUOTA:
            add("quota", "fails", kind="code:" + QUOTA[operation], times=0)
        if operation in ("RunInstances", "StartInstances"):
            add("no capacity", "fails", kind="capacity", times=0)
        if operation == "RunInstances":
            add("no capacity in one zone", "passes", kind="capacity")
        points.append(Point(action, operation, nth, "expired credentials", {"nth": number, **EXPIRED}, "expires"))
    return points


class Wrong(Exception):
    pass


class Lane:
    """An account with its own agents and KILN_HOME, in which one cluster at a time is worked on."""

    def __init__(self, kiln, fake, partition, region, folder):
        self.kiln, self.fake, self.region, self.name, self.workers = kiln, fake, region, "walk", None
        folder.mkdir()
        self.home, self.said = folder / "home", folder / "said"
        self.environment = dict(fake.environment, **fake.keys[partition], KILN_HOME=str(self.home), WALK_AGENTS=str(folder / "agents"), PATH=f"{HERE}:{os.environ['PATH']}")
        self.agents = Agents(str(folder / "agents"), self.things)
        self.image = self.make_image(partition)

    def make_image(self, partition):
        """An AMI of kiln's, as far as a launch sees it: one block, and kiln's tags."""
        ebs, ec2, block = self.fake.client("ebs", self.region, partition), self.fake.client("ec2", self.region, partition), b"kiln" * (128 << 10)
        snapshot = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        ebs.put_snapshot_block(SnapshotId=snapshot, BlockIndex=0, BlockData=block, DataLength=len(block), ChecksumAlgorithm="SHA256",
                               Checksum=base64.b64encode(hashlib.sha256(block).digest()).decode())
        ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=1)
        ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})
        return ec2.register_image(Name="walk", Architecture="x86_64", RootDeviceName="/dev/xvda", VirtualizationType="hvm", EnaSupport=True, BootMode="uefi-preferred",
                                  BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}],
                                  TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "kiln:image", "Value": "walk"}, {"Key": "kiln:digest", "Value": "0" * 64}]}])["ImageId"]

    # --- commands

    def start(self, *words):
        with open(self.said, "w", encoding="utf-8") as said:
            return subprocess.Popen([self.kiln, *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def words(self, action):
        launch = ["launch", self.name, "--on", "aws", "--image", self.image, "--workers", "2", "--authorized", "198.51.100.10/32", "--instance-type", "m5.large"]
        return {"launch": launch, "launch --resume": [*launch, "--resume"],
                "resize up": ["resize", self.name, "--workers", "3"], "resize down": ["resize", self.name, "--workers", "2", "--drain", "1m"],
                "stop": ["stop", self.name], "start": ["start", self.name], "destroy": ["destroy", self.name], "gc": ["gc", "--on", "aws"]}[action]

    def run(self, action):
        """Its exit code."""
        process = self.start(*self.words(action))
        try:
            return process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Wrong(f"`kiln {action}` takes more than {LIMIT_SECONDS} s:\n{self.output()}") from None

    def output(self):
        return self.said.read_text(encoding="utf-8", errors="replace")[-1500:]

    def succeed(self, action):
        if self.run(action) != 0:
            raise Wrong(f"`kiln {action}` failed:\n{self.output()}")

    def fault(self, fields):
        return self.fake.control("POST", "faults", dict(fields, region=self.region))[0]["id"]

    def killed(self, point, number):
        """Whether the call came at which kiln was to be killed, and kiln's exit code."""
        process, mark = self.start(*self.words(point.action)), "done" if point.fault["kind"] == "stop-after" else "acted"
        end = time.monotonic() + LIMIT_SECONDS
        while process.poll() is None and not self.fake.control("GET", f"faults/{number}")[0][mark]:
            if time.monotonic() > end:
                break
            time.sleep(0.01)
        reached = process.poll() is None
        process.send_signal(signal.SIGKILL)
        return reached, process.wait()

    def prepare(self, action):
        """Makes what the action needs to have anything to do."""
        if action == "launch":
            return
        if not self.things()["groups"]:
            self.succeed("launch")
        instances = self.things()["instances"]
        if any(one["state"] == "stopped" for one in instances):
            if action != "start":
                self.succeed("start")
        elif action == "start":
            self.succeed("stop")
        if action == "resize down" and len(instances) != 4:
            self.succeed("resize up")
        if action == "resize up" and len(instances) != 3:
            self.succeed("resize down")

    # --- what there is

    def things(self):
        return self.fake.control("GET", f"things?region={self.region}")

    def nothing_is_left(self):
        things = self.things()
        left = {name: found for name, found in things.items() if found}
        if left:
            for one in left.get("instances", ()):
                one.pop("user_data")
            raise Wrong(f"left behind: {json.dumps(left)}\n{self.output()}")
        if (self.home / "aws/clusters" / self.name).exists():
            raise Wrong("KILN_HOME still has a folder of the cluster")

    def is_whole(self, workers, state="running"):
        """One master and so many workers, with what is theirs, and nothing else."""
        things = self.things()
        found = sorted(node_of(one) for one in things["instances"])
        wanted = sorted(["master-1"] + [f"worker-{n + 1}" for n in range(workers)])
        wrong = []
        if found != wanted:
            wrong.append(f"machines {found}, wanted {wanted}")
        if {one["state"] for one in things["instances"]} - {state}:
            wrong.append(f"machines are {[one['state'] for one in things['instances']]}")
        groups = [(one["name"], one["tags"].get("kiln:state"), one["tags"].get("kiln:workers"), one["rules"] > 0) for one in things["groups"]]
        if groups != [(f"kiln-{self.name}", "running", str(workers), True)]:
            wrong.append(f"groups {groups}")
        if len(things["volumes"]) != len(wanted) or len(things["interfaces"]) != len(wanted) or not all(one["instance"] for one in things["volumes"]):
            wrong.append(f"volumes {things['volumes']}, interfaces {things['interfaces']}")
        others = {name: things[name] for name in ("spot", "placement_groups", "keys", "addresses", "roles", "profiles") if things[name]}
        if wrong or others:
            raise Wrong(f"{'; '.join(wrong)} {others or ''}\n{self.output()}")

    # What each command is to reach.
    def check(self, action):
        if action == "destroy":
            self.nothing_is_left()
        else:
            self.is_whole(3 if action == "resize up" else 2, "stopped" if action == "stop" else "running")

    # --- a point

    def walk(self, point, way):
        """What was reached: False when the run did not come to the call."""
        number = self.fault(point.fault)
        try:
            if point.outcome == "killed":
                reached, code = self.killed(point, number)
            else:
                code = self.run(point.action)
                reached = self.fake.control("GET", f"faults/{number}")[0]["acted"] > 0
        finally:
            self.fake.control("DELETE", f"faults/{number}")
        if not reached:
            if code != 0:
                raise Wrong(f"failed before the call came:\n{self.output()}")
        elif point.outcome == "passes":
            if code != 0:
                raise Wrong(f"gave up (exit code {code}):\n{self.output()}")
        elif point.outcome != "killed":
            # Who asks for what cannot be heard of it, once, with the reason.
            if code != 1 or point.fault["kind"].removeprefix("code:").replace("capacity", "InsufficientInstanceCapacity") not in self.output():
                raise Wrong(f"ended with exit code {code}, saying:\n{self.output()}")
            if point.outcome == "fails" and point.action == "launch":
                self.nothing_is_left()
        self.recover(point, way, reached)
        return reached

    def is_running(self):
        return any(one["tags"].get("kiln:state") == "running" for one in self.things()["groups"])

    def recover(self, point, way, reached):
        """What comes next: the same command, or one that puts things in order."""
        if reached and point.outcome != "passes":
            if point.action == "launch":
                if not self.is_running():  # it was killed after its last call else
                    way = self.relaunch(way)
                if way == "gc":
                    return
            else:
                if way == "gc" and point.action == "destroy":
                    self.succeed("gc")
                self.succeed(point.action)
        self.check(point.action)

    def relaunch(self, way):
        """After a launch that broke: it is removed, taken over or launched anew."""
        before = {one["id"] for one in self.things()["instances"]}
        if way == "gc":
            self.succeed("gc")
            self.nothing_is_left()
        elif way == "resume" and self.things()["groups"]:
            self.succeed("launch --resume")
            if not before <= {one["id"] for one in self.things()["instances"]}:
                raise Wrong("machines that were there were not taken over")
        else:
            self.succeed("launch")
        return way


class Walk:
    def __init__(self, lanes):
        self.lanes, self.lock = lanes, threading.Lock()
        self.done, self.unreached, self.failures = collections.Counter(), [], []

    def survey(self, lane, actions):
        """The calls of undisturbed runs."""
        calls = {}
        for action in actions:
            lane.fake.control("DELETE", "log")
            lane.succeed(action)
            calls[action] = [row["operation"] for row in lane.fake.control("GET", f"log?region={lane.region}")]
            lane.check(action)
        return calls

    def point(self, lane, point):
        """True when it went well."""
        try:
            # The ways of going on, in turn.
            reached = lane.walk(point, ("gc", "resume", "again")[(point.nth + 2 * ("before" in point.what)) % 3])
        except (Wrong, OSError, KeyError, ValueError, RuntimeError) as error:
            with self.lock:
                self.failures.append(point)
                print(f"FAILED: {point.action}: {point.what}, {point.operation} {point.nth}\n" + "\n".join(f"    | {line}" for line in str(error).splitlines()), flush=True)
            return False
        with self.lock:
            if reached:
                self.done[point.action, point.what] += 1
            else:
                self.unreached.append(point)
        return True

    def clear(self, lane):
        """After a failure: as if nothing had been."""
        for action in ("destroy", "gc", "destroy"):
            lane.run(action)
        shutil.rmtree(lane.home, ignore_errors=True)
        lane.nothing_is_left()

    def work(self, lane, rounds):
        """A round is a list of steps (action, point or None), one after the other on the lane's cluster."""
        while True:
            try:
                steps = rounds.get_nowait()
            except queue.Empty:
                return
            for action, point in steps:
                lane.prepare(action)
                if point is None:
                    lane.succeed(action)
                elif not self.point(lane, point):
                    self.clear(lane)
                    break
            else:
                if lane.things()["groups"]:
                    lane.succeed("destroy")
                continue
            # What of the round was not done is done anew.
            rest = steps[steps.index((action, point)) + 1:]
            if rest:
                rounds.put(rest)

    def run(self, rounds):
        waiting = queue.Queue()
        for steps in rounds:
            waiting.put(steps)
        with concurrent.futures.ThreadPoolExecutor(len(self.lanes)) as pool:
            for work in [pool.submit(self.work, lane, waiting) for lane in self.lanes]:
                work.result()


def check_constant(lane, calls):
    """A launch of forty workers makes the same calls that change something as one of two."""
    lane.fake.control("DELETE", "log")
    words = lane.words("launch")
    words[words.index("--workers") + 1] = "40"
    if lane.start(*words).wait(LIMIT_SECONDS) != 0:
        raise Wrong(f"`kiln launch` of 40 workers failed:\n{lane.output()}")
    lane.is_whole(40)
    few, many = ([name for name in names if not name.startswith(READS)]
                 for names in (calls, [row["operation"] for row in lane.fake.control("GET", f"log?region={lane.region}")]))
    if few != many:
        raise Wrong(f"a launch of 2 workers makes the calls {few}, one of 40 {many}")
    print(f"ok: a launch of 40 workers changes something by {len(many)} calls, as does one of 2")
    lane.succeed("destroy")


def rounds_of(points, actions):
    """Launch and destroy go together; a cluster that is there is resized, stopped and started many times."""
    by = {action: [point for point in points if point.action == action] for action in actions}
    # Those that leave no cluster by themselves have a launch of their own before a destroy.
    rounds = [[("launch", launch)] for launch in by.get("launch", ())] + [[("destroy", destroy)] for destroy in by.get("destroy", ())]
    cycle = [action for action in ("resize up", "resize down", "stop", "start") if action in by]
    laps = [list(zip(cycle, lap)) for lap in itertools.zip_longest(*(by[action] for action in cycle))] if cycle else []
    for begin in range(0, len(laps), 10):
        rounds.append([step for lap in laps[begin:begin + 10] for step in lap])
    return sorted(rounds, key=len, reverse=True)


def main():
    in_venv()
    kiln, scratch, wanted = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    # A fake ends with the thread that started it.
    starters = concurrent.futures.ThreadPoolExecutor(FAKES)
    fakes = list(starters.map(lambda _: Fake("--no-machines", "--settings", json.dumps(SETTINGS)), range(FAKES)))
    try:
        lanes = [Lane(kiln, fake, partition, region, scratch / f"lane-{n}-{partition}") for n, fake in enumerate(fakes) for partition, region in PARTITIONS]
        for fake in fakes:
            fake.settings(consistency_ms=20)
        walk = Walk(lanes)
        actions = ["launch", "resize up", "resize down", "stop", "start", "destroy"]
        calls = walk.survey(lanes[0], actions)
        for action in actions:
            print(f"    {action}: {len(calls[action])} calls, {sum(not name.startswith(READS) for name in calls[action])} of which change something: "
                  + ", ".join(f"{name} {count}" for name, count in sorted(collections.Counter(calls[action]).items())))
        check_constant(lanes[0], calls["launch"])
        chosen = wanted or actions
        points = [point for action in chosen for point in points_of(action, calls[action])]
        started = time.monotonic()
        walk.run(rounds_of(points, chosen))
        for action in chosen:
            kinds = {what: count for (of, what), count in walk.done.items() if of == action}
            word = "ok: " if not any(point.action == action for point in walk.failures) else "    "
            print(f"{word}{action}: {sum(kinds.values())} points: " + ", ".join(f"{what} {count}" for what, count in sorted(kinds.items())))
        print(f"    {sum(walk.done.values())} points walked, {len(walk.unreached)} calls did not come again, {time.monotonic() - started:.0f} s")
        lost = [point for point in walk.unreached if not point.operation.startswith(READS)]
        for point in lost:
            print(f"FAILED: the walk did not come to {point.operation} {point.nth} of {point.action} ({point.what})")
        violations = [one for fake in fakes for one in fake.control("GET", "violations")]
        if violations:
            print(f"FAILED: requests that AWS would refuse: {violations}")
        return 1 if walk.failures or lost or violations else 0
    finally:
        for fake in fakes:
            fake.stop()


if __name__ == "__main__":
    sys.exit(main())
