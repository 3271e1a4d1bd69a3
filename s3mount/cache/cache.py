"""The cache of object bytes on local disk: what the rest of s3mount sees of this room.

It knows which bytes of which object version are on this machine, and keeps them within their
limits; it does not know where bytes come from or why they are wanted. Concurrency rule:
`open_object` and everything on a `CachedObject` may be called from any thread; `maintain` from
one thread only; no thread is started here.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from s3mount.cache import pin_rows, pins, vacancy
from s3mount.cache.cached_object import CachedObject
from s3mount.cache.demand import Demand
from s3mount.cache.fill import Fill
from s3mount.cache.housekeeping import Housekeeping
from s3mount.cache.index import Index, Totals
from s3mount.cache.layout import ByteRange, Layout, ObjectId
from s3mount.cache.limits import Limits
from s3mount.cache.memory import MemoryBudget
from s3mount.cache.pin_rows import PinInfo
from s3mount.cache.shared import Backlog, Deferred, Job, Shared, Tally
from s3mount.cache.space import Space
from s3mount.cache.trailer import cost_on_disk
from s3mount.cache.vacancy import Vacancy
from s3mount.cache.waiting import Waiter
from s3mount.cache.whole import is_whole
from s3mount.errors import CacheError
from s3mount.metrics import Counters

__all__ = [
    "ByteRange",
    "Cache",
    "CachedObject",
    "Fill",
    "Limits",
    "ObjectId",
    "PinInfo",
    "Usage",
    "Vacancy",
    "Waiter",
    "cost_on_disk",
]

TRIES = 40
"""Times that a busy index is asked, some 2 seconds."""

T = TypeVar("T")


class Usage(NamedTuple):
    """How full the cache is; sizes in bytes.

    Attributes:
        used: on disk, by all processes.
        reserved: promised to processes that are about to write.
        objects: object versions of which bytes are here.
        free: on the file system, for us.
        memory: held by this process for lack of disk.
        limits: what it may take.
    """

    used: int
    reserved: int
    objects: int
    free: int
    memory: int
    limits: Limits


class Cache:
    """One process's view of a cache directory.

    Attributes:
        demand: when a reader of any process last waited for the store.

    Args:
        root: the directory; made when it is not there.
        limits: how much it may take.
        counters: written by the thread that calls `maintain`.
        run: does work for the disk on another thread, job after job; without it the thread that
            brings bytes writes them.
        attention: see the property; without, it is made.

    Raises:
        CacheError: the directory cannot be used, or others could tamper with it.
    """

    def __init__(
        self,
        root: Path,
        limits: Limits,
        *,
        counters: Counters,
        run: Callable[[Job], None] | None = None,
        attention: threading.Event | None = None,
    ) -> None:
        layout = Layout(root)
        layout.prepare()
        index = Index(layout)
        self.demand = Demand(layout)
        space = Space(layout, limits, index, attention or threading.Event())
        self._shared = Shared(
            layout,
            space,
            MemoryBudget(limits.memory),
            Tally(),
            Backlog(run, limit=limits.memory // 2),
            Deferred(),
        )
        self._housekeeping = Housekeeping(self._shared, index, counters)
        self._index = index
        self._lock = threading.Lock()
        # Guarded by the lock. Invariant: an object is here exactly while it has holders.
        self._objects: dict[ObjectId, CachedObject] = {}
        self._holders: dict[ObjectId, int] = {}

    def open_object(self, oid: ObjectId) -> CachedObject:
        """Hold an object: what is cached of it is not evicted until `CachedObject.close`."""
        with self._lock:
            held = self._objects.get(oid)
            if held is None:
                held = self._objects[oid] = CachedObject(oid, self._shared, self)
                self._holders[oid] = 0
            self._holders[oid] += 1
        held.load()
        return held

    def hold(self, held: CachedObject) -> bool:
        """One holder more; False when the last one has just left. Called by the object."""
        with self._lock:
            if self._objects.get(held.oid) is not held:
                return False
            self._holders[held.oid] += 1
            return True

    def let_go(self, held: CachedObject) -> None:
        """One holder less; the last one shuts the object. Called by the object."""
        with self._lock:
            self._holders[held.oid] -= 1
            if self._holders[held.oid]:
                return
            del self._holders[held.oid], self._objects[held.oid]
        held.shut()

    def maintain(self, now: float) -> None:
        """Count, evict and clean up; call about every second and whenever `attention` is set.

        Args:
            now: seconds since the epoch, as files and other processes count them.
        """
        self._housekeeping.run(now)

    @property
    def attention(self) -> threading.Event:
        """Set when `maintain` has something to do at once; `maintain` clears it."""
        return self._shared.space.attention

    def usage(self) -> Usage:
        """How full the cache is: two short queries."""
        space = self._shared.space
        totals = self._housekeeping.totals() or Totals(0, 0, 0, 0, swept=False)
        try:
            free = space.pressure(totals).free
        except OSError:
            free = 0
        memory = self._shared.memory.used
        return Usage(totals.cached, totals.granted, totals.objects, free, memory, space.limits)

    def is_whole(self, oid: ObjectId) -> bool:
        """Whether all of an object version is on disk, and counts as used now; about 10 us, and nothing is held.

        Only names and sizes are looked at. What is not pinned may be evicted at any time after.
        """
        digest = oid.digest()
        found = is_whole(self._shared.layout, oid, digest)
        if found:
            self._shared.space.touch(digest, oid)
        return found

    def is_there(self, oid: ObjectId) -> bool:
        """The same for who does not use it."""
        return is_whole(self._shared.layout, oid, oid.digest())

    def vacancy(self, oid: ObjectId) -> Vacancy | None:
        """Where an object version would be that comes all at once; None where it is too large, or something is there.

        About 15 us, and nothing is held.
        """
        if not 0 < oid.size <= vacancy.MOST:
            return None
        digest = oid.digest()
        path = self._shared.layout.object(digest)
        if os.access(path, os.F_OK):
            return None
        return Vacancy(path, self._shared.space, oid, digest)

    def room(self) -> int:
        """Bytes on disk that a new selection could take and keep, when all goes that is not pinned.

        Hold it against the sum of `cost_on_disk`. Other processes may take room at any time.

        Raises:
            CacheError: the index cannot be asked.
            OSError: the file system does not answer, or a pin cannot be read.
        """
        index = self._index

        def work() -> int:
            pins.catch_up(self._shared.layout, index)
            totals = index.totals()
            pinned = totals.pinned
            if not totals.swept:  # the rows of pinned objects may still be missing
                pinned = index.transact(pin_rows.wanted_bytes, write=False)
            return self._shared.space.room_to_fill(totals, pinned)

        return _asking(work)

    def pinned_bytes(self, oids: Iterable[ObjectId]) -> int:
        """Bytes on disk of those of some object versions that are pinned: `room` does not count them.

        Raises:
            CacheError: the index cannot be asked.
        """
        held = list(oids)
        return _asking(
            lambda: self._index.transact(
                lambda db: pin_rows.held_bytes(db, lambda: (oid.digest() for oid in held)),
                write=False,
            )
        )

    def pin(self, name: str, oids: Iterable[ObjectId]) -> int:
        """Add object versions to a pin, cached or not: what is cached of them, now and later, is not evicted.

        May be called again and again for one pin, and takes ``oids`` a batch at a time; what this has returned for is
        pinned whatever happens. Pin what is to be fetched before it is fetched.

        Returns:
            How many were not in the pin before.

        Raises:
            ConfigError: a pin cannot be called so.
            CacheError: the pin cannot be written.
        """
        return pins.add(self._shared.layout, self._index, name, oids)

    def unpin(self, name: str) -> int:
        """Forget a pin; its objects may be evicted, unless another pin holds them.

        Returns:
            How many objects were in it.

        Raises:
            ConfigError: a pin cannot be called so.
            CacheError: there is no such pin, or the index cannot be asked.
        """
        return _asking(lambda: pins.remove(self._shared.layout, self._index, name))

    def pins(self) -> list[PinInfo]:
        """All pins, by name; reads every row of them.

        Raises:
            CacheError: the index cannot be asked.
        """
        return _asking(lambda: pins.infos(self._shared.layout, self._index))

    def close(self) -> None:
        """Count what was done and end the session. Objects must be closed before."""
        self._housekeeping.close()
        self._index.close()


def _asking(work: Callable[[], T]) -> T:
    for _ in range(TRIES - 1):
        try:
            return work()
        except sqlite3.Error:
            continue  # busy, or broken and made anew at the next try
    try:
        return work()
    except sqlite3.Error as error:
        raise CacheError(
            f"the index of the cache cannot be used: {error}",
            hint="try again; is a mount very busy?",
        ) from error
