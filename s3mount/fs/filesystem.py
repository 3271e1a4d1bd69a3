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


Shown = tuple[int, bytes, bool, int, int, int]
"""An entry of a directory that is being read: its number, held once more, and its name; whether it is a directory, its
size in bytes and its time in nanoseconds; and where to go on behind it. A plain tuple, for there is one for each."""


class Reading(NamedTuple):
    """Entries of an open directory.

    Attributes:
        ttl: seconds that the kernel may keep their names.
        entries: each that is taken from here is one more lookup: what the kernel does not take must be forgotten.
    """

    ttl: float
    entries: Iterator[Shown]


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
        parent = self.inodes.own(parent_number)
        prefix = parent.entry.key
        answer = self._catalog.known(prefix, name)
        if answer is None:
            async with self._in_time(f"lookup of {prefix!r}"):
                answer = await settled(self._catalog.lookup(prefix, name))
        if answer.entry is None:
            if answer.ttl > 0:
                self._missing[parent_number, name] = None
            return Attributes(0, False, 0, 0, answer.ttl)
        entry = answer.entry
        told = self.inodes.told(parent, entry)
        number = told or self.inodes.given(parent, entry, self._catalog.peek(prefix))
        self.inodes.hold(number)
        return self._attributes(number, entry, answer.ttl)

    def attributes(self, number: int) -> Attributes:
        """The attributes of a known inode; those of its version, for as long as it is known."""
        return self._attributes(number, self.inodes.entry(number), 0.0)

    def forget(self, number: int, lookups: int) -> None:
        """The kernel forgets an inode."""
        self.inodes.forget(number, lookups)

    async def open_directory(self, number: int) -> int:
        """A handle that goes through a directory."""
        inode = self.inodes.own(number)
        self._walker.opened_directory(self.inodes.parent(number), inode)
        handle = next(self._numbers)
        self._directories[handle] = DirectoryHandle(
            inode, self._catalog.open_listing(inode.entry.key)
        )
        self.inodes.hold(number)
        return handle

    async def read_directory(self, number: int, start: int) -> Reading:
        """The entries of an open directory from an index on.

        At least one, unless there are no more; as many as are there without another wait.
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
                ttl = self._catalog.remaining_ttl(handle.listing, start)
                return Reading(ttl, self._shown(handle, range(start, stop)))

    def close_directory(self, number: int) -> None:
        """Give a directory handle back."""
        inode = self._directories.pop(number).inode
        self.inodes.trim(inode)
        self.inodes.forget(inode.number, 1)

    async def open(self, number: int) -> int:
        """Open a file: one version, whose download begins now.

        Raises:
            ObjectArchived: its bytes must be restored first. The store says so, not the listing: that may be older
                than the restore, few servers say in it what is restored, and cached bytes are good whatever it says.
            ObjectChanged: the store has another version by now; look it up again.
            StoreError: it cannot be read.
        """
        entry = self.inodes.entry(number)
        if self.inodes.is_outdated(number):
            raise ObjectChanged("the object was changed", key=entry.key)
        handle = self._reader.open(number, entry.meta, self._outdater(number, entry))
        self._walker.opened_file(self.inodes.parent(number), entry)
        self.inodes.hold(number)
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
                self._outdater(handle.inode, self.inodes.entry(handle.inode))()
                raise
        if len(data) != stop - offset:
            raise AssertionError(f"{len(data)} bytes for {offset} to {stop}")
        self.counters.add("bytes.read", stop - offset)
        return data

    def close(self, number: int) -> None:
        """Give a file handle back."""
        handle = self._files.pop(number)
        self._reader.close(handle)
        self.inodes.forget(handle.inode, 1)

    def refresh(self, number: int) -> tuple[int, list[tuple[int, bytes]]]:
        """Forget what is known of a directory and below.

        Returns:
            How many directories were known, and the names that the kernel must forget, each with its parent's inode.
        """
        inode = self.inodes.own(number)
        forgotten = self._catalog.forget(inode.entry.key)
        names: list[tuple[int, bytes]] = []
        numbers = set()
        below = [inode]
        while below:
            parent = below.pop()
            numbers.add(parent.number)
            for name, child in self.inodes.children(parent):
                names.append((parent.number, name))
                if child is not None:
                    below.append(child)
        missing = [pair for pair in self._missing if pair[0] in numbers]
        for pair in missing:
            del self._missing[pair]
        return forgotten, names + missing

    def entry(self, number: int) -> Entry:
        """The entry of a known inode, for its extended attributes."""
        return self.inodes.entry(number)

    async def _have(self, handle: DirectoryHandle, pending: "Future[None]") -> None:
        try:
            await settled(pending)
        except StoreError as error:
            # A directory that was whole before is better shown as it was than not at all.
            old = self._catalog.old_listing(handle.inode.entry.key)
            if not error.retryable or old is None or handle.listing.has_begun():
                raise
            handle.listing = old

    def _shown(self, handle: DirectoryHandle, indexes: range) -> Iterator[Shown]:
        directory, parent = handle.listing.directory, handle.inode
        if directory.twins.count or self._catalog.has_learned():
            yield from self._shown_one_by_one(parent, directory, indexes)
            return
        told = self.inodes.shown
        for index, name, is_directory, size, mtime_ns in directory.rows(indexes):
            number = told(parent, directory, index, name)
            time_ns = self._started_ns if is_directory else mtime_ns
            yield number, name, is_directory, size, time_ns, index + 1

    def _shown_one_by_one(
        self, parent: Inode, directory: Directory, indexes: range
    ) -> Iterator[Shown]:
        """The same where an entry may have another name than its key says, or be another version than it was."""
        for index in indexes:
            entry = self._current(directory, index)
            if entry is not None:
                number = self.inodes.child(parent, entry, directory)
                _, is_directory, size, mtime_ns, _ = self._attributes(number, entry, 0.0)
                yield number, entry.name, is_directory, size, mtime_ns, index + 1

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

    def _outdater(self, number: int, entry: Entry) -> Callable[[], None]:
        above = self.inodes.parent_number(number)

        def outdate() -> None:
            self.inodes.outdate(number)
            parent = entry.key.rpartition("/")[0]
            self._catalog.outdate(parent + "/" if parent else "", entry.name)
            self._on_outdated(above, entry.name)

        return outdate

    def _attributes(self, number: int, entry: Entry, ttl: float) -> Attributes:
        mtime_ns = self._started_ns if entry.is_directory else entry.mtime_ns
        return Attributes(number, entry.is_directory, entry.size, mtime_ns, ttl)

    @asynccontextmanager
    async def _in_time(self, what: str) -> AsyncIterator[None]:
        with trio.move_on_after(self._deadline) as scope:
            yield
        if scope.cancelled_caught:
            raise DeadlineExceeded(f"{what} took longer than {self._deadline:g} s")
