"""The agents of clusters whose machines are states only: what a launcher hears from them, and no more.

Each stream that kiln opens by `ssh -W` (tests/walk/ssh) comes here. Who answers, and with which secret, is what the fake EC2 says: a master
that is running, at the public address that was called, with the node document that its user data hold. docs/channel.md is the protocol;
a node is ready as soon as its instance runs.
"""
import base64
import gzip
import hashlib
import hmac
import json
import os
import select
import socket
import struct
import threading
import time

POLL_SECONDS = 0.03


class Stream:
    """One side of src/base/channel.h."""

    def __init__(self, connection, secret):
        self.connection, self.buffer = connection, b""
        nonce = os.urandom(16).hex()
        self.send({"kiln": 1, "nonce": nonce})
        hello = self.receive()
        both = f"{nonce}:{hello['nonce']}"
        if hello["mac"] != self.mac(secret, "client", both):
            raise ConnectionError("another secret")
        self.send({"mac": self.mac(secret, "server", both)})

    @staticmethod
    def mac(secret, side, both):
        return hmac.new(secret.encode(), f"{side}:{both}".encode(), hashlib.sha256).hexdigest()

    def send(self, *messages):
        data = b""
        for message in messages:
            payload = json.dumps(message).encode()
            data += struct.pack(">I", len(payload)) + b"J" + payload
        self.connection.sendall(data)

    def receive(self):
        while len(self.buffer) < 5 or len(self.buffer) < 5 + struct.unpack(">I", self.buffer[:4])[0]:
            data = self.connection.recv(65536)
            if not data:
                raise ConnectionError("closed")
            self.buffer += data
        end = 5 + struct.unpack(">I", self.buffer[:4])[0]
        payload, self.buffer = self.buffer[5:end], self.buffer[end:]
        return json.loads(payload)

    def is_open(self):
        try:
            ready, _, _ = select.select([self.connection], [], [], POLL_SECONDS)
            return not ready or self.connection.recv(1, socket.MSG_PEEK) != b""
        except OSError:
            return False


def node_of(instance):
    tags = instance["tags"]
    return f"{tags['kiln:role']}-{int(tags['kiln:first']) + instance['index']}"


class Agents:
    """Listens at `path`. `things` gives what there is in the region (the fake's /_fake/things)."""

    def __init__(self, path, things):
        self.path, self.things, self.notes = path, things, {}
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.server.accept()
            threading.Thread(target=self.take, args=(client,), daemon=True).start()

    def take(self, client):
        try:
            words, descriptors, _, _ = socket.recv_fds(client, 500, 1)
            where, host = words.decode().split()
            with client, socket.socket(fileno=descriptors[0]) as stream:
                master = self.master(where.split(":")[0], host)
                client.sendall(b"taken" if master else b"Connection refused")
                if master:
                    self.serve(stream, master)
        except (OSError, ConnectionError, ValueError, KeyError, IndexError):
            pass  # kiln was killed, as often as not

    def living(self):
        return [one for one in self.things()["instances"] if one["state"] == "running" and "kiln:launch" in one["tags"]]

    def master(self, address, host):
        return next((one for one in self.living() if one["private_ip"] == address and host in (one["public_ip"], address)), None)

    def serve(self, connection, master):
        connection.settimeout(30)
        document = json.loads(gzip.decompress(base64.b64decode(master["user_data"])))
        stream, launch = Stream(connection, document["secret"]), master["tags"]["kiln:launch"]
        request = stream.receive()
        what = request.get("do")
        if what == "events":
            self.events(stream, launch)
        elif what == "keep":
            self.notes[launch] = request["notes"]
            stream.send({"done": True})
        elif what == "notes":
            stream.send({"notes": self.notes.get(launch, {})})
        elif what == "status":
            nodes = [{"name": node_of(one), "role": one["tags"]["kiln:role"], "connected": True, "last_seen": time.time(), "services": []} for one in self.of(launch)]
            stream.send({"cluster": document["cluster"], "nodes": nodes})
        elif what in ("lease", "nodes", "stop", "drain"):
            stream.send({"done": True})
        else:
            stream.send({"error": f"the walk's agents do not know '{what}'"})

    def of(self, launch):
        return [one for one in self.living() if one["tags"]["kiln:launch"] == launch]

    def events(self, stream, launch):
        """Every node that runs is ready; those that come are told of as they come."""
        told = set()
        while stream.is_open():
            fresh = [node_of(one) for one in self.of(launch) if one["id"] not in told and not told.add(one["id"])]
            stream.send(*({"seq": len(told), "kind": "end", "time": time.time(), "node": name, "name": f"node {name}", "ok": True} for name in fresh))
