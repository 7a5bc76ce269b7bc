"""How fast AMIs are made; a part of bench/run (--only ami).

Upload: a disk's blocks to an endpoint that only takes them (bench/ebs.cc), against the floor: SHA-256 of the same blocks and a plain HTTP PUT of
each, by libcurl's kept connections, with as many threads as serve it best; and against coldsnap, where that is installed ($COLDSNAP, on the PATH,
or by bench/install-coldsnap), which is given the same file at the same endpoint. Matrix: 16 AMIs in 8 regions against one, both with
an upload of their own, on the fake EC2 (tests/cloud).
"""
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNS = 5
REGIONS = "us-east-1,ap-northeast-1,ap-southeast-1,ap-southeast-2,eu-west-1,sa-east-1,us-west-1,us-west-2"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIABENCH", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}


class Toy:
    """An image whose disk is as large as wanted, of bytes that nothing compresses; what is baked stays for all runs."""

    def __init__(self, build, size_mib):
        self.folder = tempfile.mkdtemp(prefix="kiln-bench-ami-")
        self.kiln, self.size_mib = str(build / "kiln"), size_mib
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        self.environment.update(KEYS, KILN_HOME=f"{self.folder}/home", KILN_MODULES=f"{self.folder}/modules", TMPDIR=self.folder)
        subprocess.run([ROOT / "tests/toy_base.py", f"{self.folder}/base.tar"], check=True)
        self.module("machine", "mkdir -p /usr/lib/kiln/machine\ncp boot.img core.img BOOTX64.EFI /usr/lib/kiln/machine/\n",
                    {"boot.img": os.urandom(512), "core.img": os.urandom(30000), "BOOTX64.EFI": os.urandom(200000)})
        self.renew()

    def module(self, name, script, files):
        folder = pathlib.Path(self.folder, "modules", name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "module.yaml").write_text("summary: of a benchmark\n", encoding="utf-8")
        (folder / "init.sh").write_text(script, encoding="utf-8")
        for file, content in files.items():
            (folder / file).write_bytes(content)

    def renew(self):
        """Another content: nothing of an earlier upload can be used."""
        self.module("data", "mkdir -p /opt/data\ncp data-* /opt/data/\n", {})
        # One by one: what this process once had in memory counts as its children's peak.
        for number in range(self.size_mib):
            pathlib.Path(self.folder, "modules", "data", f"data-{number}").write_bytes(os.urandom(1 << 20))

    def spec(self, ami):
        file = pathlib.Path(self.folder, "toy.yaml")
        file.write_text(f"name: toy\nbase: {{tarball: {self.folder}/base.tar}}\nmodules: [data]\ntargets: [disk]\nami: {ami}\n", encoding="utf-8")
        return str(file)

    def forget(self):
        for name in ("home/aws", "ami-list"):
            shutil.rmtree(f"{self.folder}/{name}", ignore_errors=True)

    def bake(self, *words, ami="{}"):
        result = subprocess.run([self.kiln, "bake", self.spec(ami), "--json", *words], env=self.environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, check=False)
        if result.returncode != 0:
            sys.exit(f"kiln bake {' '.join(words)}: {result.stderr}")
        return json.loads(result.stdout)


def words(seconds):
    return f"min {min(seconds):.2f}  median {statistics.median(seconds):.2f}  max {max(seconds):.2f} s ({len(seconds)} runs)"


def find_coldsnap():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    tools = pathlib.Path(os.environ.get("KILN_TEST_TOOLS") or cache / "kiln-test-tools")
    installed = sorted(tools.glob("coldsnap-*/bin/coldsnap"))
    return os.environ.get("COLDSNAP") or shutil.which("coldsnap") or (str(installed[-1]) if installed else None)


def peak_mib(command, environment):
    """Seconds and peak resident memory of a command, and what it said."""
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed")
    return time.monotonic() - started, usage.ru_maxrss / 1024, said


def bench_upload(report, toy, program):
    made = toy.bake("--target", "disk")
    disk = made["targets"]["disk"]["file"]
    server = subprocess.Popen([program, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        port = server.stdout.readline().strip()
        toy.environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        floors = {jobs: [] for jobs in (2, 4, 8, 64)}
        ours, memory, blocks = [], [], 0
        coldsnap, theirs, their_memory = find_coldsnap(), [], []
        for _ in range(RUNS):  # in turns: what disturbs one disturbs all
            for jobs, seconds in floors.items():
                count, took = subprocess.run([program, "floor", port, disk, str(jobs)], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
                seconds.append(float(took))
            toy.forget()
            _, peak, said = peak_mib([toy.kiln, "bake", toy.spec("{}"), "--target", "ami", "--regions", "us-east-1", "--json"], toy.environment)
            facts = json.loads(said)["targets"]["ami"]
            blocks = facts["blocks_sent"]
            if blocks != int(count):
                sys.exit(f"kiln sent {blocks} blocks, the floor {count}")
            ours.append(facts["upload_seconds"])
            memory.append(peak)
            if coldsnap:
                took, peak, _ = peak_mib([coldsnap, "--endpoint", f"http://127.0.0.1:{port}", "upload", "--omit-zero-blocks", disk], toy.environment)
                theirs.append(took)
                their_memory.append(peak)
        jobs = min(floors, key=lambda one: statistics.median(floors[one]))
        best = floors[jobs]
        report("upload of a disk", statistics.median(ours) / statistics.median(best), "<= 1.3",
               f"{words(ours)}; {blocks} blocks, {blocks / statistics.median(ours):.0f} a second; {max(memory):.0f} MiB at most",
               f"SHA-256 and PUT by {jobs} threads: {words(best)}")
        if coldsnap:
            report("… against coldsnap, throughput", statistics.median(theirs) / statistics.median(ours), ">= 2", f"{words(ours)}; {max(memory):.0f} MiB",
                   f"{words(theirs)}; {max(their_memory):.0f} MiB")
        else:
            print("    coldsnap is not here (bench/install-coldsnap): not compared")
    finally:
        server.kill()
        server.wait()


def bench_matrix(report, toy):
    sys.path.insert(0, str(ROOT / "tests/cloud"))
    from fake import Fake  # pylint: disable=import-outside-toplevel,import-error
    with Fake("--no-machines") as fake:
        toy.environment.update(fake.environment)
        toy.environment.update({"KILN_HOME": f"{toy.folder}/home", "KILN_MODULES": f"{toy.folder}/modules"})
        one, sixteen = [], []
        for _ in range(RUNS):
            for seconds, regions, ami in ((one, "us-east-1", "{}"), (sixteen, REGIONS, "{virtualization: [hvm, paravirtual]}")):
                toy.renew()
                toy.bake("--target", "disk", ami=ami)
                toy.forget()
                started = time.monotonic()
                made = toy.bake("--target", "ami", "--regions", regions, ami=ami)
                seconds.append(time.monotonic() - started)
                if made["targets"]["ami"]["new"] != (1 if seconds is one else 16):
                    sys.exit(f"it made {made['targets']['ami']['new']} AMIs")
        blocks = made["targets"]["ami"]["blocks_sent"]
        report("16 AMIs in 8 regions against one", statistics.median(sixteen) / statistics.median(one), "<= 2", f"{words(sixteen)}; {blocks} blocks",
               f"one AMI: {words(one)}")


def bench_ami(report, build):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    toy = Toy(build, 768)
    try:
        program = f"{toy.folder}/ebs"
        subprocess.run(["c++", "-std=c++20", "-O2", "-o", program, ROOT / "bench/ebs.cc", "-lcurl", "-lcrypto", "-lpthread"], check=True)
        bench_upload(report, toy, program)
    finally:
        shutil.rmtree(toy.folder, ignore_errors=True)
    toy = Toy(build, 96)
    try:
        bench_matrix(report, toy)
    finally:
        shutil.rmtree(toy.folder, ignore_errors=True)
