"""The cache of object bytes on local disk: what the rest of s3mount sees of this room.

It knows which bytes of which object version are on this machine, and keeps them within their
limits; it does not know where bytes come from or why they are wanted. Concurrency rule:
`open_object` and everything on a `CachedObject` may be called from any thread; `maintain` from
one thread only; no thread is started here.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from s3mount.cache.cached_object import CachedObject
from s3mount.cache.extent import OpenFiles
from s3mount.cache.fill import Fill, Waiter
from s3mount.cache.housekeeping import Housekeeping
from s3mount.cache.index import Index, Totals
from s3mount.cache.layout import ByteRange, Layout, ObjectId
from s3mount.cache.memory import MemoryBudget
from s3mount.cache.shared import Backlog, Job, Shared, Tally
from s3mount.cache.space import Limits, Space
from s3mount.metrics import Counters

__all__ = [
    "ByteRange",
    "Cache",
    "CachedObject",
    "Fill",
    "Limits",
    "ObjectId",
    "Usage",
    "Waiter",
]


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

    Args:
        root: the directory; made when it is not there.
        limits: how much it may take.
        counters: written by the thread that calls `maintain`.
        run: does work for the disk on another thread, job after job; without it the thread that
            brings bytes writes them.

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
    ) -> None:
        layout = Layout(root)
        layout.prepare()
        index = Index(layout)
        space = Space(layout, limits, index)
        self._shared = Shared(
            layout,
            space,
            OpenFiles(),
            MemoryBudget(limits.memory),
            Tally(),
            Backlog(run, limit=limits.memory // 2),
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

    def hold(self, held: CachedObject) -> None:
        """One holder more of an object that is held; called by the object."""
        with self._lock:
            self._holders[held.oid] += 1

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
        totals = self._housekeeping.totals() or Totals(0, 0, 0, swept=False)
        try:
            free = space.pressure(totals).free
        except OSError:
            free = 0
        memory = self._shared.memory.used
        return Usage(totals.cached, totals.granted, totals.objects, free, memory, space.limits)

    def close(self) -> None:
        """Count what was done and end the session. Objects must be closed before."""
        self._housekeeping.close()
        self._index.close()
