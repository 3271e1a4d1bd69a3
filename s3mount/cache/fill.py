"""Bytes of one object on their way to disk, readable from the moment they arrive.

This module gathers, writes, checks and hands a finished extent to its object; it does not know
paths inside the objects directory, nor who reads. Concurrency rule: `head`, `write`, `finish` and
`fail` come from one thread, in that order, and touch no disk; what they leave to do is done in the
same order by the jobs of the backlog, on one other thread (or at once, where there is none).
Everything a reader needs changes under the object's lock, and a reader takes a `snapshot` under it
and copies without it.
"""

import contextlib
import os
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple, Protocol

from s3mount.cache.extent import OpenFile, read_fully
from s3mount.cache.layout import ByteRange, ObjectId
from s3mount.cache.shared import Shared
from s3mount.cache.trailer import BLOCK, RunningSums, charge, encode, identity, trailer_size
from s3mount.errors import BadBody, S3MountError, StoreError
from s3mount.store.interface import Head
from s3mount.store.pieces import write_at

GATHER = 256 * 1024
"""Bytes written by one job: a job costs more than a call."""
WITHHELD = 1024 * 1024
"""A body up to this size whose checksum is told is checked before anybody reads it: the kernel keeps what was read."""


class Unsound(BadBody):
    """All bytes came and they are not the object's; nobody has tried again yet."""


class Waiter:
    """Somebody who waits for a range; `cancel` ends that without a call."""

    __slots__ = ("_cancel", "callback", "fill", "start", "stop", "until")

    def __init__(
        self,
        span: ByteRange,
        callback: Callable[[StoreError | None], None],
        cancel: "Callable[[Waiter], None]",
    ) -> None:
        self.start, self.stop = span
        self.callback: Callable[[StoreError | None], None] | None = callback
        self.fill: Fill | None = None
        self.until = 0
        self._cancel = cancel

    def cancel(self) -> None:
        """Never call back from now on; a call that has begun goes on."""
        self._cancel(self)

    def fire(self, error: StoreError | None) -> None:
        """Call back, once."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback(error)


class Owner(Protocol):
    """The object that a fill belongs to, as the fill sees it."""

    oid: ObjectId
    identity: bytes

    def arrived(self, fill: "Fill", piece: bytes) -> None:
        """Add bytes to the fill's tail, under the lock, and wake who waited for them."""

    def written(self, fill: "Fill", file: OpenFile, pieces: int, count: int) -> None:
        """The first ``pieces`` of the tail, ``count`` bytes, are in the file now."""

    def commit(self, fill: "Fill", path: str, file: OpenFile, cost: int) -> int | None:
        """Give a whole extent its place and count it.

        Args:
            fill: the range.
            path: where the file lies now.
            file: the file, open.
            cost: bytes of disk that the file takes.

        Returns:
            The bytes that were counted, with those of new directories; 0 when the same extent was
            there already, None when there is no place now.
        """

    def settle(self, fill: "Fill", error: StoreError | None) -> None:
        """The fill is over; a spilled one is kept in memory."""

    def forget(self, fill: "Fill") -> None:
        """The finished fill's memory is needed elsewhere."""


class Snapshot(NamedTuple):
    """What has arrived of a fill at one moment."""

    file: OpenFile | None
    written: int
    tail: list[bytes]
    offsets: list[int]

    def copy(self, begin: int, target: memoryview) -> bool:
        """Copy from offset ``begin`` of the fill; False when the disk keeps the bytes."""
        from_file = max(0, min(self.written - begin, len(target)))
        if from_file:
            assert self.file is not None
            if not read_fully(self.file.fd, target[:from_file], begin):
                return False
        at = begin + from_file
        number = bisect_right(self.offsets, at) - 1
        while at - begin < len(target):
            inside = at - self.offsets[number]
            piece = memoryview(self.tail[number])[inside : inside + len(target) - (at - begin)]
            target[at - begin : at - begin + len(piece)] = piece
            at += len(piece)
            number += 1
        return True


class Fill:
    """A range of an object on its way; what the engine calls a sink.

    Made by `CachedObject.begin_fill`. Where the disk has no room or fails, the bytes stay in
    memory and are readable until the object is closed or the memory is needed.
    """

    __slots__ = (
        "_crc",
        "_done",
        "_owner",
        "_path",
        "_queued",
        "_reserved",
        "_shared",
        "_summed",
        "_sums",
        "awaited",
        "broken",
        "file",
        "held",
        "offsets",
        "pos",
        "ready",
        "settled",
        "spilled",
        "start",
        "stop",
        "tail",
        "tail_bytes",
        "waiters",
        "wake_at",
        "withheld",
        "written_bytes",
    )

    def __init__(
        self,
        owner: Owner,
        shared: Shared,
        start: int,
        stop: int,
        settled: Callable[[S3MountError | None], None] | None = None,
    ) -> None:
        self.start = start
        self.stop = stop
        self.settled = settled
        # Guarded by the object's lock.
        # Invariants: start + written_bytes + tail_bytes == pos; ready <= pos.
        self.pos = start
        self.ready = start
        self.withheld = False
        self.broken = False
        self.file: OpenFile | None = None
        self.written_bytes = 0
        self.tail: list[bytes] = []
        self.offsets: list[int] = []
        self.tail_bytes = 0
        self.waiters: list[Waiter] = []
        self.wake_at = stop + 1
        self.awaited = False
        # Of the thread that calls.
        self._crc: int | None = None
        self._done = False
        self._queued = 0
        # Of the jobs.
        self.spilled = False
        self.held = 0
        self._owner = owner
        self._shared = shared
        self._sums = RunningSums()
        self._summed = 0
        self._path = ""
        self._reserved = 0

    def __repr__(self) -> str:
        where = "memory" if self.spilled else "disk"
        return f"<Fill {self.start}-{self.stop} at {self.pos} in {where}>"

    def head(self, head: Head) -> None:
        """The version is confirmed; its bytes follow."""
        if self.start == 0 and self.stop == self._owner.oid.size:
            self._crc = head.crc32
            # A small body that can be checked is checked before anybody reads it: its end is near.
            self.withheld = head.crc32 is not None and self.stop <= WITHHELD

    def write(self, chunk: bytes) -> None:
        """Take the next bytes; readers can have them when this returns."""
        if self._done or not chunk:
            return
        if self.pos + len(chunk) > self.stop:
            self.fail(self._bad_body("is longer than was asked for"))
            return
        self._owner.arrived(self, chunk)
        self._queued += len(chunk)
        if self._queued >= GATHER and self.pos < self.stop:
            # The last bytes wait for the trailer, so that a small body costs one call.
            self._leave(self._write_some)

    def finish(self) -> None:
        """All bytes have come: they are checked and the extent is committed."""
        if self._done:
            return
        if self.pos != self.stop:
            self.fail(self._bad_body(f"ended after {self.pos - self.start} bytes"))
            return
        self._done = True
        self._leave(self._conclude)

    def fail(self, error: StoreError) -> None:
        """There will be no more bytes; nothing is committed."""
        if not self._done:
            self._done = True
            self._leave(lambda: self._abandon(error))

    def snapshot(self) -> Snapshot:
        """What has arrived; the caller holds the object's lock."""
        return Snapshot(self.file, self.written_bytes, self.tail, self.offsets)

    def drop(self) -> None:
        """Forget a finished fill that was kept in memory."""
        self._owner.forget(self)

    def release(self) -> None:
        """Give back memory and disk that no reader can reach any more."""
        if self.spilled:
            self._shared.memory.forget(self, self.held)
        self._release_disk()

    def _release_disk(self) -> None:
        if self._reserved:
            self._shared.space.release(self._reserved)
            self._reserved = 0

    def _bad_body(self, what: str) -> BadBody:
        key = self._owner.oid.key
        return BadBody(f"the body of {key!r} ({self.start}-{self.stop}) {what}", key=key)

    def _leave(self, job: Callable[[], None]) -> None:
        amount, self._queued = self._queued, 0
        self._shared.backlog.leave(job, amount)

    def _write_some(self) -> None:
        if self.spilled:
            self._hold_tail()
        else:
            self._write_tail()

    def _conclude(self) -> None:
        self._sums_of_tail()
        if self._crc is not None and self._sums.whole() != self._crc:
            key = self._owner.oid.key
            what = f"the body of {key!r} does not match the checksum that the store sent"
            self._abandon(Unsound(what, key=key))
            return
        if self.spilled:
            self._hold_tail()
        elif self.stop > self.start:
            self._commit()
        self._owner.settle(self, None)

    def _abandon(self, error: StoreError) -> None:
        self._discard_file()
        self._owner.settle(self, error)
        self.release()

    def _sums_of_tail(self) -> None:
        """Include what was not included yet: a spilled fill needs no sums but for the whole."""
        pieces = self.tail[self._summed :]  # more may be added meanwhile
        for piece in pieces:
            self._sums.update(piece)
        self._summed += len(pieces)

    def _write_tail(self, trailer: bytes = b"") -> bool:
        """Write the tail, and the trailer behind it; False when the disk refuses."""
        self._sums_of_tail()
        count = self._summed
        pieces = self.tail[:count]
        try:
            file = self.file or self._create()
            write_at(file.fd, [*pieces, trailer], self.written_bytes)
        except OSError:
            self._spill()
            return False
        self._owner.written(self, file, count, sum(map(len, pieces)))
        self._summed = 0
        return True

    def _create(self) -> OpenFile:
        """Make the temporary file, once there is room for all of it."""
        owner = self._owner
        length = self.stop - self.start
        name = identity(owner.identity, self.start, self.stop)
        # One block more than the file, for the directory of the object.
        amount = charge(length + trailer_size(length, name)) + BLOCK
        if not self._shared.space.reserve(amount):
            raise OSError("the cache is full")
        self._reserved = amount
        fd, self._path = self._shared.space.create()
        return OpenFile(fd)

    def _commit(self) -> None:
        length = self.stop - self.start
        trailer = encode(
            self._sums.cells(), identity(self._owner.identity, self.start, self.stop), length
        )
        if not self._write_tail(trailer):
            return
        assert self.file is not None
        counted = self._owner.commit(self, self._path, self.file, charge(length + len(trailer)))
        if counted is None:
            self._spill()
            return
        if counted:
            self._path = ""  # it has another name now
        self._discard_file()
        self._shared.space.release(self._reserved - counted)
        self._reserved = 0

    def _spill(self) -> None:
        """Go on in memory. What the file holds stays readable through its descriptor."""
        self._discard_file()
        if self.file is None:
            self._release_disk()
        self.spilled = True
        self._shared.tally.add("cache.streamed_fills")
        self._hold_tail()

    def _hold_tail(self) -> None:
        """Count the tail as memory that stays."""
        amount = self.tail_bytes - self.held
        self.held += amount
        self._shared.memory.grow(amount)

    def _discard_file(self) -> None:
        if self._path:
            # What stays in the temporary directory is removed when the session is over.
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            self._path = ""
