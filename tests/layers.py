#!/usr/bin/env python3
"""Makes layers and images that well-behaved tools would not make.

layers.py tar FILE ENTRY…              a tar of the entries
layers.py layout FOLDER BASE ENTRY…    an OCI layout for amd64 (layout-arm64: for that): the tar BASE, and above it a layer by zstd of the entries
layers.py index FOLDER ARCH=LAYOUT…    an OCI layout with one index of the images of others
ENTRY: file:PATH:TEXT folder:PATH symlink:PATH:TO hardlink:PATH:TO whiteout:PATH opaque:FOLDER device:PATH:MAJOR:MINOR xattr:PATH:NAME
       giant:PATH:BYTES (a header that says so, sparse) zeros:PATH:BYTES"""
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile


class Zeros(io.RawIOBase):
    def __init__(self, size):
        self.left = size

    def read(self, count=-1):
        count = self.left if count < 0 else min(count, self.left)
        self.left -= count
        return b"\0" * count


def add(tar, text):
    kind, path, *rest = text.split(":")
    entry = tarfile.TarInfo(path)
    entry.mode, entry.uname, entry.gname = 0o644, "root", "root"
    data = None
    if kind == "folder":
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    elif kind in ("symlink", "hardlink"):
        entry.type, entry.linkname = (tarfile.SYMTYPE if kind == "symlink" else tarfile.LNKTYPE), rest[0]
    elif kind == "whiteout":
        folder, name = os.path.split(path)
        entry.name = os.path.join(folder, ".wh." + name)
    elif kind == "opaque":
        entry.name = os.path.join(path, ".wh..wh..opq")
    elif kind == "device":
        entry.type, entry.devmajor, entry.devminor = tarfile.CHRTYPE, int(rest[0]), int(rest[1])
    elif kind == "xattr":
        entry.pax_headers = {"SCHILY.xattr." + rest[0]: "y"}
    elif kind == "giant":
        entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": path, "GNU.sparse.realsize": rest[0]}
        data = b"0\n".ljust(512, b"\0")
        entry.size = len(data)
    elif kind == "zeros":
        entry.size = int(rest[0])
        tar.addfile(entry, Zeros(entry.size))
        return
    else:
        data = rest[0].encode()
        entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data) if data is not None else None)


def write_tar(file, entries):
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            add(tar, entry)


def put(folder, path):
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read())
    target = os.path.join(folder, "blobs/sha256", digest.hexdigest())
    os.replace(path, target)
    return {"digest": "sha256:" + digest.hexdigest(), "size": os.path.getsize(target)}


def put_json(folder, media_type, value):
    path = os.path.join(folder, "new")
    with open(path, "w") as file:
        json.dump(value, file)
    return {"mediaType": media_type, **put(folder, path)}


def start(folder):
    os.makedirs(os.path.join(folder, "blobs/sha256"))
    with open(os.path.join(folder, "oci-layout"), "w") as file:
        file.write('{"imageLayoutVersion": "1.0.0"}')


def end(folder, descriptor):
    with open(os.path.join(folder, "index.json"), "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [descriptor]}, file)


def make_layout(folder, base, entries, architecture):
    start(folder)
    new = os.path.join(folder, "new")
    shutil.copy(base, new)
    layers = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **put(folder, new)}]
    with open(new, "wb") as file, subprocess.Popen(["zstd", "-q"], stdin=subprocess.PIPE, stdout=file) as zstd:
        write_tar(zstd.stdin, entries)
        zstd.stdin.close()
    layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", **put(folder, new)})
    config = put_json(folder, "application/vnd.oci.image.config.v1+json",
                      {"os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}})
    end(folder, put_json(folder, "application/vnd.oci.image.manifest.v1+json", {"schemaVersion": 2, "config": config, "layers": layers}))


def make_index(folder, images):
    start(folder)
    manifests = []
    for image in images:
        architecture, layout = image.split("=")
        shutil.copytree(os.path.join(layout, "blobs"), os.path.join(folder, "blobs"), dirs_exist_ok=True)
        with open(os.path.join(layout, "index.json")) as file:
            entry = json.load(file)["manifests"][0]
        manifests.append({"mediaType": entry["mediaType"], "digest": entry["digest"], "size": entry["size"],
                          "platform": {"os": "linux", "architecture": architecture}})
    end(folder, put_json(folder, "application/vnd.oci.image.index.v1+json", {"schemaVersion": 2, "manifests": manifests}))


def main():
    what, target, *rest = sys.argv[1:]
    if what == "tar":
        with open(target, "wb") as file:
            write_tar(file, rest)
    elif what.startswith("layout"):
        make_layout(target, rest[0], rest[1:], what[len("layout-"):] or "amd64")
    else:
        make_index(target, rest)


main()
