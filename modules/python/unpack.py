#!/usr/bin/env python3
"""unpack.py SITE BIN WHEEL…: installs wheels that need nothing but copying.

That is what a wheel is (https://packaging.python.org/en/latest/specifications/binary-distribution-format/): a zip of what
goes to site-packages, a NAME.data folder with other places, and a list of commands. The libraries' own tests, a third
of their size, stay out.
"""
import configparser
import os
import sys
import zipfile

COMMAND = """#!/usr/bin/python3
import sys
from {module} import {name}
sys.exit({call}())
"""


def place(name, site, bin):
    """Where a file of the wheel goes; None for one that is left out."""
    parts = name.split("/")
    if parts[0].endswith(".data"):
        kind, rest = parts[1], "/".join(parts[2:])
        if kind in ("purelib", "platlib"):
            return place(rest, site, bin)
        if kind == "scripts":
            return os.path.join(bin, rest)
        if kind == "data":
            return os.path.join("/usr/local", rest)
        return None  # headers: nothing is compiled in an image
    # Not the whole folder: numpy imports helpers from among its tests.
    if "tests" in parts[1:-1] and (parts[-1].startswith("test_") or "data" in parts):
        return None
    return os.path.join(site, name)


def write(path, data, mode):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def install(wheel, site, bin):
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = place(entry.filename, site, bin)
            if entry.is_dir() or path is None:
                continue
            data = archive.read(entry)
            if os.path.dirname(path) == bin:
                data = data.replace(b"#!python", b"#!/usr/bin/python3", 1)
                write(path, data, 0o755)
                continue
            write(path, data, 0o755 if entry.external_attr >> 16 & 0o100 else 0o644)
            if path.endswith(".dist-info/entry_points.txt"):
                commands(data.decode(), bin)


def commands(text, bin):
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str
    parser.read_string(text)
    if not parser.has_section("console_scripts"):
        return
    for command, target in parser.items("console_scripts"):
        module, call = target.split(":")
        script = COMMAND.format(module=module, name=call.split(".")[0], call=call)
        write(os.path.join(bin, command), script.encode(), 0o755)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: unpack.py SITE BIN WHEEL...")
    for wheel in sorted(sys.argv[3:]):
        install(wheel, sys.argv[1], sys.argv[2])
