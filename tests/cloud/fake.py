"""The fake EC2 for tests in Python: `with Fake("--no-machines") as fake:`; fake.client("ec2"), fake.control("GET", "log"), fake.environment.

Needs the venv's Python for clients (in_venv()); starting and controlling it needs nothing.
"""
import ctypes
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent


def venv():
    """The folder of the venv's programs, made when it is first asked for; None, and why on standard error, when the index can't be reached."""
    up = (HERE / "up").read_text(encoding="utf-8")
    requirements = up.split("fake-ec2 ", 1)[1].split(")", 1)[0].replace("'", "").split()
    made = subprocess.run([HERE.parent / "pypi-tools", "fake-ec2", *requirements], stdout=subprocess.PIPE, text=True, check=False)
    return made.stdout.strip() if made.returncode == 0 else None


def in_venv():
    """Goes on in the venv's Python, or ends the test as skipped."""
    programs = venv()
    if programs is None:
        print("SKIPPED: the Python package index cannot be reached: the fake EC2 stands on moto and botocore")
        sys.exit(0)
    if pathlib.Path(sys.prefix) != pathlib.Path(programs).parent:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        os.execv(f"{programs}/python", [f"{programs}/python", *sys.argv])
    return programs


def end_with_parent():
    """A test that is killed leaves no fake behind: prctl(PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Fake:
    def __init__(self, *options, seconds=60):
        self.folder = tempfile.TemporaryDirectory(prefix="fake-ec2-test-")
        lines = pathlib.Path(self.folder.name) / "environment"
        self.said = open(pathlib.Path(self.folder.name) / "said", "w+", encoding="utf-8")
        self.process = subprocess.Popen([HERE / "up", "--state", self.folder.name + "/state", "--environment", lines, *options], stdout=self.said, stderr=self.said,
                                        preexec_fn=end_with_parent)
        end = time.monotonic() + seconds
        while not lines.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                self.said.seek(0)
                raise RuntimeError(f"the fake EC2 does not start: {self.said.read()}")
            time.sleep(0.02)
        self.keys, self.clients, self.session = {"aws": {}}, {}, None
        for line in lines.read_text(encoding="utf-8").splitlines():
            mark, _, assignment = line.rpartition("export ")
            if mark.startswith("# among"):
                continue
            name, _, value = assignment.partition("=")
            self.keys.setdefault(mark.strip("# :") or "aws", {})[name] = value
        self.endpoint = self.keys["aws"]["AWS_ENDPOINT_URL"]
        self.environment = dict({k: v for k, v in os.environ.items() if not k.startswith("AWS_")}, AWS_CONFIG_FILE="/dev/null",
                                AWS_SHARED_CREDENTIALS_FILE="/dev/null", **self.keys["aws"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Its exit code; nothing of it is left."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.said.close()
            self.folder.cleanup()

    def messages(self):
        self.said.flush()
        return pathlib.Path(self.said.name).read_text(encoding="utf-8")

    def client(self, service, region="us-east-1", partition="aws", **options):
        """A boto3 client; the same one for the same words, since EC2's model takes it a second to read."""
        name = repr((service, region, partition, sorted(options.items(), key=str)))
        if name not in self.clients:
            self.clients[name] = self.new_client(service, region, partition, **options)
        return self.clients[name]

    def new_client(self, service, region, partition, **options):
        import boto3  # pylint: disable=import-outside-toplevel
        from botocore.config import Config  # pylint: disable=import-outside-toplevel
        keys = self.keys[partition]
        settings = {"retries": {"total_max_attempts": 1}, "max_pool_connections": 32, "parameter_validation": True, "s3": {"addressing_style": "path"}}
        settings.update(options.pop("config", {}))
        # One session for all, for its parsed models; keys are given to each client.
        self.session = self.session or boto3.session.Session()
        named = {"aws_access_key_id": options.pop("key", keys["AWS_ACCESS_KEY_ID"]), "aws_secret_access_key": options.pop("secret", keys["AWS_SECRET_ACCESS_KEY"]),
                 "aws_session_token": options.pop("token", None), "region_name": region}
        return self.session.client(service, endpoint_url=self.endpoint, config=Config(**settings), **named, **options)

    def control(self, method, path, body=None):
        request = urllib.request.Request(f"{self.endpoint}/_fake/{path}", method=method, data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.read().decode()}") from None

    def inside(self):
        """(the words before a command that is to run where public addresses lead to machines, its environment)."""
        place = self.control("GET", "client")
        return place["prefix"], dict(self.environment, AWS_ENDPOINT_URL=place["endpoint"])

    def settings(self, **values):
        return self.control("POST", "settings", values)
