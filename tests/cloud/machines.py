"""A real machine behind each instance of the fake EC2.

    machines = Machines(folder, on_exit=...)      # folder: for disks and logs; why_not() tells what this machine lacks for it
    api = machines.listen(5000)                   # a listening socket; clients and instances reach it at http://198.18.0.1:5000
    machines.set_group("sg-1", {"ingress": [...], "egress": [...]})
    machines.start(instance)                      # boots, or boots again what was stopped
    machines.client()                             # command prefix: a machine on the internet, with 198.51.100.10
    machines.close()                              # nothing is left

`instance`, as the API part made it:
    id, image_root (the raw disk), arch, private_ip, public_ip or None, subnet {id, cidr}, vpc {id, cidr, endpoints}, user_data (bytes),
    groups [{id, name}], role {name, credentials(), profile_arn}|None, tags {}, metadata_options {HttpTokens, HttpEndpoint, HttpPutResponseHopLimit, InstanceMetadataTags},
    type {name, vcpus, memory_mib, instance_store [GiB, …]}, volumes [{id, device, path, size_gib}], spot; and for the metadata service, all optional:
    ami, launch_index, zone, region, account, key {name, public_key}, reservation, launch_time, interface (its id), root_device;
    kind ("container" or "qemu") where it is not the region's; for "qemu" root_gib and boot_mode ("legacy-bios", "uefi").
`endpoints`: true when the VPC has a way to the cloud's API for instances without a public address. The path of a volume is a file of the API part; what is written to it is there after the machine. The dict may be changed with update().

start(), stop(), reboot() and terminate() return when it is done; they may be called from several threads, for several machines at once. `on_exit(id, why)` is told
when a machine ended by itself: "poweroff" (what happens then is up to the instance's shutdown behaviour), or "crash". A machine that reboots itself is
booted again without a word.

machines_net.py has the network, machines_imds.py the metadata service, machines_container.py a machine as a container, machines_qemu.py as a virtual machine (kind
"qemu"), machines_kernel.py why nothing is left when this process is killed; what is left of it in folders and control groups, sweep() removes.
"""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import termios
import threading
import time

from machines_container import Bases, Container, remove_cgroups
from machines_imds import Metadata, Server
from machines_kernel import Keeper, MachineError, Namespace, run, start_time
from machines_net import CLIENT_ADDRESS, METADATA_ADDRESS, Internet, Vpc, listen_at
from machines_qemu import VirtualMachine

PREFIX = "kiln-ec2"  # of everything that has a name
REGISTRY = f"/run/{PREFIX}"
CONSOLE_BYTES = 64 << 10  # what GetConsoleOutput keeps
PROGRAMS = {"runc": "runc", "ip": "iproute2", "nft": "nftables", "dnsmasq": "dnsmasq-base", "sfdisk": "fdisk", "nsenter": "util-linux"}
# What a system may take to shut down before it is cut off. EC2 waits for minutes; here somebody waits.
STOP_SECONDS = 30


def why_not():
    """Why no machine can be started here, or nothing."""
    if os.getuid() != 0:
        return "machines need root: network namespaces, mounts"
    for program, package in PROGRAMS.items():
        if not shutil.which(program):
            return f"there is no {program} here (package {package})"
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices here"
    if not os.path.isdir("/sys/fs/cgroup/pids"):
        return "control groups of version 1 are not mounted at /sys/fs/cgroup"
    try:
        Namespace().close()
        run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"])
    except (MachineError, OSError) as error:
        return f"namespaces cannot be made here: {error}"
    return None


def fakes():
    """Those that have a name here: tag -> PID, or None when the process is dead. A tag is PREFIX-PID-START, START being when that process began."""
    found = {}
    for tag in sorted(os.listdir(REGISTRY)) if os.path.isdir(REGISTRY) else ():
        name = re.fullmatch(f"{PREFIX}-([0-9]+)-([0-9]+)", tag)
        if name:
            found[tag] = int(name[1]) if start_time(int(name[1])) == int(name[2]) else None
    return found


def sweep():
    """Removes what fakes that are dead left, and nothing of those that live. Returns their tags."""
    dead = [tag for tag, pid in fakes().items() if pid is None]
    for tag in dead:
        entry = f"{REGISTRY}/{tag}"
        with open(entry) as file:
            folders = file.read().split("\n")
        remove_cgroups(tag)
        for folder in filter(None, folders):
            shutil.rmtree(folder, ignore_errors=True)
        os.unlink(entry)
    return dead


class Console:
    """A terminal that a machine has as its console, and the end of what was written to it."""

    def __init__(self):
        self.main, self.slave = pty.openpty()
        self.path, self.kept, self.lock = os.ttyname(self.slave), bytearray(), threading.Lock()
        mode = termios.tcgetattr(self.slave)
        mode[3] &= ~termios.ECHO  # nobody types
        termios.tcsetattr(self.slave, termios.TCSANOW, mode)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, b"\x28\x00\xa0\x00\x00\x00\x00\x00")  # 40 × 160

    def open(self):
        return os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)

    def read(self):
        data = os.read(self.main, 65536)
        with self.lock:
            self.kept += data
            del self.kept[:-CONSOLE_BYTES]

    def text(self):
        with self.lock:
            return bytes(self.kept)

    def close(self):
        for fd in (self.main, self.slave):
            os.close(fd)


class Machine:
    """One instance: what is kept of it from start to terminate."""

    def __init__(self, instance, folder, console):
        self.instance, self.folder, self.console = instance, folder, console
        self.state = "stopped"  # stopped, running, lost, gone
        self.lock, self.ended = threading.RLock(), threading.Event()
        self.metadata, self.namespace, self.body = Metadata(instance), None, None
        self.status, self.expected = None, None  # how it ended; what it was asked to do
        self.volumes = {}  # the launcher's device name -> the machine's own


class Machines:
    def __init__(self, folder, kind="container", on_exit=lambda identity, why: None, also=""):
        """`also`: a folder of the owner's that sweep() removes as well, when the owner was killed."""
        sweep()
        self.tag = f"{PREFIX}-{os.getpid()}-{start_time(os.getpid())}"
        self.kind, self.on_exit, self.folder = kind, on_exit, f"{os.path.abspath(folder)}/{self.tag}"
        self.runc_root = f"{self.folder}/runc"
        os.makedirs(REGISTRY, exist_ok=True)
        # Before there is anything else: a folder without an entry would be nobody's.
        with open(f"{REGISTRY}/{self.tag}", "w") as file:
            file.write(f"{self.folder}\n{also and os.path.abspath(also)}\n")
        os.makedirs(f"{self.folder}/machines", mode=0o700)
        self.machines, self.vpcs, self.groups, self.pids = {}, {}, {}, {}
        self.lock, self.closed = threading.RLock(), False
        self.keeper, self.internet = Keeper(self.process_ended), Internet()
        self.bases = Bases(self.keeper, f"{self.folder}/images")
        self.poller = select.epoll()
        self.consoles = {}
        threading.Thread(target=self.read_consoles, daemon=True).start()

    # --- for the API and those who use it ---

    def listen(self, port):
        return self.internet.listen(port)

    def client(self, address=CLIENT_ADDRESS, vpc=None):
        """The prefix of a command that is to run on a machine somewhere on the internet: CLIENT_ADDRESS's, or another one of 198.51.100.0/24.

        With `vpc` {id, cidr} it is in that VPC as well, with an address at the end of its range, as by a VPN: it reaches private addresses."""
        with self.lock:
            client = self.internet.client(address)
            if vpc:
                self.vpc(vpc).admit(client)
            return client.namespace.prefix()

    def inside(self, identity, *command):
        """A command line that runs a command in a machine (a container), for tests."""
        machine = self.get(identity)
        return self.keeper.prefix(machine.namespace) + ["runc", "--root", self.runc_root, "exec", identity, *command]

    def network_of(self, identity):
        """The prefix of a command of this machine's that is to see the instance's network."""
        return self.get(identity).namespace.prefix()

    # --- the life of a machine ---

    def start(self, instance):
        with self.lock:
            machine = self.machines.get(instance["id"])
            if not machine:
                folder = f"{self.folder}/machines/{instance['id']}"
                os.mkdir(folder)
                machine = self.machines[instance["id"]] = Machine(instance, folder, Console())
                self.consoles[machine.console.main] = machine.console
                self.poller.register(machine.console.main, select.EPOLLIN)
        with machine.lock:
            if machine.state == "running":
                return
            if machine.state == "lost":
                self.put_away(machine)
            machine.instance = machine.metadata.instance = instance
            machine.metadata.notices = {}
            try:
                self.boot(machine)
            except BaseException:
                # What never ran is not there; what ran before is as it was.
                self.put_away(machine) if os.path.exists(f"{machine.folder}/booted") else self.forget(machine)
                raise

    def boot(self, machine):
        instance, machine.namespace = machine.instance, Namespace()
        machine.namespace.settings(ping_group_range="0 2147483647")
        if machine.body is None:
            with self.lock:
                machine.body = self.make_body(machine)
        machine.body.instance, machine.body.namespace = instance, machine.namespace
        with self.lock:
            vpc = self.vpc(instance["vpc"])
            vpc.plug(instance["id"], instance["private_ip"], instance["subnet"]["cidr"], machine.namespace, machine.body.asks_dhcp)
            self.announce(machine)
        self.power_on(machine)
        with open(f"{machine.folder}/booted", "w"):
            pass

    def make_body(self, machine):
        kind = VirtualMachine if machine.instance.get("kind", self.kind) == "qemu" else Container
        return kind(self, machine.instance, machine.folder, machine.namespace, machine.console)

    def power_on(self, machine):
        machine.ended.clear()
        machine.status = machine.expected = None
        names = machine.body.start([disk[1:] for disk in self.disks(machine)])
        machine.volumes = dict(zip((disk[0] for disk in self.disks(machine)), names))
        machine.state = "running"

    def disks(self, machine):
        """Its disks but for the root: (the launcher's name, file, model, serial), volumes before the instance store."""
        disks = [(volume["device"], volume["path"], "Amazon Elastic Block Store", volume["id"].replace("-", "")) for volume in machine.instance.get("volumes") or ()]
        for number, gib in enumerate((machine.instance.get("type") or {}).get("instance_store") or ()):
            path = f"{machine.folder}/instance-store-{number}"
            with open(path, "ab") as file:
                file.truncate(gib << 30)
            serial = f"AWS{machine.instance['id'][-12:].upper()}{number:04}"
            disks.append((f"ephemeral{number}", path, "Amazon EC2 NVMe Instance Storage", serial))
        return disks

    def stop(self, identity, force=False):
        """Shuts it down, with its disk kept and what is on its instance store lost; `force` cuts it off."""
        machine = self.get(identity)
        with machine.lock:
            if machine.state in ("running", "lost"):
                self.switch_off(machine, force)
            self.put_away(machine)

    def reboot(self, identity):
        """Shuts it down and boots it again, with its disks, addresses and network."""
        machine = self.get(identity)
        with machine.lock:
            self.switch_off(machine, False)
            self.power_on(machine)

    def terminate(self, identity, force=False):
        with self.lock:
            machine = self.machines.get(identity)
        if not machine:
            return
        with machine.lock:
            if machine.state in ("running", "lost"):
                self.switch_off(machine, force)
            if machine.state != "gone":
                self.forget(machine)

    def kill(self, identity):
        """The machine is lost, as when its host dies; the API is not told."""
        machine = self.get(identity)
        with machine.lock:
            if machine.state == "running":
                self.switch_off(machine, True)
                machine.state = "lost"

    def state(self, identity):
        machine = self.machines.get(identity)
        return machine.state if machine else None

    def console(self, identity):
        return self.get(identity).console.text()

    # --- what changes while it runs ---

    def update(self, identity, **changes):
        """New values in its dict: tags, metadata_options, role, public_ip, groups, user_data, …"""
        machine = self.get(identity)
        machine.instance.update(changes)
        if {"public_ip", "groups"} & set(changes) and machine.state == "running":
            with self.lock:
                self.announce(machine)

    def set_group(self, group, rules):
        """A security group's rules, or None when it is gone: {"ingress": [rule], "egress": [rule]}, see machines_net.rule_text. At once for new connections."""
        with self.lock:
            if rules is None:
                self.groups.pop(group, None)
            else:
                self.groups[group] = rules
            for vpc in self.vpcs.values():
                vpc.write_rules(self.groups)

    def attach_volume(self, identity, volume):
        """{id, device, path, size_gib}; returns the name that the machine gave it (EC2 numbers NVMe devices as they come)."""
        machine = self.get(identity)
        with machine.lock:
            machine.instance.setdefault("volumes", []).append(volume)
            if machine.state == "running":
                machine.volumes[volume["device"]] = machine.body.attach(volume["path"], "Amazon Elastic Block Store", volume["id"].replace("-", ""))
                return machine.volumes[volume["device"]]
        return None

    def detach_volume(self, identity, device):
        machine = self.get(identity)
        with machine.lock:
            machine.instance["volumes"] = [volume for volume in machine.instance.get("volumes") or () if volume["device"] != device]
            name = machine.volumes.pop(device, None)
            if name and machine.state == "running":
                machine.body.detach(name)

    def spot_notice(self, identity, action="terminate", seconds=120):
        """What the metadata service says two minutes before EC2 takes a spot instance back; taking it is the API part's."""
        self.get(identity).metadata.spot_notice(action, seconds)

    def rebalance_notice(self, identity):
        self.get(identity).metadata.rebalance()

    # --- inside ---

    def get(self, identity):
        with self.lock:
            if identity not in self.machines:
                raise MachineError(f"there is no machine '{identity}'")
            return self.machines[identity]

    def vpc(self, facts):
        if facts["id"] not in self.vpcs:
            vpc = self.vpcs[facts["id"]] = Vpc(facts["id"], facts["cidr"], self.internet, self.keeper, f"{self.folder}/{facts['id']}")
            find = lambda address: next((self.machines[i].metadata for i, entry in list(vpc.instances.items()) if entry["private_ip"] == address), None)
            vpc.metadata_server = Server(listen_at(vpc.namespace, METADATA_ADDRESS, 80), find)
            vpc.write_rules(self.groups)
        self.vpcs[facts["id"]].endpoints = bool(facts.get("endpoints"))
        return self.vpcs[facts["id"]]

    def announce(self, machine):
        instance, vpc = machine.instance, self.vpc(machine.instance["vpc"])
        vpc.set_instance(instance["id"], {"private_ip": instance["private_ip"], "public_ip": instance.get("public_ip"), "groups": [group["id"] for group in instance.get("groups") or ()]})
        vpc.write_rules(self.groups)

    def expect_exit(self, inner_pid, identity):
        self.pids[inner_pid] = identity

    def process_ended(self, inner_pid, status):
        """From the keeper: the first process of a machine, or some orphan."""
        machine = self.machines.get(self.pids.pop(inner_pid, None))
        if machine:
            # reboot(2): in a PID namespace, a restart ends the first process by SIGHUP, a halt by SIGINT.
            by_signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
            self.machine_has_ended(machine, {signal.SIGHUP: "reboot", signal.SIGINT: "poweroff"}.get(by_signal, "crash"))

    def machine_has_ended(self, machine, status):
        """status: "reboot", "poweroff" or "crash"."""
        machine.status = status
        machine.ended.set()
        if not machine.expected and not self.closed:
            threading.Thread(target=self.ended_by_itself, args=[machine], daemon=True).start()

    def ended_by_itself(self, machine):
        with machine.lock:
            if machine.expected or machine.state != "running":
                return
            machine.body.ended()
            if machine.status == "reboot":
                return self.power_on(machine)
            machine.state, why = "lost", machine.status
        self.on_exit(machine.instance["id"], why)

    def switch_off(self, machine, force):
        if machine.state != "running":
            return
        machine.expected = "off"
        if not machine.ended.is_set():
            if force or not machine.body.press_power_button() or not machine.ended.wait(STOP_SECONDS):
                machine.body.cut()
        if not machine.ended.wait(STOP_SECONDS):
            raise MachineError(f"machine '{machine.instance['id']}' does not end")
        machine.body.ended()
        machine.volumes = {}

    def put_away(self, machine):
        """Off: it has no network and no instance store."""
        identity, vpc = machine.instance["id"], self.vpcs.get(machine.instance["vpc"]["id"])
        with self.lock:
            if vpc:
                vpc.set_instance(identity, None)
                vpc.unplug(identity)
                vpc.write_rules(self.groups)
        if machine.namespace:
            machine.namespace.close()
            machine.namespace = None
        for name in os.listdir(machine.folder):
            if name.startswith("instance-store-"):
                os.unlink(f"{machine.folder}/{name}")
        machine.state = "stopped"

    def forget(self, machine):
        self.put_away(machine)
        machine.state = "gone"
        with self.lock:
            if machine.body:
                machine.body.remove()
            self.machines.pop(machine.instance["id"], None)
            self.poller.unregister(machine.console.main)
            self.consoles.pop(machine.console.main)
            machine.console.close()
        shutil.rmtree(machine.folder)

    def read_consoles(self):
        while not self.closed:
            for fd, _ in self.poller.poll(1):
                console = self.consoles.get(fd)
                try:
                    if console:
                        console.read()
                except OSError:
                    pass  # closed meanwhile

    def close(self):
        """Cuts all machines off and removes everything."""
        self.closed = True
        for machine in self.machines.values():
            machine.expected = "off"
            if machine.body:
                machine.body.cut()
        for vpc in self.vpcs.values():
            vpc.metadata_server.close()
            vpc.close()
        self.keeper.close()
        for machine in self.machines.values():
            if machine.body:
                machine.body.disks.close()
            if machine.namespace:
                machine.namespace.close()
        self.internet.close()
        remove_cgroups(self.tag)
        shutil.rmtree(self.folder)
        os.unlink(f"{REGISTRY}/{self.tag}")
