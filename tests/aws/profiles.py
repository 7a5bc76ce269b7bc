#!/usr/bin/env python3
"""Compares how odd configuration files are read with botocore's reader, and refusals with its refusals: profiles.py PROBE"""
import json
import pathlib
import subprocess
import sys
import tempfile

import botocore.configloader
import botocore.exceptions

# Text of the config file, then of the credentials file.
FILES = {
    "nothing": ("", ""),
    "plain": ("[default]\nregion = us-east-1\n[profile dev]\nregion=eu-west-1\noutput = json\n", "[default]\naws_access_key_id = AK\naws_secret_access_key = SK\n"),
    "colons": ("[default]\nregion : us-east-1\nkey:a=b\nother = a:b\n", ""),
    "upper-case names": ("[default]\nREGION = us-east-1\nOutput = JSON\n", "[default]\nAWS_ACCESS_KEY_ID = AK\n"),
    "comments": ("# one\n; two\n[default]\n  # three\nregion = a # not a comment\nb = x ; neither\n#c = d\n", ""),
    "quoted profile": ('[profile "my work"]\nregion = a\n[profile \'other one\']\nregion = b\n[profile a\\ b]\nregion = c\n', ""),
    "unclosed quote": ('[profile "my work]\nregion = a\n[default]\nregion = b\n', ""),
    "three words": ("[profile a b]\nregion = a\n[profile]\nregion = b\n", ""),
    "blanks around names": ("[profile   dev  ]\nregion = a\n[ default ]\nregion = b\n[profile\tx]\nregion = t\n", ""),
    "profile without the word": ("[dev]\nregion = a\n", "[dev]\naws_access_key_id = AK\n"),
    "credentials with the word": ("", "[profile dev]\naws_access_key_id = AK\n"),
    "nested": ("[default]\ns3 =\n  addressing_style = path\n  max=5\nregion = x\n", ""),
    "nested with blank lines": ("[default]\ns3 =\n\n  a = b\n\n  c = d = e\n\nregion = x\n", ""),
    "nested that is none": ("[default]\ns3 =\n  nonsense\n", ""),
    "continued": ("[default]\nregion = us\n  -east\n  -1\noutput = x\n", ""),
    "continued after a comment": ("[default]\nregion = us\n# no\n  more\nk = v\n", ""),
    "indented settings": ("[default]\n  region = a\n  output = b\n", ""),
    "deeper and back": ("[default]\n  a = 1\n    b = 2\n  c = 3\nd = 4\n", ""),
    "indented section": ("[default]\na = 1\n  [profile x]\nb = 2\n", ""),
    "section twice": ("[default]\na = 1\n[default]\nb = 2\n", ""),
    "setting twice": ("[default]\na = 1\nA = 2\n", ""),
    "setting twice in the credentials": ("", "[default]\na = 1\na = 2\n"),
    "both defaults": ("[default]\nregion = a\n[profile default]\nregion = b\n", ""),
    "both defaults, other order": ("[profile default]\nregion = b\n[default]\nregion = a\n", ""),
    "no section": ("region = a\n", ""),
    "no value": ("[default]\nregion =\noutput\n", ""),
    "empty value": ("[default]\nregion =\noutput = json\n", ""),
    "no name": ("[default]\n= a\n", ""),
    "not a setting": ("[default]\njust words\n", ""),
    "empty brackets": ("[]\n", ""),
    "brackets inside": ("[profile a]b]\nregion = x\n", ""),
    "after the bracket": ("[profile a] # work\nregion = x\n", ""),
    "unclosed bracket": ("[default\nregion = a\n", ""),
    "bracket in a value": ("[default]\nregion = [a]\n", ""),
    "DEFAULT is for all": ("[DEFAULT]\nregion = z\n[profile a]\noutput = json\n[profile b]\nregion = y\n", ""),
    "DEFAULT twice": ("[DEFAULT]\na = 1\n[DEFAULT]\nb = 2\n[default]\nc = 3\n", ""),
    "carriage returns": ("[default]\r\nregion = a\r\n\r\n[profile b]\r\nregion = c\r\n", ""),
    "old Mac": ("[default]\rregion = a\r", ""),
    "no last line end": ("[default]\nregion = a", ""),
    "tabs": ("[default]\n\tregion\t=\ta\t\n", ""),
    "unicode": ("[profile ünï]\nregion = ☃\n", "[雪]\naws_access_key_id = AK\n"),
    "sso": ("[profile s]\nsso_session = corp\nsso_account_id = 1\n[sso-session corp]\nsso_region = a\nsso_start_url = https://x/#/\n", ""),
    "services": ("[profile s]\nservices = lab\n[services lab]\nec2 =\n  endpoint_url = http://a\ns3 =\n  endpoint_url = http://b\n", ""),
    "names that begin alike": ("[profiles x]\nregion = a\n[profilex y]\nregion = b\n[services-more z]\na = b\n", ""),
    "one in both": ("[profile a]\nregion = r\naws_access_key_id = C\n", "[a]\naws_access_key_id = K\naws_secret_access_key = S\n"),
    "percent signs": ("[default]\na = 100%\nb = %(a)s\n", ""),
    "value with equals": ("[default]\naws_secret_access_key = a/b+c==\n", ""),
    "very long": ("[default]\nregion = " + "x" * 100000 + "\n", ""),
    "many": ("".join(f"[profile p{i}]\nregion = r{i}\n" for i in range(500)), ""),
}


def by_botocore(folder, config, credentials):
    paths = []
    for name, text in (("config", config), ("credentials", credentials)):
        path = pathlib.Path(folder) / name
        path.write_bytes(text.encode())
        paths.append(str(path))
    try:
        full = botocore.configloader.load_config(paths[0])
        for name, values in botocore.configloader.raw_config_parse(paths[1]).items():
            full["profiles"].setdefault(name, {}).update(values)
    except botocore.exceptions.ConfigParseError:
        return "refused"
    return {key: full[key] for key in ("profiles", "sso_sessions", "services")}


def main():
    lines = "".join(json.dumps({"config": config, "credentials": credentials}) + "\n" for config, credentials in FILES.values())
    answers = subprocess.run([sys.argv[1], "profiles"], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    wrong = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        for (name, (config, credentials)), line in zip(FILES.items(), answers, strict=True):
            ours, theirs = json.loads(line), by_botocore(folder, config, credentials)
            refused += theirs == "refused"
            if theirs == "refused" and "error" in ours and any(f"{file}:" in ours["error"] for file in ("config", "credentials")):
                continue
            if ours != theirs:
                wrong += 1
                print(f"{name}: differs\n  ours   {ours}\n  theirs {theirs}")
    print(f"{len(FILES) - wrong} of {len(FILES)} files are read as botocore reads them ({refused} refused by both)")
    sys.exit(1 if wrong else 0)


main()
