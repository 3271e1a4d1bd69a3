"""The files in the directory of an object that came in parts, while nobody has it open.

This module lists, measures, shortens and mends such a directory; that nobody has it open is seen to by the caller,
unless it says otherwise. Plain functions: any thread may call them.
"""

import contextlib
import os
from typing import NamedTuple

from s3mount.cache import punching, stamp
from s3mount.cache.extent_map import ExtentMap
from s3mount.cache.layout import DATA, ByteRange, parse_extent_name
from s3mount.cache.trailer import BLOCK, blocks, charge

UNIT = 512
"""Bytes of ``st_blocks``."""
SLACK = 64 * 1024
SLACK_SHARE = 128
"""What a file system may need beside the bytes, and one part in so many of them: ext4 has 12 bytes for each piece of a
file, and a piece has 4 KiB at the least."""


class Trailer(NamedTuple):
    """A file that commits a range.

    Attributes:
        size: of this file.
    """

    span: ByteRange
    path: str
    size: int


class Contents(NamedTuple):
    """What is in a directory.

    Attributes:
        trailers: in no order.
        data: the bytes; None when there is no such file.
        others: bytes on disk of everything else.
    """

    trailers: list[Trailer]
    data: os.stat_result | None
    others: int

    def cost(self) -> int:
        """What is committed, as the limit counts."""
        each = (blocks(*trailer.span) + charge(trailer.size) for trailer in self.trailers)
        return sum(each) + self.others + BLOCK

    def unaccounted(self) -> int:
        """Bytes of disk that belong to nothing that is committed; what is on its way is among them."""
        if self.data is None:
            return 0
        committed = sum(blocks(*trailer.span) for trailer in self.trailers)
        excess = self.data.st_blocks * UNIT - committed
        return excess if excess > SLACK + committed // SLACK_SHARE else 0


def contents(path: str) -> Contents:
    """What is in the directory of an object; it may be in use.

    Raises:
        FileNotFoundError: it is gone, or a file of it went while it was looked at.
    """
    trailers = []
    data, others = None, 0
    with os.scandir(path) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            span = parse_extent_name(entry.name)
            if span is not None:
                trailers.append(Trailer(span, entry.path, found.st_size))
            elif entry.name == DATA:
                data = found
            else:
                others += charge(found.st_size)
    return Contents(trailers, data, others)


def take(path: str, trailers: list[Trailer]) -> int:
    """Take extents away: first their names, then their bytes.

    Returns:
        What became free, as the limit counts. Where a file system makes no holes, bytes stay until the object goes.
    """
    freed = 0
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}/{stamp.NAME}")
        freed += BLOCK
    for trailer in trailers:
        os.unlink(trailer.path)
        freed += charge(trailer.size)
    spans = [trailer.span for trailer in trailers]
    return freed + sum(blocks(*span) for span in spans if _punch(path, [span]))


def take_from_end(path: str, amount: int) -> int:
    """Take the last extents away, so many as give ``amount`` bytes; returns what became free."""
    chosen, together = [], 0
    for trailer in sorted(contents(path).trailers, key=lambda trailer: trailer.span, reverse=True):
        if together >= amount:
            break
        chosen.append(trailer)
        together += blocks(*trailer.span) + charge(trailer.size)
    return take(path, chosen)


def remove(path: str) -> int:
    """Take the whole directory away; returns what became free, as the limit counts."""
    found = contents(path)
    for trailer in found.trailers:
        os.unlink(trailer.path)
    for name in os.listdir(path):  # names first: bytes without a name are missing, and no lie
        os.unlink(f"{path}/{name}")
    os.rmdir(path)
    return found.cost()


def mend(path: str) -> bool:
    """Give back what fills left that ended with their process; whether that is possible here."""
    found = contents(path)
    if found.data is None:
        return True
    size = found.data.st_size
    gaps = ExtentMap(trailer.span for trailer in found.trailers).gaps(0, size)
    return _punch(path, gaps)


def _punch(path: str, spans: list[ByteRange]) -> bool:
    try:
        fd = os.open(f"{path}/{DATA}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return True  # no bytes at all
    try:
        given_back = [punching.punch(fd, *span) for span in spans]  # all of them, whatever one says
    finally:
        os.close(fd)
    return all(given_back)
