#!/usr/bin/env python3
"""The metadata service of EC2 or Compute Engine as an instance sees it, for tests: fake_metadata.py [options] prints "listening ADDRESS:PORT".

EC2 (--cloud ec2): IMDSv2 only. Without a token from PUT /latest/api/token everything is 401; a PUT without its header is 400, one that was
forwarded (X-Forwarded-For) 403; tokens end after their time. Compute Engine (--cloud gce): without `Metadata-Flavor: Google` everything is 403;
every answer carries that header.

Misbehaviour comes in order, a word for each of the first requests (--first hang,500,garbage,cut,close,ok): what a service does that is
starting or broken. --huge BYTES sends that much user data. --log FILE writes a line "METHOD PATH STATUS" for each request.

--connect ADDRESS:PORT joins standard input and output to a running server: what QEMU's guestfwd starts for each connection, so that a
machine inside finds the service at 169.254.169.254:80:
  -netdev user,id=n,net=169.254.0.0/16,guestfwd=tcp:169.254.169.254:80-cmd:"fake_metadata.py --connect 127.0.0.1:PORT"
"""
import argparse
import http.server
import os
import secrets
import socket
import socketserver
import sys
import threading
import time


class State:
    def __init__(self, options):
        self.options = options
        self.tokens = {}
        self.first = [word for word in options.first.split(",") if word]
        self.lock = threading.Lock()

    def user_data(self):
        if self.options.huge:
            return b"{" + b" " * (self.options.huge - 1)
        if not self.options.user_data:
            return None
        with open(self.options.user_data, "rb") as file:
            return file.read()

    def notice(self):
        """What stands in the file --spot, once it is there."""
        try:
            with open(self.options.spot, "rb") as file:
                return file.read()
        except (OSError, TypeError):
            return None

    def values(self):
        options = self.options
        if options.cloud == "ec2":
            return {
                "/latest/user-data": self.user_data(),
                "/latest/meta-data/local-ipv4": options.address.encode(),
                "/latest/meta-data/instance-id": options.id.encode(),
                "/latest/meta-data/ami-launch-index": str(options.index).encode(),
                "/latest/meta-data/instance-life-cycle": b"spot" if options.spot else b"on-demand",
                "/latest/meta-data/spot/instance-action": self.notice(),
            }
        return {
            "/computeMetadata/v1/instance/attributes/kiln-node-document": self.user_data(),
            "/computeMetadata/v1/instance/network-interfaces/0/ip": options.address.encode(),
            "/computeMetadata/v1/instance/id": options.id.encode(),
            "/computeMetadata/v1/instance/name": options.name.encode(),
        }

    def log(self, method, path, status):
        if self.options.log:
            with self.lock, open(self.options.log, "a") as file:
                file.write(f"{method} {path} {status}\n")


def handler_for(state):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "EC2ws", ""

        def log_message(self, *_):
            pass

        def answer(self, status, body=b"", headers=()):
            state.log(self.command, self.path, status)
            self.send_response(status)
            if state.options.cloud == "gce":
                self.send_header("Metadata-Flavor", "Google")
            for name, value in headers:
                self.send_header(name, value)
            if state.options.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                pieces = [body[i : i + 100] for i in range(0, len(body), 100)] + [b""]
                body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def misbehaves(self):
            with state.lock:
                word = state.first.pop(0) if state.first else "ok"
            if word == "ok":
                return False
            self.close_connection = True
            if word == "hang":
                state.log(self.command, self.path, word)
                # Until the other side has given up.
                self.connection.settimeout(60)
                try:
                    self.connection.recv(1)
                except OSError:
                    pass
            elif word in ("garbage", "close", "cut"):
                state.log(self.command, self.path, word)
                head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
                self.wfile.write({"garbage": b"\0\1\2 no HTTP at all\r\n\r\n", "close": b"", "cut": head}[word])
            else:
                self.answer(int(word))
            return True

        def do_PUT(self):
            if self.misbehaves():
                return
            if state.options.cloud == "gce":
                return self.answer(405)
            if self.path != "/latest/api/token":
                return self.answer(404)
            if state.options.disabled or "X-Forwarded-For" in self.headers:
                return self.answer(403)
            try:
                seconds = int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"])
            except (TypeError, ValueError):
                return self.answer(400)
            if not 1 <= seconds <= 21600:
                return self.answer(400)
            token = secrets.token_urlsafe(40) + "=="
            state.tokens[token] = time.monotonic() + seconds
            self.answer(200, token.encode(), [("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", str(seconds))])

        def do_GET(self):
            if self.misbehaves():
                return
            if state.options.cloud == "gce":
                if self.headers["Metadata-Flavor"] != "Google" or "X-Forwarded-For" in self.headers:
                    return self.answer(403)
            elif state.tokens.get(self.headers["X-aws-ec2-metadata-token"], 0) < time.monotonic():
                return self.answer(401)
            value = state.values().get(self.path)
            self.answer(404) if value is None else self.answer(200, value)

    return Handler


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass  # somebody had enough of a huge body


def relay(address):
    """Copies standard input and output to and from a running server."""
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)))

    def send():
        while data := os.read(0, 65536):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, daemon=True).start()
    while data := connection.recv(65536):
        os.write(1, data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cloud", choices=["ec2", "gce"], default="ec2")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="ADDRESS:PORT")
    parser.add_argument("--connect", metavar="ADDRESS:PORT", help="join standard input and output to a running server")
    parser.add_argument("--user-data", metavar="FILE", help="the user data, byte by byte; none: 404")
    parser.add_argument("--address", default="127.0.0.1", help="the instance's own")
    parser.add_argument("--id", default="i-0123456789abcdef0")
    parser.add_argument("--index", type=int, default=0, help="its launch index")
    parser.add_argument("--name", default="machine-1", help="its name, on Compute Engine")
    parser.add_argument("--spot", metavar="FILE", help="a spot instance; its notice is what stands in FILE, once it is there")
    parser.add_argument("--disabled", action="store_true", help="403 to who asks for a token")
    parser.add_argument("--chunked", action="store_true")
    parser.add_argument("--huge", type=int, default=0, metavar="BYTES")
    parser.add_argument("--first", default="", metavar="WORDS")
    parser.add_argument("--log", metavar="FILE")
    options = parser.parse_args()
    if options.connect:
        return relay(options.connect)
    state = State(options)
    host, port = options.listen.rsplit(":", 1)
    server = Server((host, int(port)), handler_for(state))
    print(f"listening {server.server_address[0]}:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
