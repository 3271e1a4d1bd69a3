"""Where the bytes of a fill go on disk: a file of their own, or their range of the object's data file.

This module reserves, makes, seals and gives back; it does not know who reads, nor where bytes come from. Concurrency
rule: everything is called on the thread that writes.
"""

import contextlib
from typing import Protocol

from s3mount.cache.directory import Taken
from s3mount.cache.extent import scratch_buffer
from s3mount.cache.layout import ByteRange
from s3mount.cache.on_disk import OnDisk
from s3mount.cache.open_file import OpenFile
from s3mount.cache.shared import Shared
from s3mount.cache.temporary import drop
from s3mount.cache.trailer import (
    BLOCK,
    RunningSums,
    charge,
    cost_in_place,
    encode,
    file_size,
    identity,
)
from s3mount.store.pieces import write_at

PIECE = 256 * 1024
"""Bytes copied at once."""


class Landing(Protocol):
    """Where a range of an object is being written.

    Attributes:
        file: takes the bytes.
        base: offset of the first one.
    """

    file: OpenFile
    base: int

    def end(self, sums: RunningSums) -> bytes:
        """What is to be written behind the last byte."""

    def commit(self, sums: RunningSums) -> bool:
        """All is written: have it found by others; False when that cannot be, and it is still ours.

        Raises:
            OSError: the disk refuses, and it is still ours.
        """

    def give_up(self) -> None:
        """It is missing; its room is given back."""


def land(on_disk: OnDisk, shared: Shared, span: ByteRange) -> Landing:
    """Make room for a range, all of it, before the first byte is written.

    Raises:
        Taken: others write there, or the bytes are there.
        OSError: there is no room, or the disk refuses.
    """
    if span == (0, on_disk.oid.size) and on_disk.is_nowhere():
        return FileOfItsOwn(on_disk, shared)
    return RangeOfData(on_disk, shared, span)


class FileOfItsOwn:
    """A whole object that comes at once: bytes and trailer in one file.

    Raises:
        OSError: there is no room, or the disk refuses.
    """

    __slots__ = ("_on_disk", "_path", "_reserved", "_size", "_space", "base", "file")

    def __init__(self, on_disk: OnDisk, shared: Shared) -> None:
        self.base = 0
        self._on_disk = on_disk
        self._space = shared.space
        self._size = on_disk.oid.size
        self._reserved = charge(file_size(on_disk.identity, 0, self._size))
        _reserve(shared, self._reserved)
        try:
            fd, self._path = self._space.create()
        except BaseException:
            self._space.release(self._reserved)
            raise
        self.file = OpenFile(fd)

    def end(self, sums: RunningSums) -> bytes:
        """See `Landing.end`."""
        name = identity(self._on_disk.identity, 0, self._size)
        return encode(sums.cells(), name, self._size)

    def commit(self, sums: RunningSums) -> bool:
        """See `Landing.commit`."""
        counted = self._on_disk.commit_alone(self._path, self.file, self._reserved)
        if counted is None:
            return False
        if counted:
            self._path = ""  # it has another name now
        self._reserved -= counted
        self.give_up()
        return True

    def give_up(self) -> None:
        """See `Landing.give_up`. Who has the file open reads on."""
        drop(self._path)
        self._path = ""
        self._space.release(self._reserved)
        self._reserved = 0


class RangeOfData:
    """A range of the object's data file, claimed until it is committed or given up.

    Raises:
        Taken: others write there, or the bytes are there.
        OSError: there is no room, or the disk refuses.
    """

    __slots__ = ("_cost", "_directory", "_on_disk", "_reserved", "_space", "_span", "base", "file")

    def __init__(self, on_disk: OnDisk, shared: Shared, span: ByteRange) -> None:
        self._on_disk = on_disk
        self._space = shared.space
        self._span = span
        self.base = span.start
        self._cost = cost_in_place(on_disk.identity, *span)
        self._reserved = self._cost + BLOCK  # for the directory of the object
        _reserve(shared, self._reserved)
        try:
            self._directory, created = on_disk.claim(*span)
        except BaseException:
            self._space.release(self._reserved)
            raise
        self._reserved -= created
        self.file = self._directory.file

    def end(self, sums: RunningSums) -> bytes:
        """See `Landing.end`."""
        return b""

    def commit(self, sums: RunningSums) -> bool:
        """See `Landing.commit`."""
        start, stop = self._span
        fd, path = self._space.create()
        trailer = OpenFile(fd)
        try:
            name = identity(self._on_disk.identity, start, stop)
            write_at(fd, (encode(sums.cells(), name, stop - start),), 0)
            counted = self._on_disk.commit(self._directory, path, trailer, self._span, self._cost)
        except BaseException:
            drop(path)
            raise
        if not counted:
            drop(path)
        self._space.release(self._reserved - counted)
        return True

    def give_up(self) -> None:
        """See `Landing.give_up`."""
        self._on_disk.give_up(self._directory, self._span)
        self._space.release(self._reserved)


class Source(Protocol):
    """Bytes of a range that have all arrived."""

    def copy(self, begin: int, target: memoryview) -> bool:
        """Copy from offset ``begin`` of the range, however long it takes; True.

        Raises:
            Damaged: the disk does not give them back.
        """


def land_late(on_disk: OnDisk, shared: Shared, span: ByteRange, source: Source) -> bool:
    """Write what nobody else has written, or is writing, of a range that is whole in memory.

    Returns:
        Whether all of the range is on disk now.

    Raises:
        OSError: there is no room, or the disk refuses.
    """
    for part in on_disk.free(*span):
        with contextlib.suppress(Taken):  # in the moment between
            _write(RangeOfData(on_disk, shared, part), part, part.start - span.start, source)
    return on_disk.is_here(*span)


def _write(landing: RangeOfData, part: ByteRange, begin: int, source: Source) -> None:
    sums = RunningSums()
    length = part.stop - part.start
    try:
        for at in range(0, length, PIECE):
            view = scratch_buffer(min(PIECE, length - at))
            source.copy(begin + at, view)
            sums.update(view)
            write_at(landing.file.fd, (bytes(view),), landing.base + at)
        landing.commit(sums)
    except BaseException:
        landing.give_up()
        raise


def _reserve(shared: Shared, amount: int) -> None:
    if not shared.space.reserve(amount):
        raise OSError("the cache is full")
