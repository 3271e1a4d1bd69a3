"""Open files: which version, what is on its way, and how a read gets its bytes.

One `OpenObject` stands for all handles of one version, so their requests are shared; each `FileHandle` has its own
window. Concurrency rule: everything here runs on the event loop's thread, but for `_Arrival`, which the engine calls.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from s3mount.cache.cache import Cache, CachedObject, Fill
from s3mount.cache.layout import ObjectId
from s3mount.errors import BadBody, NotFound, ObjectChanged, StoreError
from s3mount.fs.awaiting import called_back, settled
from s3mount.metrics import Counters
from s3mount.prefetch.window import Plan, Span, Window
from s3mount.store.interface import Get, Head, ObjectMeta
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Cancelled, Flight, Urgency
from s3mount.transfer.housekeeping import Offload

TRIES = 5
"""How often a read looks again when what it waited for was evicted, torn or cancelled in between."""


class _Arrival:
    """A fill that also tells the open object what the reply says of its version."""

    __slots__ = ("_fill", "_owner", "finish", "write")

    def __init__(self, fill: Fill, owner: "OpenObject") -> None:
        self._fill = fill
        self._owner = owner
        self.write = fill.write
        self.finish = fill.finish

    def head(self, head: Head) -> None:
        self._owner.version_id = head.version_id
        self._fill.head(head)

    def fail(self, error: StoreError) -> None:
        if isinstance(error, ObjectChanged | NotFound):
            self._owner.on_outdated()
        self._fill.fail(error)


@dataclass(slots=True, eq=False)
class OpenObject:
    """One version of an object that some handle has open.

    Attributes:
        cached: its bytes, and the lease on them.
        version_id: as a reply named it; empty when none did.
        on_outdated: called, on any thread, when the store turns out to have another version.
    """

    meta: ObjectMeta
    cached: CachedObject
    on_outdated: Callable[[], None]
    version_id: str = ""
    handles: int = 0
    flights: list[tuple[Span, Flight]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class FileHandle:
    """One open file of a program.

    Attributes:
        is_confirmed: bytes of this version are here, so there is one.
    """

    inode: int
    object: OpenObject
    window: Window
    is_confirmed: bool = False
    guesses: list[Flight] = field(default_factory=list)


class Reader:
    """Gets bytes of open objects: from the cache, from what is on its way, or by asking for them.

    Args:
        engine: sends the GETs.
        cache: keeps the bytes.
        offload: runs reads that must wait for the disk.
        read_ahead: bytes ahead of a sequential reader at the most.
    """

    def __init__(self, engine: Engine, cache: Cache, offload: Offload, *, read_ahead: int) -> None:
        self.counters = Counters()
        self._engine = engine
        self._cache = cache
        self._offload = offload
        self._read_ahead = read_ahead
        self._objects: dict[tuple[str, str], OpenObject] = {}

    def open(self, inode: int, meta: ObjectMeta, on_outdated: Callable[[], None]) -> FileHandle:
        """Open one version and start its download where it is not cached."""
        opened = self._open_object(meta, on_outdated)
        handle = FileHandle(inode, opened, Window(meta.size, self._read_ahead))
        handle.is_confirmed = not self._fetch(opened, handle.window.opened(), Urgency.NEEDED)
        return handle

    async def confirm(self, handle: FileHandle) -> None:
        """Wait until the store has sent the first byte of the version that was opened.

        The wait costs nothing in sum, for a reader would wait for the same bytes; and it lets a refusal be the answer
        to open, where programs look for one.

        Raises:
            StoreError: the object cannot be read, or is another version by now.
        """
        cached = handle.object.cached
        await called_back(lambda ready: cached.when_ready(0, 1, ready))
        handle.is_confirmed = True

    def close(self, handle: FileHandle) -> None:
        """Give a handle back; what was fetched for it alone is not fetched further."""
        self._drop_guesses(handle)
        opened = handle.object
        opened.handles -= 1
        if opened.handles == 0:
            self._objects.pop((opened.meta.key, opened.meta.etag), None)
            opened.cached.close()

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
        if plan.ahead or plan.is_jump:
            self._follow(handle, plan)
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
            except Cancelled:
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
        return sum(opened.handles for opened in self._objects.values())

    def cached_bytes(self, meta: ObjectMeta) -> int:
        """How many bytes of a version are in the cache."""
        cached = self._cache.open_object(self._identity(meta))
        try:
            return cached.cached_bytes()
        finally:
            cached.close()

    def version_id(self, meta: ObjectMeta) -> str:
        """The version id of an object that is open and has been read, otherwise empty."""
        opened = self._objects.get((meta.key, meta.etag))
        return opened.version_id if opened else ""

    def _identity(self, meta: ObjectMeta) -> ObjectId:
        return ObjectId(self._engine.store.identity, meta.key, meta.etag, meta.size)

    def _open_object(self, meta: ObjectMeta, on_outdated: Callable[[], None]) -> OpenObject:
        opened = self._objects.get((meta.key, meta.etag))
        if opened is None:
            cached = self._cache.open_object(self._identity(meta))
            opened = self._objects[meta.key, meta.etag] = OpenObject(meta, cached, on_outdated)
        opened.handles += 1
        return opened

    def _follow(self, handle: FileHandle, plan: Plan) -> None:
        if plan.is_jump:
            self._drop_guesses(handle)
        handle.guesses = [flight for flight in handle.guesses if not flight.is_over]
        for span in plan.ahead:
            handle.guesses += self._fetch(handle.object, span, Urgency.SOON)

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
            flight = self._engine.get(request, _Arrival(fill, opened), urgency)
            opened.flights.append((Span(gap.start, gap.stop), flight))
            begun.append(flight)
        if urgency is Urgency.NEEDED and opened.flights:
            self._hurry(opened, span)
        return begun

    def _hurry(self, opened: OpenObject, span: Span) -> None:
        opened.flights = [pair for pair in opened.flights if not pair[1].is_over]
        for under_way, flight in opened.flights:
            if under_way.start < span.stop and span.start < under_way.stop:
                self._engine.promote(flight, Urgency.NEEDED)

    def _drop_guesses(self, handle: FileHandle) -> None:
        for flight in handle.guesses:
            # What somebody waits for was promoted by them and is a guess no more.
            if not flight.is_over and flight.urgency is Urgency.SOON:
                self._engine.cancel(flight)
        handle.guesses = []


def _copy(cached: CachedObject, start: int, stop: int) -> bytes | None:
    data = cached.read(start, stop)
    return None if data is None else bytes(data)
