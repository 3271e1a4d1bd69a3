"""Bytes of one object on their way to disk, readable from the moment they arrive.

This module gathers, writes, checks and hands a finished extent to its object; it does not know
where on disk that is (see `landing`), nor who reads. Concurrency rule: `head`, `write`, `finish` and
`fail` come from one thread, in that order, and touch no disk; what they leave to do is done in the
same order by the jobs of the backlog, on one other thread (or at once, where there is none).
Everything a reader needs changes under the object's lock, and a reader takes a `snapshot` under it
and copies without it.
"""

import time
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple, Protocol

from s3mount.cache.directory import Taken
from s3mount.cache.landing import Landing, land, land_late
from s3mount.cache.layout import ByteRange, ObjectId
from s3mount.cache.on_disk import OnDisk
from s3mount.cache.open_file import OpenFile, read_fully
from s3mount.cache.shared import Shared
from s3mount.cache.trailer import Damaged, RunningSums
from s3mount.cache.waiting import Waiter
from s3mount.errors import BadBody, CacheFull, S3MountError, StoreError
from s3mount.store.interface import Head
from s3mount.store.pieces import write_at

GATHER = 256 * 1024
"""Bytes written by one job: a job costs more than a call."""
WITHHELD = 1024 * 1024
"""A body up to this size whose checksum is told is checked before anybody reads it: the kernel keeps what was read."""
PATIENCE = 300.0
"""Seconds that bytes stay in memory because somebody else writes them: longer than any request may take."""


class Unsound(BadBody):
    """All bytes came and they are not the object's; nobody has tried again yet."""


class Owner(Protocol):
    """The object that a fill belongs to, as the fill sees it."""

    oid: ObjectId
    on_disk: OnDisk

    def arrived(self, fill: "Fill", piece: bytes) -> None:
        """Add bytes to the fill's tail, under the lock, and wake who waited for them."""

    def written(self, fill: "Fill", file: OpenFile, pieces: int, count: int) -> None:
        """The first ``pieces`` of the tail, ``count`` bytes, are in the file now."""

    def is_sound(self, fill: "Fill") -> None:
        """All bytes are here and may be read, although the fill is not over."""

    def settle(self, fill: "Fill", error: StoreError | None) -> None:
        """The fill is over; a spilled one is kept in memory."""

    def forget(self, fill: "Fill") -> None:
        """The finished fill's memory is needed elsewhere."""


class Snapshot(NamedTuple):
    """What has arrived of a fill at one moment."""

    file: OpenFile | None
    base: int
    written: int
    tail: list[bytes]
    offsets: list[int]

    def copy(self, begin: int, target: memoryview) -> bool:
        """Copy from offset ``begin`` of the fill; False when the disk keeps the bytes."""
        from_file = max(0, min(self.written - begin, len(target)))
        if from_file:
            assert self.file is not None
            if not read_fully(self.file.fd, target[:from_file], self.base + begin):
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
    memory and are readable until the object is closed or the memory is needed. Where somebody else writes
    some of the same bytes they stay there as well, until they are all here: then what nobody else has written
    is written, and where ``settled`` is to be told of it the fill waits for the rest.

    Attributes:
        spilled: the bytes are in memory.
        is_deferred: it waits, or waited, for others who write the same bytes; it is settled on the thread of
            `Cache.maintain`.
    """

    __slots__ = (
        "_crc",
        "_done",
        "_give_up_at",
        "_landing",
        "_late",
        "_owner",
        "_queued",
        "_shared",
        "_summed",
        "_sums",
        "awaited",
        "base",
        "broken",
        "file",
        "held",
        "is_deferred",
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
        self.base = 0
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
        self.is_deferred = False
        self.held = 0
        self._owner = owner
        self._shared = shared
        self._sums = RunningSums()
        self._summed = 0
        self._landing: Landing | None = None
        self._late = False
        self._give_up_at = 0.0

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
        return Snapshot(self.file, self.base, self.written_bytes, self.tail, self.offsets)

    def empty(self) -> None:
        """Hold nothing any more: the fill is over, and what it brought is read from its extent, or not at all.

        Whoever still has the fill would keep the file open, and an object whose file is open cannot be mended.
        """
        self.file = None
        self.tail, self.offsets = [], []

    def drop(self) -> None:
        """Forget a finished fill that was kept in memory."""
        self._owner.forget(self)

    def release(self) -> None:
        """Give back memory and disk that no reader can reach any more."""
        if self.spilled:
            self._shared.memory.forget(self, self.held)
        if self._landing is not None:
            self._landing.give_up()
            self._landing = None

    def unkept(self) -> CacheFull | None:
        """Why whole bytes are not in the cache for others, None when they are."""
        if not self.spilled:
            return None
        key = self._owner.oid.key
        if self._late:
            return CacheFull(
                f"another process holds the place of {key!r} in the cache",
                hint="try again when it is done",
            )
        return CacheFull(
            f"the cache has no room for {key!r}",
            hint="raise --cache-size, lower --cache-min-free, or make room with s3mount cache prune",
        )

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
        if not self.spilled and self.stop > self.start:
            self._commit()
        if self.spilled:
            self._hold_tail()
        if self._late:
            self._give_up_at = time.monotonic() + PATIENCE
            self.is_deferred = not self._land_late()
        if self.is_deferred:
            self._owner.is_sound(self)
            self._shared.deferred.add(self._look_again)
        else:
            self._owner.settle(self, None)

    def _abandon(self, error: StoreError) -> None:
        self.release()
        self._owner.settle(self, error)

    def _sums_of_tail(self) -> None:
        """Include what was not included yet: a spilled fill needs no sums but for the whole."""
        pieces = self.tail[self._summed :]  # more may be added meanwhile
        for piece in pieces:
            self._sums.update(piece)
        self._summed += len(pieces)

    def _write_tail(self, *, is_end: bool = False) -> bool:
        """Write the tail, and what ends it; False when that cannot be."""
        self._sums_of_tail()
        count = self._summed
        pieces = self.tail[:count]
        try:
            landing = self._landing or self._land()
            end = landing.end(self._sums) if is_end else b""
            write_at(landing.file.fd, [*pieces, end], landing.base + self.written_bytes)
        except Taken:
            self._spill(late=True)
            return False
        except OSError:
            self._spill()
            return False
        self._owner.written(self, landing.file, count, sum(map(len, pieces)))
        self._summed = 0
        return True

    def _land(self) -> Landing:
        span = ByteRange(self.start, self.stop)
        landing = self._landing = land(self._owner.on_disk, self._shared, span)
        self.base = landing.base
        return landing

    def _commit(self) -> None:
        if not self._write_tail(is_end=True):
            return
        assert self._landing is not None
        try:
            is_committed = self._landing.commit(self._sums)
        except OSError:
            self._spill()
            return
        if is_committed:
            self._landing = None
        else:
            self._spill(late=True)

    def _spill(self, *, late: bool = False) -> None:
        """Go on in memory. What the file holds stays readable, and ours."""
        if self.file is None and self._landing is not None:
            self._landing.give_up()
            self._landing = None
        self.spilled = True
        self._late = late
        if not late:
            self._shared.tally.add("cache.streamed_fills")
        self._hold_tail()

    def _land_late(self) -> bool:
        """Write what nobody else has; False when it matters that somebody is still writing a part."""
        span = ByteRange(self.start, self.stop)
        on_disk = self._owner.on_disk
        try:
            is_there = land_late(on_disk, self._shared, span, self.snapshot())
            is_coming = not is_there and on_disk.is_being_written(*span)
        except (OSError, Damaged):
            self._late = False
            return True
        if is_there:
            self.release()
            self.spilled = self._late = False
        return self.settled is None or not is_coming

    def _look_again(self) -> bool:
        """Whether a deferred fill is over now, one way or the other."""
        if not self._land_late() and time.monotonic() < self._give_up_at:
            return False
        self._owner.settle(self, None)
        return True

    def _hold_tail(self) -> None:
        """Count the tail as memory that stays."""
        amount = self.tail_bytes - self.held
        self.held += amount
        self._shared.memory.grow(amount)
