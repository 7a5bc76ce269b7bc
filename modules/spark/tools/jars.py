#!/usr/bin/env python3
"""Makes the jars and zips of the Spark module, always with the same bytes (the runtime image has no `jar`).

  jars.py pack FOLDER JAR           the files under FOLDER
  jars.py classpath JAR FILE…       an empty jar whose manifest puts the files on the class path, in this order
  jars.py compiled ZIP              adds compiled files to a zip of Python sources
"""
import importlib._bootstrap_external as bootstrap
import importlib.util
import os
import sys
import zipfile

# 1980 is the first year a zip can say. A fixed time, because the archive's bytes go into the layer's digest.
EPOCH = (1980, 1, 1, 0, 0, 0)


def add(archive, name, data):
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)


def pack(folder, jar):
    with zipfile.ZipFile(jar, "w") as archive:
        add(archive, "META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n\r\n")
        for path in sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names):
            with open(path, "rb") as file:
                add(archive, os.path.relpath(path, folder), file.read())


def classpath(jar, files):
    """The JVM reads `Class-Path` relative to the jar, and wants lines of at most 72 bytes, continued by a blank."""
    line = "Class-Path: " + " ".join(os.path.relpath(file, os.path.dirname(jar)) for file in files)
    lines = [line[:70]] + [" " + line[at:at + 69] for at in range(70, len(line), 69)]
    with zipfile.ZipFile(jar, "w") as archive:
        add(archive, "META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n" + "\r\n".join(lines) + "\r\n\r\n")


def compiled(path):
    """Python workers import pyspark from this zip, which holds sources only: each would compile them anew, every time.

    The compiled files say "unchecked": a zip's times are no use to tell whether they are current.
    """
    with zipfile.ZipFile(path) as archive:
        sources = {name: archive.read(name) for name in sorted(archive.namelist()) if not name.endswith("/")}
    with zipfile.ZipFile(path + ".new", "w") as archive:
        for name, data in sources.items():
            if name.endswith(".pyc"):
                continue
            add(archive, name, data)
            if not name.endswith(".py"):
                continue
            try:
                code = compile(data, os.path.join(path, name), "exec", dont_inherit=True)
            except SyntaxError:  # newer Python than ours, in a corner nobody imports
                continue
            add(archive, name + "c", bytes(bootstrap._code_to_hash_pyc(code, importlib.util.source_hash(data), False)))
    os.replace(path + ".new", path)


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "pack":
        pack(*rest)
    elif command == "classpath":
        classpath(rest[0], rest[1:])
    elif command == "compiled":
        compiled(*rest)
    else:
        sys.exit(f"jars.py: unknown command '{command}'")
