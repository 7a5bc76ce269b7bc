"""The data of snapshots: 512 KiB blocks in a sparse file for each snapshot, at their place on the disk.

So the file of a snapshot without a parent *is* the raw disk. A child has only its own blocks in its file and looks up the others in its
parent; flat() makes a whole disk of it. A copy in another region shares the data: it never changes after CompleteSnapshot. The file goes
when nobody holds the Blocks any more.
"""
import hashlib
import os
import threading
import weakref

SIZE = 512 * 1024
PER_GIB = 2048


class Blocks:
    def __init__(self, folder, name, volume_gib, parent=None):
        self.volume_gib, self.parent = volume_gib, parent
        self.path = os.path.join(folder, f"{name}.raw")
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.ftruncate(self.file, volume_gib << 30)
        self.digests = {}  # own blocks: index → SHA-256
        self.sealed = False
        self.flattened = None
        self.lock = threading.Lock()
        weakref.finalize(self, discard, self.file, self.path)

    def put(self, index, data, digest):
        """False when the snapshot was sealed in the meantime."""
        os.pwrite(self.file, data, index * SIZE)
        with self.lock:
            if self.sealed:
                return False
            self.digests[index] = digest
        return True

    def seal(self):
        """Number of own blocks, and their digests' digest in order of index (CompleteSnapshot's LINEAR aggregation)."""
        with self.lock:
            self.sealed = True
        total = hashlib.sha256()
        for index in sorted(self.digests):
            total.update(self.digests[index])
        return len(self.digests), total.digest()

    def lookup(self, index):
        """(the Blocks that has the block, its digest), or None: never written."""
        blocks = self
        while blocks is not None:
            if index in blocks.digests:
                return blocks, blocks.digests[index]
            blocks = blocks.parent
        return None

    def read(self, index):
        found = self.lookup(index)
        return os.pread(found[0].file, SIZE, index * SIZE) if found else None

    def indexes(self):
        """All that were ever written, the parents' among them, sorted."""
        found, blocks = set(), self
        while blocks is not None:
            found.update(blocks.digests)
            blocks = blocks.parent
        return sorted(found)

    def lineage(self):
        blocks = self
        while blocks.parent is not None:
            blocks = blocks.parent
        return blocks

    def changed(self, first):
        """The indexes at which two snapshots of one lineage differ."""
        return [index for index in sorted(set(self.indexes()) | set(first.indexes())) if digest_of(self, index) != digest_of(first, index)]

    def flat(self):
        """The path of a raw disk with all the blocks; made once. Not to be written to."""
        if self.parent is None:
            return self.path
        with self.lock:
            if self.flattened is None:
                self.flattened = Blocks(os.path.dirname(self.path), os.path.basename(self.path).removesuffix(".raw") + ".flat", self.volume_gib)
                for index in self.indexes():
                    os.pwrite(self.flattened.file, self.read(index), index * SIZE)
            return self.flattened.path

    def adopt(self, path):
        """Takes a raw disk's non-empty blocks (stock images, volumes): the file is copied with its holes."""
        source = os.open(path, os.O_RDONLY)
        try:
            end = min(os.fstat(source).st_size, self.volume_gib << 30)
            offset = 0
            while offset < end:
                try:
                    offset = os.lseek(source, offset, os.SEEK_DATA)
                except OSError:  # only a hole is left
                    break
                index = offset // SIZE
                data = os.pread(source, SIZE, index * SIZE)
                if data.strip(b"\0"):
                    data = data.ljust(SIZE, b"\0")
                    self.put(index, data, hashlib.sha256(data).digest())
                offset = (index + 1) * SIZE
        finally:
            os.close(source)


def digest_of(blocks, index):
    found = blocks.lookup(index)
    return found[1] if found else None


def discard(file, path):
    os.close(file)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
