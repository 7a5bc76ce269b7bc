#!/usr/bin/env python3
"""Looks for what no image may hold, in the targets that were made of it. A target is an entry of TARGETS: whoever adds one adds a line.

    hygiene.py check TARGET PATH            a line for each thing that does not belong there
    hygiene.py privileged TARGET PATH       files that run as their owner or group, sorted: MODE UID:GID PATH
    hygiene.py search TARGET PATH WORD…     where one of the words is, in any byte

PATH is for rootfs a file with the layers' folders, lowest first, a line each; for oci a layout; for disk the raw disk; for gce the tar.gz.
"""
import contextlib
import datetime
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
import tempfile

EPOCH = 1767225600


class Entry:
    def __init__(self, kind, mode, uid, gid, size, mtime, link, content):
        self.kind, self.mode, self.uid, self.gid = kind, mode, uid, gid
        self.size, self.mtime, self.link, self.content = size, mtime, link, content


def rootfs_layers(path):
    """Each layer as a list of (path, Entry or None for a whiteout), and whether a folder hides what is below."""
    for root in open(path).read().split("\n"):
        if not root:
            continue
        entries = []
        for folder, folders, files in os.walk(root):
            for name in folders + files:
                file = os.path.join(folder, name)
                status = os.lstat(file)
                inside = file[len(root):]
                if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                    entries.append((inside, None))
                    continue
                kind = "d" if stat.S_ISDIR(status.st_mode) else "l" if stat.S_ISLNK(status.st_mode) else "f" if stat.S_ISREG(status.st_mode) else "o"
                if kind == "d":
                    marks = [os.getxattr(file, mark) for mark in os.listxattr(file) if mark.endswith("overlay.opaque")]
                    if b"y" in marks:
                        entries.append((inside + "/", None))
                content = (lambda file=file: open(file, "rb").read()) if kind == "f" else None
                entries.append((inside, Entry(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_size,
                                              status.st_mtime, os.readlink(file) if kind == "l" else "", content)))
        yield entries


def read_blob(layout, digest):
    return os.path.join(layout, "blobs", *digest.split(":"))


def oci_manifest(layout):
    index = json.load(open(os.path.join(layout, "index.json")))
    return json.load(open(read_blob(layout, index["manifests"][0]["digest"])))


def open_layer(layout, layer):
    """The tar in a layer's blob, unpacked by a program of its own."""
    program = ["zstd", "-dcq"] if layer["mediaType"].endswith("zstd") else ["gzip", "-dc"]
    return subprocess.Popen(program + [read_blob(layout, layer["digest"])], stdout=subprocess.PIPE).stdout


def oci_layers(layout):
    small = re.compile(r"^etc/|^root/|\.log$")
    for layer in oci_manifest(layout)["layers"]:
        entries = []
        with tarfile.open(fileobj=open_layer(layout, layer), mode="r|") as tar:
            for member in tar:
                path = "/" + member.name.lstrip("./")
                name = os.path.basename(path)
                if name == ".wh..wh..opq":
                    entries.append((os.path.dirname(path) + "/", None))
                    continue
                if name.startswith(".wh."):
                    entries.append((os.path.join(os.path.dirname(path), name[4:]), None))
                    continue
                kind = "d" if member.isdir() else "l" if member.issym() else "f" if member.isfile() or member.islnk() else "o"
                # A stream is read once: what the checks want to see is kept.
                data = tar.extractfile(member).read() if member.isfile() and small.search(path[1:]) else b""
                entries.append((path, Entry(kind, member.mode, member.uid, member.gid, member.size, member.mtime, member.linkname,
                                            lambda data=data: data)))
        yield entries


def rootfs_bytes(path):
    for number, layer in enumerate(rootfs_layers(path)):
        for inside, entry in layer:
            if entry is None:
                continue
            yield inside, [inside.encode(errors="surrogateescape"), entry.link.encode()]
            if entry.kind == "f":
                yield inside, [entry.content()]


def pieces(stream):
    """With an overlap, so that no word is cut."""
    before = b""
    while True:
        piece = stream.read(1 << 22)
        if not piece:
            return
        yield before + piece
        before = piece[-200:]


def oci_bytes(layout):
    for folder, _, files in os.walk(layout):
        for name in files:
            yield os.path.join(folder, name)[len(layout):], pieces(open(os.path.join(folder, name), "rb"))
    for layer in oci_manifest(layout)["layers"]:
        yield "layer " + layer["digest"], pieces(open_layer(layout, layer))


class RootOfDisk:
    """The file system in the last partition, as debugfs (e2fsprogs) reads it: without loop devices, and not as kiln wrote it."""
    KINDS = {0o04: "d", 0o10: "f", 0o12: "l"}
    LINE = re.compile(r"^ *(\d+) +(\d+) \(\d+\) +(\d+) +(\d+) +(\d+) +(\d+-\w+-\d+ \d+:\d+) (.*)$")

    def __init__(self, disk):
        table = json.loads(subprocess.run(["sfdisk", "--json", disk], stdout=subprocess.PIPE, check=True).stdout)["partitiontable"]
        self.place = f"{disk}?offset={table['partitions'][-1]['start'] * 512}"

    def ask(self, requests):
        """What it answers to several requests, one after the other; times in UTC."""
        with tempfile.NamedTemporaryFile("w", suffix=".debugfs") as file:
            file.write("\n".join(requests) + "\n")
            file.flush()
            said = subprocess.run(["debugfs", "-f", file.name, self.place], env=dict(os.environ, TZ="UTC", DEBUGFS_PAGER="cat"),
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        return said.decode(errors="surrogateescape").split("debugfs: ")[1:]

    def list(self, folders):
        """(folder, name, inode, Entry) of all that is in the folders: pairs of path and inode."""
        for (folder, _), said in zip(folders, self.ask([f"ls -l <{inode}>" for _, inode in folders])):
            for line in said.split("\n")[1:]:
                found = self.LINE.match(line)
                if not found or found[7] in (".", ".."):
                    assert found or not line.strip(), line
                    continue
                mode = int(found[2], 8)
                changed = datetime.datetime.strptime(found[6] + " +0000", "%d-%b-%Y %H:%M %z").timestamp()
                yield folder, found[7], int(found[1]), Entry(self.KINDS.get(mode >> 12, "o"), mode & 0o7777, int(found[3]), int(found[4]),
                                                             int(found[5]), changed, "", None)

    def contents(self, inodes):
        """Of several files: a dictionary by inode."""
        with tempfile.TemporaryDirectory() as folder:
            self.ask([f"dump <{inode}> {folder}/{inode}" for inode in inodes])
            return {inode: open(f"{folder}/{inode}", "rb").read() for inode in inodes}


def disk_layers(disk):
    root, entries, looked_at = RootOfDisk(disk), [], {}
    folders = [("", 2)]
    while folders:
        below_them = []
        for folder, name, inode, entry in root.list(folders):
            path = f"{folder}/{name}"
            # mke2fs's own: root's alone, and empty.
            if path == "/lost+found":
                continue
            entries.append((path, entry))
            if entry.kind == "d":
                below_them.append((path, inode))
            if entry.kind == "f" and below(path, "/etc", "/root"):
                looked_at[inode] = b""
                entry.content = lambda inode=inode: looked_at[inode]
        folders = below_them
    looked_at.update(root.contents(list(looked_at)))
    yield entries


def disk_bytes(disk):
    """Every byte, and what is in the one file that is compressed and made while baking."""
    with open(disk, "rb") as file:
        for number, piece in enumerate(pieces(file)):
            yield f"the disk's bytes from {number * 4} MiB on", [piece]
    root = RootOfDisk(disk)
    boot = [(folder, inode) for folder, name, inode, _ in root.list([("", 2)]) if name == "boot"]
    for _, name, inode, _ in root.list(boot):
        if name.startswith("kiln-initrd"):
            yield f"/boot/{name}", [subprocess.run(["gzip", "-dc"], input=root.contents([inode])[inode], stdout=subprocess.PIPE, check=True).stdout]


@contextlib.contextmanager
def unpacked_disk(archive):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "-xSzf", archive, "-C", folder], check=True)
        yield os.path.join(folder, "disk.raw")


def gce_layers(archive):
    with unpacked_disk(archive) as disk:
        yield from disk_layers(disk)


def gce_bytes(archive):
    yield "the tar.gz", pieces(open(archive, "rb"))
    with unpacked_disk(archive) as disk:
        yield from disk_bytes(disk)


TARGETS = {
    "rootfs": (rootfs_layers, rootfs_bytes),
    "oci": (oci_layers, oci_bytes),
    "disk": (disk_layers, disk_bytes),
    "gce": (gce_layers, gce_bytes),
}


def merged(layers):
    files = {}
    for layer in layers:
        for path, entry in layer:
            if entry is not None:
                continue
            below = path if path.endswith("/") else path + "/"
            for hidden in [name for name in files if name.startswith(below) or name == path]:
                del files[hidden]
        for path, entry in layer:
            if entry is not None:
                files[path] = entry
    return files


def below(path, *folders):
    return any(path.startswith(folder + "/") for folder in folders)


def check(files):
    """Yields what does not belong into an image, and why."""
    for path, entry in sorted(files.items()):
        name = os.path.basename(path)
        full = entry.kind == "f" and entry.size > 0
        if entry.mtime > EPOCH:
            yield path, "is newer than the image's epoch"
        if entry.kind == "o":
            yield path, "is a device, socket or FIFO"
        if below(path, "/tmp", "/var/tmp", "/run", "/dev", "/proc", "/sys"):
            yield path, "is in a folder that is empty on a fresh machine"
        if below(path, "/var/lib/apt/lists", "/var/cache/apt", "/var/cache/ldconfig", "/var/cache/fontconfig", "/var/cache/man") and full:
            yield path, "is a cache"
        # The one thing below /var/cache that is none: what debconf was told.
        if below(path, "/var/cache") and full and not below(path, "/var/cache/debconf", "/var/cache/apt"):
            yield path, "is a cache"
        if re.search(r"/(\.cache|\.m2|\.ivy2|\.npm|\.cargo|\.gnupg|\.ssh|\.aws|\.docker|\.netrc|\.pypirc|\.bash_history|\.wget-hsts)(/|$)", path):
            # A machine's root has the folder, for the key that its first boot brings.
            if not (path == "/root/.ssh" and entry.kind == "d"):
                yield path, "is a user's own"
        if full and (below(path, "/var/log") or name.endswith(".log") or name.startswith("hs_err")):
            yield path, "is a log"
        if re.match(r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|/var/lib/dpkg/.*-old$|.*\.(swp|orig|dpkg-old|dpkg-new|dpkg-tmp)$", path):
            yield path, "is a copy of what a file was before"
        if path in ("/etc/hostname", "/var/lib/dbus/machine-id", "/var/lib/systemd/random-seed", "/etc/.pwd.lock"):
            yield path, "is one machine's own"
        if path == "/etc/machine-id" and entry.size > 0:
            yield path, "is one machine's own"
        if path == "/etc/resolv.conf" and entry.kind != "l":
            yield path, "is the builder's"
        if re.match(r"/etc/ssh/ssh_host_.*key", path):
            yield path, "is a host key"
        if entry.mode & 0o002 and entry.kind in "fd" and path not in ("/tmp", "/var/tmp", "/run/lock", "/dev/shm"):
            yield path, f"may be written by everybody ({entry.mode:o})"
        if path in ("/tmp", "/var/tmp") and entry.mode != 0o1777:
            yield path, f"should have the mode 1777, not {entry.mode:o}"
        if path == "/etc/shadow":
            for line in entry.content().decode().splitlines():
                if line.split(":")[1].strip("!*"):
                    yield path, "has a password: " + line.split(":")[0]
                if not line.split(":")[1]:
                    yield path, "lets in without a password: " + line.split(":")[0]
        if below(path, "/etc", "/root") and entry.kind == "f" and b"PRIVATE KEY-----" in entry.content():
            yield path, "is a private key"


def main():
    command, target, place, words = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    layers, contents = TARGETS[target]
    if command == "search":
        found, looked_at = False, 0
        for where, parts in contents(place):
            looked_at += 1
            for part in parts:
                for word in words:
                    if word.encode() in part:
                        print(f"{word} is in {where}")
                        found = True
        assert looked_at > 5, f"nothing is in {place}"
        sys.exit(found)
    files = merged(layers(place))
    assert len(files) > 1, f"nothing is in {place}"
    if command == "privileged":
        for path, entry in sorted(files.items()):
            if entry.kind == "f" and entry.mode & 0o6000:
                print(f"{entry.mode:o} {entry.uid}:{entry.gid} {path}")
        return
    problems = list(check(files))
    for path, why in problems:
        print(f"{path} {why}")
    sys.exit(bool(problems))


main()
