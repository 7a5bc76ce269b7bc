"""The real kiln-node as ordinary processes on loopback addresses: clusters of toy services, driven over the channel.

Needs nothing but python3 and the binary ($KILN_BUILD/kiln-node, default build/). Each agent has a root folder of its own.
"""

import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

BUILD = os.environ.get("KILN_BUILD", os.path.join(os.path.dirname(__file__), "..", "build"))
AGENT = os.path.abspath(os.path.join(BUILD, "kiln-node"))
SECRET = "ab" * 32
OVER = 70  # the exit code of an agent whose cluster is over (src/config/node_document.h)


def is_sanitized():
    with open(AGENT, "rb") as file:
        return b"__asan_init" in file.read()


SANITIZED = is_sanitized()  # its memory is no measure


class Refused(Exception):
    pass


class Channel:
    """src/base/channel.h, in Python: an independent reading of the specification."""

    def __init__(self, address, port, secret=SECRET, timeout=10.0):
        self.socket = socket.create_connection((address, port), timeout=timeout)
        self.buffer = b""
        hello = self.receive_json()
        assert hello["kiln"] == 1, hello
        nonce = os.urandom(16).hex()
        both = hello["nonce"] + ":" + nonce
        mac = lambda side: hmac.new(secret.encode(), f"{side}:{both}".encode(), hashlib.sha256).hexdigest()
        self.send({"nonce": nonce, "mac": mac("client")})
        try:
            answer = self.receive_json()
        except (EOFError, ConnectionResetError):
            self.close()
            raise Refused()
        assert answer["mac"] == mac("server")

    def send(self, message, kind="J"):
        payload = json.dumps(message).encode() if kind == "J" else message
        self.socket.sendall(struct.pack(">I", len(payload)) + kind.encode() + payload)

    def receive(self):
        while len(self.buffer) < 5 or len(self.buffer) < 5 + struct.unpack(">I", self.buffer[:4])[0]:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError()
            self.buffer += data
        length = struct.unpack(">I", self.buffer[:4])[0]
        kind, payload = chr(self.buffer[4]), self.buffer[5 : 5 + length]
        self.buffer = self.buffer[5 + length :]
        return kind, payload

    def receive_json(self):
        kind, payload = self.receive()
        assert kind == "J", (kind, payload)
        return json.loads(payload)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def wait_until(what, condition, timeout=15.0):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {timeout} s")


def service(name, script, **more):
    return {"name": name, "exec": "sh -c '%s'" % script, **more}


def log_ready(text, timeout=20):
    return {"kind": "log", "target": text, "timeout": timeout}


class Agent:
    def __init__(self, cluster, name, role, address):
        self.cluster, self.name, self.role, self.address = cluster, name, role, address
        self.root = os.path.join(cluster.folder, name)
        self.process = None

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def read(self, *parts):
        with open(self.path(*parts)) as file:
            return file.read()

    def log(self, name):
        try:
            return self.read("var/log/kiln", name + ".log")
        except FileNotFoundError:
            return ""

    def write_files(self, nodes, modules, **more):
        os.makedirs(self.path("etc"), exist_ok=True)
        for name, module in modules.items():
            folder = self.path("usr/lib/kiln/modules", name)
            os.makedirs(folder, exist_ok=True)
            manifest = {k: v for k, v in module.items() if not k.endswith(".sh") and k != "given"}
            with open(os.path.join(folder, "module.json"), "w") as file:
                json.dump({"name": name, "summary": "a toy", **manifest}, file)
            for script, text in module.items():
                if script.endswith(".sh"):
                    with open(os.path.join(folder, script), "w") as file:
                        file.write(text)
        document = {
            "kiln": 1, "cluster": "toy", "node": self.name, "role": self.role, "address": self.address, "nodes": nodes,
            "modules": [{"name": n, "params": m.get("given", {})} for n, m in modules.items()],
            "cpus": 2, "memory_bytes": 1 << 30, "secret": SECRET, "channel_port": self.cluster.port, **more,
        }
        with open(self.path("node.json"), "w") as file:
            json.dump(document, file)

    def start(self):
        out = open(self.path("agent.out"), "ab")
        self.process = subprocess.Popen(
            [AGENT, "run", "--document", self.path("node.json"), "--root", self.root], stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
        out.close()

    def end(self, number=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
        if self.process:
            self.process.wait(20)

    def channel(self, **more):
        def attempt():
            try:
                return Channel(self.address, self.cluster.port, **more)
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.read("agent.out")

        return wait_until(f"{self.name} listens", attempt)

    def ask(self, request):
        with self.channel() as channel:
            channel.send(request)
            return channel.receive_json()

    def run(self, argv, stdin=b"", node=None, **more):
        """(exit code, output, errors)"""
        with self.channel() as channel:
            channel.send({"do": "exec", "argv": argv, "node": node, **more})
            if stdin:
                # From another thread: the agent stops reading when the command does.
                sender = threading.Thread(target=lambda: (channel.send_all(stdin), channel.send(b"", "C")))
                channel.send_all = lambda data: [channel.send(data[i : i + 65536], "I") for i in range(0, len(data), 65536)]
                sender.start()
            else:
                channel.send(b"", "C")
            out, err = [], []
            while True:
                kind, payload = channel.receive()
                if kind == "J":
                    answer = json.loads(payload)
                    if "exit" not in answer:
                        raise AssertionError(answer)
                    return answer["exit"], b"".join(out), b"".join(err)
                (out if kind == "O" else err).append(payload)


class Cluster:
    def __init__(self, test, roles=("master",)):
        self.folder = tempfile.mkdtemp(prefix="kiln-agent-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.nodes = {}
        count = {"master": 0, "worker": 0}
        for index, role in enumerate(roles):
            count[role] += 1
            name = f"{role}-{count[role]}"
            self.nodes[name] = Agent(self, name, role, f"127.0.0.{index + 2}")
        test.addCleanup(self.end)

    def __getitem__(self, name):
        return self.nodes[name]

    @property
    def master(self):
        return self.nodes["master-1"]

    def roster(self):
        return [{"name": n.name, "role": n.role, "address": n.address} for n in self.nodes.values()]

    def write_files(self, modules, **more):
        for node in self.nodes.values():
            node.write_files(self.roster(), modules, **more)
        return self

    def start(self, modules, **more):
        self.write_files(modules, **more)
        for node in self.nodes.values():
            node.start()
        return self

    def end(self):
        for node in self.nodes.values():
            if node.process and node.process.poll() is None:
                node.process.send_signal(signal.SIGTERM)
        for node in self.nodes.values():
            if node.process:
                try:
                    node.process.wait(20)
                except subprocess.TimeoutExpired:
                    node.process.kill()
                    node.process.wait()
        codes = {n.name: n.process.returncode for n in self.nodes.values() if n.process}
        shutil.rmtree(self.folder, ignore_errors=True)
        # An agent that stumbles over its own end (a sanitizer's report, too) fails the test.
        assert not set(codes.values()) - {0, OVER}, codes

    def status(self):
        return {n["name"]: n for n in self.master.ask({"do": "status"})["nodes"]}

    def services(self):
        return {(n, s["name"]): s for n, node in self.status().items() for s in node["services"]}

    def events(self, until, start=0, timeout=20.0):
        """All events until `until(events)` holds."""
        seen = []
        with self.master.channel(timeout=timeout) as channel:
            channel.send({"do": "events", "from": start})
            end = time.monotonic() + timeout
            while not until(seen):
                channel.socket.settimeout(max(0.01, end - time.monotonic()))
                try:
                    seen.append(channel.receive_json())
                except TimeoutError:
                    raise AssertionError("waited in vain after:\n" + "\n".join(map(str, seen[-30:])))
        return seen

    def wait_ready(self):
        names = {"node " + n for n in self.nodes}
        events = self.events(lambda seen: {e["name"] for e in seen if e["kind"] == "end"} >= names)
        bad = [e for e in events if not e.get("ok", True)]
        assert not bad, bad
        return events


def ended(name, node=None):
    return lambda seen: any(e["kind"] == "end" and e["name"] == name and node in (None, e["node"]) for e in seen)


def message(name, word):
    return lambda seen: any(e["kind"] == "message" and e["name"] == name and word in e.get("text", "") for e in seen)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter when it goes between the opening and the reading
        return False
