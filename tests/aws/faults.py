#!/usr/bin/env python3
"""Calls to a server with bad habits: faults.py PROBE

What is repeated, what is not, how long the pauses are, and what people are told. The server answers each request with the next of the
planned habits (then well), and keeps a log.
"""
import collections
import datetime
import email.utils
import http.server
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

PROBE = sys.argv[1]
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
BASE = dict(os.environ)
VPCS = '<DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId><vpcSet><item><vpcId>vpc-1</vpcId></item></vpcSet></DescribeVpcsResponse>'
failures = 0


def refusal(status, code, message="no", **headers):
    body = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>req-9</RequestID></Response>"
    return {"status": status, "body": body, "headers": headers}


class Server:
    def __init__(self, certificate=None):
        self.plan, self.log, self.rule = collections.deque(), [], None
        self.slam = 0  # how many requests to hang up on while they are still being sent
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def log_message(self, *_):
                pass

            def date_time_string(self, timestamp=None):
                return email.utils.formatdate(time.time(), usegmt=True)

            def handle_any(self):
                if server.slam:
                    server.slam -= 1
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                form = dict(urllib.parse.parse_qsl(body.decode())) if self.command == "POST" else {}
                server.log.append({"method": self.command, "path": self.path, "headers": dict(self.headers), "form": form,
                                   "port": self.client_address[1]})
                habit = (server.rule and server.rule(server.log[-1])) or (server.plan.popleft() if server.plan else {})
                if habit.get("hang_up"):
                    self.close_connection = True
                    return
                data = habit.get("body", VPCS).encode()
                self.send_response(habit.get("status", 200))
                for key, value in habit.get("headers", {}).items():
                    self.send_header(key.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if habit.get("slow"):
                    for i in range(0, len(data), 40):
                        self.wfile.write(data[i:i + 40])
                        self.wfile.flush()
                        time.sleep(0.05)  # a slow line, not a wait
                    return
                if "cut" in habit:
                    data = data[:habit["cut"]]
                    self.close_connection = True
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Probe:
    def __init__(self, url, **variables):
        environment = BASE | {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret-key", "AWS_SESSION_TOKEN": "token-x/y==", "AWS_REGION": "eu-central-1",
                              "AWS_ENDPOINT_URL": url, "AWS_PROBE_FAST": "1", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none"} | variables
        environment = {key: value for key, value in environment.items() if value is not None}
        self.process = subprocess.Popen([PROBE, "call"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def ask(self, operation="DescribeVpcs", service="ec2", **more):
        self.send(operation, service, **more)
        return json.loads(self.process.stdout.readline())

    def send(self, operation, service="ec2", **more):
        self.process.stdin.write(json.dumps({"service": service, "operation": operation} | more) + "\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(20)


def equal(found, wanted):
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


def holds(text, *words):
    for word in words:
        assert word in text, f"{text!r} lacks {word!r}"


def case(test):
    global failures
    server.plan.clear()
    server.log.clear()
    server.rule = None
    try:
        test()
        print("ok: faults:", test.__doc__)
    except Exception as error:  # noqa: BLE001
        failures += 1
        print("FAILED: faults:", test.__doc__, repr(error)[:1500])


server = Server()
CREATE = {"operation": "CreateVpc", "params": {"CidrBlock": "10.0.0.0/16"}}
RUN = {"operation": "RunInstances", "params": {"MinCount": 1, "MaxCount": 1, "ClientToken": "t-1"}}


def well(answer):
    assert "answer" in answer, answer
    return answer


def throttled():
    """throttling is waited out, the pauses grow"""
    for code, status in (("RequestLimitExceeded", 503), ("Throttling", 400), ("SlowDown", 503)):
        server.log.clear()
        server.plan.extend([refusal(status, code)] * 3)
        with Probe(server.url) as probe:
            equal(well(probe.ask(**CREATE))["paused"], [1000, 2000, 4000])
        equal(len(server.log), 4)


def throttled_without_end():
    """throttling without end is told, after 8 attempts and at most 71 s"""
    server.plan.extend([refusal(503, "RequestLimitExceeded")] * 20)
    with Probe(server.url) as probe:
        answer = probe.ask()
    equal((answer["code"], answer["status"], len(server.log)), ("RequestLimitExceeded", 503, 8))
    equal(answer["paused"], [1000, 2000, 4000, 8000, 16000, 20000, 20000])
    holds(answer["hint"], "try again later")


def internal_error():
    """a 500 is repeated for what can be said twice, and only then"""
    server.plan.extend([refusal(500, "InternalError"), {"status": 502, "body": "<html>Bad Gateway</html>"}])
    with Probe(server.url) as probe:
        equal(len(well(probe.ask())["paused"]), 2)
        server.plan.extend([refusal(500, "InternalError")])
        well(probe.ask(**RUN))
        equal([one["form"]["ClientToken"] for one in server.log[-2:]], ["t-1", "t-1"])
        server.log.clear()
        server.plan.extend([refusal(500, "InternalError")])
        answer = probe.ask(**CREATE)
        equal((answer["code"], answer["may_have_acted"], len(server.log)), ("InternalError", True, 1))
        server.plan.extend([refusal(503, "Unavailable")])
        well(probe.ask(**CREATE))


def proxy_page():
    """a proxy's page is told as what it is"""
    server.plan.extend([{"status": 502, "body": "<html><body>Bad Gateway of the proxy</body></html>"}])
    with Probe(server.url) as probe:
        answer = probe.ask(**CREATE)
    equal(answer["code"], "Http502")
    holds(answer["error"], "Bad Gateway of the proxy", "CreateVpc", "eu-central-1")


def hang_up():
    """a connection that breaks: read again, but never made twice"""
    server.plan.extend([{"hang_up": True}] * 2)
    with Probe(server.url) as probe:
        well(probe.ask())
        equal(len(server.log), 3)
        # On a connection that was kept from the call before, where HTTP clients repeat by themselves.
        server.log.clear()
        server.plan.extend([{"hang_up": True}])
        answer = probe.ask(**CREATE)
        equal((answer["code"], answer["may_have_acted"], len(server.log)), ("NoAnswer", True, 1))
        server.plan.extend([{"hang_up": True}])
        well(probe.ask(**RUN))


def acted_earlier():
    """what an unanswered attempt may have done is not forgotten when a later one is refused"""
    server.plan.extend([{"hang_up": True}, refusal(400, "IdempotentParameterMismatch")])
    with Probe(server.url) as probe:
        answer = probe.ask(**RUN)
        equal((answer["code"], answer["may_have_acted"]), ("IdempotentParameterMismatch", True))
        server.plan.extend([refusal(503, "Unavailable"), refusal(400, "InvalidParameterValue")])
        equal(probe.ask(**RUN)["may_have_acted"], False)


def slammed():
    """a server that hangs up in the middle of an upload"""
    server.slam = 2
    with Probe(server.url) as probe:
        well(probe.ask(service="s3", operation="put", bucket="b-b", key="k", data="QUJD" * (1 << 20)))
    equal((server.slam, len(server.log)), (0, 1))


def refused_connection():
    """a server that is not there: every attempt is safe, then it is told"""
    with Probe("http://127.0.0.1:9") as probe:
        answer = probe.ask(**CREATE)
    equal((answer["code"], answer["may_have_acted"], len(answer["paused"])), ("NoAnswer", False, 7))
    holds(answer["error"], "http://127.0.0.1:9")
    holds(answer["hint"], "AWS_ENDPOINT_URL")


def no_such_host():
    """a host without an address is given up soon"""
    with Probe("http://ec2.no-such-region-1.invalid") as probe:
        answer = probe.ask(**CREATE)
    equal((answer["code"], len(answer["paused"])), ("NoAnswer", 2))


def cut_answer():
    """an answer that is cut counts as none"""
    for habit in ({"cut": 60}, {"body": VPCS[:90]}):
        server.log.clear()
        server.plan.extend([habit])
        with Probe(server.url) as probe:
            equal(well(probe.ask())["answer"]["vpcSet"], [{"vpcId": "vpc-1"}])
            equal(len(server.log), 2)
            server.plan.extend([habit])
            answer = probe.ask(**CREATE)
            equal((answer["code"], answer["may_have_acted"], len(server.log)), ("NoAnswer", True, 3))


def slow():
    """a slow answer is waited for"""
    server.plan.extend([{"slow": True}])
    with Probe(server.url) as probe:
        equal(well(probe.ask())["answer"]["vpcSet"], [{"vpcId": "vpc-1"}])
    equal(len(server.log), 1)


def kept_connection():
    """one connection serves many calls"""
    with Probe(server.url) as probe:
        for _ in range(10):
            well(probe.ask())
    equal(len({one["port"] for one in server.log}), 1)


def clock():
    """a clock that is wrong is put right by the server's, once"""
    def check(request):
        signed = datetime.datetime.strptime(request["headers"]["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        if abs(signed.timestamp() - time.time()) > 300:
            return refusal(400, "RequestExpired", "Request has expired.")
        return None

    for ahead in ("3600", "-86400", "100"):
        server.log.clear()
        server.rule = check
        with Probe(server.url, AWS_PROBE_CLOCK=ahead) as probe:
            well(probe.ask(**CREATE))
            equal(len(server.log), 1 if ahead == "100" else 2)
            well(probe.ask(**CREATE))
            equal(len(server.log), 2 if ahead == "100" else 3)


def expired():
    """credentials that expire on the way are fetched anew, once"""
    with tempfile.TemporaryDirectory() as folder:
        script, count = pathlib.Path(folder) / "process", pathlib.Path(folder) / "count"
        script.write_text(f"#!/bin/sh\necho x >> {count}\nn=$(wc -l < {count})\n"
                          "echo \"{\\\"Version\\\":1,\\\"AccessKeyId\\\":\\\"AKIA$n\\\",\\\"SecretAccessKey\\\":\\\"secret-$n\\\"}\"\n")
        script.chmod(0o755)
        (pathlib.Path(folder) / "config").write_text(f"[default]\ncredential_process = {script}\n")
        server.rule = lambda request: refusal(400, "ExpiredToken") if "AKIA1/" in request["headers"]["Authorization"] else None
        with Probe(server.url, AWS_CONFIG_FILE=folder + "/config", AWS_ACCESS_KEY_ID=None) as probe:
            answer = well(probe.ask(**CREATE))
            assert "paused" not in answer, answer
            equal(len(server.log), 2)
            well(probe.ask(**CREATE))
            equal(len(server.log), 3)
        server.log.clear()
        server.rule = lambda request: refusal(400, "ExpiredToken")
        with Probe(server.url) as probe:
            answer = probe.ask()
    equal((answer["code"], len(server.log)), ("ExpiredToken", 1))
    holds(answer["hint"], "environment variables", "aws sso login")


def retry_after():
    """Retry-After is honoured, up to half a minute"""
    server.plan.extend([refusal(503, "SlowDown", Retry_After="7"), refusal(429, "TooManyRequestsException", Retry_After="9999"), refusal(503, "SlowDown", Retry_After="soon")])
    with Probe(server.url) as probe:
        equal(well(probe.ask())["paused"], [7000, 30000, 4000])


def budget():
    """when everything fails, the session stops repeating"""
    server.rule = lambda request: refusal(503, "Unavailable")
    with Probe(server.url) as probe:
        counts = []
        for _ in range(20):
            before = len(server.log)
            probe.ask()
            counts.append(len(server.log) - before)
        equal(counts, [8] * 14 + [3] + [1] * 5)  # 500 tokens, 5 a repetition: 100
        server.rule = None
        for _ in range(10):
            well(probe.ask())
        server.plan.extend([refusal(503, "Unavailable")])
        well(probe.ask())


def fewer_attempts():
    """AWS_MAX_ATTEMPTS is heeded"""
    server.plan.extend([refusal(503, "Unavailable")] * 2)
    with Probe(server.url, AWS_MAX_ATTEMPTS="2") as probe:
        equal((probe.ask()["code"], len(server.log)), ("Unavailable", 2))


def permissions():
    """a refusal for lack of permission says which, and how to see why"""
    server.plan.extend([refusal(403, "UnauthorizedOperation", "You are not authorized. Encoded authorization failure message: AbC-_9")])
    with Probe(server.url) as probe:
        answer = probe.ask(**CREATE)
    equal(len(server.log), 1)
    holds(answer["hint"], "ec2:CreateVpc", "environment variables", "decode-authorization-message", "--encoded-message AbC-_9")
    holds(answer["error"], "req-9")


def no_secret():
    """no secret is in a message, though the server repeats it"""
    words = "The request signature we calculated does not match. token-x/y== secret-key The Canonical String for this request should have been 'POST x-amz-security-token:token-x/y=='"
    server.plan.extend([refusal(403, "SignatureDoesNotMatch", words)])
    with Probe(server.url) as probe:
        answer = probe.ask()
    holds(answer["error"], "does not match. *** ***")
    for secret in ("token-x", "secret-key"):
        assert secret not in json.dumps(answer), answer


def other_hints():
    """limits, regions that are not enabled, unknown keys: what to do is told"""
    for code, words in (("VpcLimitExceeded", "Service Quotas"), ("OptInRequired", "enable it"), ("AuthFailure", "does not know the credentials"), ("InsufficientInstanceCapacity", "another zone")):
        server.log.clear()
        server.plan.extend([refusal(400, code)])
        with Probe(server.url) as probe:
            holds(probe.ask()["hint"], words)
        equal(len(server.log), 1)


def hostile():
    """answers made to harm: too deep, without end, not XML"""
    server.plan.extend([{"body": "<a>" + "<b>" * 5000 + "</b>" * 5000 + "</a>"}] * 8)
    with Probe(server.url) as probe:
        holds(probe.ask()["error"], "nested too deep")
        server.plan.clear()
        server.rule = lambda request: {"body": "<R><vpcSet><item/></vpcSet><nextToken>same</nextToken></R>"}
        holds(probe.ask(all="vpcSet")["error"], "same page")
        server.rule = lambda request: {"body": "not XML"}
        holds(probe.ask()["error"], "not XML")


def other_region():
    """a bucket of another region is asked for there"""
    def check(request):
        region = request["headers"]["Authorization"].split("/")[2]
        if region != "us-west-2":
            return {"status": 301, "body": "<Error><Code>PermanentRedirect</Code></Error>", "headers": {"x-amz-bucket-region": "us-west-2"}}
        return {"body": "data"}

    server.rule = check
    with Probe(server.url) as probe:
        equal(probe.ask(service="s3", operation="get", bucket="b-b", key="k")["answer"], "ZGF0YQ==")
        equal(len(server.log), 2)
        server.rule = lambda request: {"status": 301, "body": "<Error><Code>PermanentRedirect</Code></Error>", "headers": {"x-amz-bucket-region": "evil/../x"}}
        equal(probe.ask(service="s3", operation="get", bucket="b-b", key="k")["code"], "PermanentRedirect")


def s3_expired():
    """S3's errors are read in its own form, and repeated too"""
    body = "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce</Message><RequestId>q</RequestId></Error>"
    server.plan.extend([{"status": 503, "body": body}, {"body": "x"}])
    with Probe(server.url) as probe:
        well(probe.ask(service="s3", operation="get", bucket="b-b", key="k"))
        server.plan.extend([{"status": 403, "body": body.replace("SlowDown", "AccessDenied")}])
        answer = probe.ask(service="s3", operation="put", bucket="b-b", key="k", data="")
    equal((answer["code"], answer["request_id"], answer["status"]), ("AccessDenied", "q", 403))


def interrupted():
    """Ctrl-C ends a pause at once"""
    server.rule = lambda request: refusal(503, "SlowDown", Retry_After="30")
    with Probe(server.url, AWS_PROBE_FAST=None) as probe:
        probe.send("DescribeVpcs")
        while not server.log:
            time.sleep(0.01)  # until it has asked once
        started = time.monotonic()
        probe.process.send_signal(signal.SIGINT)
        equal(json.loads(probe.process.stdout.readline())["error"], "interrupted")
    assert time.monotonic() - started < 5


def certificates():
    """TLS: the server must be known, AWS_CA_BUNDLE says by whom"""
    with tempfile.TemporaryDirectory() as folder:
        both = folder + "/both.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-keyout", folder + "/key", "-out", folder + "/cert"], check=True, capture_output=True)
        pathlib.Path(both).write_text(pathlib.Path(folder + "/key").read_text() + pathlib.Path(folder + "/cert").read_text())
        secure = Server(both)
        with Probe(secure.url, AWS_CA_BUNDLE=folder + "/cert") as probe:
            well(probe.ask())
            secure.slam = 2
            well(probe.ask(service="s3", operation="put", bucket="b-b", key="k", data="QUJD" * (1 << 20)))
            secure.log.pop()
        with Probe(secure.url) as probe:
            answer = probe.ask(**CREATE)
        equal((answer["code"], answer["may_have_acted"], len(secure.log)), ("NoAnswer", False, 1))
        assert re.search("certificate", answer["error"]), answer


def main():
    for test in (throttled, throttled_without_end, internal_error, proxy_page, hang_up, acted_earlier, slammed, refused_connection, no_such_host, cut_answer, slow, kept_connection, clock, expired, retry_after,
                 budget, fewer_attempts, permissions, no_secret, other_hints, hostile, other_region, s3_expired, interrupted, certificates):
        case(test)
    sys.exit(1 if failures else 0)


main()
