"""A machine as a virtual machine: QEMU (software emulation) boots the raw disk by its own boot loader and kernel, in the instance's network namespace.

    instance's namespace:   ens5 (to the VPC's router) -- bridge -- tap0 = the machine's network device

It gets its address by DHCP and everything else from the same metadata service as a container does. Its disk is a copy-on-write file over the image's,
as large as `root_gib` says; `boot_mode` is "legacy-bios" or "uefi". Volumes and the instance store are NVMe disks, from its start on: none is
attached to a machine that runs.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from types import SimpleNamespace

from machines_kernel import MachineError, run
from machines_net import MTU, ethernet_address

FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
MAX_MEMORY_MIB = 2048  # the host's is shared by all


class VirtualMachine:
    asks_dhcp = True

    def __init__(self, region, instance, folder, namespace, console):
        self.region, self.instance, self.folder, self.namespace, self.console = region, instance, folder, namespace, console
        self.id, self.process, self.bridged = instance["id"], None, None
        self.disks = SimpleNamespace(close=lambda: None)
        size = max(os.stat(instance["image_root"]).st_size, (instance.get("root_gib") or 0) << 30)
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", os.path.abspath(instance["image_root"]), "-F", "raw", f"{folder}/root.qcow2", str(size)])

    def bridge(self):
        if self.bridged is self.namespace:
            return
        # The machine's own device has the instance's hardware address; the namespace's end of the wire is only a port of the bridge.
        self.namespace.batch("link set ens5 address 06:00:00:00:00:01", "link add br0 type bridge", "tuntap add tap0 mode tap", f"link set tap0 mtu {MTU}", "link set ens5 master br0",
                             "link set tap0 master br0", "link set ens5 up", "link set tap0 up", "link set br0 up")
        self.bridged = self.namespace

    def command(self, volumes):
        kind = self.instance.get("type") or {}
        words = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(min(kind.get("memory_mib") or MAX_MEMORY_MIB, MAX_MEMORY_MIB)),
                 "-display", "none", "-vga", "none", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console", "-qmp", "unix:qmp,server,nowait",
                 "-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no", "-device", f"virtio-net-pci,netdev=n,romfile=,mac={ethernet_address(self.instance['private_ip'])}"]
        disks = [("root.qcow2", "qcow2", "vol" + self.id[2:])] + [(path, "raw", serial) for path, _, serial in volumes]
        # How programs know that they are on EC2, and as which instance ("Identify EC2 instances").
        uuid = "ec2" + self.id[2:].rjust(17, "0") + "000000000000"
        uuid = "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:32]))
        words += ["-smbios", f"type=1,manufacturer=Amazon EC2,product={kind.get('name', 'm5.large')},serial={uuid},uuid={uuid}",
                  "-smbios", f"type=2,manufacturer=Amazon EC2,asset={self.id}", "-smbios", f"type=3,manufacturer=Amazon EC2,asset={self.id}"]
        for number, (path, form, serial) in enumerate(disks):
            words += ["-drive", f"file={path},format={form},if=none,id=d{number},cache=unsafe", "-device", f"nvme,drive=d{number},serial={serial[:20]},bootindex={number}"]
        if self.instance.get("boot_mode") == "uefi":
            code, variables = FIRMWARE
            if not os.path.exists(f"{self.folder}/vars.fd"):
                shutil.copy(variables, f"{self.folder}/vars.fd")
            words += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}", "-drive", "if=pflash,unit=1,format=raw,file=vars.fd"]
        return words

    def start(self, volumes):
        self.bridge()
        command = self.region.keeper.prefix(self.namespace) + ["sh", "-euc", 'cd "$0"; exec "$@"', self.folder] + self.command(volumes)
        console = self.console.open()
        try:
            self.process = subprocess.Popen(command, stdin=console, stdout=console, stderr=console, start_new_session=True)
        finally:
            os.close(console)
        threading.Thread(target=self.wait, args=[self.process], daemon=True).start()
        return [f"nvme{number}n1" for number in range(1, len(volumes) + 1)]

    def wait(self, process):
        machine = self.region.machines.get(self.id)
        code = process.wait()
        if machine:
            self.region.machine_has_ended(machine, "crash" if code else "poweroff")

    def qmp(self, command):
        """What docs/interop/qmp-intro.txt of QEMU says: a greeting, then a line of JSON for a line of JSON, with events between."""
        folder = os.open(self.folder, os.O_PATH | os.O_CLOEXEC)  # a socket's path may have 107 bytes
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(f"/proc/self/fd/{folder}/qmp")
                stream = connection.makefile("rw")
                stream.readline()
                for word in ("qmp_capabilities", command):
                    stream.write(json.dumps({"execute": word}) + "\n")
                    stream.flush()
                    while "return" not in (answer := json.loads(stream.readline())):
                        if "error" in answer:
                            raise MachineError(f"QEMU refuses '{word}' for '{self.id}': {answer['error']}")
        finally:
            os.close(folder)

    def press_power_button(self):
        try:
            self.qmp("system_powerdown")
            return True
        except (OSError, ValueError):
            return False

    def cut(self):
        if not self.process or self.process.poll() is not None:
            return
        # The process that was started is nsenter, which waits for its one child in the machines' PID namespace.
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
                for pid in file.read().split():
                    os.kill(int(pid), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):  # it has just gone
            pass

    def ended(self):
        pass

    def attach(self, *_):
        raise MachineError(f"cannot attach a volume to '{self.id}': a virtual machine has its volumes from its start on")

    detach = attach

    def remove(self):
        pass
