"""Versions of objects that are open: one entry for all handles of one version, so that their requests are shared.

Small objects stay open for a moment after their last handle: what was fetched ahead is opened next, and what was opened
is often opened again. Concurrency rule: the event loop's thread, but for `Arrival`, which the engine calls.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from s3mount.cache.cache import Cache, CachedObject, Fill
from s3mount.cache.layout import ObjectId
from s3mount.errors import NotFound, ObjectChanged, StoreError
from s3mount.readahead.window import Span
from s3mount.store.descriptors import limit, share
from s3mount.store.interface import Head, ObjectMeta
from s3mount.transfer.flight import Flight

LINGER_EACH = 256 * 1024
"""Bytes of an object that may stay open after its last handle: larger ones gain little, and hold up eviction."""
LINGER_TOTAL = 32 * 1024 * 1024
LINGER_SHARE = 16
"""Of the cache's limit, the part (one in so many) that may be held like that: a small cache must still evict."""
LINGER_COUNT = 4096
"""Each keeps its file in the cache open. A tree of sources or a package is read again and again, each file for a
moment; to open one anew costs half as much again as to find it open."""


@dataclass(slots=True, eq=False)
class OpenObject:
    """One version of an object that some handle has open.

    Attributes:
        cached: its bytes, and the lease on them.
        on_outdated: called, on any thread, when the store turns out to have another version.
        version_id: as a reply named it; empty when none did.
        handles: who has it open.
        flights: what is on its way, and some that have ended.
    """

    meta: ObjectMeta
    cached: CachedObject
    on_outdated: Callable[[], None]
    version_id: str = ""
    handles: int = 0
    flights: list[tuple[Span, Flight]] = field(default_factory=list)


class Arrival:
    """A fill that also tells the open object what the reply says of its version."""

    __slots__ = ("_fill", "_owner", "finish", "write")

    def __init__(self, fill: Fill, owner: OpenObject) -> None:
        self._fill = fill
        self._owner = owner
        self.write = fill.write
        self.finish = fill.finish

    def head(self, head: Head) -> None:
        """The version is confirmed."""
        self._owner.version_id = head.version_id
        self._fill.head(head)

    def fail(self, error: StoreError) -> None:
        """It failed; perhaps because there is another version by now."""
        if isinstance(error, ObjectChanged | NotFound):
            self._owner.on_outdated()
        self._fill.fail(error)


class OpenObjects:
    """All of them, by key and ETag.

    Args:
        cache: keeps their bytes.
        store: the identity of the store that they are in.
    """

    def __init__(self, cache: Cache, store: str) -> None:
        self._cache = cache
        self._store = store
        self._objects: dict[tuple[str, str], OpenObject] = {}
        self._lingering: OrderedDict[tuple[str, str], OpenObject] = OrderedDict()
        self._lingering_bytes = 0
        self._limit = min(LINGER_TOTAL, cache.usage().limits.max_bytes // LINGER_SHARE)
        self._most = share(LINGER_COUNT, limit())

    def take(self, meta: ObjectMeta, on_outdated: Callable[[], None]) -> OpenObject:
        """One handle more of a version."""
        version = (meta.key, meta.etag)
        opened = self._objects.get(version)
        if opened is None:
            identity = ObjectId(self._store, meta.key, meta.etag, meta.size)
            cached = self._cache.open_object(identity)
            opened = self._objects[version] = OpenObject(meta, cached, on_outdated)
        elif self._lingering.pop(version, None) is not None:
            self._lingering_bytes -= meta.size
            opened.on_outdated = on_outdated
        opened.handles += 1
        return opened

    def give_back(self, opened: OpenObject) -> None:
        """One handle less."""
        opened.handles -= 1
        if opened.handles:
            return
        version = (opened.meta.key, opened.meta.etag)
        if opened.meta.size > LINGER_EACH:
            self._shut(version)
            return
        self._lingering[version] = opened
        self._lingering_bytes += opened.meta.size
        while len(self._lingering) > self._most or self._lingering_bytes > self._limit:
            oldest, dropped = self._lingering.popitem(last=False)
            self._lingering_bytes -= dropped.meta.size
            self._shut(oldest)

    def find(self, meta: ObjectMeta) -> OpenObject | None:
        """A version that is open."""
        return self._objects.get((meta.key, meta.etag))

    def is_at_rest(self, meta: ObjectMeta) -> bool:
        """Whether a version is open to nobody and all of it is in the cache; a tenth of what opening it costs."""
        if (meta.key, meta.etag) in self._objects:
            return False
        return self._cache.is_there(ObjectId(self._store, meta.key, meta.etag, meta.size))

    def handle_count(self) -> int:
        """How many handles there are."""
        return sum(opened.handles for opened in self._objects.values())

    def close(self) -> None:
        """Shut everything."""
        for version in list(self._objects):
            self._shut(version)
        self._lingering.clear()

    def _shut(self, version: tuple[str, str]) -> None:
        self._objects.pop(version).cached.close()
