"""What is done with each object of a download: left alone, written, copied from the cache, or fetched.

Concurrency rule: everything is called on the engine's thread, but for `SaveTask.close`, and for the ends of objects
that the worker has copied.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from s3mount.bulk import refusals
from s3mount.bulk.copying import Copied, NotCached
from s3mount.bulk.keys import FilePath, KeyMap, Unplaceable
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.bulk.receiving import Damaged, Small, Streamed
from s3mount.bulk.roads import End, Roads, Room, Stoppable
from s3mount.bulk.session import Session
from s3mount.bulk.target import Target
from s3mount.bulk.wanted import DiskFull, Wanted
from s3mount.cache.layout import ObjectId
from s3mount.store.interface import ObjectMeta

if TYPE_CHECKING:
    from s3mount.cache.cache import Cache

MIB = 1 << 20
PART = 8 * MIB
"""Bytes in one GET at the most: what S3's own clients use."""
LIMITED_PART = 1 * MIB
"""The same under a limit of bandwidth: what has been asked for comes, however fast."""
PARTS_EACH = 16
"""GETs of one large object at once: that many fill any link."""
SMALL = 256 * 1024
"""Bytes of objects that are gathered whole and written in one go."""
TRIES_WHEN_DAMAGED = 3
STOP_SECONDS = 30.0
"""How long the disk may take for its last write when a run is broken off."""

Done = Callable[[Outcome], None]


class Wishes(NamedTuple):
    """What is done with each object.

    Attributes:
        skip_existing: a file that is there with the object's size and time is left alone.
        dry_run: write and fetch nothing.
        use_cache: copy what the cache has.
        jobs: objects under way at once at the most.
    """

    skip_existing: bool
    dry_run: bool
    use_cache: bool
    jobs: int


class _Order(NamedTuple):
    meta: ObjectMeta
    wanted: Wanted
    done: Done
    tries: int = 1


class SaveTask:
    """Brings one object after the other into its file; a `pipeline.Task`.

    Attributes:
        disk_full: set when nothing more can be written.

    Args:
        session: an open one.
        keys: give objects their paths.
        target: where the files are.
        wishes: what is done with each.
    """

    def __init__(self, session: Session, keys: KeyMap, target: Target, wishes: Wishes) -> None:
        memory = session.caching.limits.memory
        # Small objects may take half of the memory, parts of larger ones the rest.
        self._small = min(SMALL, memory // (2 * wishes.jobs))
        room = Room(max(PART, memory - self._small * wishes.jobs))
        part = LIMITED_PART if session.max_bandwidth else PART
        self._roads = Roads(session.engine, session.writer, target, room, part, PARTS_EACH)
        self._path_of = keys.path_of
        self._skips_existing, self._is_dry_run = wishes.skip_existing, wishes.dry_run
        self._store = session.store.identity
        self._cache: Cache | None = None
        if wishes.use_cache and session.caching.holds_something():
            self._cache = session.cache
        self.disk_full: DiskFull | None = None
        # Of the engine's thread.
        self._under_way: set[Stoppable] = set()
        self._is_stopping = False
        self._idle = threading.Event()

    def begin(self, meta: ObjectMeta, done: Done) -> bool:
        """See `Task.begin`."""
        try:
            path = self._path_of(meta.key)
        except Unplaceable as error:
            done(Outcome(meta, Ending.FAILED, error=error))
            return True
        wanted = self.wanted(meta, path)
        target = self._roads.target
        if self._skips_existing and target.holds(wanted):
            done(Outcome(meta, Ending.PRESENT, place=target.place(path)))
        elif self._is_dry_run:
            done(Outcome(meta, Ending.LISTED, place=target.place(path)))
        elif meta.archived:
            done(Outcome(meta, Ending.FAILED, error=refusals.archived(meta)))
        elif not meta.size:
            done(self._empty(meta, wanted))
        elif self._cache is not None and self.is_cached(meta):
            self._copy(self._cache, _Order(meta, wanted, done))
        else:
            self._fetch(_Order(meta, wanted, done))
        return True

    def wanted(self, meta: ObjectMeta, path: FilePath) -> Wanted:
        """The file that an object becomes."""
        return Wanted(meta.key, path, meta.size, meta.mtime_ns)

    def is_cached(self, meta: ObjectMeta) -> bool:
        """Whether an object is copied from the cache, without a reply that tells of it."""
        return self._cache is not None and self._cache.is_whole(self._id_of(meta))

    def _id_of(self, meta: ObjectMeta) -> ObjectId:
        return ObjectId(self._store, meta.key, meta.etag, meta.size)

    def close(self) -> bool:
        """Stop what is under way, and wait until nothing of it is left; not on the engine's thread.

        Returns:
            Whether nothing is left.
        """
        self._roads.engine.call(self._stop)
        return self._idle.wait(STOP_SECONDS)

    def _empty(self, meta: ObjectMeta, wanted: Wanted) -> Outcome:
        """The listing tells all of an empty object."""
        try:
            self._roads.target.write(wanted, b"")
        except Exception as error:
            self._note(error)
            return Outcome(meta, Ending.FAILED, error=error)
        return Outcome(meta, Ending.FETCHED, place=self._roads.target.place(wanted.path))

    def _fetch(self, order: _Order) -> None:
        over = partial(self._fetched, order)
        if order.meta.size <= self._small:
            self._under_way.add(Small(self._roads, order.meta, order.wanted, over))
        else:
            streamed = Streamed(self._roads, order.meta, order.wanted, over)
            self._under_way.add(streamed)
            streamed.send()

    def _copy(self, cache: "Cache", order: _Order) -> None:
        try:
            file = self._roads.target.begin(order.wanted)
        except Exception as error:
            self._note(error)
            order.done(Outcome(order.meta, Ending.FAILED, error=error))
            return
        held = cache.open_object(self._id_of(order.meta))
        self._under_way.add(Copied(self._roads, held, file, partial(self._copied, order)))

    def _again(self, order: _Order, way: Stoppable) -> None:
        if not self._is_stopping:
            self._fetch(order)
        self._forget(way)

    def _stop(self) -> None:
        self._is_stopping = True
        small = [way for way in self._under_way if isinstance(way, Small)]
        self._roads.engine.cancel_small(small)
        for way in list(self._under_way):
            way.stop()
        self._forget(None)

    def _forget(self, way: Stoppable | None) -> None:
        if way is not None:
            self._under_way.discard(way)
        if self._is_stopping and not self._under_way:
            self._idle.set()

    # On the engine's thread, or the worker's.

    def _fetched(self, order: _Order, way: Stoppable, end: End) -> None:
        if isinstance(end.error, Damaged) and order.tries < TRIES_WHEN_DAMAGED:
            again = order._replace(tries=order.tries + 1)
            self._roads.engine.call(lambda: self._again(again, way))
        else:
            self._ended(order, way, Ending.FETCHED, end)

    def _copied(self, order: _Order, way: Stoppable, end: End) -> None:
        if isinstance(end.error, NotCached):
            self._roads.engine.call(lambda: self._again(order, way))
        else:
            self._ended(order, way, Ending.COPIED, end)

    def _ended(self, order: _Order, way: Stoppable, ending: Ending, end: End) -> None:
        error, fetched, seconds, version_id = end
        meta, wanted, done, _ = order
        if error is None:
            place = self._roads.target.place(wanted.path)
            done(Outcome(meta, ending, fetched, seconds, None, place, version_id))
        else:
            self._note(error)
            done(Outcome(meta, Ending.FAILED, fetched, seconds, refusals.with_hint(error)))
        if isinstance(way, Small):
            self._forget(way)
        else:
            self._roads.engine.call(lambda: self._forget(way))

    def _note(self, error: Exception) -> None:
        if isinstance(error, DiskFull):
            self.disk_full = self.disk_full or error
