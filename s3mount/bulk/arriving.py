"""One object on its way into the cache: in one go, in one GET, or in several of which some are under way at once.

All tell their end once, as a `Trip`; what to do about an error is not decided here. Concurrency rule: begun on the
engine's thread; so is their end told.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from isal import isal_zlib

from s3mount.cache.layout import ByteRange
from s3mount.errors import S3MountError, StoreError
from s3mount.store.interface import Get, Head, ObjectMeta
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Flight, Sink, Urgency

if TYPE_CHECKING:
    from s3mount.cache.cache import CachedObject, Fill, Vacancy


class Trip(NamedTuple):
    """How the way of an object ended.

    Attributes:
        error: what went wrong, None when everything that was asked for is in the cache.
        fetched: bytes that came.
        seconds: from the first request to the end.
        version_id: as a reply named it; empty where none did.
    """

    error: S3MountError | None
    fetched: int
    seconds: float
    version_id: str


Over = Callable[[ObjectMeta, Trip], None]


class AtOnce:
    """A small object of which nothing is here: nothing is made for it but its request and its file.

    What cannot be kept in one go is kept as all others are, and so is what does not come in one go.

    Args:
        engine: sends its request.
        meta: which object.
        vacancy: where it goes.
        opened: opens the object, for the other way.
        over: told of the end, on the engine's thread.
    """

    __slots__ = (
        "_began",
        "_engine",
        "_meta",
        "_opened",
        "_over",
        "_sink",
        "_vacancy",
        "etag",
        "key",
        "size",
    )

    def __init__(
        self,
        engine: Engine,
        meta: ObjectMeta,
        vacancy: "Vacancy",
        opened: Callable[[], "CachedObject"],
        over: Over,
    ) -> None:
        self._began = time.monotonic()
        self._engine = engine
        self.key, self.size, self.etag = meta[:3]
        self._meta = meta
        self._vacancy = vacancy
        self._opened = opened
        self._over = over
        self._sink: OneGet | None = None
        engine.get_small(self)

    def arrived(self, head: Head, body: bytes) -> None:
        """All of it is here; see `Parcel.arrived`."""
        is_sound = head.crc32 is None or isal_zlib.crc32(body) == head.crc32
        if is_sound and self._vacancy.take(body):
            seconds = time.monotonic() - self._began
            self._over(self._meta, Trip(None, len(body), seconds, head.version_id))
            return
        self.head(head)
        self.write(body)
        self.finish()

    def head(self, head: Head) -> None:
        """The version is confirmed; see `Sink.head`."""
        gap = ByteRange(0, self.size)
        self._sink = OneGet(
            self._engine, self._meta, self._opened(), gap, self._over, began=self._began
        )
        self._sink.head(head)

    def write(self, chunk: bytes) -> None:
        """The next bytes; see `Sink.write`."""
        assert self._sink is not None
        self._sink.write(chunk)

    def finish(self) -> None:
        """All bytes came; see `Sink.finish`."""
        assert self._sink is not None
        self._sink.finish()

    def fail(self, error: StoreError) -> None:
        """There will be no more bytes; see `Sink.fail`."""
        if self._sink is not None:
            self._sink.fail(error)
        else:
            self._over(self._meta, Trip(error, 0, time.monotonic() - self._began, ""))


class OneGet:
    """An object that comes in one GET; it is the sink of that GET.

    Args:
        engine: sends it.
        meta: which object.
        held: where the bytes go; closed at the end.
        gap: which bytes.
        over: told of the end, on the engine's thread.
        began: when the GET was asked for, where it was before.
    """

    __slots__ = (
        "_began",
        "_engine",
        "_fill",
        "_held",
        "_meta",
        "_over",
        "_version_id",
        "fail",
        "finish",
        "write",
    )

    def __init__(
        self,
        engine: Engine,
        meta: ObjectMeta,
        held: "CachedObject",
        gap: ByteRange,
        over: Over,
        *,
        began: float | None = None,
    ) -> None:
        self._began = time.monotonic() if began is None else began
        self._engine = engine
        self._meta = meta
        self._held = held
        self._over = over
        self._version_id = ""
        self._fill = fill = held.begin_fill(gap.start, gap.stop, self._settled)
        self.write = fill.write
        self.finish = fill.finish
        self.fail = fill.fail

    @classmethod
    def sent(
        cls, engine: Engine, meta: ObjectMeta, held: "CachedObject", gap: ByteRange, over: Over
    ) -> "OneGet":
        """One whose GET is asked for."""
        one = cls(engine, meta, held, gap, over)
        engine.get(_get(meta, gap), one, Urgency.WARM)
        return one

    def head(self, head: Head) -> None:
        """The version is confirmed; see `Sink.head`."""
        self._version_id = head.version_id
        self._fill.head(head)

    def _settled(self, error: S3MountError | None) -> None:
        fill = self._fill
        fill.settled = (
            None  # it would keep this alive, and its file open, until the garbage is collected
        )
        fetched = fill.pos - fill.start
        self._held.close()
        trip = Trip(error, fetched, time.monotonic() - self._began, self._version_id)
        if fill.is_deferred:
            self._engine.call(lambda: self._over(self._meta, trip))
        else:
            self._over(self._meta, trip)


class Budget:
    """How many GETs of objects in parts may be under way; the first one of each object always may.

    Args:
        limit: of all objects together.
        each: of one object.
    """

    def __init__(self, limit: int, each: int) -> None:
        self.limit = limit
        self.each = each
        self.under_way = 0

    def allows(self, own: int) -> bool:
        """Whether an object that has ``own`` GETs under way may send one more."""
        return own == 0 or (own < self.each and self.under_way < self.limit)


class ManyGets:
    """An object that comes in several GETs, in order, a few at a time. Lives on the engine's thread.

    Args:
        engine: sends them.
        meta: which object.
        held: where the bytes go; closed at the end.
        parts: which bytes, at least one.
        budget: how many at once.
        over: told of the end, on the engine's thread.
    """

    def __init__(
        self,
        engine: Engine,
        meta: ObjectMeta,
        held: "CachedObject",
        parts: deque[ByteRange],
        budget: Budget,
        over: Over,
    ) -> None:
        self._began = time.monotonic()
        self._engine = engine
        self._meta = meta
        self._held = held
        self._parts = parts
        self._budget = budget
        self._over = over
        self._flights: dict[Fill, Flight] = {}
        self._error: S3MountError | None = None
        self._fetched = 0
        self.version_id = ""
        self._send()

    def _send(self) -> None:
        while self._parts and self._budget.allows(len(self._flights)):
            self._begin(self._parts.popleft())

    def _begin(self, part: ByteRange) -> None:
        self._budget.under_way += 1
        fill = self._held.begin_fill(*part, lambda error: self._settled(fill, error))
        sink: Sink = _Part(self, fill)
        self._flights[fill] = self._engine.get(_get(self._meta, part), sink, Urgency.WARM)

    def _settled(self, fill: "Fill", error: S3MountError | None) -> None:
        """The fill is over."""
        fill.settled = None
        self._engine.call(lambda: self._ended(fill, error))

    def _ended(self, fill: "Fill", error: S3MountError | None) -> None:
        self._budget.under_way -= 1
        self._fetched += fill.pos - fill.start
        del self._flights[fill]
        if error is not None and self._error is None:
            self._error = error
            self._parts.clear()
            for flight in self._flights.values():
                self._engine.cancel(flight)
        self._send()
        if not self._flights:
            self._held.close()
            seconds = time.monotonic() - self._began
            self._over(self._meta, Trip(self._error, self._fetched, seconds, self.version_id))


class _Part:
    """The sink of one of several GETs."""

    __slots__ = ("_fill", "_owner", "fail", "finish", "write")

    def __init__(self, owner: ManyGets, fill: "Fill") -> None:
        self._owner = owner
        self._fill = fill
        self.write = fill.write
        self.finish = fill.finish
        self.fail = fill.fail

    def head(self, head: Head) -> None:
        """The version is confirmed; see `Sink.head`."""
        self._owner.version_id = head.version_id
        self._fill.head(head)


def _get(meta: ObjectMeta, gap: ByteRange) -> Get:
    whole = gap.start == 0 and gap.stop == meta.size
    return Get(meta.key, meta.etag, gap.start, gap.stop, whole)


def split(gaps: list[ByteRange], part: int) -> deque[ByteRange]:
    """Ranges cut where multiples of ``part`` bytes are, so that extents of all runs fit together."""
    parts: deque[ByteRange] = deque()
    for start, stop in gaps:
        while start < stop:
            end = min(stop, (start // part + 1) * part)
            parts.append(ByteRange(start, end))
            start = end
    return parts
