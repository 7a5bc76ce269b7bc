"""A launch of 1+2 on the fake EC2 beside Flintrock's; a part of bench/run (--only launch-ec2).

Both run on the same fake EC2 with a real machine behind each instance (docs/fake-machines.md), in turn, as a user would type it: kiln from the image that
it baked, Flintrock (of PyPI) as it can: on a distribution's image, with Spark's archive from --spark-download-source. Flintrock is given what it would
otherwise wait for: its image has Java and Python (its `yum install` does nothing), and the archive comes from a server one hop away.

Measured is the time from the command until both workers are ALIVE at the master, which is asked for it (/json/) in its own network, every 50 ms, by the
same program for both. Flintrock formats every disk that it sees as root and lets in whom it is told to: it runs only among the machines, in
namespaces that have no way out.
"""
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLINTROCK = "flintrock==2.1.0"
NAME, RUNS, CLIENT, PORT = "bench-ec2", 3, "198.51.100.10", 8000
# Amazon Linux 2 as the fake knows it: the metadata service without tokens, which is what Flintrock's spark-env.sh asks.
IMAGE, PARAMETER = "amzn2-x86_64", "/aws/service/ami-amazon-linux-latest/amzn2-ami-hvm-x86_64-gp2"
# What Amazon Linux has and Debian lacks. `logname` asks for who logged in, which the kernel does not tell in a container; and a machine's name must
# not mean 127.0.1.1, as Debian's cloud-init has it, or the master listens there.
PREPARE = r"""#!/bin/sh
set -eu
sed -i '/^manage_etc_hosts/d' "$1/etc/cloud/cloud.cfg.d/01_debian_cloud.cfg"
printf '#!/bin/sh\nexit 0\n' > "$1/usr/local/bin/yum"
printf '#!/bin/sh\nexec id -un\n' > "$1/usr/local/bin/logname"
chmod 755 "$1/usr/local/bin/yum" "$1/usr/local/bin/logname"
"""
# Spark's archive from PyPI lacks the scripts that start a cluster. These do what Spark's own do: the master, then by SSH all workers at once.
SCRIPTS = {
    "start-all.sh": r"""#!/usr/bin/env bash
export SPARK_HOME=$(cd "$(dirname "$0")/.." && pwd)
. "$SPARK_HOME/sbin/spark-config.sh"
. "$SPARK_HOME/bin/load-spark-env.sh"
"$SPARK_HOME/sbin/spark-daemon.sh" start org.apache.spark.deploy.master.Master 1 --host "$SPARK_MASTER_HOST" --port 7077 --webui-port 8080
for worker in $(cat "$SPARK_CONF_DIR/slaves"); do
  ssh -n -o StrictHostKeyChecking=no "$worker" "$SPARK_HOME/sbin/start-worker.sh" "spark://$SPARK_MASTER_HOST:7077" &
done
wait
""",
    "start-worker.sh": r"""#!/usr/bin/env bash
export SPARK_HOME=$(cd "$(dirname "$0")/.." && pwd)
. "$SPARK_HOME/sbin/spark-config.sh"
. "$SPARK_HOME/bin/load-spark-env.sh"
"$SPARK_HOME/sbin/spark-daemon.sh" start org.apache.spark.deploy.worker.Worker 1 --webui-port 8081 "$1"
"""}
# Prints the moment when that many workers are ALIVE, by the clock that all processes of this machine share.
ASK = """
import json, sys, time, urllib.request
while True:
    try:
        with urllib.request.urlopen(f"http://{sys.argv[1]}:8080/json/", timeout=1) as answer:
            workers = json.load(answer)["workers"]
        if sum(worker["state"] == "ALIVE" for worker in workers) >= int(sys.argv[2]):
            print(time.monotonic(), flush=True)
            break
    except (OSError, ValueError):
        pass
    time.sleep(0.05)
"""


def words(seconds):
    return f"min {min(seconds):.1f}  median {statistics.median(seconds):.1f}  max {max(seconds):.1f} s ({len(seconds)} runs)"


class Flintrock:
    """Its program, its key, its image and Spark's archive for it."""

    role = "flintrock-role"

    def __init__(self, fake, folder, home, programs):
        self.program = f"{self.programs()}/flintrock"
        prefix, environment = fake.inside()
        aws = lambda *asked: subprocess.run([f"{programs}/aws", *asked, "--output", "text"], env=fake.environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        self.key = pathlib.Path(folder, "key.pem")
        self.key.write_text(aws("ec2", "create-key-pair", "--key-name", "flintrock", "--query", "KeyMaterial"), encoding="utf-8")
        self.key.chmod(0o600)
        fake.control("POST", "stock", {"image": IMAGE, "path": str(self.disk(home))})
        self.ami = aws("ssm", "get-parameter", "--name", PARAMETER, "--query", "Parameter.Value").strip()
        self.version, archive = self.archive(home)
        self.server = subprocess.Popen([*prefix, sys.executable, "-m", "http.server", "--bind", CLIENT, "--directory", archive, str(PORT)],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)

    @staticmethod
    def programs():
        """The folder that it is installed in; None where the package index cannot be reached."""
        made = subprocess.run([ROOT / "tests/pypi-tools", "flintrock", FLINTROCK], stdout=subprocess.PIPE, text=True, check=False)
        return made.stdout.strip() if made.returncode == 0 else None

    @staticmethod
    def disk(home):
        """Debian as a distribution's image for EC2, with the user and the programs that Flintrock expects; made once."""
        disk = pathlib.Path(home, "stock", "flintrock.img")
        if not disk.exists():
            disk.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory() as folder:
                prepare = pathlib.Path(folder, "prepare")
                prepare.write_text(PREPARE, encoding="utf-8")
                prepare.chmod(0o755)
                environment = dict(os.environ, STOCK_USER="ec2-user", STOCK_PREPARE=str(prepare),
                                   STOCK_PACKAGES="openjdk-21-jre-headless,curl,python-is-python3,hostname,openssh-client")
                subprocess.run([ROOT / "tests/cloud/stock_disk", "trixie", disk], env=environment, check=True)
        return disk

    @staticmethod
    def archive(home):
        """Spark's version, and the folder with its archive, named as Apache names it; made once of what kiln fetched from PyPI."""
        version = re.search(r"version: {default: ([0-9.]+),", (ROOT / "modules/spark/module.yaml").read_text(encoding="utf-8")).group(1)
        entries = (json.loads(file.read_text(encoding="utf-8")) for file in pathlib.Path(home, "sources", "index").glob("*.json"))
        digest = next((entry["digest"] for entry in entries if entry["name"] == f"pyspark-{version}.tar.gz"), None)
        if digest is None:
            sys.exit(f"bench: there is no pyspark-{version}.tar.gz below '{home}/sources': bake image spark")
        source = pathlib.Path(home, "sources", "sha256", digest)
        name = f"spark-{version}-bin-hadoop3"
        folder = pathlib.Path(home, "stock", "spark")
        if not (folder / f"{name}.tgz").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with tempfile.TemporaryDirectory(dir=folder) as work:
                subprocess.run(["tar", "-xzf", source, "-C", work, "--no-same-owner", "--strip-components=1", f"pyspark-{version}/deps"], check=True)
                os.rename(f"{work}/deps", f"{work}/{name}")
                for script, text in SCRIPTS.items():
                    file = pathlib.Path(work, name, "sbin", script)
                    file.write_text(text, encoding="utf-8")
                    file.chmod(0o755)
                subprocess.run(f"tar -cf - '{name}' | gzip -1 > ../{name}.part", shell=True, cwd=work, check=True)
            os.rename(folder / f"{name}.part", folder / f"{name}.tgz")
        return version, folder

    def launch(self):
        return [self.program, "launch", NAME, "--num-slaves", "2", "--java-version", "21", "--hdfs-version", "3.4.2", "--spark-version", self.version,
                "--spark-download-source", f"http://{CLIENT}:{PORT}/", "--assume-yes", "--ec2-key-name", "flintrock", "--ec2-identity-file", str(self.key),
                "--ec2-instance-type", "m5.large", "--ec2-region", "us-east-1", "--ec2-ami", self.ami, "--ec2-user", "ec2-user",
                "--ec2-authorize-access-from", CLIENT]

    def destroy(self):
        return [self.program, "destroy", NAME, "--assume-yes", "--ec2-region", "us-east-1"]

    def close(self):
        self.server.kill()
        self.server.wait()


class Kiln:
    role = "kiln:role"

    def __init__(self, fake, folder, bench):
        self.kiln, self.home = bench.kiln, bench.home
        subprocess.run([self.kiln, "bake", "spark", "--target", "ami", "--regions", "us-east-1", "--ami-list", f"{folder}/ami-list", "-q"],
                       env=dict(fake.environment, KILN_HOME=self.home), stdout=subprocess.DEVNULL, check=True)

    def launch(self):
        return [self.kiln, "launch", NAME, "--on", "aws", "--workers", "2", "--instance-type", "m5.large", "--authorized", f"{CLIENT}/32", "--no-timeline", "-q"]

    def destroy(self):
        return [self.kiln, "destroy", NAME, "-q"]


def master_of(fake, role):
    """The master's id and private address as soon as a machine runs behind it, or None."""
    for instance in fake.control("GET", "instances"):
        if instance["state"] in ("pending", "running") and instance["machine"] == "running" and instance["tags"].get(role) == "master":
            return instance["id"], instance["private_ip"]
    return None


def timed(fake, tool, folder, home):
    """Seconds from the command until both workers were ALIVE at the master, and until the command came back."""
    prefix, environment = fake.inside()
    environment.update(KILN_HOME=home, HOME=folder, TMPDIR=folder, LC_ALL="C.UTF-8", PYTHONWARNINGS="ignore")
    said = pathlib.Path(folder, f"said-{type(tool).__name__.lower()}")
    with open(said, "w", encoding="utf-8") as out:
        started = time.monotonic()
        command = subprocess.Popen([*prefix, *tool.launch()], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    asking, ended = None, None
    try:
        while ended is None:
            if asking is None:
                master = master_of(fake, tool.role)
                if master:
                    where = fake.control("GET", f"client/{master[0]}")["prefix"]
                    asking = subprocess.Popen([*where, sys.executable, "-c", ASK, master[1], "2"], stdout=subprocess.PIPE, text=True)
            try:
                command.wait(0.05)
                ended = time.monotonic() - started
            except subprocess.TimeoutExpired:
                pass
        if command.returncode != 0 or not asking:
            sys.exit(f"bench: {' '.join(tool.launch())} failed:\n{said.read_text(encoding='utf-8')}")
        registered = float(asking.communicate(timeout=120)[0]) - started
    finally:
        if asking:
            asking.kill()
            asking.wait()
    subprocess.run([*prefix, *tool.destroy()], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    left = [instance["id"] for instance in fake.control("GET", "instances") if instance["state"] != "terminated"]
    if left:
        sys.exit(f"bench: {' '.join(tool.destroy())} left {left}")
    return registered, ended


def bench_launch_ec2(report, bench):
    sys.path.insert(0, str(ROOT / "tests/cloud"))
    import fake as fakes  # pylint: disable=import-outside-toplevel,import-error
    programs = fakes.venv()
    if programs is None or Flintrock.programs() is None:
        print("    a launch beside Flintrock: the Python package index cannot be reached: not compared")
        return
    with tempfile.TemporaryDirectory(prefix="kiln-bench-ec2-") as folder, fakes.Fake("--settings", '{"snapshot_ms": 100}') as fake:
        ours = Kiln(fake, folder, bench)
        theirs = Flintrock(fake, folder, bench.home, programs)
        registered, ended = {ours: [], theirs: []}, {ours: [], theirs: []}
        try:
            for _ in range(RUNS):
                for tool, seconds in registered.items():
                    one, other = timed(fake, tool, folder, bench.home)
                    seconds.append(one)
                    ended[tool].append(other)
                    print(f"    {type(tool).__name__}: workers registered after {one:.1f} s, the command back after {other:.1f} s", flush=True)
        finally:
            theirs.close()
        violations = fake.control("GET", "violations")
        if violations:
            print(f"    the fake EC2 says: {json.dumps(violations)[:2000]}", flush=True)
    report("launch of 1+2 on EC2 against Flintrock, from command to both workers registered",
           statistics.median(registered[theirs]) / statistics.median(registered[ours]), ">= 5", f"{words(registered[ours])}; back after {words(ended[ours])}",
           f"{words(registered[theirs])}; back after {words(ended[theirs])}")
