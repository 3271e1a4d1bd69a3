"""The file system without FUSE: what names, attributes and bytes a mount shows.

It speaks of inodes and handles and raises `S3MountError`; it knows no errno and no kernel. Concurrency rule: it belongs
to one trio event loop; every wait has the same deadline, so nothing hangs.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import trio
from cachetools import LRUCache

from s3mount.errors import DeadlineExceeded, ObjectChanged, StoreError
from s3mount.fs.awaiting import settled
from s3mount.fs.inodes import Inode, InodeTable
from s3mount.fs.reading import FileHandle, Reader
from s3mount.fs.walking import Walker
from s3mount.listing.catalog import Catalog
from s3mount.listing.directory import Directory, Entry
from s3mount.listing.shelf import Listing
from s3mount.metrics import Counters

MISSING = 100_000
"""Names that the kernel was told do not exist: how many are remembered, for `refresh` to take back."""


class Attributes(NamedTuple):
    """What the kernel is told of an inode.

    Attributes:
        inode: its number, 0 for a name that does not exist.
        mtime_ns: nanoseconds since the epoch.
        ttl: seconds that the kernel may keep the name. The attributes themselves never change: another version of
            the object is another inode.
    """

    inode: int
    is_directory: bool
    size: int
    mtime_ns: int
    ttl: float


class Shown(NamedTuple):
    """An entry of a directory that is being read.

    Attributes:
        ttl: seconds that the kernel may keep the name.
        behind: where to go on.
    """

    inode: Inode
    ttl: float
    behind: int


@dataclass(slots=True, eq=False)
class DirectoryHandle:
    """One open directory: the listing it goes through, which never changes under it."""

    inode: Inode
    listing: Listing


class FileSystem:
    """A bucket, or a prefix of it, as files.

    Args:
        prefix: what the root shows: empty or ending in ``/``.
        catalog: knows the names.
        reader: gets the bytes.
        walker: gets neighbours ready.
        deadline: seconds that a request of the kernel may wait at the most.
        started_ns: the time of the mount, which directories show as theirs.
        on_outdated: told, on any thread, of a name in a directory's inode that is another version by now.
    """

    def __init__(
        self,
        prefix: str,
        catalog: Catalog,
        reader: Reader,
        walker: Walker,
        *,
        deadline: float,
        started_ns: int,
        on_outdated: Callable[[int, bytes], None] = lambda parent, name: None,
    ) -> None:
        self.counters = Counters()
        self.inodes = InodeTable(prefix)
        self._catalog = catalog
        self._reader = reader
        self._walker = walker
        self._deadline = deadline
        self._on_outdated = on_outdated
        self._started_ns = started_ns
        self._files: dict[int, FileHandle] = {}
        self._directories: dict[int, DirectoryHandle] = {}
        self._missing: LRUCache[tuple[int, bytes], None] = LRUCache(MISSING)
        self._numbers = itertools.count(1)

    async def lookup(self, parent_number: int, name: bytes) -> Attributes:
        """What a name in a directory is; one more lookup of its inode when it exists."""
        parent = self.inodes.get(parent_number)
        prefix = parent.entry.key
        answer = self._catalog.known(prefix, name)
        if answer is None:
            async with self._in_time(f"lookup of {prefix!r}"):
                answer = await settled(self._catalog.lookup(prefix, name))
        if answer.entry is None:
            if answer.ttl > 0:
                self._missing[parent_number, name] = None
            return Attributes(0, False, 0, 0, answer.ttl)
        inode = self.inodes.child(parent, answer.entry)
        inode.lookups += 1
        return self._attributes(inode, answer.ttl)

    def attributes(self, number: int) -> Attributes:
        """The attributes of a known inode; those of its version, for as long as it is known."""
        return self._attributes(self.inodes.get(number), 0.0)

    def forget(self, number: int, lookups: int) -> None:
        """The kernel forgets an inode."""
        self.inodes.forget(number, lookups)

    async def open_directory(self, number: int) -> int:
        """A handle that goes through a directory."""
        inode = self.inodes.get(number)
        self._walker.opened_directory(self.inodes.parent(inode), inode)
        handle = next(self._numbers)
        self._directories[handle] = DirectoryHandle(
            inode, self._catalog.open_listing(inode.entry.key)
        )
        inode.opens += 1
        return handle

    async def read_directory(self, number: int, start: int) -> Iterator[Shown]:
        """The entries of an open directory from an index on.

        At least one, unless there are no more; as many as are there without another wait. Each must be given to
        `accept` before the next one is taken.
        """
        handle = self._directories[number]
        while True:
            pending = self._catalog.ensure(handle.listing, start + 1)
            if pending is not None:
                async with self._in_time(f"listing of {handle.inode.entry.key!r}"):
                    await self._have(handle, pending)
            directory = handle.listing.directory
            is_all = directory.is_complete
            stop = directory.settled()
            # An empty answer is the end: where all that is there turns out to be gone, more has to come.
            while start < stop and self._is_hidden(directory, start):
                start += 1
            if start < stop or is_all:
                return self._shown(handle, start, stop)

    def accept(self, shown: Shown, *, taken: bool) -> None:
        """Whether the kernel took an entry of a directory, which is one more lookup."""
        shown.inode.lookups += taken
        if not taken:
            self.inodes.drop_unused(shown.inode)

    def close_directory(self, number: int) -> None:
        """Give a directory handle back."""
        inode = self._directories.pop(number).inode
        inode.opens -= 1
        self.inodes.drop_unused(inode)

    async def open(self, number: int) -> int:
        """Open a file: one version, whose download begins now.

        Raises:
            ObjectArchived: its bytes must be restored first. The store says so, not the listing: that may be older
                than the restore, few servers say in it what is restored, and cached bytes are good whatever it says.
            ObjectChanged: the store has another version by now; look it up again.
            StoreError: it cannot be read.
        """
        inode = self.inodes.get(number)
        entry = inode.entry
        if inode.is_outdated:
            raise ObjectChanged("the object was changed", key=entry.key)
        handle = self._reader.open(number, entry.meta, self._outdater(inode))
        self._walker.opened_file(self.inodes.parent(inode), entry)
        inode.opens += 1
        file_number = next(self._numbers)
        self._files[file_number] = handle
        if not handle.is_confirmed:
            try:
                async with self._in_time(f"open of {entry.key!r}"):
                    await self._reader.confirm(handle)
            except BaseException:
                self.close(file_number)
                raise
        self.counters.add("opens")
        return file_number

    async def read(self, number: int, offset: int, size: int) -> memoryview | bytes:
        """Bytes of an open file; fewer than ``size`` only at its end. Valid until the next read.

        Raises:
            ObjectChanged: they are not cached and the store has another version by now.
            StoreError: they could not be fetched.
        """
        handle = self._files[number]
        stop = min(offset + size, handle.object.meta.size)
        if offset >= stop:
            return b""
        data = self._reader.read_now(handle, offset, stop)
        if data is None:
            try:
                async with self._in_time(f"read of {handle.object.meta.key!r}"):
                    data = await self._reader.read(handle, offset, stop)
            except ObjectChanged:
                # One version may have two names; whoever opened it first was told, this inode perhaps not.
                self._outdater(self.inodes.get(handle.inode))()
                raise
        if len(data) != stop - offset:
            raise AssertionError(f"{len(data)} bytes for {offset} to {stop}")
        self.counters.add("bytes.read", stop - offset)
        return data

    def close(self, number: int) -> None:
        """Give a file handle back."""
        handle = self._files.pop(number)
        self._reader.close(handle)
        inode = self.inodes.get(handle.inode)
        inode.opens -= 1
        self.inodes.drop_unused(inode)

    def refresh(self, number: int) -> tuple[int, list[tuple[int, bytes]]]:
        """Forget what is known of a directory and below.

        Returns:
            How many directories were known, and the names that the kernel must forget, each with its parent's inode.
        """
        inode = self.inodes.get(number)
        forgotten = self._catalog.forget(inode.entry.key)
        names: list[tuple[int, bytes]] = []
        numbers = set()
        below = [inode]
        while below:
            parent = below.pop()
            numbers.add(parent.number)
            for name, child in parent.children.items():
                names.append((parent.number, name))
                below.append(self.inodes.get(child))
        missing = [pair for pair in self._missing if pair[0] in numbers]
        for pair in missing:
            del self._missing[pair]
        return forgotten, names + missing

    def entry(self, number: int) -> Entry:
        """The entry of a known inode, for its extended attributes."""
        return self.inodes.get(number).entry

    async def _have(self, handle: DirectoryHandle, pending: "Future[None]") -> None:
        try:
            await settled(pending)
        except StoreError as error:
            # A directory that was whole before is better shown as it was than not at all.
            old = self._catalog.old_listing(handle.inode.entry.key)
            if not error.retryable or old is None or handle.listing.has_begun():
                raise
            handle.listing = old

    def _shown(self, handle: DirectoryHandle, start: int, stop: int) -> Iterator[Shown]:
        directory, parent = handle.listing.directory, handle.inode
        ttl = self._catalog.remaining_ttl(handle.listing, start)
        has_learned = self._catalog.has_learned()
        for index in range(start, stop):
            inode = None if has_learned else self._seen(parent, directory, index)
            if inode is None:
                entry = self._current(directory, index)
                if entry is None:
                    continue
                inode = self.inodes.child(parent, entry)
                inode.seen_in = directory
            yield Shown(inode, ttl, index + 1)

    def _is_hidden(self, directory: Directory, index: int) -> bool:
        """Whether an entry of a directory is not shown."""
        if directory.plain_name(index) is not None and not self._catalog.has_learned():
            return False
        return self._current(directory, index) is None

    def _current(self, directory: Directory, index: int) -> Entry | None:
        """What an entry of a directory is by now, None when it is not shown."""
        entry = directory.at(index)
        if entry is not None and self._catalog.has_learned():
            entry = self._catalog.current(directory.prefix, entry)
        return entry

    def _seen(self, parent: Inode, directory: Directory, index: int) -> Inode | None:
        """The inode of an entry that was shown from this very listing before: nothing of it can have changed."""
        name = directory.plain_name(index)
        inode = self.inodes.known_child(parent, name) if name is not None else None
        if inode is None or inode.seen_in is not directory or inode.is_outdated:
            return None
        return inode

    def _outdater(self, inode: Inode) -> Callable[[], None]:
        def outdate() -> None:
            inode.is_outdated = True
            parent = inode.entry.key.rpartition("/")[0]
            self._catalog.outdate(parent + "/" if parent else "", inode.entry.name)
            self._on_outdated(inode.parent, inode.entry.name)

        return outdate

    def _attributes(self, inode: Inode, ttl: float) -> Attributes:
        entry = inode.entry
        mtime_ns = self._started_ns if entry.is_directory else entry.mtime_ns
        return Attributes(inode.number, entry.is_directory, entry.size, mtime_ns, ttl)

    @asynccontextmanager
    async def _in_time(self, what: str) -> AsyncIterator[None]:
        with trio.move_on_after(self._deadline) as scope:
            yield
        if scope.cancelled_caught:
            raise DeadlineExceeded(f"{what} took longer than {self._deadline:g} s")
