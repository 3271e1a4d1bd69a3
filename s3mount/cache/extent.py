"""Committed extents: bytes of an object that never change, checked when they are first read.

This module reads and checks extents; it does not know which extents an object has, nor who evicts
them. Concurrency rule: an `Extent` may be read by any number of threads at once and takes no lock;
a buffer belongs to the thread that asked for it.
"""

import os
import threading
from collections.abc import Callable

from s3mount.cache.layout import ByteRange
from s3mount.cache.open_file import OpenFile, read_fully, read_some
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


class Extent:
    """Bytes ``start`` to ``stop`` of one object version.

    Attributes:
        gone: the bytes may be given back any moment now; a read that ends after that is worth nothing.
        known: every byte is known good, written or proved by this process; guarded by the object's lock.

    Args:
        span: which bytes.
        file: holds them.
        base: offset of the first one in ``file``.
        prefix: `identity_prefix` of the object.
        path: of the trailer; empty where it stands behind the bytes.
        inode: of the file that holds the trailer.
        on_proved: called, on any thread and maybe more than once, when the last byte has been proved.
    """

    __slots__ = (
        "_base",
        "_file",
        "_on_proved",
        "_prefix",
        "_proved",
        "_sums",
        "gone",
        "inode",
        "known",
        "path",
        "start",
        "stop",
    )

    def __init__(
        self,
        span: ByteRange,
        file: OpenFile,
        base: int,
        prefix: bytes,
        *,
        path: str,
        inode: int,
        on_proved: "Callable[[Extent], None] | None" = None,
    ) -> None:
        self.start, self.stop = span
        self.path = path
        self.inode = inode
        self.gone = False
        self.known = False
        self._file = file
        self._base = base
        self._prefix = prefix
        self._on_proved = on_proved
        self._sums: tuple[int, ...] | None = None
        self._proved = bytearray(cells_of(self.stop - self.start))

    def read(self, start: int, stop: int, flags: int = 0) -> memoryview | None:
        """Bytes ``start`` to ``stop`` in the thread's reply buffer.

        Returns:
            A view of the buffer; None when ``flags`` say not to wait for the disk and it is needed.

        Raises:
            Damaged: the bytes are not those that were committed.
            OSError: the trailer could not be opened, for a reason that does not lie in the file.
        """
        begin = start - self.start
        end = stop - self.start
        if self._proved.find(0, begin >> CELL_SHIFT, ((end - 1) >> CELL_SHIFT) + 1) < 0:
            view = reply_buffer(end - begin)
            if not read_fully(self._file.fd, view, self._base + begin, flags):
                return None
        else:
            low = begin & -CELL
            view = reply_buffer(min(self.stop - self.start, (end + CELL - 1) & -CELL) - low)
            if not self._read_and_prove(view, low, flags):
                return None
            view = view[begin - low : end - low]
        if self.gone:  # not worth a call in the way of every read
            self._refuse_gone()
        return view

    def copy(self, start: int, stop: int, target: memoryview, flags: int = 0) -> bool:
        """The same into ``target``, for a range of which other parts lie elsewhere."""
        begin = start - self.start
        end = stop - self.start
        low = begin & -CELL
        view = scratch_buffer(min(self.stop - self.start, (end + CELL - 1) & -CELL) - low)
        if not self._read_and_prove(view, low, flags):
            return False
        self._refuse_gone()
        target[:] = view[begin - low : end - low]
        return True

    def check(self) -> None:
        """Read and prove all bytes, those that were proved before too.

        Raises:
            Damaged: the bytes are not those that were committed.
            OSError: the trailer could not be opened, for a reason that does not lie in the file.
        """
        length = self.stop - self.start
        for low in range(0, length, CHECKED_AT_ONCE):
            view = scratch_buffer(min(CHECKED_AT_ONCE, length - low))
            self._read_and_prove(view, low, 0)

    def _refuse_gone(self) -> None:
        if self.gone:
            raise Damaged("it was given back while it was read")

    def _read_and_prove(self, view: memoryview, low: int, flags: int) -> bool:
        sums = self._sums
        if sums is None:
            sums = self._read_sums(flags)
            if sums is None:
                return False
            self._sums = sums
        if not read_fully(self._file.fd, view, self._base + low, flags):
            return False
        first = low >> CELL_SHIFT
        check_cells(view, sums, first)
        cells = cells_of(len(view))
        self._proved[first : first + cells] = b"\1" * cells
        if not self.known and self._on_proved is not None and 0 not in self._proved:
            self._on_proved(self)
        return True

    def _read_sums(self, flags: int) -> tuple[int, ...] | None:
        length = self.stop - self.start
        name = identity(self._prefix, self.start, self.stop)
        # One byte more than there should be: a longer file is another file.
        trailer = bytearray(trailer_size(length, name) + 1)
        file, at = (self._open_trailer(), 0) if self.path else (self._file, length)
        count = read_some(file.fd, trailer, at, flags)
        return None if count is None else decode(bytes(trailer[:count]), name, length)

    def _open_trailer(self) -> OpenFile:
        try:
            file = OpenFile(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
        except FileNotFoundError as error:
            raise Damaged("the trailer is gone") from error
        if os.fstat(file.fd).st_ino != self.inode:
            raise Damaged("the trailer was replaced")
        return file
