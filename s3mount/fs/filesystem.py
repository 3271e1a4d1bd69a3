"""The file system without FUSE: what names, attributes and bytes a mount shows.

It speaks of inodes and handles and raises `S3MountError`; it knows no errno and no kernel. Concurrency rule: it belongs
to one trio event loop; every wait has the same deadline, so nothing hangs.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

from cachetools import LRUCache

from s3mount.cache.open_file import OpenFile
from s3mount.errors import ObjectChanged
from s3mount.fs.awaiting import in_time, settled
from s3mount.fs.directories import Directories
from s3mount.fs.inodes import Inode, InodeTable
from s3mount.fs.reading import FileHandle, Reader
from s3mount.fs.walking import Walker
from s3mount.listing.catalog import Catalog
from s3mount.listing.directory import Entry
from s3mount.listing.shelf import Answer
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
        self.directories = Directories(
            self.inodes, catalog, walker, deadline=deadline, started_ns=started_ns
        )
        self._catalog = catalog
        self._reader = reader
        self._walker = walker
        self._deadline = deadline
        self._on_outdated = on_outdated
        self._started_ns = started_ns
        self._files: dict[int, FileHandle] = {}
        self._missing: LRUCache[tuple[int, bytes], None] = LRUCache(MISSING)
        self._numbers = itertools.count(1)

    def lookup_now(self, parent_number: int, name: bytes) -> Attributes | None:
        """What a name in a directory is, None where that must be asked; one more lookup of its inode if it exists."""
        parent = self.inodes.own(parent_number)
        answer = self._catalog.known(parent.entry.key, name)
        return None if answer is None else self._told(parent, name, answer)

    async def lookup(self, parent_number: int, name: bytes) -> Attributes:
        """The same, however long it takes."""
        told = self.lookup_now(parent_number, name)
        if told is not None:
            return told
        parent = self.inodes.own(parent_number)
        prefix = parent.entry.key
        async with in_time(self._deadline, f"lookup of {prefix!r}"):
            answer = await settled(self._catalog.lookup(prefix, name))
        return self._told(parent, name, answer)

    def attributes(self, number: int) -> Attributes:
        """The attributes of a known inode; those of its version, for as long as it is known."""
        return self._attributes(number, self.inodes.entry(number), 0.0)

    def forget(self, number: int, lookups: int) -> None:
        """The kernel forgets an inode."""
        self.inodes.forget(number, lookups)

    def open_now(self, number: int) -> tuple[int, bool]:
        """Open a file: one version, whose download begins now.

        Returns:
            Its handle, and whether it is known to be there; otherwise `confirm` it.

        Raises:
            ObjectChanged: the store has another version by now; look it up again.
        """
        entry = self.inodes.entry(number)
        if self.inodes.is_outdated(number):
            raise ObjectChanged("the object was changed", key=entry.key)
        handle = self._reader.open(number, entry.meta, self._outdater(number, entry))
        self._walker.opened_file(self.inodes.parent(number), entry)
        self.inodes.hold(number)
        file_number = next(self._numbers)
        self._files[file_number] = handle
        return file_number, handle.is_confirmed

    async def confirm(self, number: int) -> None:
        """Wait until the store has begun to send a file that was just opened; closes it where it does not.

        Raises:
            ObjectArchived: its bytes must be restored first. The store says so, not the listing: that may be older
                than the restore, few servers say in it what is restored, and cached bytes are good whatever it says.
            ObjectChanged: the store has another version by now; look it up again.
            StoreError: it cannot be read.
        """
        handle = self._files[number]
        try:
            async with in_time(self._deadline, f"open of {handle.object.meta.key!r}"):
                await self._reader.confirm(handle)
        except BaseException:
            self.close(number)
            raise

    async def open(self, number: int) -> int:
        """Open and confirm a file."""
        file_number, is_confirmed = self.open_now(number)
        if not is_confirmed:
            await self.confirm(file_number)
        return file_number

    def read_now(self, number: int, offset: int, size: int) -> memoryview | bytes | None:
        """Bytes of an open file that are in memory, fewer than ``size`` only at its end; valid until the next read.

        None where they must be waited for; they are on their way then, and `read_later` has them.
        """
        handle = self._files[number]
        stop = min(offset + size, handle.object.meta.size)
        if offset >= stop:
            return b""
        data = self._reader.read_now(handle, offset, stop)
        return None if data is None else self._whole(data, stop - offset)

    async def read_later(self, number: int, offset: int, size: int) -> memoryview | bytes:
        """Those that `read_now` did not have.

        Raises:
            ObjectChanged: they are not cached and the store has another version by now.
            StoreError: they could not be fetched.
        """
        handle = self._files[number]
        stop = min(offset + size, handle.object.meta.size)
        try:
            async with in_time(self._deadline, f"read of {handle.object.meta.key!r}"):
                data = await self._reader.read(handle, offset, stop)
        except ObjectChanged:
            # One version may have two names; whoever opened it first was told, this inode perhaps not.
            self._outdater(handle.inode, self.inodes.entry(handle.inode))()
            raise
        return self._whole(data, stop - offset)

    async def read(self, number: int, offset: int, size: int) -> memoryview | bytes:
        """The bytes, however long they take."""
        data = self.read_now(number, offset, size)
        return await self.read_later(number, offset, size) if data is None else data

    def _whole(self, data: memoryview | bytes, count: int) -> memoryview | bytes:
        """Bytes for a reply; a short one would look like a short file."""
        if len(data) != count:
            raise AssertionError(f"{len(data)} bytes instead of {count}")
        self.counters.add("bytes.read", count)
        return data

    def backing(self, number: int) -> OpenFile | None:
        """What the kernel may read instead of asking for the bytes of an open file; None where it must ask.

        Who uses it closes it before the file handle.
        """
        return self._files[number].object.cached.backing()

    def inode_of(self, number: int) -> int:
        """The inode that a file handle is on."""
        return self._files[number].inode

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

    def _told(self, parent: Inode, name: bytes, answer: Answer) -> Attributes:
        if answer.entry is None:
            if answer.ttl > 0:
                self._missing[parent.number, name] = None
            return Attributes(0, False, 0, 0, answer.ttl)
        entry = answer.entry
        told = self.inodes.told(parent, entry)
        number = told or self.inodes.given(parent, entry, self._catalog.peek(parent.entry.key))
        self.inodes.hold(number)
        return self._attributes(number, entry, answer.ttl)

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
