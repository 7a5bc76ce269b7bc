#!/usr/bin/env python3
"""Each source of credentials, against small servers: sources.py PROBE

What is found is compared with what botocore finds in the same surroundings; what fails must say why, and never a secret.
"""
import hashlib
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

HOME = tempfile.mkdtemp()
os.environ["HOME"] = HOME  # before botocore is imported: it looks then
import botocore.session  # noqa: E402
from servers import Servers, later  # noqa: E402

PROBE = sys.argv[1]
ARN = "arn:aws:iam::123456789012:role/"
BASE = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | {"AWS_DEFAULT_REGION": "eu-west-1"}
aws = pathlib.Path(HOME) / ".aws"
failures = []


def setting(name, value):
    return f"{name} = {value}\n"


def program(text):
    path = pathlib.Path(HOME) / "process"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def json_program(**keys):
    return program("cat <<'X'\n" + json.dumps({"Version": 1} | keys) + "\nX\n")


def ask(environment, profile):
    out = subprocess.run([PROBE, "credentials"], input=json.dumps({"profile": profile}), capture_output=True, text=True, env=environment, timeout=60)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout)


def prepare(config, credentials, variables):
    shutil.rmtree(aws, ignore_errors=True)
    aws.mkdir()
    (aws / "config").write_text(config)
    (aws / "credentials").write_text(credentials)
    return BASE | {"AWS_ENDPOINT_URL_STS": servers.url, "AWS_ENDPOINT_URL_SSO": servers.url, "AWS_ENDPOINT_URL_SSO_OIDC": servers.url,
                   "AWS_EC2_METADATA_SERVICE_ENDPOINT": servers.url, "AWS_EC2_METADATA_DISABLED": "true"} | variables


def sso_token(name, expires, **more):
    folder = aws / "sso" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (hashlib.sha1(name.encode()).hexdigest() + ".json")
    path.write_text(json.dumps({"startUrl": "https://x", "region": "eu-west-1", "accessToken": "sso-access", "expiresAt": expires} | more))
    return path


def finds(what, key, config="", credentials="", profile="", before=None, source="", botocore_too=True, **variables):
    """The keys that are found are `key`'s, and botocore finds the same."""
    environment = prepare(config, credentials, variables)
    if before:
        before()
    found = ask(environment, profile)
    problems = []
    if found.get("key") != key or found.get("secret") != "secret-" + key.removeprefix("ASIA-").removeprefix("AKIA-"):
        problems.append(f"found {found}, wanted {key}")
    if source not in found.get("source", ""):
        problems.append(f"the source is {found.get('source')!r}, without {source!r}")
    if botocore_too:
        if before:
            before()
        os.environ.clear()
        os.environ.update(environment)
        theirs = botocore.session.Session(profile=profile or None).get_credentials()
        frozen = theirs and theirs.get_frozen_credentials()
        if not frozen or (frozen.access_key, frozen.secret_key, frozen.token or "") != (found.get("key"), found.get("secret"), found.get("token")):
            problems.append(f"botocore finds {frozen}, we {found}")
    report(what, problems)
    return found


def refuses(what, *words, config="", credentials="", profile="", before=None, hint="", **variables):
    """An error with all `words`, the hint, and no secret."""
    environment = prepare(config, credentials, variables)
    if before:
        before()
    found = ask(environment, profile)
    said = found.get("error", "") + "\n" + found.get("hint", "")
    problems = [f"it does not say {word!r}: {found}" for word in words if word not in found.get("error", "")]
    if hint not in found.get("hint", ""):
        problems.append(f"the hint lacks {hint!r}: {found.get('hint')!r}")
    problems += [f"a secret is in it: {said}" for secret in ("secret-", "token-", "sso-access", "sso-refresh", "web-token") if secret in said]
    report(what, problems)


def report(what, problems):
    print(("FAILED: " if problems else "ok: ") + "credentials: " + what, *problems, sep="\n    " if problems else "")
    if problems:
        failures.append(what)


servers = Servers()
STATIC = "aws_access_key_id = AKIA-{0}\naws_secret_access_key = secret-{0}\n"
ENV = {"AWS_ACCESS_KEY_ID": "AKIA-env", "AWS_SECRET_ACCESS_KEY": "secret-env"}


def keys(name):
    return STATIC.format(name)


def environment_and_files():
    finds("environment", "AKIA-env", **ENV)
    finds("environment with a token", "AKIA-env", AWS_SESSION_TOKEN="token-env", **ENV)
    finds("environment before AWS_PROFILE's profile", "AKIA-env", config="[profile a]\n", credentials="[a]\n" + keys("file"), AWS_PROFILE="a", **ENV)
    finds("a named profile before the environment", "AKIA-file", credentials="[a]\n" + keys("file"), profile="a", **ENV)
    refuses("environment without the secret", "AWS_ACCESS_KEY_ID but no AWS_SECRET_ACCESS_KEY", AWS_ACCESS_KEY_ID="AKIA-env")
    finds("keys in the credentials file", "AKIA-file", credentials="[default]\n" + keys("file") + "aws_session_token = token-file\n", source="credentials")
    finds("keys in the config file", "AKIA-file", config="[default]\n" + keys("file"), source="config")
    finds("the credentials file first", "AKIA-one", credentials="[default]\n" + keys("one"), config="[default]\n" + keys("two"))
    finds("other files by variables", "AKIA-far", AWS_SHARED_CREDENTIALS_FILE="~/far", before=lambda: (pathlib.Path(HOME) / "far").write_text("[default]\n" + keys("far")))
    refuses("a key without its secret", "profile 'default'", "no aws_secret_access_key", credentials="[default]\naws_access_key_id = AKIA-x\n")
    refuses("an unknown profile", "no AWS profile 'devv'", hint="did you mean 'dev'?", credentials="[dev]\n" + keys("x"), profile="devv")
    refuses("an unknown profile by variable", "no AWS profile 'nope'", "AWS_PROFILE", AWS_PROFILE="nope")
    refuses("a broken file", "credentials:2", credentials="[default]\nsecret-without-equals\n")


def process():
    finds("credential_process", "AKIA-p", config=f"[default]\ncredential_process = {json_program(AccessKeyId='AKIA-p', SecretAccessKey='secret-p')}\n")
    path = json_program(AccessKeyId="ASIA-p", SecretAccessKey="secret-p", SessionToken="token-p", Expiration=later())
    found = finds("credential_process with an end", "ASIA-p", config=f"[default]\ncredential_process = \"{path}\" --for 'a b'\n")
    report("its end is known", [] if found.get("expires", "") > later(60) else [str(found)])
    finds("the credentials file's keys before credential_process", "AKIA-file", credentials="[default]\n" + keys("file"), config=f"[default]\ncredential_process = {path}\n")
    finds("credential_process before the config file's keys", "ASIA-p", config=f"[default]\ncredential_process = {path}\n" + keys("file"))
    failing = program("echo secret-in-its-words >&2; echo secret-out; exit 3\n")
    refuses("credential_process that fails", "exit code 3", "process", hint="by hand", config=f"[default]\ncredential_process = {failing} --key secret-option\n")
    refuses("credential_process that is not there", "cannot be started", config="[default]\ncredential_process = /no/such secret-option\n")
    for what, text, words in (("no JSON", "echo secret-x", "no JSON"), ("another version", "echo '{\"Version\": 2}'", "\"Version\": 1"),
                              ("no key", "echo '{\"Version\": 1, \"SecretAccessKey\": \"secret-x\"}'", "no AccessKeyId"),
                              ("a bad end", "echo '{\"Version\":1,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"secret-x\",\"Expiration\":\"soon\"}'", "no time")):
        refuses("credential_process with " + what, words, config=f"[default]\ncredential_process = {program(text)}\n")


def roles():
    chain = f"[profile a]\nrole_arn = {ARN}A\nsource_profile = b\n[profile b]\nrole_arn = {ARN}B\nsource_profile = c\n[profile c]\n"
    finds("a role over a profile", "ASIA-B-by-AKIA-c", config=chain, credentials="[c]\n" + keys("c"), profile="b", source="role")
    finds("a role over a role", "ASIA-A-by-ASIA-B-by-AKIA-c", config=chain, credentials="[c]\n" + keys("c"), AWS_PROFILE="a")
    finds("a profile as its own source", "ASIA-A-by-AKIA-a", config=f"[profile a]\nrole_arn = {ARN}A\nsource_profile = a\n", credentials="[a]\n" + keys("a"), profile="a")
    path = json_program(AccessKeyId="AKIA-p", SecretAccessKey="secret-p")
    finds("a role over credential_process", "ASIA-A-by-AKIA-p", config=f"[profile a]\nrole_arn = {ARN}A\nsource_profile = b\n[profile b]\ncredential_process = {path}\n", profile="a")
    for source, key, variables in (("Environment", "AKIA-env", ENV), ("EcsContainer", "ASIA-container", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": servers.url + "/container"}),
                                   ("Ec2InstanceMetadata", "ASIA-imds-node-role", {"AWS_EC2_METADATA_DISABLED": "false"})):
        finds("a role over " + source, "ASIA-A-by-" + key, config=f"[profile a]\nrole_arn = {ARN}A\ncredential_source = {source}\n", profile="a", **variables)
    servers.log.clear()
    finds("external id, duration and session name", "ASIA-A-by-AKIA-c", profile="a", credentials="[c]\n" + keys("c"), botocore_too=False,
          config=f"[profile a]\nrole_arn = {ARN}A\nsource_profile = c\nexternal_id = ext\nduration_seconds = 900\nrole_session_name = me\n")
    form = servers.log[-1][3]
    report("they reach STS", [form] if not all(word in form for word in ("ExternalId=ext", "DurationSeconds=900", "RoleSessionName=me")) else [])
    refuses("roles that go round", "a -> b -> a", config=f"[profile a]\nrole_arn = {ARN}A\nsource_profile = b\n[profile b]\nrole_arn = {ARN}B\nsource_profile = a\n", profile="a")
    refuses("a source that is not there", "source_profile 'bb'", hint="'b'", config=f"[profile a]\nrole_arn = {ARN}A\nsource_profile = bb\n[profile b]\n", profile="a")
    refuses("a source without credentials", "'b', which has no credentials", config=f"[profile a]\nrole_arn = {ARN}A\nsource_profile = b\n[profile b]\n", profile="a")
    refuses("no source", "neither source_profile nor credential_source", config=f"[profile a]\nrole_arn = {ARN}A\n", profile="a")
    refuses("two sources", "both source_profile and credential_source", config=f"[profile a]\nrole_arn = {ARN}A\nsource_profile = a\ncredential_source = Environment\n", profile="a")
    refuses("an unknown credential_source", "'Nonsense'", "Ec2InstanceMetadata", config=f"[profile a]\nrole_arn = {ARN}A\ncredential_source = Nonsense\n", profile="a")
    refuses("a role with a device's code", "mfa_serial", hint="export-credentials", config=f"[profile a]\nrole_arn = {ARN}A\nsource_profile = a\nmfa_serial = x\n" + keys("a"), profile="a")
    servers.state["deny_role"] = "A"
    refuses("a role that STS refuses", "AccessDenied", "while assuming role", "request req-1", hint="sts:AssumeRole", profile="a",
            config=f"[profile a]\nrole_arn = {ARN}A\nsource_profile = c\n", credentials="[c]\n" + keys("c"))
    servers.state["deny_role"] = ""


def web_identity():
    token = pathlib.Path(HOME) / "web"
    token.write_text("web-token")
    variables = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ARN + "W"}
    profile = f"[profile a]\nrole_arn = {ARN}V\nweb_identity_token_file = {token}\n"
    finds("web identity by variables", "ASIA-W-by-nobody", **variables)
    finds("web identity by a profile", "ASIA-V-by-nobody", config=profile, profile="a")
    finds("web identity's variables before a profile's keys", "ASIA-W-by-nobody", credentials="[default]\n" + keys("file"), **variables)
    finds("a role over a web identity", "ASIA-A-by-ASIA-V-by-nobody", config=profile + f"[profile b]\nrole_arn = {ARN}A\nsource_profile = a\n", profile="b")
    refuses("web identity without a role", "no role", hint="AWS_ROLE_ARN", AWS_WEB_IDENTITY_TOKEN_FILE=str(token))
    refuses("web identity without its file", "No such file", AWS_WEB_IDENTITY_TOKEN_FILE="/no/such", AWS_ROLE_ARN=ARN + "W")
    token.write_text("web-token-old")
    refuses("web identity that STS refuses", "InvalidIdentityToken", **variables)


def sso():
    profile = "[profile s]\nsso_session = corp\nsso_account_id = 42\nsso_role_name = Dev\n[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://x\n"
    legacy = "[profile s]\nsso_start_url = https://x\nsso_region = eu-west-1\nsso_account_id = 42\nsso_role_name = Dev\n"
    registered = {"clientId": "c", "clientSecret": "secret-client", "registrationExpiresAt": later(86400)}
    finds("SSO", "ASIA-sso-42-Dev", config=profile, profile="s", before=lambda: sso_token("corp", later()), source="SSO")
    finds("SSO as it was first", "ASIA-sso-42-Dev", config=legacy, profile="s", before=lambda: sso_token("https://x", later()))

    def old_token():
        servers.state["sso_token"] = "sso-access"
        sso_token("corp", later(-60), refreshToken="sso-refresh", **registered)

    finds("SSO with a token that is refreshed", "ASIA-sso-42-Dev", config=profile, profile="s", before=old_token, botocore_too=False)
    path = aws / "sso" / "cache" / (hashlib.sha1(b"corp").hexdigest() + ".json")
    saved = json.loads(path.read_text())
    wrong = saved["accessToken"] != "sso-access-2" or saved["refreshToken"] != "sso-refresh-2" or stat.S_IMODE(path.stat().st_mode) != 0o600
    report("the new token is saved for the AWS CLI, for the user alone", [str(saved)] if wrong or saved["startUrl"] != "https://x" else [])
    servers.state["sso_token"] = "sso-access"
    refuses("SSO without a login", "nobody has logged in", hint="aws sso login --sso-session corp", config=profile, profile="s")
    refuses("SSO with an old login", "has expired", hint="aws sso login --profile s", config=legacy, profile="s", before=lambda: sso_token("https://x", later(-60)))
    refuses("SSO with a token that cannot be refreshed", "has expired", config=profile, profile="s",
            before=lambda: sso_token("corp", later(-60), refreshToken="sso-refresh-wrong", **registered))
    servers.state["sso_token"] = "another"
    refuses("SSO with a token that was withdrawn", "no longer valid", hint="aws sso login", config=profile, profile="s", before=lambda: sso_token("corp", later()))
    servers.state["sso_token"] = "sso-access"
    refuses("SSO without its session", "[sso-session corp]", config=profile.split("[sso-session")[0], profile="s")
    refuses("SSO without a role", "lacks sso_role_name", config=profile.replace("sso_role_name = Dev\n", ""), profile="s")
    refuses("SSO with a broken cache", "cannot be read", config=profile, profile="s", before=lambda: sso_token("corp", later()).write_text("{secret-x"))


def container():
    url = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": servers.url + "/container"}
    finds("a container's", "ASIA-container", **url)
    servers.state["container_token"] = "Bearer secret-c"
    finds("a container's with a token", "ASIA-container", AWS_CONTAINER_AUTHORIZATION_TOKEN="Bearer secret-c", **url)
    file = pathlib.Path(HOME) / "token"
    file.write_text("Bearer secret-c")
    finds("a container's with a token in a file", "ASIA-container", AWS_CONTAINER_AUTHORIZATION_TOKEN="wrong", AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(file), **url)
    refuses("a container's without the token", "answered 401", "/container", **url)
    servers.state["container_token"] = None
    refuses("a container's at a stranger's", "not to be trusted", hint="169.254.170.2", AWS_CONTAINER_CREDENTIALS_FULL_URI="http://192.0.2.1/x?key=secret-x")
    refuses("a container's at a name like this machine's", "not to be trusted", AWS_CONTAINER_CREDENTIALS_FULL_URI="http://127.0.0.1.example.com/x")


def metadata():
    on = {"AWS_EC2_METADATA_DISABLED": "false"}
    finds("the instance's", "ASIA-imds-node-role", source="role 'node-role'", **on)
    servers.state["imds_role"] = ""
    refuses("an instance without a role", "this instance has no role", **on)
    servers.state["imds_role"] = "node-role"
    servers.state["imds_v2"] = False
    servers.log.clear()
    refuses("version 1 of the metadata service is not used", "no role", **on)
    report("it was asked for a token and nothing else", [str(servers.log)] if [entry[0] for entry in servers.log] != ["PUT"] else [])
    servers.state["imds_v2"] = True
    refuses("none at all", "AWS_ACCESS_KEY_ID", "profile 'default': is not in", "AWS_CONTAINER_CREDENTIALS", "AWS_EC2_METADATA_DISABLED", hint="aws configure")
    refuses("none, but other profiles", "profile 'default'", hint="dev", credentials="[dev]\n" + keys("dev"))
    refuses("a machine that is no instance", "does not answer", **(on | {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"}))


def main():
    try:
        for part in (environment_and_files, process, roles, web_identity, sso, container, metadata):
            part()
    finally:
        servers.stop()
        shutil.rmtree(HOME)
    sys.exit(1 if failures else 0)


main()
