"""What stands behind the bytes of an extent, or beside them, so that a torn or changed one is known.

This module knows the format of an extent's end, byte by byte; it knows no paths and no other
extents. Plain functions over buffers and descriptors: any thread may call them.

    length bytes          the bytes of the object, from file offset 0; not in a trailer that stands apart
    4 bytes each cell     CRC-32 of each 64 KiB of them, little endian
    identity              JSON: {"object":[store,key,etag,size],"start":..,"stop":..}
    28 bytes              magic, length, number of cells, length of the identity, CRC-32 of
                          the trailer up to here
"""

import json
import os
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from isal import isal_zlib

from s3mount.cache.layout import ByteRange, ObjectId

CELL_SHIFT = 16
CELL = 1 << CELL_SHIFT
"""Bytes under one checksum, 64 KiB: small enough that the first read of 4 KiB, which reads and
checks all of its cell, costs about 12 us (21 us at 128 KiB), large enough that the checksums of 1 GiB
are 64 KiB."""

MAGIC = b"s3mext1\n"
_FOOTER = struct.Struct("<8sQII")
_quoted = json.encoder.encode_basestring_ascii  # a tenth of the cost of `json.dumps`
_CHECK = struct.Struct("<I")
FOOTER_SIZE = _FOOTER.size + _CHECK.size
BLOCK = 4096
"""Bytes that a disk hands out at a time, for accounting."""
NAME_SIZE = 400
"""Bytes of identity that an estimate allows for: 300 of names, and what stands around them."""


class Damaged(Exception):
    """These are not the bytes that were committed; the extent counts as missing."""


class Trailer(NamedTuple):
    """What a trailer says of its extent."""

    oid: ObjectId
    span: ByteRange
    sums: tuple[int, ...]


def cells_of(length: int) -> int:
    """How many checksums cover ``length`` bytes."""
    return (length + CELL - 1) >> CELL_SHIFT


@lru_cache(maxsize=16)
def _store_quoted(store: str) -> str:
    """That of all objects of a store is the same."""
    return _quoted(store)


def identity_prefix(oid: ObjectId) -> bytes:
    """The part of the identity that all extents of one object share."""
    store, key, etag, size = oid
    return f'{{"object":[{_store_quoted(store)},{_quoted(key)},{_quoted(etag)},{size}]'.encode(
        "ascii"
    )


def identity(prefix: bytes, start: int, stop: int) -> bytes:
    """The identity of one extent, the same bytes whoever writes it."""
    return prefix + b',"start":%d,"stop":%d}' % (start, stop)


def trailer_size(length: int, name: bytes) -> int:
    """Bytes of the trailer of an extent of ``length`` bytes with the identity ``name``."""
    return 4 * cells_of(length) + len(name) + FOOTER_SIZE


def charge(file_size: int) -> int:
    """What a file of ``file_size`` bytes costs the limit: whole blocks."""
    return (file_size + BLOCK - 1) // BLOCK * BLOCK


def file_size(prefix: bytes, start: int, stop: int) -> int:
    """Bytes of the file of one extent of the object whose `identity_prefix` is ``prefix``."""
    return stop - start + trailer_size(stop - start, identity(prefix, start, stop))


def blocks(start: int, stop: int) -> int:
    """What bytes ``start`` to ``stop`` in the middle of a file cost the limit: every block that they touch."""
    return charge(stop) - start // BLOCK * BLOCK


def cost_in_place(prefix: bytes, start: int, stop: int) -> int:
    """What one extent in the data file of an object costs the limit: its bytes, and the file of its trailer."""
    name = identity(prefix, start, stop)
    return blocks(start, stop) + charge(trailer_size(stop - start, name))


def cost_on_disk(size: int, part: int = 0) -> int:
    """About what an object will cost the limit, before anything is known of it but its size.

    Too much rather than too little, by a block for each extent at the most, while the store, the key and the ETag have
    no more than 300 bytes together.

    Args:
        size: bytes of the object.
        part: bytes that are fetched at a time, each kept as an extent of its own; 0 for the whole at once.
    """
    if not part or size <= part:
        return charge(size + _trailer_cost(size)) if size else 0
    parts, rest = divmod(size, part)
    directory, stamp = BLOCK, BLOCK
    cost = directory + stamp + parts * (charge(part) + charge(_trailer_cost(part)))
    return cost + (charge(rest) + charge(_trailer_cost(rest)) if rest else 0)


def _trailer_cost(length: int) -> int:
    return 4 * cells_of(length) + NAME_SIZE + FOOTER_SIZE


def encode(sums: Sequence[int], name: bytes, length: int) -> bytes:
    """The trailer of an extent of ``length`` bytes."""
    # Most objects have one; a format that is written each time costs as much as the rest.
    cells = _CHECK.pack(*sums) if len(sums) == 1 else struct.pack(f"<{len(sums)}I", *sums)
    body = cells + name + _FOOTER.pack(MAGIC, length, len(sums), len(name))
    return body + _CHECK.pack(isal_zlib.crc32(body))


def decode(trailer: bytes, name: bytes, length: int) -> tuple[int, ...]:
    """The checksums in a trailer that must be that of the extent ``name``.

    Raises:
        Damaged: it is not.
    """
    cells = cells_of(length)
    body = trailer[: -_CHECK.size]
    if len(trailer) != trailer_size(length, name) or not body.endswith(
        name + _FOOTER.pack(MAGIC, length, cells, len(name))
    ):
        raise Damaged("the trailer is torn or another extent's")
    if _CHECK.unpack_from(trailer, len(body))[0] != isal_zlib.crc32(body):
        raise Damaged("the trailer's checksum is wrong")
    return struct.unpack_from(f"<{cells}I", trailer)


def read_back(fd: int, *, is_apart: bool) -> Trailer:
    """Read and check the trailer of an extent of which nothing is known.

    Args:
        fd: the file that it is in.
        is_apart: there are no bytes before it.

    Raises:
        Damaged: this is no whole extent.
        OSError: the disk could not be read.
    """
    size = os.fstat(fd).st_size
    footer = os.pread(fd, FOOTER_SIZE, max(0, size - FOOTER_SIZE))
    if len(footer) != FOOTER_SIZE or not footer.startswith(MAGIC):
        raise Damaged("no footer")
    _, length, cells, name_length = _FOOTER.unpack_from(footer)
    at = 0 if is_apart else length
    if cells != cells_of(length) or size != at + 4 * cells + name_length + FOOTER_SIZE:
        raise Damaged("the lengths do not add up")
    trailer = os.pread(fd, size - at, at)
    name = trailer[4 * cells : 4 * cells + name_length]
    sums = decode(trailer, name, length)
    try:
        told = json.loads(name)
        store, key, etag, whole = told["object"]
        found = Trailer(
            ObjectId(store, key, etag, whole), ByteRange(told["start"], told["stop"]), sums
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged("the identity cannot be read") from error
    if found.span.stop - found.span.start != length:
        raise Damaged("the identity names another range")
    return found


def check_cells(data: memoryview, sums: Sequence[int], first: int) -> None:
    """Check whole cells, the first of which is number ``first``.

    Raises:
        Damaged: a checksum is wrong.
    """
    crc32 = isal_zlib.crc32
    for number, at in enumerate(range(0, len(data), CELL), first):
        if crc32(data[at : at + CELL]) != sums[number]:
            raise Damaged(f"cell {number} has a wrong checksum")


class RunningSums:
    """Checksums of bytes that arrive in pieces."""

    __slots__ = ("_full", "_in_cell", "_last")

    def __init__(self) -> None:
        self._full: list[int] = []
        self._last = 0
        self._in_cell = 0

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next bytes."""
        length = len(piece)
        if self._in_cell + length < CELL:
            self._last = isal_zlib.crc32(piece, self._last)
            self._in_cell += length
            return
        view = memoryview(piece)
        at = 0
        while at < length:
            part = view[at : at + CELL - self._in_cell]
            self._last = isal_zlib.crc32(part, self._last)
            self._in_cell += len(part)
            at += len(part)
            if self._in_cell == CELL:
                self._full.append(self._last)
                self._last = self._in_cell = 0

    def cells(self) -> list[int]:
        """The checksum of each cell so far."""
        return [*self._full, self._last] if self._in_cell else self._full.copy()

    def whole(self) -> int:
        """The checksum of all bytes so far."""
        total = 0
        for cell in self._full:
            total = isal_zlib.crc32_combine(total, cell, CELL)
        return isal_zlib.crc32_combine(total, self._last, self._in_cell)
