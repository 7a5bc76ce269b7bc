"""The fake's front: an HTTP server, and the way of a request from the wire to the service that answers it.

A thread for each connection, which is kept alive. A request is read, its signature checked (signatures.py), its operation found and its
parameters checked against botocore's model (models.py), faults act (control.py), and the service answers: one of the fake's own, found in
OPERATIONS, or moto behind (behind.py). The log gets a line. Written on plain sockets: http.server reads headers by the mail parser, which
alone costs more than all the rest of a PutSnapshotBlock.
"""
import hashlib
import json
import secrets
import socket
import threading
import time
import traceback
import urllib.parse

import control
import errors
import models
from errors import HangUp, Refusal
from signatures import Keyring

OPERATIONS = {}  # (service, operation) → function(call)
MAX_HEAD = 64 * 1024
UNSIGNED = {("sts", "AssumeRoleWithWebIdentity"), ("sts", "AssumeRoleWithSAML")}


def operation(service, *names):
    """Registers a function as the answer to an operation: it gets a Call and gives the answer's members as a dict."""
    def register(function):
        for name in names:
            if (service, name) in OPERATIONS:
                raise KeyError(f"{service}:{name} is registered twice")
            OPERATIONS[service, name] = function
        return function
    return register


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.headers, self.body = method, headers, body
        self.path, _, self.query = target.partition("?")
        self.target = target
        self.service = self.region = None
        self.connection = None
        self._digest = None

    def digest(self):
        """The body's SHA-256 in hexadecimal, computed once (PutSnapshotBlock compares it twice)."""
        if self._digest is None:
            self._digest = hashlib.sha256(self.body).hexdigest()
        return self._digest


class Call:
    """An operation called: its parameters (the model's names), where, and by whom."""

    def __init__(self, front, request, key, region, name, parameters):
        self.front, self.request, self.key, self.region, self.name, self.parameters = front, request, key, region, name, parameters
        self.world = front.world

    def get(self, name, default=None):
        return self.parameters.get(name, default)


class Front:
    """What the parts share: world, behind (moto), bodies (machines), launcher and capacity (ec2_run.py), stock."""

    def __init__(self, world, behind, machines=None):
        self.world, self.behind, self.machines = world, behind, machines
        self.bodies = self.launcher = self.capacity = self.stock = None  # main.py sets them
        self.inner_endpoint = None  # where machines and their clients find the API
        self.keys = Keyring(world.clock)
        for key in world.first_keys():
            self.keys.add(key)
        self.faults, self.log = control.Faults(), control.Log()
        self.pages = {}  # control paths of other parts: (method, first part after /_fake/) → function(rest, query, body)
        self.closed = False

    # --- connections

    def serve(self, server):
        """Answers what comes to a listening socket, in a thread of its own."""
        threading.Thread(target=self.accept, args=(server,), daemon=True).start()

    def accept(self, server):
        while not self.closed:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self.converse, args=(connection,), daemon=True).start()

    def converse(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(connection)
        try:
            while True:
                request = reader.request()
                if request is None:
                    return
                request.connection = connection
                status, headers, body = self.answer(request)
                close = request.headers.get("connection", "").lower() == "close"
                send(connection, request.method, status, headers, body, close)
                if close:
                    return
        except (HangUp, ConnectionError, TimeoutError, BadRequest):
            pass
        finally:
            connection.close()

    # --- a request

    def answer(self, request):
        if request.path.startswith("/_fake/"):
            return self.control(request)
        started, request_id = time.time(), secrets.token_hex(16)
        name, call, dry_run = "?", None, False
        try:
            unsigned = self.unsigned_operation(request)
            key = None if unsigned else self.keys.check(request)
            model, parameters = models.parse(request)
            name, dry_run = model.name, parameters.get("DryRun", False)
            region = None if unsigned else self.world.region(request.region, key, request.service)
            if region is not None and request.service == "ec2":
                self.stock.ensure(region)
            call = Call(self, request, key, region, name, parameters)
            faults = self.faults.take(request.service, name, request.region, control.mutating(
                request.service, name, dry_run, request.method)) if self.faults.faults else ()
            if faults:
                self.faults.before(faults, request.service, request.connection)
            if dry_run and request.service == "ec2":
                raise Refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
            status, headers, body = self.act(call, model, request_id)
            if faults:
                self.faults.after(faults, request.service, request.connection)
            code = "" if status < 400 else code_in(body)
        except HangUp:
            self.note(request, name, call, dry_run, 0, "hang-up", started)
            raise
        except Refusal as refusal:
            if refusal.violation:
                self.log.violation(request.service, name, request.region, refusal)
            status, code = refusal.status, refusal.code
            headers, body = errors.encode(refusal, models.protocol(request.service), request_id)
        except Exception:  # pylint: disable=broad-except
            # A mistake of the fake itself: said, kept for the test to see, and answered as AWS would answer one of its own.
            traceback.print_exc()
            fault = Refusal("InternalError", traceback.format_exc(limit=-1), 500)
            self.log.violation(request.service, name, request.region, fault)
            status, code = 500, "InternalError"
            headers, body = errors.encode(control.internal(request.service), models.protocol(request.service), request_id)
        headers["x-amzn-requestid"] = request_id
        self.note(request, name, call, dry_run, status, code, started)
        return status, headers, body

    def act(self, call, model, request_id):
        own = OPERATIONS.get((call.request.service, call.name))
        if own is None:
            return self.behind.answer(call)
        result = own(call)
        if isinstance(result, tuple):  # an answer from behind, passed on
            return result
        status, protocol = model.http.get("responseCode", 200), models.protocol(call.request.service)
        if protocol == "ec2":
            return (status, *models.write_ec2(model, result, request_id))
        if protocol == "json":
            return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(result).encode()
        return (status, *models.write_rest_json(model, result))

    @staticmethod
    def unsigned_operation(request):
        """STS calls that carry another proof than a signature."""
        if "authorization" in request.headers or request.method != "POST" or not request.body:
            return False
        action = dict(urllib.parse.parse_qsl(bytes(request.body[:65536]).decode("utf-8", "replace"))).get("Action")
        if ("sts", action) not in UNSIGNED:
            return False
        request.service, request.region = "sts", "us-east-1"
        return True

    def note(self, request, name, call, dry_run, status, code, started):
        is_mutating = control.mutating(request.service, name, dry_run, request.method)
        kept = None if call is None or request.service in ("ebs", "s3") else readable(call.parameters)
        self.log.add(request.service, name, request.region, call.key.account if call and call.key else None, is_mutating, dry_run, status, code, started, kept,
                     call.key if call else None)

    # --- /_fake/

    def control(self, request):
        first, _, rest = request.path.removeprefix("/_fake/").partition("/")
        query = dict(urllib.parse.parse_qsl(request.query, keep_blank_values=True))
        try:
            body = json.loads(bytes(request.body)) if request.body else None
            page = self.pages.get((request.method, first)) or getattr(self, f"{request.method.lower()}_{first}", None)
            if page is None:
                return 404, {"Content-Type": "application/json"}, json.dumps({"error": f"no control path {request.method} {request.path}"}).encode()
            result = page(rest, query, body)
        except (ValueError, KeyError, TypeError) as error:
            return 400, {"Content-Type": "application/json"}, json.dumps({"error": str(error)}).encode()
        if isinstance(result, bytes):
            return 200, {"Content-Type": "application/octet-stream"}, result
        return 200, {"Content-Type": "application/json"}, json.dumps({} if result is None else result).encode()

    def post_faults(self, _rest, _query, body):
        return [self.faults.add(fields) for fields in (body if isinstance(body, list) else [body])]

    def get_faults(self, rest, _query, _body):
        return self.faults.list(rest)

    def delete_faults(self, rest, _query, _body):
        self.faults.clear(rest)

    def get_log(self, _rest, query, _body):
        rows = self.log.select(query)
        return self.log.counts(rows) if "count" in query else rows

    def delete_log(self, _rest, _query, _body):
        self.log.clear()

    def get_violations(self, _rest, _query, _body):
        return self.log.violations

    def get_settings(self, _rest, _query, _body):
        return self.world.settings

    def post_settings(self, _rest, _query, body):
        for name, value in body.items():
            if name not in self.world.settings or not isinstance(value, type(self.world.settings[name])):
                raise ValueError(f"no setting '{name}' of that type")
        self.world.settings.update(body)
        return self.world.settings

    def post_expire(self, rest, _query, _body):
        """The session keys with that access key id are expired from now on."""
        self.keys.keys[rest].expires = 0

    def get_ping(self, _rest, _query, _body):
        return {"ready": True}


def readable(value):
    """Parameters for the log: what JSON can say; bytes are only counted, user data and secrets may be in them."""
    if isinstance(value, dict):
        return {key: "…" if key == "UserData" else readable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [readable(inner) for inner in value]
    if isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value)} bytes"
    return str(value)


def code_in(body):
    """The error code in an answer of moto's."""
    text = bytes(body[:4096]).decode("utf-8", "replace")
    for before, behind in (("<Code>", "</Code>"), ('"__type": "', '"'), ('"__type":"', '"')):
        if before in text:
            return text.split(before, 1)[1].split(behind, 1)[0]
    return "?"


class BadRequest(Exception):
    """Bytes that are no HTTP request: the connection is closed."""


class Reader:
    """Reads requests from a connection. The body's buffer is used again for the next one."""

    def __init__(self, connection):
        self.connection = connection
        self.pending = b""
        self.buffer = bytearray(640 * 1024)

    def more(self):
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionError
        return data

    def request(self):
        """The next request, or None when the client has gone."""
        data = self.pending
        while True:
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                break
            if len(data) > MAX_HEAD:
                raise BadRequest
            try:
                data += self.more()
            except ConnectionError:
                return None
        lines = data[:end].decode("latin-1").split("\r\n")
        self.pending = data[end + 4:]
        try:
            method, target, _ = lines[0].split(" ")
        except ValueError:
            raise BadRequest from None
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), " ".join(value.split()) if "  " in value else value.strip()
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        if headers.get("expect", "").lower() == "100-continue":
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = self.chunked()
        else:
            length = headers.get("content-length", "0")
            if not length.isdigit():
                raise BadRequest
            body = self.exactly(int(length))
        return Request(method, target, headers, body)

    def exactly(self, length):
        if length == 0:
            return b""
        if len(self.pending) >= length:
            body, self.pending = self.pending[:length], self.pending[length:]
            return body
        if length > len(self.buffer):
            self.buffer = bytearray(length)
        view = memoryview(self.buffer)[:length]
        have = len(self.pending)
        view[:have] = self.pending
        self.pending = b""
        while have < length:
            # All of it in one call: a block would come in ten pieces, each of which waits for the interpreter's lock.
            count = self.connection.recv_into(view[have:], 0, socket.MSG_WAITALL)
            if count == 0:
                raise ConnectionError
            have += count
        return view

    def line(self):
        while b"\r\n" not in self.pending:
            self.pending += self.more()
        line, _, self.pending = self.pending.partition(b"\r\n")
        return line

    def chunked(self):
        parts = []
        while True:
            size = int(self.line().split(b";")[0], 16)
            if size == 0:
                while self.line():
                    pass
                return b"".join(parts)
            parts.append(bytes(self.exactly(size)))
            self.line()


REASONS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 304: "Not Modified", 400: "Bad Request",
           401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict", 412: "Precondition Failed", 500: "Internal Server Error",
           503: "Service Unavailable"}


def send(connection, method, status, headers, body, close):
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime(send.clock()))}")
    if not any(name.lower() == "content-length" for name in headers) and status not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if method == "HEAD" or status in (204, 304) or not body:
        connection.sendall(head)
    elif len(body) < 32768:
        connection.sendall(head + bytes(body))
    else:
        connection.sendall(head)
        connection.sendall(body)


send.clock = time.time  # the service's clock, which settings can set wrong
