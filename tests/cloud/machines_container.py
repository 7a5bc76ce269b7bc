"""A machine as a container: the disk image's own init as PID 1, in namespaces of its own, over the image's root file system.

Root: the image's root partition, mounted read-only from the raw disk once for all machines that start from it (a loop device), with an
overlay of each machine's own. What differs from a virtual machine is in docs/fake-machines.md; the reasons:
  - the kernel is this machine's: settings that are not a namespace's (/proc/sys but for net), the clock, modules and device nodes that do not belong
    to the instance are out of reach (no CAP_SYS_TIME, CAP_SYS_MODULE, …, and the device control group)
  - cgroups: systemd 256 and later wants version 2, so it gets that hierarchy; where the host has version 1 beside it, it has no controllers
  - volumes are loop devices, under the names that a Nitro instance has. /sys/block would show this machine's disks to programs that look for
    empty ones to format, so it is the instance's own (BlockDevices), and /proc/partitions is empty (runc lets nothing be laid over it).
"""
import json
import os
import shutil
import signal
import stat
import subprocess
import time

from machines_kernel import LOOP_MAJOR, LoopDevice, MachineError, run

CAPABILITIES = [f"CAP_{name}" for name in (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER "
    "SYS_CHROOT SYS_PTRACE SYS_ADMIN SYS_BOOT SYS_NICE SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE SETFCAP").split()]
# null, zero, full, random, urandom, tty, console, ptmx, fuse, tun
CHARACTER_DEVICES = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (10, 229), (10, 200)]
# The kernel's own order, init/main.c.
INITS = ["sbin/init", "etc/init", "bin/init", "bin/sh"]
SIGRTMIN = 34  # as systemd means it: glibc's
# The units of those that configure a network by asking DHCP.
DHCP_CLIENTS = ["dbus-org.freedesktop.network1.service", "multi-user.target.wants/systemd-networkd.service", "multi-user.target.wants/NetworkManager.service",
                "multi-user.target.wants/networking.service", "network-online.target.wants/networking.service"]
CGROUPS = "/sys/fs/cgroup"


def root_partition(image):
    """Offset and size in bytes of the root file system in a raw disk: the largest Linux partition, or, without a table, all of it."""
    try:
        table = json.loads(run(["sfdisk", "--json", image]))["partitiontable"]
    except MachineError:
        return 0, os.stat(image).st_size
    linux = [p for p in table["partitions"] if p["type"] in ("83", "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709")]
    if not linux:
        raise MachineError(f"'{image}' has no Linux partition: {table['partitions']}")
    root = max(linux, key=lambda partition: partition["size"])
    sector = table.get("sectorsize", 512)
    return root["start"] * sector, root["size"] * sector


class Bases:
    """The root file systems of images, mounted once each in the keeper's mount namespace, as long as a machine uses them."""

    def __init__(self, keeper, folder):
        self.keeper, self.folder, self.users, self.made = keeper, folder, {}, 0

    @staticmethod
    def key(image):
        facts = os.stat(image)
        return facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size

    def take(self, image):
        key = self.key(image)
        if key not in self.users:
            offset, size = root_partition(image)
            mount, self.made = f"{self.folder}/{self.made}", self.made + 1
            os.makedirs(mount)
            self.keeper.shell('mount -o ro,loop,offset="$1",sizelimit="$2" "$3" "$4"', str(offset), str(size), image, mount)
            self.users[key] = [mount, 0]
        self.users[key][1] += 1
        return key, self.users[key][0]

    def give_back(self, key):
        self.users[key][1] -= 1
        if self.users[key][1] == 0:
            mount = self.users.pop(key)[0]
            self.keeper.shell('umount "$1"', mount)
            os.rmdir(mount)


class BlockDevices:
    """An instance's disks but for the root: nvme1n1, … and what /sys/block, /sys/dev/block and /dev say of them."""

    def __init__(self, folder):
        self.folder, self.devices, self.links = folder, {}, {}  # name -> LoopDevice, name -> name below /dev/disk/by-id
        for name in ("block", "dev-block"):
            shutil.rmtree(f"{folder}/{name}", ignore_errors=True)
            os.makedirs(f"{folder}/{name}")

    def add(self, path, model, serial):
        name = next(f"nvme{n}n1" for n in range(1, 100) if f"nvme{n}n1" not in self.devices)
        device = self.devices[name] = LoopDevice(path)
        facts = {"dev": f"{LOOP_MAJOR}:{device.number}", "size": os.stat(path).st_size // 512, "ro": 0, "removable": 0, "queue/rotational": 0, "queue/logical_block_size": 512,
                 "queue/physical_block_size": 512, "device/model": model, "device/serial": serial, "device/transport": "pcie", "alignment_offset": 0}
        for fact, value in facts.items():
            file = f"{self.folder}/block/{name}/{fact}"
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(file, "w") as out:
                out.write(f"{value}\n")
        os.symlink(f"../../block/{name}", f"{self.folder}/dev-block/{LOOP_MAJOR}:{device.number}")
        self.links[name] = f"nvme-{model.replace(' ', '_')}_{serial}"
        return name

    def show(self, root, cgroup):
        """Makes the nodes that are missing in a running instance, and lets it use them."""
        for name, device in self.devices.items():
            node, link = f"{root}/dev/{name}", f"{root}/dev/disk/by-id/{self.links[name]}"
            if not os.path.exists(node):
                with open(f"{CGROUPS}/devices/{cgroup}/devices.allow", "w") as file:
                    file.write(f"b {LOOP_MAJOR}:{device.number} rwm")
                os.mknod(node, 0o660 | stat.S_IFBLK, os.makedev(LOOP_MAJOR, device.number))
                os.makedirs(os.path.dirname(link), exist_ok=True)
                os.symlink(f"../../{name}", link)

    def remove(self, name, root=None, cgroup=None):
        device = self.devices.pop(name)
        if root:
            for path in (f"{root}/dev/{name}", f"{root}/dev/disk/by-id/{self.links[name]}"):
                if os.path.lexists(path):
                    os.unlink(path)
            with open(f"{CGROUPS}/devices/{cgroup}/devices.deny", "w") as file:
                file.write(f"b {LOOP_MAJOR}:{device.number} rwm")
        shutil.rmtree(f"{self.folder}/block/{name}")
        os.unlink(f"{self.folder}/dev-block/{LOOP_MAJOR}:{device.number}")
        device.close()

    def close(self):
        for name in list(self.devices):
            self.remove(name)


class Container:
    """One machine's processes and root. Not thread-safe: machines.py holds a lock for each machine."""

    def __init__(self, region, instance, folder, namespace, console):
        self.region, self.instance, self.folder, self.namespace, self.console = region, instance, folder, namespace, console
        self.id, self.cgroup = instance["id"], f"{region.tag}/{instance['id']}"
        self.pid = self.inner_pid = None
        self.base_key, self.base = region.bases.take(instance["image_root"])
        for name in ("root", "upper", "work"):
            os.makedirs(f"{folder}/{name}", exist_ok=True)
        self.disks = BlockDevices(folder)
        view = f"/proc/{region.keeper.pid}/root{self.base}"
        self.init = next((init for init in INITS if os.path.lexists(f"{view}/{init}")), None)
        if not self.init:
            raise MachineError(f"no machine can start from '{instance['image_root']}': its root has none of /{', /'.join(INITS)}")
        self.is_systemd = os.path.islink(f"{view}/{self.init}") and os.readlink(f"{view}/{self.init}").endswith("/systemd")
        self.asks_dhcp = self.is_systemd and any(os.path.lexists(f"{view}/etc/systemd/system/{unit}") for unit in DHCP_CLIENTS)

    def config(self):
        mount = lambda where, kind, *options: {"destination": where, "type": kind, "source": kind, "options": list(options)}
        bind = lambda source, where: {"destination": where, "type": "bind", "source": source, "options": ["bind", "ro", "nosuid", "noexec"]}
        mounts = [mount("/proc", "proc", "nosuid", "noexec", "nodev"), mount("/dev", "tmpfs", "nosuid", "mode=755", "size=4m"),
                  mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"), mount("/dev/shm", "tmpfs", "nosuid", "nodev", "mode=1777"),
                  mount("/dev/mqueue", "mqueue", "nosuid", "nodev", "noexec"), mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
                  mount("/sys/fs/cgroup", "cgroup2", "nosuid", "noexec", "nodev", "rw"), mount("/run", "tmpfs", "nosuid", "nodev", "mode=755"),
                  {"destination": "/dev/console", "type": "bind", "source": self.console.path, "options": ["bind", "rw"]},
                  bind(f"{self.folder}/block", "/sys/block"), bind(f"{self.folder}/block", "/sys/class/block"), bind(f"{self.folder}/dev-block", "/sys/dev/block")]
        devices = [{"allow": False, "access": "rwm"}] + [{"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"} for major, minor in CHARACTER_DEVICES]
        devices += [{"allow": True, "type": "c", "major": 136, "access": "rwm"}]  # terminals, /dev/pts
        memory = (self.instance.get("type") or {}).get("memory_mib")
        if memory:
            self.write_meminfo(memory)
            mounts.append(bind(f"{self.folder}/meminfo", "/proc/meminfo"))
        return {
            "ociVersion": "1.0.2", "hostname": "ip-" + self.instance["private_ip"].replace(".", "-"), "root": {"path": f"{self.folder}/root", "readonly": False}, "mounts": mounts,
            "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": ["/" + self.init], "cwd": "/", "noNewPrivileges": False,
                        # `container` is how systemd knows that there is no hardware to look for (its "Container Interface").
                        "env": ["container=kiln-ec2", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=linux"],
                        "capabilities": {kind: CAPABILITIES for kind in ("bounding", "effective", "permitted", "inheritable")}},
            "linux": {"cgroupsPath": "/" + self.cgroup, "namespaces": [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "cgroup")],
                      "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}], "resources": {"devices": devices},
                      # Swap is the kernel's, not a namespace's.
                      "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["swapon", "swapoff"], "action": "SCMP_ACT_ERRNO"}]},
                      "maskedPaths": ["/proc/partitions", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
                      "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger", "/proc/sys/kernel", "/proc/sys/vm", "/proc/sys/fs", "/proc/sys/dev"]}}

    def write_meminfo(self, memory_mib):
        """As much as the instance type has: programs size themselves by it."""
        known = {"MemTotal": memory_mib * 1024, "MemFree": memory_mib * 922, "MemAvailable": memory_mib * 922}
        with open("/proc/meminfo") as real, open(f"{self.folder}/meminfo", "w") as file:
            for name in (line.split(":")[0] for line in real):
                file.write(f"{name + ':':<15}{known.get(name, 0):>9} kB\n")

    def start(self, volumes):
        """Boots it; `volumes`: [(path, model, serial)]. Returns the device names, in order."""
        names = [self.disks.add(*volume) for volume in volumes]
        with open(f"{self.folder}/config.json", "w") as file:
            json.dump(self.config(), file)
        options = f"lowerdir={self.base},upperdir={self.folder}/upper,workdir={self.folder}/work"
        command = 'mount -t overlay -o "$1" machine root && exec runc --root "$2" --log runc.log create --bundle . --pid-file pid "$3"'
        try:
            self.run_on_console(command, options, self.region.runc_root, self.id)
            with open(f"{self.folder}/pid") as file:
                self.inner_pid = int(file.read())
            # The same process as the host numbers it: procfs shows each reader its own numbers.
            with open(f"{CGROUPS}/pids/{self.cgroup}/cgroup.procs") as file:
                self.pid = int(file.read().split()[0])
            self.region.expect_exit(self.inner_pid, self.id)
            self.disks.show(f"/proc/{self.pid}/root", self.cgroup)
            self.region.keeper.shell('exec runc --root "$1" start "$2"', self.region.runc_root, self.id)
        except BaseException:
            self.ended()
            raise
        return names

    def run_on_console(self, script, *arguments):
        command = self.region.keeper.prefix(self.namespace) + ["sh", "-euc", 'cd "$0"; ' + script, self.folder, *arguments]
        console = self.console.open()
        try:
            result = subprocess.run(command, stdin=console, stdout=console, stderr=console, start_new_session=True)
        finally:
            os.close(console)
        if result.returncode != 0:
            log = f"{self.folder}/runc.log"
            said = open(log).read() if os.path.exists(log) else self.console.text()[-500:].decode(errors="replace")
            raise MachineError(f"cannot start machine '{self.id}': {said.strip()}")

    def press_power_button(self):
        """Asks the system to shut down. False when nothing in it would hear that."""
        if self.is_systemd:
            os.kill(self.pid, SIGRTMIN + 4)
            return True
        try:
            with open(f"/proc/{self.pid}/status") as file:
                caught = next(int(line.split()[1], 16) for line in file if line.startswith("SigCgt"))
        except OSError:  # it is gone
            return False
        if caught >> (signal.SIGTERM - 1) & 1:
            os.kill(self.pid, signal.SIGTERM)
            return True
        return False

    def cut(self):
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def ended(self):
        """Takes down what a machine that is off does not have."""
        self.region.keeper.shell('runc --root "$1" delete --force "$2" 2> /dev/null || true; umount root 2> /dev/null || umount --lazy root 2> /dev/null || true', self.region.runc_root,
                                 self.id, folder=self.folder)
        self.disks.close()
        remove_cgroups(self.cgroup)
        self.pid = self.inner_pid = None

    def attach(self, path, model, serial):
        name = self.disks.add(path, model, serial)
        self.disks.show(f"/proc/{self.pid}/root", self.cgroup)
        return name

    def detach(self, name):
        self.disks.remove(name, f"/proc/{self.pid}/root", self.cgroup)

    def remove(self):
        self.region.bases.give_back(self.base_key)


def remove_cgroups(path):
    """Removes an instance's control groups, in each hierarchy. Its processes are gone, but the kernel may need a moment to have them gone."""
    deadline = time.monotonic() + 5
    for hierarchy in os.listdir(CGROUPS):
        top = f"{CGROUPS}/{hierarchy}/{path}"
        while os.path.isdir(top) and not os.path.islink(f"{CGROUPS}/{hierarchy}"):
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass
            if time.monotonic() > deadline:
                break
            if os.path.isdir(top):
                time.sleep(0.01)
