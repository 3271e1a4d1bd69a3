"""A file system over a bucket in memory that counts, fails and hangs on demand; everything but FUSE is real."""

import contextlib
import os
import time
from collections.abc import Iterator

from s3mount.cache.cache import Cache, Limits
from s3mount.fs.filesystem import FileSystem
from s3mount.fs.inodes import ROOT
from s3mount.fs.reading import Reader
from s3mount.fs.walking import Walker
from s3mount.listing.catalog import Catalog
from s3mount.listing.shelf import ShelfSettings
from s3mount.metrics import Counters
from s3mount.store.interface import ListPage
from s3mount.store.memory import MemoryStore
from s3mount.transfer.engine import Engine, EngineSettings
from s3mount.transfer.housekeeping import Offload
from s3mount.transfer.retry import RetryPolicy
from tests.support.faulty_store import FaultyStore

ROOMY = Limits(1 << 30, 0, 1 << 24)
NO_RETRY = EngineSettings(16, RetryPolicy(first=1.0, ceiling=1.0, patience=0.0))
MIB = 1024 * 1024
STARTED_NS = 1_600_000_000_000_000_000


class Ground:
    """A bucket and the file system that shows it."""

    def __init__(self, store, catalog, reader, cache, fs):
        self.store = store
        self.catalog = catalog
        self.reader = reader
        self.cache = cache
        self.fs = fs

    def put(self, key, body=b"", **kind):
        return self.store.inner.put(key, body, **kind)

    def delete(self, key):
        self.store.inner.delete(key)

    def gets(self):
        return len(self.store.gets())

    def lists(self):
        return len([request for request in self.store.requests if isinstance(request, ListPage)])

    async def find(self, path, start=ROOT):
        """The attributes behind a path; the inode is 0 where there is nothing."""
        number = start
        found = self.fs.attributes(number)
        for name in path.encode().split(b"/"):
            found = await self.fs.lookup(number, name)
            number = found.inode
        return found

    async def open(self, path):
        return await self.fs.open((await self.find(path)).inode)

    async def read(self, handle, offset, size):
        return bytes(await self.fs.read(handle, offset, size))

    async def cat(self, path, size=128 * 1024):
        """The bytes of a file as a program reads them."""
        handle = await self.open(path)
        try:
            body = bytearray()
            while chunk := await self.read(handle, len(body), size):
                body += chunk
            return bytes(body)
        finally:
            self.fs.close(handle)

    async def ls(self, number=ROOT, *, keep=False):
        """The names in a directory."""
        handle = self.fs.directories.open(number)
        try:
            return await self.entries(handle, keep=keep)
        finally:
            self.fs.directories.close(handle)

    async def entries(self, handle, start=0, *, at_most=10**9, keep=False):
        names = []
        while len(names) < at_most:
            before = len(names)
            for number, name, *_, behind in (await self.fs.directories.read(handle, start)).entries:
                start = behind
                names.append(name)
                if not keep:
                    self.fs.forget(number, 1)
                if len(names) == at_most:
                    break
            if len(names) == before:
                break
        return names


@contextlib.contextmanager
def grounds(
    root,
    *,
    prefix="",
    ttl=ShelfSettings(),  # noqa: B008 - immutable
    engine=NO_RETRY,
    deadline=5.0,
    read_ahead=64 * MIB,
    neighbours=0,
    limits=ROOMY,
    store=None,
) -> Iterator[Ground]:
    store = store or FaultyStore(MemoryStore())
    cache = Cache(root, limits, counters=Counters())
    offload = Offload(2)
    with Engine(store, engine) as running:
        catalog = Catalog(running, ttl)
        reader = Reader(running, cache, offload, read_ahead=read_ahead)
        walker = Walker(catalog, reader, limit=neighbours, root=prefix)
        fs = FileSystem(prefix, catalog, reader, walker, deadline=deadline, started_ns=STARTED_NS)
        yield Ground(store, catalog, reader, cache, fs)
        fs.inodes.check()
        reader.shut()
    offload.close()
    cache.close()


def extents(root):
    """The files of the cache that hold bytes of objects."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if "/objects/" in path:
                yield path


def alter(path):
    """Change some bytes of a file in place."""
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(bytes(100))


def until(condition, patience=5.0):
    """Wait for another thread."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
