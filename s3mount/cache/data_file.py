"""The bytes of one object version in one sparse file, and who may write which of them.

This module opens the file and locks ranges of it; it does not know which ranges were committed. Concurrency rule:
every method is called under the object's lock; `file` may be read by any thread.

Two kinds of locks, both of the open file (``F_OFD_SETLK``), so they end with the process:

- a write lock on the range that is being written: nobody else writes there, of this process or another;
- a read lock on the byte `HELD`, far behind the end, by everybody who has the file open and may have proved
  bytes of it. Who gets it as a write lock is alone, and may take back what was committed.
"""

import contextlib
import errno
import fcntl
import os
import struct

from s3mount.cache.layout import DATA, ByteRange
from s3mount.cache.open_file import OpenFile
from s3mount.cache.punching import punch

HELD = 1 << 62
_FLOCK = struct.Struct("hhqqi4x")
"""``struct flock``: kind, from where, start, length, process (0 for locks of open files)."""


class DataFile:
    """An open data file.

    Args:
        directory: descriptor of the directory of the object.
        size: of the object; the file is made so long, and never longer: the kernel may read it by itself.

    Raises:
        BlockingIOError: somebody takes back what was committed, in this moment.
        OSError: the file cannot be opened, made or locked.
    """

    __slots__ = ("_is_writable", "_lent", "_size", "_writing", "file")

    def __init__(self, directory: int, size: int) -> None:
        self._size = size
        self._writing: list[ByteRange] = []
        self._lent: OpenFile | None = None
        self.file, self._is_writable = _open(directory)
        _lock(self.file.fd, fcntl.F_RDLCK, HELD, HELD + 1)
        if self._is_writable:
            self.settle_size()

    def settle_size(self) -> None:
        """Make the file as long as the object, whatever became of it.

        Raises:
            OSError: the disk refuses.
        """
        if os.fstat(self.file.fd).st_size != self._size:
            os.ftruncate(self.file.fd, self._size)

    def claim(self, start: int, stop: int) -> bool:
        """Be the only one who writes to a range until `release`; False when somebody else is.

        Raises:
            OSError: the file cannot be locked.
        """
        if any(start < other.stop and other.start < stop for other in self._writing):
            return False
        try:
            _lock(self.file.fd, fcntl.F_WRLCK, start, stop)
        except BlockingIOError:
            return False
        self._writing.append(ByteRange(start, stop))
        return True

    def release(self, start: int, stop: int) -> None:
        """Let others write to a range that was claimed."""
        self._writing.remove(ByteRange(start, stop))
        with contextlib.suppress(
            OSError
        ):  # a lock that stays costs others a fill, until the file is closed
            _lock(self.file.fd, fcntl.F_UNLCK, start, stop)

    def has_claims(self) -> bool:
        """Whether this process has claimed anything."""
        return bool(self._writing)

    def writer_in(self, start: int, stop: int) -> ByteRange | None:
        """A part of a range that somebody is writing.

        Raises:
            OSError: the file system does not tell.
        """
        for other in self._writing:
            if start < other.stop and other.start < stop:
                return other
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, stop - start, 0)
        kind, _, at, length, _ = _FLOCK.unpack(fcntl.fcntl(self.file.fd, fcntl.F_OFD_GETLK, asked))
        # A lock without an end has the length 0.
        return None if kind == fcntl.F_UNLCK else ByteRange(at, at + length if length else stop)

    def is_hole(self, start: int, stop: int) -> bool:
        """Whether nothing was ever written to a range, so that nothing of it can have been committed.

        Raises:
            OSError: the file system does not tell.
        """
        try:
            return os.lseek(self.file.fd, start, os.SEEK_DATA) >= stop
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return True
            raise

    def punch(self, start: int, stop: int) -> bool:
        """Give the room of a range back; False where that is not possible before the object goes."""
        return punch(self.file.fd, start, stop)

    def lock_out(self) -> bool:
        """Have the file for oneself until `let_in`; False when anybody else may have proved a byte of it."""
        if self._lent is not None or not self._is_writable:
            return False
        try:
            _lock(self.file.fd, fcntl.F_WRLCK, HELD, HELD + 1)
        except OSError:
            return False
        return True

    def let_in(self) -> None:
        """Let others open the file again."""
        _lock(self.file.fd, fcntl.F_RDLCK, HELD, HELD + 1)

    def lend(self) -> OpenFile | None:
        """The file opened for reading only, for somebody who never looks again: `lock_out` fails from now on."""
        if self._lent is None:
            try:
                # This very file, whatever has its name by now.
                fd = os.open(f"/proc/self/fd/{self.file.fd}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return None
            self._lent = OpenFile(fd)
        return self._lent


def _open(directory: int) -> tuple[OpenFile, bool]:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return OpenFile(
            os.open(DATA, flags | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=directory)
        ), True
    except OSError as error:
        if error.errno not in {errno.EROFS, errno.EACCES}:
            raise
    # A file system that turned read-only after an error is still good for what it holds.
    return OpenFile(os.open(DATA, flags | os.O_RDONLY, dir_fd=directory)), False


def _lock(fd: int, kind: int, start: int, stop: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, stop - start, 0))
