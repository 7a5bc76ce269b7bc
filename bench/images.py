"""How fast images are made: against a plain script, and against mkosi where there is one. Parts of bench/run (--only images, --only mkosi).

The baseline makes the same content by the shortest way there is: mmdebstrap with all packages, Spark unpacked, `tar | gzip`, `mke2fs -d`.
Packages and Spark are cached for all of them; class-data archives, which only kiln makes, are left out.

mkosi: $MKOSI names the program, else the one on the PATH; 26 or newer, of its own repository, where `bin/mkosi` runs without being installed
(Debian 12's is 14, which has neither the format oci nor tools trees). It is used as it is, with what it takes by itself but for:
- a tools tree of Debian 13, since disks need a newer systemd-repart than Debian 12 has; made by the first build, which is not counted;
- a list of package sources without the archive of debug symbols, which mirrors often lack;
- GRUB for both firmwares, as on kiln's disks.
It builds an initrd out of packages for each disk. The measured builds are given that of the first, in mkosi's favour.
"""
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

SPEC = """name: bench-images
base: {{debian: trixie}}
modules: [java, spark{more}]
warm: false
targets: [oci]
"""

# By hand: $1 packages, separated by commas; $2 folder with cached packages; $3 Spark's source archive; $4 work folder.
FLOOR = r"""
set -eu
mmdebstrap --quiet --variant=minbase --include="$1" --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
  --setup-hook='mkdir -p "$1/var/cache/apt/archives" && cp '"$2"'/*.deb "$1/var/cache/apt/archives/"' trixie "$4/root"
mkdir "$4/spark"
tar -xzf "$3" -C "$4/spark"
mv "$4"/spark/pyspark-*/deps "$4/root/opt/spark"
tar -C "$4/root" --sort=name -c . | tee "$4/digest" | gzip > "$4/layer.tar.gz"
sha256sum "$4/digest" "$4/layer.tar.gz" > /dev/null
"""
FLOOR_DISK = r"""
truncate -s 4G "$4/disk.img"
mke2fs -q -t ext4 -d "$4/root" "$4/disk.img"
"""

MKOSI = """[Distribution]
Distribution=debian
Release=trixie
[Output]
Format={format}
Output=image
OutputDirectory={work}/out
[Content]
Packages={packages}
ExtraTrees={work}/spark:/opt/spark
{content}
[Build]
ToolsTree=default
ToolsTreeDistribution=debian
ToolsTreeRelease=trixie
ToolsTreeSandboxTrees={work}/debian.sources:/etc/apt/sources.list.d/mkosi.sources
SandboxTrees={work}/debian.sources:/etc/apt/sources.list.d/mkosi.sources
PackageCacheDirectory={work}/cache
WorkspaceDirectory={work}/workspace
BuildSources=
"""
MKOSI_CONTENT = {"oci": "Bootable=no", "disk": "Bootable=yes\nBootloader=grub\nBiosBootloader=grub"}
OLDEST_MKOSI = 26


class NoMkosi(Exception):
    """Why it cannot be compared with."""


def debian_sources():
    """Trixie's, from the mirrors that this machine's apt has, in place of mkosi's own list: that asks for archives that mirrors may lack."""
    words = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Origin: Debian"]
    sites = sorted(set(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.split()))
    if not sites:
        raise NoMkosi("this machine's apt has no mirror of Debian's")
    suites = {True: "trixie-security", False: "trixie trixie-updates"}
    return "".join(f"Types: deb\nURIs: {site}\nSuites: {suites[site.rstrip('/').endswith('-security')]}\nComponents: main\n"
                   "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n" for site in sites)


class Mkosi:
    def __init__(self, work):
        self.program = (os.environ.get("MKOSI") or shutil.which("mkosi") or "").split()
        if not self.program:
            raise NoMkosi("mkosi is not installed (MKOSI=PROGRAM names one)")
        self.version = ""
        self.version = self.run(["--version"], pathlib.Path("/")).strip().removeprefix("mkosi ")
        number = re.match(r"\d+", self.version)
        if not number or int(number[0]) < OLDEST_MKOSI:
            raise NoMkosi(f"{self.program[0]} is {self.version}, older than {OLDEST_MKOSI} (MKOSI=PROGRAM names another)")
        self.work = work
        for name in ("cache", "workspace", "out"):
            (work / name).mkdir(parents=True)
        (work / "debian.sources").write_text(debian_sources())

    def run(self, words, folder):
        result = subprocess.run([*self.program, *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, errors="replace")
        if result.returncode != 0:
            raise NoMkosi(f"{' '.join(self.program)} {self.version} failed: ..." + result.stdout[-600:])
        return result.stdout

    def build(self, target, packages, spark_source):
        """Seconds of one build from nothing but cached packages (and tools, once there was a build); the unpacking of Spark counted."""
        initrd = self.work / "initrd.cpio.zst"
        content = MKOSI_CONTENT[target] + (f"\nInitrds={initrd}" if target == "disk" and initrd.exists() else "")
        (self.work / "mkosi.conf").write_text(MKOSI.format(format=target, packages=",".join(packages), work=self.work, content=content))
        started = time.monotonic()
        (self.work / "unpacked").mkdir()
        subprocess.run(["tar", "-xzf", spark_source, "-C", str(self.work / "unpacked")], check=True)
        os.rename(next((self.work / "unpacked").glob("pyspark-*/deps")), self.work / "spark")
        self.run(["--force", "build"], self.work)
        seconds = time.monotonic() - started
        made = list((self.work / "out").glob("initrd*.cpio.zst"))
        if target == "disk" and made and not initrd.exists():
            shutil.copy(made[0], initrd)
        for name in ("unpacked", "spark"):
            shutil.rmtree(self.work / name)
        return seconds


class PeakMemory:
    """The most memory that processes of one program held together, in MiB, looked at 20 times a second."""
    def __init__(self, program):
        self.program, self.peak, self.ended = os.path.realpath(program), 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.ended.wait(0.05):
            total = 0
            for process in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    if os.path.realpath(process / "exe") == self.program:
                        total += int((process / "status").read_text().split("RssAnon:")[1].split()[0])
                except (OSError, IndexError):
                    pass
            self.peak = max(self.peak, total / 1024)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


class Images:
    def __init__(self, bench, root):
        self.bench, self.root = bench, root
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="kiln-bench-", dir=os.path.dirname(bench.home)))
        self.spec = self.work / "bench-images.yaml"
        self.modules = self.work / "modules"
        shutil.copytree(root / "modules", self.modules)
        (self.modules / "small").mkdir()
        (self.modules / "small/module.yaml").write_text("summary: a small module on top\n")
        self.number = 0
        self.change_module()
        self.spec.write_text(SPEC.format(more=", small"))

    def change_module(self):
        self.number += 1
        (self.modules / "small/init.sh").write_text(f"echo {self.number} > /opt/small\n")

    def new_home(self):
        """A store with sources and packages, and nothing made of them."""
        home = self.work / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        for name in ("sources", "cache"):
            subprocess.run(["cp", "-al", f"{self.bench.home}/{name}", str(home / name)], check=True)
        for lock in home.glob("cache/packages/*/lock"):  # apt's: each store has its own
            lock.unlink()
        return home

    def bake(self, home, targets):
        started = time.monotonic()
        result = subprocess.run([self.bench.kiln, "bake", str(self.spec), "--target", ",".join(targets), "-q", "--json"], text=True,
                                env=dict(os.environ, KILN_HOME=str(home), KILN_MODULES=str(self.modules)),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if result.returncode != 0:
            sys.exit(f"kiln bake: {result.stderr}")
        return time.monotonic() - started

    def packages(self, home):
        names = set()
        for file in (home / "layers").glob("*/layer.json"):
            names.update(json.loads(file.read_text())["inputs"].get("packages", []))
        return sorted(names)

    def spark_source(self, home):
        """The source archive of the index: kept under its digest, and the largest of all sources."""
        return str(max((home / "sources").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0))

    def floor(self, home, packages, disk):
        work = self.work / "floor"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        cache = next(iter((home / "cache/packages").glob("trixie-*")))
        started = time.monotonic()
        subprocess.run(["sh", "-c", FLOOR + (FLOOR_DISK if disk else ""), "floor", ",".join(packages), str(cache), self.spark_source(home), str(work)],
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        shutil.rmtree(work)
        return seconds

    def close(self):
        # Layers may hold folders that only root enters.
        subprocess.run(["rm", "-rf", str(self.work)], check=False)


def bench_images(bench, arguments, report, root):
    images = Images(bench, root)
    targets = subprocess.run([bench.kiln, "bake", "--help"], text=True, stdout=subprocess.PIPE, check=True).stdout
    disk = "disk" in targets
    both = ["oci", "disk"] if disk else ["oci"]
    try:
        ours, floor = [], []
        for _ in range(arguments.bakes):
            home = images.new_home()
            with PeakMemory(bench.kiln) as memory:
                ours.append(images.bake(home, both))
            packages = images.packages(home)
            floor.append(images.floor(home, packages, disk))
        name = " and ".join(both)
        report(f"cold bake to {name}, against mmdebstrap, tar | gzip" + (" and mke2fs" if disk else ""),
               statistics.median(ours) / statistics.median(floor), "<= 1.2", each(ours), each(floor))
        report("peak memory of kiln's own processes in that bake", memory.peak / 256, "< 1 (256 MB)", f"{memory.peak:.0f} MB")

        again = [images.bake(home, both) for _ in range(5)]
        report(f"bake with nothing changed, {name}", statistics.median(again) / 0.3, "< 1 (0.3 s)", each(again))

        if disk:
            changed = []
            for _ in range(3):
                images.change_module()
                changed.append(images.bake(home, ["disk"]))
            report("a module's init.sh changed, to a new disk, against cold", statistics.median(ours) / statistics.median(changed), ">= 5",
                   each(changed), each(ours))

            def only(names):
                for made in ("oci", "disk", "disks"):
                    shutil.rmtree(home / made, ignore_errors=True)
                return images.bake(home, names)
            alone = {target: only([target]) for target in both}
            together = only(both)
            report("all targets together against the slowest alone", together / max(alone.values()), "<= 1.3", f"{together:.1f} s",
                   ", ".join(f"{target} {seconds:.1f} s" for target, seconds in alone.items()))
    finally:
        images.close()


def bench_mkosi(bench, arguments, report, root):
    images = Images(bench, root)
    try:
        mkosi = Mkosi(images.work / "mkosi")
        for target in ("oci", "disk"):
            home = images.new_home()
            images.bake(home, [target])
            mkosi.build(target, images.packages(home), images.spark_source(home))  # makes its tools and fills its cache
            ours, theirs, our_work, their_work = [], [], [], []
            for _ in range(arguments.bakes):  # in turn: whatever else the machine does meets both
                home = images.new_home()
                before = processor_seconds()
                ours.append(images.bake(home, [target]))
                between = processor_seconds()
                theirs.append(mkosi.build(target, images.packages(home), images.spark_source(home)))
                our_work.append(between - before)
                their_work.append(processor_seconds() - between)
            report(f"cold bake to {target}, against mkosi {mkosi.version} (load {os.getloadavg()[1]:.1f})",
                   statistics.median(theirs) / statistics.median(ours), ">= 2", f"{each(ours)}; processors {each(our_work)}",
                   f"{each(theirs)}; processors {each(their_work)}")
    except NoMkosi as why:
        print(f"cold bake against mkosi: SKIPPED: {why}", flush=True)
    finally:
        images.close()


def processor_seconds():
    """Of all that was run and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def each(seconds):
    return "  ".join(f"{value:.2f}" for value in seconds) + " s"
