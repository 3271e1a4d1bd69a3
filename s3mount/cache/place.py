"""The place of one object on disk: its lease, its extents, and how new ones get there.

This module finds, leases and makes the file or directory of one object; it does not know readers or
fills. Concurrency rule: every method is called under the object's lock, except that `extents` may be
read without it: it is replaced, never changed.
"""

import fcntl
import os
import stat
from collections.abc import Callable

from s3mount.cache.directory import Directory, Taken
from s3mount.cache.extent import Extent
from s3mount.cache.extent_map import ExtentMap
from s3mount.cache.layout import ByteRange, make_directory
from s3mount.cache.open_file import OpenFile
from s3mount.cache.temporary import give_place
from s3mount.cache.trailer import BLOCK, charge

TRIES = 4
"""Times that a place is looked for again while others evict or commit there."""
ALREADY_THERE = -1
NOTHING: ExtentMap[Extent] = ExtentMap()


class Place:
    """Where the extents of one object version lie.

    A lease is a shared lock on the object's file or directory, held as long as it is open; who
    wants to evict needs the exclusive one. Nothing is held while nothing is cached.

    Attributes:
        extents: what is committed, as far as was seen.
        directory: of an object that came in parts.
        on_proved: see `Extent`.
        taken_back: how often bytes of the data file were given back; a read meanwhile may have got others.
        created: bytes of new directories that are in nobody's account yet (the 256 shards never are).

    Args:
        path: of the object.
        size: of the object, bytes.
        prefix: `identity_prefix` of the object.
        on_proved: see `Extent`.
    """

    __slots__ = (
        "_bad",
        "_lease",
        "_prefix",
        "_size",
        "created",
        "directory",
        "extents",
        "on_proved",
        "path",
        "taken_back",
    )

    def __init__(
        self, path: str, size: int, prefix: bytes, on_proved: Callable[[Extent], None]
    ) -> None:
        self.path = path
        self.extents = NOTHING
        self.directory: Directory | None = None
        self.created = 0
        self.taken_back = 0
        self._size = size
        self._prefix = prefix
        self.on_proved = on_proved
        self._lease: OpenFile | None = None
        self._bad: set[int] = set()

    def refresh(self) -> bool:
        """Look for extents that other processes committed; False when nothing can have changed."""
        if self._lease is None:
            return self._load()
        if self.directory is None:
            return False
        if self.directory.is_removed():
            self.close()
            return self._load()
        changed = self.directory.refresh()
        self.extents = self.directory.extents
        return changed

    def is_nowhere(self) -> bool:
        """Whether nothing of the object was here when it was last looked for."""
        return self._lease is None

    def commit_alone(self, temporary: str, file: OpenFile) -> int | None:
        """Make a file with the whole object and its trailer the place of the object.

        Returns:
            0; None when there is no place for it now, `ALREADY_THERE` when these bytes have one.

        Raises:
            OSError: the disk refuses.
        """
        if self._lease is not None:
            return None if self.directory is not None else ALREADY_THERE
        inode = os.fstat(file.fd).st_ino
        fcntl.flock(file.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if not give_place(file.fd, temporary, self.path):
            return ALREADY_THERE if self._load() and self.directory is None else None
        self._take_file(file, inode)
        return 0

    def claim(self, start: int, stop: int) -> Directory:
        """Claim a range of the data file, see `Directory.claim`.

        Returns:
            The directory that it was claimed in.

        Raises:
            Taken: others write there, or the bytes are there.
            OSError: the disk refuses.
        """
        for _ in range(TRIES):
            if self._lease is None:
                self._make_directory()
                self._load()
            elif self.directory is None:
                raise Taken  # the whole object is there
            else:
                try:
                    self.directory.claim(start, stop)
                finally:
                    self.extents = self.directory.extents
                return self.directory
        raise OSError("there is no place for the object now")

    def commit(
        self, directory: Directory, temporary: str, trailer: OpenFile, span: ByteRange
    ) -> bool:
        """Commit a range that was claimed, see `Directory.commit`; ``directory`` is where it was claimed."""
        try:
            is_new = directory.commit(temporary, trailer, span)
        except FileNotFoundError:
            if directory is self.directory and directory.is_removed():
                self.close()
            raise
        if directory is self.directory:
            self.extents = directory.extents
        return is_new

    def free(self, start: int, stop: int) -> list[ByteRange]:
        """The parts of a range that are neither committed nor being written.

        Raises:
            OSError: it cannot be found out.
        """
        self.refresh()
        if self._lease is None:
            return [ByteRange(start, stop)]
        if self.directory is None:
            return []
        found = self.directory.free(start, stop)
        self.extents = self.directory.extents
        return found

    def give_up(self, directory: Directory, span: ByteRange) -> None:
        """See `Directory.give_up`; ``directory`` is where the range was claimed."""
        self.taken_back += 1
        directory.give_up(*span)

    def discard(self, extent: Extent, *, remove: bool) -> int:
        """Count an extent as missing from now on.

        Args:
            extent: one that could not be read.
            remove: take it from the disk as well: its bytes are wrong.

        Returns:
            What was given back, as the limit counts; -1 when another thread was here first.
        """
        if not any(other is extent for other in self.extents):
            return -1
        if self.directory is not None:
            self.taken_back += 1
            freed = self.directory.discard(extent, remove=remove)
            self.extents = self.directory.extents
            return freed
        self.extents = NOTHING
        self._lease = None
        return self._remove(extent) if remove else 0

    def close(self) -> None:
        """Give the lease back and close all files."""
        if self.directory is not None:
            self.directory.close()
            self.directory = None
        self.extents = NOTHING
        self._lease = None

    def _load(self) -> bool:
        for _ in range(TRIES):
            try:
                file = OpenFile(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
                fcntl.flock(file.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return False  # nothing is there, or somebody evicts it in this moment
            found = os.fstat(file.fd)
            if stat.S_ISREG(found.st_mode):
                if found.st_nlink:
                    return self._take_file(file, found.st_ino)
            elif _inode_of(self.path) == found.st_ino:
                return self._take_directory(file)
        return False

    def _take_file(self, file: OpenFile, inode: int) -> bool:
        if inode in self._bad or not self._size:
            return False
        self._lease = file
        span = ByteRange(0, self._size)
        self.extents = ExtentMap((Extent(span, file, 0, self._prefix, path="", inode=inode),))
        return True

    def _take_directory(self, file: OpenFile) -> bool:
        try:
            self.directory = Directory(
                self.path,
                file,
                self._size,
                self._prefix,
                on_proved=self.on_proved,
                bad=self._bad,
            )
        except OSError:
            return False
        self._lease = file
        self.extents = self.directory.extents
        return True

    def _make_directory(self) -> None:
        try:
            is_new = make_directory(self.path)
        except FileNotFoundError:
            make_directory(os.path.dirname(self.path))
            is_new = make_directory(self.path)
        self.created += BLOCK * is_new

    def _remove(self, extent: Extent) -> int:
        try:
            found = os.lstat(self.path)
            if found.st_ino != extent.inode:
                return 0
            os.unlink(self.path)
        except FileNotFoundError:
            return 0
        except OSError:
            self._bad.add(extent.inode)  # it stays, so it must not be taken for good again
            return 0
        return charge(found.st_size)


def _inode_of(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
