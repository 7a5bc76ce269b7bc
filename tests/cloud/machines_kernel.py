"""What the machines of the fake EC2 need of the kernel: network namespaces held by a file descriptor, a keeper, loop devices.

Nothing here has a name in the host's own lists (/run/netns, /etc/fstab, …). A namespace lives as long as this process holds its
descriptor or a process is in it; mounts live in the keeper's mount namespace; processes in the keeper's PID namespace; a loop device
is let go by the kernel when its last user has closed it. So whatever way this process ends, the kernel takes all of it down.
"""
import ctypes
import fcntl
import os
import stat
import struct
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
CLONE_NEWNET = 0x40000000  # sched.h
# loop.h
LOOP_CTL_GET_FREE, LOOP_CONFIGURE = 0x4C82, 0x4C0A
LO_FLAGS_AUTOCLEAR = 4
LOOP_MAJOR = 7

libc = ctypes.CDLL(None, use_errno=True)


class MachineError(Exception):
    """What failed, on what, why: for the test's or the developer's eyes."""


def checked(code, what):
    if code != 0:
        raise MachineError(f"{what}: {os.strerror(ctypes.get_errno())}")


def run(command, input=None):
    """The command's output; MachineError with what it said."""
    result = subprocess.run([str(word) for word in command], input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            stdin=subprocess.DEVNULL if input is None else None)
    if result.returncode != 0:
        raise MachineError(f"'{' '.join(str(word) for word in command)}' failed ({result.returncode}): {(result.stderr or result.stdout).strip()}")
    return result.stdout


def in_thread(function):
    """Runs it in a thread of its own, since namespaces are a thread's, and gives what it returns or throws what it throws."""
    answer = {}

    def body():
        try:
            answer["value"] = function()
        except BaseException as error:
            answer["error"] = error

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if "error" in answer:
        raise answer["error"]
    return answer["value"]


class Namespace:
    """A network namespace."""

    def __init__(self):
        def make():
            checked(libc.unshare(CLONE_NEWNET), "cannot make a network namespace")
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        self.fd = in_thread(make)
        self.run(["ip", "link", "set", "lo", "up"])

    @property
    def path(self):
        """What `ip … netns` and `nsenter --net=` take, as long as this process lives."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def prefix(self):
        return ["nsenter", f"--net={self.path}", "--"]

    def call(self, function):
        """Runs a Python function inside."""

        def body():
            checked(libc.setns(self.fd, CLONE_NEWNET), "cannot enter a network namespace")
            return function()

        return in_thread(body)

    def run(self, command, input=None):
        return run(self.prefix() + command, input=input)

    def batch(self, *lines):
        """Lines for `ip -batch`."""
        return self.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")

    def settings(self, **values):
        """Settings below /proc/sys/net/ipv4; a name's __ stands for a slash."""

        def write():
            for name, value in values.items():
                with open("/proc/sys/net/ipv4/" + name.replace("__", "/"), "w") as file:
                    file.write(str(value))

        self.call(write)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class Keeper:
    """PID 1 of a PID namespace, with a mount namespace, in which all machines are. It ends with this process, and takes them with it.

    Its network is empty: what is run there by mistake without an instance's own reaches nothing, above all not the host's.

    `on_exit(pid, status)` is told of each process that it reaps: PID in its namespace, status as waitpid() gives it.
    """

    def __init__(self, on_exit):
        command = ["unshare", "--fork", "--pid", "--mount", "--net", "--mount-proc", "--propagation", "private",
                   "--kill-child=KILL", sys.executable, "-I", os.path.join(HERE, "machines_keeper.py")]
        owner = os.pidfd_open(os.getpid())
        try:
            self.process = subprocess.Popen(command + [str(owner)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[owner],
                                            start_new_session=True)  # Ctrl-C at a terminal is for its owner, who ends it in order
        finally:
            os.close(owner)
        ready = self.process.stdout.readline().split()
        if ready != ["ready"]:
            raise MachineError(f"the keeper did not start: {ready}")
        # `unshare` waits for its one child, the namespace's first process.
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            self.pid = int(file.read().split()[0])
        self.on_exit = on_exit
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            pid, status = line.split()
            self.on_exit(int(pid), int(status))

    def prefix(self, namespace=None):
        """Runs a command among the machines: their mounts, their processes, and a network namespace."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid"] + ([f"--net={namespace.path}"] if namespace else []) + ["--"]

    def shell(self, script, *arguments, folder="/"):
        """Runs a script among the machines' mounts, in a folder."""
        return run(self.prefix() + ["sh", "-euc", 'cd "$0"; ' + script, folder, *arguments])

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()


class LoopDevice:
    """A file as a block device, until this object is closed and nobody has it mounted."""

    def __init__(self, path):
        with open("/dev/loop-control", "rb+", buffering=0) as control, open(path, "rb+", buffering=0) as file:
            for _ in range(100):
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
                self.fd = open_loop(number)
                # struct loop_config: fd, block_size, loop_info64 (lo_flags at 52 of 232 bytes), 8 reserved words.
                info = bytearray(232)
                struct.pack_into("<I", info, 52, LO_FLAGS_AUTOCLEAR)
                try:
                    fcntl.ioctl(self.fd, LOOP_CONFIGURE, struct.pack("<II", file.fileno(), 0) + bytes(info) + bytes(64))
                except OSError:  # somebody else was faster
                    os.close(self.fd)
                    continue
                self.number = number
                return
        raise MachineError(f"cannot give '{path}' a loop device: none is free")

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def open_loop(number):
    path = f"/dev/loop{number}"
    if not os.path.exists(path):
        os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(LOOP_MAJOR, number))
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def start_time(pid):
    """When a process started, in clock ticks since boot: with its PID, the one name of a process that is never given twice."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rsplit(")", 1)[1].split()[19])
    except OSError:
        return None
