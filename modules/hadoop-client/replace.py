#!/usr/bin/env python3
"""replace.py JAR FOLDER VERSION: the class path that a jar's manifest names, with Hadoop's client of VERSION in the old one's place; one path a line."""
import os
import re
import sys
import zipfile

jar, folder, version = sys.argv[1:]
with zipfile.ZipFile(jar) as archive:
    manifest = archive.read("META-INF/MANIFEST.MF").decode().replace("\r\n ", "")
line = next(line for line in manifest.split("\r\n") if line.startswith("Class-Path: "))
paths = [os.path.normpath(os.path.join(os.path.dirname(jar), path)) for path in line.split(" ")[1:]]
wanted = [re.sub(r"/hadoop-client-(api|runtime)-[0-9][^/]*\.jar$", rf"/hadoop-client-\1-{version}.jar", path) for path in paths]
missing = [path for path in wanted if not os.path.exists(path)]
if missing or wanted == paths and version not in " ".join(paths):
    sys.exit(f"hadoop-client: the class path of {jar} cannot be changed: {missing or 'it has no such jars'}")
print(*wanted, sep="\n")
