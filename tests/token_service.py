#!/usr/bin/env python3
"""Gives tokens for a registry to who knows the password (the distribution project's token specification): token_service.py FOLDER

FOLDER holds tls.crt and tls.key (its own TLS), token.crt and token.key (which sign), and password. It writes its port to
FOLDER/tokens.port, and to FOLDER/tokens.log a line for each request: the scope, and whose it is ("-": nobody's)."""
import base64
import http.server
import json
import ssl
import subprocess
import sys
import time
import urllib.parse

folder = sys.argv[1]


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(claims):
    with open(f"{folder}/token.crt") as file:
        certificate = "".join(line.strip() for line in file if "-----" not in line)
    header = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
    signed = encoded(json.dumps(header).encode()) + b"." + encoded(json.dumps(claims).encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", f"{folder}/token.key"], input=signed, stdout=subprocess.PIPE, check=True)
    return (signed + b"." + encoded(signature.stdout)).decode()


class Service(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        scope = query.get("scope", [""])[0]
        user = "-"
        given = self.headers.get("Authorization", "")
        if given.startswith("Basic "):
            user, _, password = base64.b64decode(given[6:]).decode().partition(":")
        with open(f"{folder}/tokens.log", "a") as file:
            file.write(f"{scope} {user}\n")
        with open(f"{folder}/password") as file:
            right = user != "-" and password == file.read().strip()
        if not right:
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]}')
            return
        kind, name, actions = scope.split(":")
        now = int(time.time())
        body = json.dumps({"token": token({"iss": "test", "sub": user, "aud": query["service"][0], "exp": now + 300, "nbf": now - 10, "iat": now,
                                           "jti": str(now), "access": [{"type": kind, "name": name, "actions": actions.split(",")}]})})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
with open(f"{folder}/tokens.port", "w") as file:
    file.write(str(server.server_port))
server.serve_forever()
