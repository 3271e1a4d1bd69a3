"""Committed extents: immutable files of object bytes, checked when they are first read.

This module opens, reads and checks extent files; it does not know which extents an object has,
nor who evicts them. Concurrency rule: an `Extent` may be read by any number of threads at once
and takes no lock; a buffer belongs to the thread that asked for it.
"""

import errno
import os
import threading
from collections import deque
from collections.abc import Collection

from s3mount.cache.trailer import (
    CELL,
    CELL_SHIFT,
    Damaged,
    cells_of,
    check_cells,
    decode,
    identity,
    trailer_size,
)
from s3mount.store.buffers import page_aligned

CHECKED_AT_ONCE = 8 * CELL
"""Bytes that a check holds in memory."""


class OpenFile:
    """A descriptor that is closed when the last one who reads through it lets go.

    CPython closes it at once, with the last reference: a reader that holds a local reference can
    never find the number closed, or worse, given to another file, and needs no lock for that.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class _Buffers(threading.local):
    """Memory of one thread, used again and again: fresh pages cost more than a copy."""

    def __init__(self) -> None:
        self.reply = page_aligned(256 * 1024)
        self.scratch = memoryview(b"")


_buffers = _Buffers()


def reply_buffer(length: int) -> memoryview:
    """The calling thread's buffer, valid until it asks again."""
    view = _buffers.reply
    if length > len(view):
        view = _buffers.reply = page_aligned(1 << (length - 1).bit_length())
    return view[:length]


def scratch_buffer(length: int) -> memoryview:
    """A second buffer of the calling thread, for bytes on their way into the first."""
    view = _buffers.scratch
    if length > len(view):
        view = _buffers.scratch = page_aligned(1 << (length - 1).bit_length())
    return view[:length]


def read_fully(fd: int, view: memoryview, at: int, flags: int = 0) -> bool:
    """Fill ``view`` from offset ``at``; False when the disk would have to be waited for.

    Raises:
        Damaged: the file ends too soon, or the disk could not read it.
    """
    done = 0
    while done < len(view):
        try:
            count = os.preadv(fd, [view[done:] if done else view], at + done, flags)
        except BlockingIOError:
            return False
        except OSError as error:
            if flags and error.errno == errno.EOPNOTSUPP:
                flags = 0
                continue
            raise Damaged(f"cannot be read: {error.strerror}") from error
        if not count:
            raise Damaged("the file ends too soon")
        done += count
    return True


class Extent:
    """Bytes ``start`` to ``stop`` of one object version, in a file of their own.

    Args:
        start: the first byte.
        stop: the byte behind the last.
        path: where the file lies.
        prefix: `identity_prefix` of the object.
        files: who counts open files.
        inode: of the file.
        file: the file when it is open already; then the caller counts it.
    """

    __slots__ = (
        "_file",
        "_files",
        "_prefix",
        "_proved",
        "_sums",
        "inode",
        "path",
        "recent",
        "start",
        "stop",
    )

    def __init__(
        self,
        start: int,
        stop: int,
        path: str,
        prefix: bytes,
        files: "OpenFiles",
        *,
        inode: int,
        file: OpenFile | None = None,
    ) -> None:
        self.start = start
        self.stop = stop
        self.path = path
        self.inode = inode
        self.recent = False
        self._file = file
        self._files = files
        self._prefix = prefix
        self._sums: tuple[int, ...] | None = None
        self._proved = bytearray(cells_of(stop - start))

    def read(self, start: int, stop: int, flags: int = 0) -> memoryview | None:
        """Bytes ``start`` to ``stop`` in the thread's reply buffer.

        Returns:
            A view of the buffer; None when ``flags`` say not to wait for the disk and it is needed.

        Raises:
            Damaged: the bytes are not those that were committed.
            OSError: the file could not be opened, for a reason that does not lie in the file.
        """
        file = self._file or self._open()
        self.recent = True
        begin = start - self.start
        end = stop - self.start
        if self._proved.find(0, begin >> CELL_SHIFT, ((end - 1) >> CELL_SHIFT) + 1) < 0:
            view = reply_buffer(end - begin)
            return view if read_fully(file.fd, view, begin, flags) else None
        low = begin & -CELL
        view = reply_buffer(min(self.stop - self.start, (end + CELL - 1) & -CELL) - low)
        proved = self._read_and_prove(file, view, low, flags)
        return view[begin - low : end - low] if proved else None

    def copy(self, start: int, stop: int, target: memoryview, flags: int = 0) -> bool:
        """The same into ``target``, for a range of which other parts lie elsewhere."""
        file = self._file or self._open()
        self.recent = True
        begin = start - self.start
        end = stop - self.start
        low = begin & -CELL
        view = scratch_buffer(min(self.stop - self.start, (end + CELL - 1) & -CELL) - low)
        if not self._read_and_prove(file, view, low, flags):
            return False
        target[:] = view[begin - low : end - low]
        return True

    def check(self) -> None:
        """Read and prove all bytes, those that were proved before too.

        Raises:
            Damaged: the bytes are not those that were committed.
            OSError: the file could not be opened, for a reason that does not lie in the file.
        """
        file = self._file or self._open()
        length = self.stop - self.start
        for low in range(0, length, CHECKED_AT_ONCE):
            view = scratch_buffer(min(CHECKED_AT_ONCE, length - low))
            self._read_and_prove(file, view, low, 0)

    def drop_file(self) -> None:
        """Close the file as soon as nobody reads from it; the next read opens it again."""
        self._file = None

    def _read_and_prove(self, file: OpenFile, view: memoryview, low: int, flags: int) -> bool:
        sums = self._sums
        if sums is None:
            name = identity(self._prefix, self.start, self.stop)
            length = self.stop - self.start
            # One byte more than there should be: a longer file is another file.
            trailer = bytearray(trailer_size(length, name) + 1)
            count = self._read_trailer(file.fd, trailer, length, flags)
            if count is None:
                return False
            sums = self._sums = decode(bytes(trailer[:count]), name, length)
        if not read_fully(file.fd, view, low, flags):
            return False
        first = low >> CELL_SHIFT
        check_cells(view, sums, first)
        cells = cells_of(len(view))
        self._proved[first : first + cells] = b"\1" * cells
        return True

    @staticmethod
    def _read_trailer(fd: int, trailer: bytearray, at: int, flags: int) -> int | None:
        try:
            return os.preadv(fd, [trailer], at, flags)
        except BlockingIOError:
            return None
        except OSError as error:
            if flags and error.errno == errno.EOPNOTSUPP:
                return Extent._read_trailer(fd, trailer, at, 0)
            raise Damaged(f"cannot be read: {error.strerror}") from error

    def _open(self) -> OpenFile:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise Damaged("the file is gone") from error
        file = OpenFile(fd)
        inode = os.fstat(fd).st_ino
        if inode != self.inode:
            # What was proved of the old file says nothing about a new one of the same name.
            raise Damaged("the file was replaced")
        self._file = file
        self._files.opened(self)
        return file


class OpenFiles:
    """Which extents of directories have an open file: a bounded number, lately read ones first.

    Args:
        limit: descriptors.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._extents: deque[Extent] = deque()

    def opened(self, extent: Extent) -> None:
        """Count one more open file and close another when that is one too many."""
        with self._lock:
            extents = self._extents
            extents.append(extent)
            while len(extents) > self._limit:
                oldest = extents.popleft()
                if oldest.recent and oldest is not extent:
                    oldest.recent = False
                    extents.append(oldest)
                else:
                    oldest.drop_file()

    def forget(self, extents: Collection[Extent]) -> None:
        """Close the files of extents that nobody has open any more."""
        for extent in extents:
            extent.drop_file()
        if extents:
            gone = set(map(id, extents))
            with self._lock:
                self._extents = deque(kept for kept in self._extents if id(kept) not in gone)
