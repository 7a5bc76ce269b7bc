#!/usr/bin/env python3
"""Stands before a registry on this machine and makes its life harder: registry_relay.py FOLDER UPSTREAM MODE

Writes its port to FOLDER/relay.port, a second one to FOLDER/elsewhere.port, and a line for each request to FOLDER/relay.log and
FOLDER/elsewhere.log: METHOD PATH RANGE AUTHORIZATION ("-" where there is none; a chunk's Content-Range is a range too). MODE:
  cut        the first two answers with a layer end after a third of it
  redirect   layers are elsewhere, and are sent there: a server of another name that has them and logs what it is told
  lie        layers have a byte that is another
  hang       the first answer with a layer stops in the middle, or the second chunk of one that is sent; the connection stays open
  stall      the same each time, until there is a file FOLDER/relay.well
  silent     takes connections, and answers nothing at all until there is that file"""
import http.client
import http.server
import os
import re
import sys
import threading
import time

folder, upstream, mode = sys.argv[1:4]
cuts = [2 if mode == "cut" else 1]
passwords = {}  # what the relay was told: the other server knows it without being told


def is_well():
    return os.path.exists(f"{folder}/relay.well")


def hang():
    """As long as the mode says; who asked has gone by then."""
    while not (mode != "hang" and is_well()):
        time.sleep(0.05)


def ask_upstream(handler, method, body=None):
    host, port = upstream.split(":")
    connection = http.client.HTTPConnection(host, int(port))
    # With the host as it was asked for: the registry says by it where an upload goes on.
    headers = {name: value for name, value in handler.headers.items() if name.lower() != "connection"}
    connection.request(method, handler.path, body=body, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read()


class Relay(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def note(self, name):
        asked = self.headers.get("Range") or self.headers.get("Content-Range", "-")
        with open(f"{folder}/{name}.log", "a") as file:
            file.write(f"{self.command} {self.path} {asked} {'given' if self.headers.get('Authorization') else '-'}\n")

    def send(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def stops(self):
        """Whether this is the time to stop in the middle."""
        if mode not in ("cut", "hang", "stall") or (mode == "stall" and is_well()):
            return False
        if mode != "stall":
            cuts[0] -= 1
        return mode == "stall" or cuts[0] >= 0

    def handle(self):
        if mode == "silent" and not is_well():
            hang()
        else:
            super().handle()

    def do_PATCH(self):
        self.note("relay")
        length = int(self.headers.get("Content-Length", 0))
        if self.command == "PATCH" and not self.headers["Content-Range"].startswith("0-") and self.stops():
            self.rfile.read(length // 3)
            hang()
            self.close_connection = True
            return
        answer, body = ask_upstream(self, self.command, self.rfile.read(length))
        headers = dict(answer.getheaders())
        if mode == "redirect" and self.command == "POST" and answer.status == 202:
            passwords["Authorization"] = self.headers["Authorization"]
            headers["Location"] = re.sub("^https?://[^/]*", f"http://127.0.0.1:{elsewhere.server_port}", headers["Location"])
        self.send(answer.status, headers.items(), body)

    do_POST = do_PUT = do_PATCH

    def do_GET(self):
        self.note("relay")
        answer, body = ask_upstream(self, self.command)
        large = re.search("/blobs/", self.path) and len(body) > 1 << 20 and answer.status in (200, 206)
        if large and mode == "redirect":
            self.send(307, [("Location", f"http://127.0.0.1:{elsewhere.server_port}{self.path}"), ("Content-Length", "0")], b"")
            return
        if large and mode == "lie":
            body = body[:1000] + bytes([body[1000] ^ 1]) + body[1001:]
        if large and self.stops():
            # Of what stalls again nothing comes: it would be there in the end, third by third.
            again = mode == "stall" and self.headers.get("Range")
            self.send(answer.status, answer.getheaders(), b"" if again else body[: len(body) // 3])
            self.wfile.flush()
            if mode != "cut":
                hang()
            self.close_connection = True
            return
        self.send(answer.status, answer.getheaders(), body)


class Elsewhere(Relay):
    def do_GET(self):
        self.note("elsewhere")
        hexes = self.path.rsplit(":", 1)[1]
        with open(f"{folder}/registry/docker/registry/v2/blobs/sha256/{hexes[:2]}/{hexes}/data", "rb") as file:
            body = file.read()
        self.send(200, [("Content-Length", str(len(body)))], body)

    def do_PATCH(self):
        self.note("elsewhere")
        del self.headers["Authorization"]
        self.headers["Authorization"] = passwords["Authorization"]
        answer, body = ask_upstream(self, self.command, self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.send(answer.status, answer.getheaders(), body)

    do_PUT = do_PATCH


relay = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay)
elsewhere = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
for name, server in (("elsewhere", elsewhere), ("relay", relay)):
    with open(f"{folder}/{name}.port", "w") as file:
        file.write(str(server.server_port))
relay.serve_forever()
