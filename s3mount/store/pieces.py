"""Bytes in pieces to a file, so many a call as the machine's memory likes.

A file system takes pages for a call's bytes in one stretch of memory where it can. The host of some virtual machines
takes just such stretches back while they are free, and to touch one again costs up to twenty times the copy. Linux
keeps pages of up to 32 KiB in lists of their own, of memory that was used a moment ago; so there a call writes no more
than that. See decision 13.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

LONG = 512 * 1024
"""Bytes of a call where memory is the machine's own."""
SHORT = 32 * 1024
"""Where a host takes it back: the eight pages of Linux's ``PAGE_ALLOC_COSTLY_ORDER``."""
PIECES_MAX = 1024
"""Pieces that the kernel takes in one call (IOV_MAX)."""
_BALLOON = "0x0005"
_REPORTING = 5
"""The device, and its feature, by which a host is told of free pages: VIRTIO_BALLOON_F_PAGE_REPORTING of Virtio 1.2."""


@cache
def stretch(devices: Path = Path("/sys/bus/virtio/devices")) -> int:
    """Bytes from which on a call is made, less than twice as many.

    Args:
        devices: of this machine, as the kernel shows them.
    """
    return SHORT if any(map(_takes_memory_back, devices.glob("*"))) else LONG


def _takes_memory_back(device: Path) -> bool:
    try:
        if (device / "device").read_text().strip() != _BALLOON:
            return False
        return (device / "features").read_text()[_REPORTING : _REPORTING + 1] == "1"
    except OSError:
        return False


def write_at(descriptor: int, pieces: Iterable[bytes], start: int) -> None:
    """Write all of some pieces, one behind the other.

    Args:
        descriptor: of the file.
        pieces: of any length.
        start: offset of the first byte.

    Raises:
        OSError: the file system refuses; what was written before stays.
    """
    most = stretch()
    batch: list[bytes | memoryview] = []
    size = 0
    for piece in _none_longer(pieces, most):
        batch.append(piece)
        size += len(piece)
        if size >= most or len(batch) == PIECES_MAX:
            _write_all(descriptor, batch, size, start)
            start += size
            batch, size = [], 0
    if size:
        _write_all(descriptor, batch, size, start)


def _none_longer(pieces: Iterable[bytes], most: int) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        if len(piece) <= most:
            yield piece
            continue
        view = memoryview(piece)
        for at in range(0, len(piece), most):
            yield view[at : at + most]


def _write_all(descriptor: int, batch: Sequence[bytes | memoryview], size: int, start: int) -> None:
    written = os.pwritev(descriptor, batch, start)
    if written < size:
        rest = memoryview(b"".join(batch))
        while written < size:
            written += os.pwrite(descriptor, rest[written:], start + written)
