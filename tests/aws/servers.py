"""Small servers for tests of the AWS library: STS, SSO, a container's credentials and the instance metadata service in one, on 127.0.0.1."""
import http.server
import json
import os
import re
import subprocess
import threading
import time
import urllib.parse


def later(seconds=3600):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def start_moto(program, folder):
    """moto's server as a process, and its URL."""
    log = open(os.path.join(folder, "log"), "w+")
    process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", "0"], stdout=log, stderr=subprocess.STDOUT)
    started = time.monotonic()
    while time.monotonic() - started < 60 and process.poll() is None:
        log.seek(0)
        found = re.search(r"Running on http://127\.0\.0\.1:(\d+)", log.read())
        if found:
            return process, "http://127.0.0.1:" + found.group(1)
        time.sleep(0.05)  # between two looks at its log
    process.kill()
    raise SystemExit("moto does not start")


class Servers:
    """`state` is what tests change; `log` is what was asked."""

    def __init__(self, host="127.0.0.1", port=0):
        self.log = []
        self.state = {"imds_role": "node-role", "imds_v2": True, "container_token": None, "sso_token": "sso-access", "deny_role": "", "life": 3600}
        servers = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                servers.log.append((self.command, self.path, dict(self.headers), body))
                status, answer = servers.answer(self.command, self.path, self.headers, body)
                data = answer.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = handle_any

        self.server = http.server.ThreadingHTTPServer((host, port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{host}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method, path, headers, body):
        parts = urllib.parse.urlsplit(path)
        if method == "POST" and parts.path == "/":
            return self.sts(dict(urllib.parse.parse_qsl(body)), headers)
        if parts.path == "/token":
            return self.oidc(json.loads(body))
        if parts.path == "/federation/credentials":
            return self.sso(dict(urllib.parse.parse_qsl(parts.query)), headers)
        if parts.path.startswith("/latest/"):
            return self.imds(method, parts.path, headers)
        if parts.path == "/container":
            if self.state["container_token"] and headers.get("Authorization") != self.state["container_token"]:
                return 401, "secret-answer"
            return 200, json.dumps(self.keys("container") | {"Expiration": later()})
        return 404, "nothing here"

    @staticmethod
    def keys(name, token_name="Token"):
        return {"AccessKeyId": "ASIA-" + name, "SecretAccessKey": "secret-" + name, token_name: "token-" + name}

    def sts(self, form, headers):
        signer = headers.get("Authorization", "Credential=nobody/").split("Credential=")[1].split("/")[0]
        role = form["RoleArn"].rsplit("/", 1)[1]
        if role == self.state["deny_role"]:
            return 403, ("<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to assume "
                         + form["RoleArn"] + "</Message></Error><RequestId>req-1</RequestId></ErrorResponse>")
        if form["Action"] == "AssumeRoleWithWebIdentity" and form["WebIdentityToken"] != "web-token":
            return 400, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>no</Message></Error></ErrorResponse>"
        name = f"{role}-by-{signer}"
        members = "".join(f"<{key}>{value}</{key}>" for key, value in (self.keys(name, "SessionToken") | {"Expiration": later(self.state["life"])}).items())
        action = form["Action"]
        return 200, f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>{members}</Credentials></{action}Result></{action}Response>'

    def oidc(self, asked):
        if asked.get("refreshToken") != "sso-refresh":
            return 400, json.dumps({"error": "invalid_grant"})
        self.state["sso_token"] = "sso-access-2"
        return 200, json.dumps({"accessToken": "sso-access-2", "expiresIn": 28800, "refreshToken": "sso-refresh-2", "tokenType": "Bearer"})

    def sso(self, asked, headers):
        if headers.get("x-amz-sso_bearer_token") != self.state["sso_token"]:
            return 401, json.dumps({"__type": "UnauthorizedException", "message": "Session token not found or invalid"})
        name = f"sso-{asked['account_id']}-{asked['role_name']}"
        return 200, json.dumps({"roleCredentials": {"accessKeyId": "ASIA-" + name, "secretAccessKey": "secret-" + name, "sessionToken": "token-" + name,
                                                    "expiration": int((time.time() + 3600) * 1000)}})

    def imds(self, method, path, headers):
        if path == "/latest/api/token":
            if method != "PUT" or not headers.get("x-aws-ec2-metadata-token-ttl-seconds"):
                return 405, ""
            return (200, "imds-token") if self.state["imds_v2"] else (403, "")
        if headers.get("x-aws-ec2-metadata-token") != "imds-token":
            return 401, ""
        role = self.state["imds_role"]
        if path == "/latest/meta-data/iam/security-credentials/":
            return (200, role) if role else (404, "")
        if path == f"/latest/meta-data/iam/security-credentials/{role}":
            return 200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": later(-60)} | self.keys("imds-" + role) | {"Expiration": later(21600)})
        if path == "/latest/meta-data/placement/region":
            return 200, "ap-south-1"
        return 404, ""
