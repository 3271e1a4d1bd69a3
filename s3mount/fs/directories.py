"""Open directories: each goes through one listing, which never changes under its reader.

It belongs to the event loop's thread.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from s3mount.errors import StoreError
from s3mount.fs.awaiting import in_time, settled
from s3mount.fs.inodes import Inode, InodeTable
from s3mount.fs.kernel_copies import Copying, KernelCopy
from s3mount.fs.walking import Walker
from s3mount.listing.catalog import Catalog
from s3mount.listing.directory import Directory, Entry
from s3mount.listing.shelf import Listing

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
    copying: Copying


class Directories:
    """Directories that programs have open.

    Args:
        inodes: gives entries their numbers.
        catalog: knows the names.
        walker: gets neighbours ready.
        deadline: seconds that a request of the kernel may wait at the most.
        started_ns: the time of the mount, which directories show as theirs.
    """

    def __init__(
        self,
        inodes: InodeTable,
        catalog: Catalog,
        walker: Walker,
        *,
        deadline: float,
        started_ns: int,
    ) -> None:
        self._inodes = inodes
        self._catalog = catalog
        self._walker = walker
        self._deadline = deadline
        self._started_ns = started_ns
        self._open: dict[int, DirectoryHandle] = {}
        self._numbers = itertools.count(1)

    def open(self, number: int) -> int:
        """A handle that goes through a directory."""
        inode = self._inodes.own(number)
        self._walker.opened_directory(self._inodes.parent(number), inode)
        handle = next(self._numbers)
        listing = self._catalog.open_listing(inode.entry.key)
        if inode.copy is None:
            inode.copy = KernelCopy()
        copying = inode.copy.opened(listing.serial, is_plain=not self._catalog.has_learned())
        self._open[handle] = DirectoryHandle(inode, listing, copying)
        self._inodes.hold(number)
        return handle

    def copying(self, number: int) -> Copying:
        """What the kernel may do with the entries of an open directory."""
        return self._open[number].copying

    def read_now(self, number: int, start: int) -> Reading | None:
        """The entries of an open directory from an index on, None where they must be waited for.

        At least one, unless there are no more; as many as are there without another wait.
        """
        handle = self._open[number]
        if self._catalog.ensure(handle.listing, start + 1) is not None:
            return None
        return self._reading(handle, start)

    async def read(self, number: int, start: int) -> Reading:
        """The same, however long it takes."""
        handle = self._open[number]
        while True:
            pending = self._catalog.ensure(handle.listing, start + 1)
            if pending is not None:
                async with in_time(self._deadline, f"listing of {handle.inode.entry.key!r}"):
                    await self._have(handle, pending)
            reading = self._reading(handle, start)
            if reading is not None:
                return reading
            start = handle.listing.directory.settled()

    def _reading(self, handle: DirectoryHandle, start: int) -> Reading | None:
        """What is there of a directory from an index on, None where that is nothing and more has to come."""
        directory = handle.listing.directory
        is_all = directory.is_complete
        stop = directory.settled()
        # An empty answer is the end: where all that is there turns out to be gone, more has to come.
        while start < stop and self._is_hidden(directory, start):
            start += 1
        if start >= stop and not is_all:
            return None
        ttl = self._catalog.remaining_ttl(handle.listing, start)
        return Reading(ttl, self._shown(handle, range(start, stop)))

    def close(self, number: int) -> None:
        """Give a directory handle back."""
        handle = self._open.pop(number)
        inode = handle.inode
        if inode.copy is not None:
            inode.copy.closed(handle.copying)
        self._inodes.trim(inode)
        self._inodes.forget(inode.number, 1)

    async def _have(self, handle: DirectoryHandle, pending: "Future[None]") -> None:
        try:
            await settled(pending)
        except StoreError as error:
            # A directory that was whole before is better shown as it was than not at all.
            old = self._catalog.old_listing(handle.inode.entry.key)
            if not error.retryable or old is None or handle.listing.has_begun():
                raise
            handle.listing = old
            self._spoil_copy(handle)

    def _spoil_copy(self, handle: DirectoryHandle) -> None:
        """What a handle shows is not, or will not always be, its listing."""
        if handle.inode.copy is not None and handle.copying.fills:
            handle.inode.copy.spoiled()

    def _shown(self, handle: DirectoryHandle, indexes: range) -> Iterator[Shown]:
        directory, parent = handle.listing.directory, handle.inode
        if directory.twins.count or self._catalog.has_learned():
            self._spoil_copy(handle)
            yield from self._shown_one_by_one(parent, directory, indexes)
            return
        told = self._inodes.shown
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
                number = self._inodes.child(parent, entry, directory)
                time_ns = self._started_ns if entry.is_directory else entry.mtime_ns
                yield number, entry.name, entry.is_directory, entry.size, time_ns, index + 1

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
