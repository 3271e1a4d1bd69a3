"""The place of one object on disk: its lease, its extents, and how a new extent gets there.

This module opens, locks, reads and extends the file or directory of one object; it does not know
readers or fills. Concurrency rule: every method is called under the object's lock, except that
`extents` may be read without it: it is replaced, never changed.
"""

import fcntl
import os
import stat
import time

from s3mount.cache.extent import Extent, OpenFile, OpenFiles
from s3mount.cache.extent_map import ExtentMap
from s3mount.cache.layout import extent_name, make_directory, parse_extent_name
from s3mount.cache.temporary import give_name
from s3mount.cache.trailer import BLOCK

TRIES = 4
"""Times that a place is looked for again while others evict or commit there."""
ALREADY_THERE = -1
NOTHING: ExtentMap[Extent] = ExtentMap()
FEW = 32
"""Extents that are always looked for anew: that costs less than it may save."""
PAUSE_EACH = 40_000
"""Nanoseconds for each extent that a directory is not read again: reading takes 2,000 each, so at the most a twentieth
of the time goes there, however many there are. What others commit meanwhile is fetched twice, which is right too."""
CLOCK_GRAIN = 50_000_000
"""Nanoseconds for which the time of change of a directory may stand still although it changes (a
kernel tick, and much)."""


class Place:
    """Where the extents of one object version lie.

    A lease is a shared lock on the object's file or directory, held as long as it is open; who
    wants to evict needs the exclusive one. Nothing is held while nothing is cached.

    Args:
        path: of the object.
        size: of the object, bytes.
        prefix: `identity_prefix` of the object.
        files: who counts open files.
    """

    __slots__ = (
        "_bad",
        "_files",
        "_is_directory",
        "_lease",
        "_prefix",
        "_scanned",
        "_size",
        "_trusted_until",
        "extents",
        "path",
    )

    def __init__(self, path: str, size: int, prefix: bytes, files: OpenFiles) -> None:
        self.path = path
        self.extents = NOTHING
        self._size = size
        self._prefix = prefix
        self._files = files
        self._lease: OpenFile | None = None
        self._is_directory = False
        self._scanned = 0
        self._trusted_until = 0
        self._bad: set[int] = set()

    def refresh(self) -> bool:
        """Look for extents that other processes committed; False when nothing can have changed."""
        lease = self._lease
        if lease is None:
            return self._load()
        if not self._is_directory:
            return False
        found = os.fstat(lease.fd)
        if not found.st_nlink:  # somebody removed the directory by hand
            self.close()
            return self._load()
        if found.st_mtime_ns == self._scanned or time.monotonic_ns() < self._trusted_until:
            return False
        self._scan(found.st_mtime_ns)
        return True

    def commit(self, temporary: str, file: OpenFile, start: int, stop: int) -> int | None:
        """Give a whole extent its name.

        Returns:
            Bytes of a new directory for the object (the 256 shards are in nobody's account); None
            when there is no place now, `ALREADY_THERE` when these bytes have one.

        Raises:
            OSError: the disk refuses.
        """
        if self._lease is None and start == 0 and stop == self._size:
            done = self._commit_alone(temporary, file)
            if done is not None:
                return done
        return self._commit_into_directory(temporary, file, start, stop)

    def discard(self, extent: Extent, *, remove: bool) -> int:
        """Count an extent as missing from now on.

        Args:
            extent: one that could not be read.
            remove: take it from the disk as well: its bytes are wrong.

        Returns:
            Bytes of file that were removed.
        """
        if not any(other is extent for other in self.extents):
            return 0  # another thread was here first
        self.extents = self.extents.without(extent)
        freed = self._remove(extent) if remove else 0
        self._files.forget((extent,))
        if not self._is_directory:
            self._lease = None
        return freed

    def close(self) -> None:
        """Give the lease back and close all files; readers in the middle of a read finish it."""
        if self._is_directory:
            self._files.forget(list(self.extents))
        self.extents = NOTHING
        self._lease = None
        self._is_directory = False
        self._scanned = self._trusted_until = 0

    def _load(self) -> bool:
        for _ in range(TRIES):
            try:
                fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                return False
            file = OpenFile(fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return False  # somebody evicts it in this moment
            found = os.fstat(fd)
            if stat.S_ISREG(found.st_mode):
                if found.st_nlink:
                    return self._take_file(file, found.st_ino)
            elif _inode_of(self.path) == found.st_ino:
                self._lease = file
                self._is_directory = True
                self._scan(found.st_mtime_ns)
                return True
        return False

    def _take_file(self, file: OpenFile, inode: int) -> bool:
        if inode in self._bad or not self._size:
            return False
        self._lease = file
        self._is_directory = False
        self.extents = ExtentMap((self._extent(0, self._size, self.path, inode, file),))
        return True

    def _extent(
        self, start: int, stop: int, path: str, inode: int, file: OpenFile | None = None
    ) -> Extent:
        return Extent(start, stop, path, self._prefix, self._files, inode=inode, file=file)

    def _scan(self, changed: int) -> None:
        known = {(extent.start, extent.stop, extent.inode): extent for extent in self.extents}
        found = []
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    span = parse_extent_name(entry.name)
                    inode = entry.inode()
                    if span is not None and span.stop <= self._size and inode not in self._bad:
                        old = known.get((*span, inode))
                        found.append(old or self._extent(*span, entry.path, inode))
        except OSError:
            return
        self.extents = ExtentMap(found)
        if len(found) > FEW:
            self._trusted_until = time.monotonic_ns() + len(found) * PAUSE_EACH
        settled = time.clock_gettime_ns(time.CLOCK_REALTIME) - changed > CLOCK_GRAIN
        self._scanned = changed if settled else 0

    def _commit_alone(self, temporary: str, file: OpenFile) -> int | None:
        inode = os.fstat(file.fd).st_ino
        fcntl.flock(file.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        try:
            is_named = give_name(file.fd, temporary, self.path)
        except FileNotFoundError:
            make_directory(os.path.dirname(self.path))
            is_named = give_name(file.fd, temporary, self.path)
        if not is_named:
            return ALREADY_THERE if self._load() and not self._is_directory else None
        self._take_file(file, inode)
        return 0

    def _commit_into_directory(
        self, temporary: str, file: OpenFile, start: int, stop: int
    ) -> int | None:
        created = 0
        for _ in range(TRIES):
            if self._lease is None:
                created += self._make_directory()
                self._load()
                continue
            if not self._is_directory:
                return ALREADY_THERE  # the whole object is there
            path = f"{self.path}/{extent_name(start, stop)}"
            try:
                is_named = give_name(file.fd, temporary, path)
            except FileNotFoundError:
                self.close()
                continue
            if not is_named:
                self._scan(0)
                return ALREADY_THERE
            extent = self._extent(start, stop, path, os.fstat(file.fd).st_ino, file)
            self._files.opened(extent)
            self.extents = self.extents.adding(extent)
            return created
        return None

    def _make_directory(self) -> int:
        try:
            return BLOCK * make_directory(self.path)
        except FileNotFoundError:
            make_directory(os.path.dirname(self.path))
            return BLOCK * make_directory(self.path)

    def _remove(self, extent: Extent) -> int:
        try:
            found = os.lstat(extent.path)
            if found.st_ino != extent.inode:
                return 0
            os.unlink(extent.path)
        except FileNotFoundError:
            return 0
        except OSError:
            self._bad.add(extent.inode)  # it stays, so it must not be taken for good again
            return 0
        return found.st_size


def _inode_of(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
