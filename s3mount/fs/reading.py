"""How a read gets its bytes: from the cache, from what is on its way, or by asking for them.

It knows windows and urgency; it knows no inode's meaning and no kernel. It runs on the event loop's thread.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from s3mount.cache.cache import Cache, CachedObject
from s3mount.cache.fill import Unsound
from s3mount.errors import BadBody, NotFound, ObjectChanged
from s3mount.fs.awaiting import called_back, settled
from s3mount.fs.open_objects import Arrival, OpenObject, OpenObjects
from s3mount.metrics import Counters
from s3mount.readahead.depth import Depths, Stream
from s3mount.readahead.openings import Openings
from s3mount.readahead.pace import Trip
from s3mount.readahead.window import PART_MIN, Plan, Span, Window, is_worth_ending
from s3mount.store.interface import Get, ObjectMeta
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Cancelled, Flight, Urgency
from s3mount.transfer.housekeeping import Offload

TRIES = 5
"""How often a read looks again when what it waited for was evicted, torn or cancelled in between."""
REVIEWED = PART_MIN
"""Bytes of sequential reading after which the depth of a window is reviewed, also when nothing was asked for."""


@dataclass(slots=True, eq=False)
class FileHandle:
    """One open file of a program.

    Attributes:
        inode: the number that was opened.
        is_confirmed: bytes of this version are here, so there is one.
        stream: the reader's pace.
        first: bytes that opening it fetched, cached ones included.
        opening: the requests for them.
        guesses: what was asked for ahead of the reader.
        is_judged: it is known whether the reader wanted the head of the object.
        review_at: the position from which the depth of the window is reviewed.
    """

    inode: int
    object: OpenObject
    window: Window
    is_confirmed: bool = False
    stream: Stream = field(default_factory=Stream)
    first: int = 0
    opening: list[Flight] = field(default_factory=list)
    guesses: list[Flight] = field(default_factory=list)
    is_judged: bool = False
    review_at: int = REVIEWED


class Reader:
    """Gets bytes of open objects.

    Args:
        engine: sends the GETs.
        cache: keeps the bytes.
        offload: runs reads that must wait for the disk.
        read_ahead: bytes ahead of a sequential reader at the most.
    """

    def __init__(self, engine: Engine, cache: Cache, offload: Offload, *, read_ahead: int) -> None:
        self.counters = Counters()
        self._engine = engine
        self._offload = offload
        self._read_ahead = read_ahead
        self._objects = OpenObjects(cache, engine.store.identity)
        self._depths = Depths(read_ahead, cache.usage().limits.memory)
        self._openings = Openings()

    def open(self, inode: int, meta: ObjectMeta, on_outdated: Callable[[], None]) -> FileHandle:
        """Open one version and start its download where it is not cached."""
        opened = self._objects.take(meta, on_outdated)
        handle = FileHandle(inode, opened, Window(meta.size, self._read_ahead))
        first = handle.window.opened(self._openings.first(meta.key))
        handle.first = first.stop
        handle.opening = self._fetch(opened, first, Urgency.NEEDED)
        # A flight that somebody else began says nothing yet either.
        handle.is_confirmed = not handle.opening and not opened.flights
        return handle

    async def confirm(self, handle: FileHandle) -> None:
        """Wait until the store has sent the first byte of the version that was opened.

        The wait costs nothing in sum, for a reader would wait for the same bytes; and it lets a refusal be the answer
        to open, where programs look for one.

        Raises:
            StoreError: the object cannot be read, or is another version by now.
        """
        opened, first = handle.object, Span(0, handle.window.asked_to)
        for left in reversed(range(TRIES)):
            try:
                await called_back(lambda ready: opened.cached.when_ready(0, 1, ready))
            except (Cancelled, Unsound):
                if not left:
                    raise
            # What failed before we began to wait told nobody, so it is asked for again.
            if not self._fetch(opened, first, Urgency.NEEDED):
                break
        handle.is_confirmed = True

    def close(self, handle: FileHandle) -> None:
        """Give a handle back; what was fetched for it alone is not fetched further."""
        self._drop_guesses(handle)
        self._depths.closed(handle.stream)
        self._objects.give_back(handle.object)

    def is_at_rest(self, meta: ObjectMeta) -> bool:
        """Whether an object is open to nobody and all of it is in the cache."""
        return self._objects.is_at_rest(meta)

    def warm(self, meta: ObjectMeta, on_outdated: Callable[[], None]) -> bool:
        """Fetch a small object that will probably be opened; whether a request was needed."""
        if self.is_at_rest(meta):
            return False
        opened = self._objects.take(meta, on_outdated)
        begun = self._fetch(opened, Span(0, meta.size), Urgency.SOON)
        self._objects.give_back(opened)
        return bool(begun)

    def read_now(self, handle: FileHandle, start: int, stop: int) -> memoryview | bytes | None:
        """The bytes when they are in memory; otherwise, or when more is wanted ahead, see that they come.

        The view is valid until the next read.
        """
        plan = handle.window.read(start, stop)
        cached = handle.object.cached
        data = cached.read_if_in_memory(start, stop)
        if data is None:
            self._fetch(handle.object, plan.needed, Urgency.NEEDED)
        else:
            self.counters.add("cache.hit_bytes", stop - start)
        if plan.is_jump:
            self._leave_path(handle, plan)
        elif plan.ahead:
            self._follow(handle, plan)
        elif handle.window.expected >= handle.review_at:
            self._review(handle)
        return data

    async def read(self, handle: FileHandle, start: int, stop: int) -> memoryview | bytes:
        """The bytes, however long they take; called after `read_now` did not have them.

        Raises:
            ObjectChanged: they are not cached, and the store has another version or none.
            StoreError: they could not be fetched.
        """
        opened, cached = handle.object, handle.object.cached
        self.counters.add("cache.miss_bytes", stop - start)
        for _ in range(TRIES):
            self._fetch(opened, Span(start, stop), Urgency.NEEDED)
            try:
                await called_back(lambda ready: cached.when_ready(start, stop, ready))
            except (Cancelled, Unsound):
                continue
            except NotFound as error:
                raise ObjectChanged("the object was deleted", key=opened.meta.key) from error
            data = cached.read_if_in_memory(start, stop)
            if data is None and not cached.missing(start, stop):
                data = await settled(self._offload.submit(lambda: _copy(cached, start, stop)))
            if data is not None:
                return data
        raise BadBody("the bytes could not be kept long enough to be read", key=opened.meta.key)

    def open_count(self) -> int:
        """How many handles are open."""
        return self._objects.handle_count()

    def cached_bytes(self, meta: ObjectMeta) -> int:
        """How many bytes of a version are in the cache."""
        opened = self._objects.take(meta, lambda: None)
        try:
            return opened.cached.cached_bytes()
        finally:
            self._objects.give_back(opened)

    def version_id(self, meta: ObjectMeta) -> str:
        """The version id of an object that is open, or was a moment ago, and has been read; otherwise empty."""
        opened = self._objects.find(meta)
        return opened.version_id if opened else ""

    def shut(self) -> None:
        """Let go of every object; the mount is over."""
        self._objects.close()

    def _follow(self, handle: FileHandle, plan: Plan) -> None:
        """Fetch what a sequential reader will want."""
        if handle.window.begun_at == 0:
            self._judge(handle, handle.window.expected)
        handle.guesses = [flight for flight in handle.guesses if not flight.is_over]
        self._forget_ended(handle.object)
        for span in plan.ahead:
            handle.guesses += self._fetch(handle.object, span, Urgency.SOON)
        self._review(handle)

    def _review(self, handle: FileHandle) -> None:
        """Say how deep the window may be from now on."""
        handle.review_at = handle.window.expected + REVIEWED
        handle.window.depth = self._depths.of(handle.stream, handle.window, monotonic())

    def _leave_path(self, handle: FileHandle, plan: Plan) -> None:
        """The reader went elsewhere: what it wanted no more is not fetched."""
        self._drop_guesses(handle)
        self._depths.jumped(handle.stream)
        handle.review_at = plan.needed.stop + REVIEWED
        if plan.needed.start < handle.first:
            return
        # It has no use for the head of the object now.
        self._judge(handle, handle.window.head)
        if handle.object.handles == 1:
            for flight in handle.opening:
                self._end_early(flight)
        handle.opening = []

    def _judge(self, handle: FileHandle, read: int) -> None:
        """Remember, once for each handle, how much of the object's head its reader wanted."""
        if not handle.is_judged:
            handle.is_judged = True
            self._openings.note(handle.object.meta.key, read)

    def _fetch(self, opened: OpenObject, span: Span, urgency: Urgency) -> list[Flight]:
        """Ask for what is missing of a span, hurry what is on its way; the new flights."""
        if span.start >= span.stop:
            return []
        meta = opened.meta
        begun = []
        for gap in opened.cached.missing(span.start, span.stop):
            fill = opened.cached.begin_fill(gap.start, gap.stop)
            whole = gap.start == 0 and gap.stop == meta.size
            request = Get(meta.key, meta.etag, gap.start, gap.stop, whole)
            flight = self._engine.get(request, Arrival(fill, opened), urgency)
            opened.flights.append((Span(gap.start, gap.stop), flight))
            begun.append(flight)
        if urgency is Urgency.NEEDED and opened.flights:
            self._hurry(opened, span)
        return begun

    def _hurry(self, opened: OpenObject, span: Span) -> None:
        self._forget_ended(opened)
        for under_way, flight in opened.flights:
            if under_way.start < span.stop and span.start < under_way.stop:
                self._engine.promote(flight, Urgency.NEEDED)

    def _forget_ended(self, opened: OpenObject) -> None:
        """Forget flights that are over; those that brought all at the first try tell of the line."""
        coming = []
        for span, flight in opened.flights:
            if not flight.is_over:
                coming.append((span, flight))
            elif flight.received == span.stop - span.start and not flight.attempts:
                self._depths.pace.note(_trip_of(flight))
        opened.flights = coming

    def _drop_guesses(self, handle: FileHandle) -> None:
        for flight in handle.guesses:
            # What somebody waits for was promoted by them and is a guess no more.
            if flight.urgency is Urgency.SOON:
                self._end_early(flight)
        handle.guesses = []

    def _end_early(self, flight: Flight) -> None:
        asked = flight.asked
        assert isinstance(asked, Get)
        if not flight.is_over and is_worth_ending(flight.received, asked.stop - asked.start):
            self._engine.cancel(flight)


def _trip_of(flight: Flight) -> Trip:
    times = flight.sent_at, flight.first_at, flight.ended_at
    return Trip(*times, flight.received, flight.at_once)


def _copy(cached: CachedObject, start: int, stop: int) -> bytes | None:
    data = cached.read(start, stop)
    return None if data is None else bytes(data)
