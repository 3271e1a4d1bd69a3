"""Bytes in pieces to a file, so many a call as the machine's memory likes.

A file system takes pages for a call's bytes in one stretch of memory where it can. The host of some virtual machines
takes just such stretches back while they are free, and to touch one again costs up to twenty times the copy. Linux
keeps pages of up to 32 KiB in lists of their own, of memory that was used a moment ago. So whoever has paid for a long
call makes short ones for a while. See decision 13.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence

from s3mount.store.pipe import NoSplice, Pipe

LONG = 512 * 1024
"""Bytes of a call."""
SHORT = 32 * 1024
"""After a dear one: the eight pages of Linux's ``PAGE_ALLOC_COSTLY_ORDER``."""
DEAR = 0.8e-9
"""Seconds of processor time a byte: memory that is at hand costs 0.2 to 0.4, also with another thread on the same core,
memory that the host has to give 0.8 to 2."""
FOR_A_WHILE = 32 * 1024 * 1024
"""Bytes that are written in short calls before a long one is tried again: it costs at the most a millisecond more."""
WORTH_IT = 0.75
"""What a byte in a short call may cost of what it did in the long one: where memory is cold it is a half, or less."""
FOR_LONG = 512 * 1024 * 1024
"""Bytes that are written in long calls, dear or not, where short ones gave nothing."""
PIECES_MAX = 1024
"""Pieces that the kernel takes in one call (IOV_MAX)."""


class Strides:
    """How long the next call may be, from what calls cost lately. Threads may share one: a lost count is none.

    A dear long call is followed by a spell of short ones. Where those turn out to be hardly cheaper, the machine is
    slow and its memory is not to blame: then calls are long for much longer.
    """

    def __init__(self) -> None:
        self._short_for = 0
        self._long_for = 0
        self._dear = 0.0
        self._spent = 0.0
        self._spent_on = 0

    def next(self) -> int:
        """Bytes from which on a call is to be made, less than twice as many."""
        return SHORT if self._short_for > 0 else LONG

    def is_telling(self, size: int) -> bool:
        """Whether the cost of a call of so many bytes says anything."""
        return size >= (SHORT if self._short_for > 0 else LONG // 2)

    def note(self, size: int, seconds: float) -> None:
        """A call was made.

        Args:
            size: its bytes.
            seconds: of processor time; of no meaning unless `is_telling`.
        """
        is_telling = self.is_telling(size)
        if self._short_for > 0:
            self._note_short(size, seconds if is_telling else None)
            return
        self._long_for -= size
        if is_telling and self._long_for <= 0 and seconds > size * DEAR:
            self._short_for = FOR_A_WHILE
            self._dear = seconds / size
            self._spent = 0.0
            self._spent_on = 0

    def _note_short(self, size: int, seconds: float | None) -> None:
        self._short_for -= size
        if seconds is not None:
            self._spent += seconds
            self._spent_on += size
        if self._short_for <= 0 and self._spent > self._spent_on * self._dear * WORTH_IT:
            self._long_for = FOR_LONG


_strides = Strides()


def write_at(
    descriptor: int, pieces: Iterable[bytes], start: int, strides: Strides = _strides
) -> None:
    """Write all of some pieces, one behind the other.

    Args:
        descriptor: of the file.
        pieces: of any length.
        start: offset of the first byte.
        strides: what is known of the machine's memory.

    Raises:
        OSError: the file system refuses; what was written before stays.
    """
    batch: list[bytes | memoryview] = []
    size, most = 0, strides.next()
    for piece in _none_longer(pieces, most):
        batch.append(piece)
        size += len(piece)
        if size >= most or len(batch) == PIECES_MAX:
            _write(descriptor, batch, size, start, strides)
            start += size
            batch, size = [], 0
    if size:
        _write(descriptor, batch, size, start, strides)


def drain_at(descriptor: int, pipe: Pipe, start: int, strides: Strides = _strides) -> None:
    """Write all that a pipe holds.

    Args:
        descriptor: of the file.
        pipe: holds bytes.
        start: offset of the first byte.
        strides: what is known of the machine's memory.

    Raises:
        OSError: the file system refuses; what was written before stays.
    """
    while pipe.held:
        most = min(strides.next(), pipe.held)
        began = time.thread_time()
        try:
            written = pipe.pour(descriptor, start, most)
        except NoSplice:
            data = pipe.read(most)
            write_at(descriptor, (data,), start, strides)
            written = len(data)
        else:
            strides.note(written, time.thread_time() - began)
        start += written


def _none_longer(pieces: Iterable[bytes], most: int) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        if len(piece) <= most:
            yield piece
            continue
        view = memoryview(piece)
        for at in range(0, len(piece), most):
            yield view[at : at + most]


def _write(
    descriptor: int, batch: Sequence[bytes | memoryview], size: int, start: int, strides: Strides
) -> None:
    if strides.is_telling(size):
        began = time.thread_time()
        _write_all(descriptor, batch, size, start)
        strides.note(size, time.thread_time() - began)
    else:
        _write_all(descriptor, batch, size, start)
        strides.note(size, 0.0)


def _write_all(descriptor: int, batch: Sequence[bytes | memoryview], size: int, start: int) -> None:
    written = os.pwritev(descriptor, batch, start)
    if written < size:
        rest = memoryview(b"".join(batch))
        while written < size:
            written += os.pwrite(descriptor, rest[written:], start + written)
