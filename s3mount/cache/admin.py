"""What the command line does to a cache: look, prune, clear, pin.

This module works beside live mounts, on the directory alone; it knows no open `Cache`.
Concurrency rule: plain calls that block; objects that somebody uses are left alone and counted.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from s3mount.cache import pin_rows, pins, reclaim, session
from s3mount.cache.beside import bring_in_line, clock, objects_of, open_beside
from s3mount.cache.evict import Victim
from s3mount.cache.former import Former
from s3mount.cache.housekeeping import evict_bytes
from s3mount.cache.index import Index, StoreTotal
from s3mount.cache.layout import SHARDS, Layout, is_digest
from s3mount.cache.pin_file import check_name
from s3mount.cache.pin_rows import Cached, PinInfo
from s3mount.errors import CacheError

EVERYTHING = 1 << 62


class CacheInfo(NamedTuple):
    """A cache at one moment; sizes in bytes.

    Attributes:
        root: the directory.
        used: on disk.
        reserved: promised to running processes.
        pinned: of ``used``, what is never evicted.
        objects: object versions of which bytes are here.
        free: on the file system.
        stores: the same for each endpoint and bucket.
    """

    root: Path
    used: int
    reserved: int
    pinned: int
    objects: int
    free: int
    stores: list[StoreTotal]


class PruneReport(NamedTuple):
    """What `prune` and `clear` did.

    Attributes:
        freed: bytes of disk.
        objects: how many were removed, whole or in part.
        leased: how many stay because somebody uses them.
        pinned: how many stay because they are pinned.
        orphans: files that belonged to nothing and were removed.
    """

    freed: int
    objects: int
    leased: int
    pinned: int
    orphans: int


class PinReport(NamedTuple):
    """What `pin` found; sizes in bytes on disk.

    Attributes:
        objects: object versions below the prefix of which bytes are cached.
        cached_bytes: of all of these.
        wanted_bytes: what they take when they are whole.
        added: how many of them were not in the pin before.
    """

    objects: int
    cached_bytes: int
    wanted_bytes: int
    added: int


def info(root: Path) -> CacheInfo:
    """What is in a cache.

    Raises:
        CacheError: there is no cache that we may read.
        sqlite3.Error: the index is busy or cannot be read.
    """
    layout, index = open_beside(root)
    try:
        pins.catch_up(layout, index)
        totals = index.totals()
        stores = index.by_store()
    finally:
        index.close()
    system = os.statvfs(layout.home)
    free = system.f_bavail * system.f_frsize
    return CacheInfo(
        root, totals.cached, totals.granted, totals.pinned, totals.objects, free, stores
    )


def prune(
    root: Path,
    *,
    to_bytes: int | None = None,
    older_than: float | None = None,
    orphans: bool = True,
) -> PruneReport:
    """Make a cache smaller. What is pinned stays.

    Args:
        root: the directory.
        to_bytes: evict the least recently used objects until no more than this is used.
        older_than: evict all objects that were not used since this time, seconds since the epoch.
        orphans: remove leftovers of dead processes and rows and files that belong to nothing.

    Raises:
        CacheError: there is no cache that we may change.
        sqlite3.Error: the index is busy or cannot be read.
    """
    layout, index = open_beside(root)
    now = clock()
    freed = leased = pinned = found = 0
    try:
        if orphans:
            found = _remove_orphans(layout, index)
        before = index.totals()
        if older_than is not None:
            some, leased = evict_bytes(layout, index, EVERYTHING, now, before=older_than)
            freed += some
            pinned = _pinned_before(index, older_than)
        if to_bytes is not None and (excess := index.totals().cached - to_bytes) > 0:
            some, busy = evict_bytes(layout, index, excess, now)
            freed += some
            leased = max(leased, busy)
            pinned = max(pinned, _pinned_before(index, now) if some < excess else 0)
        removed = before.objects - index.totals().objects
    finally:
        index.close()
    return PruneReport(freed, max(0, removed), leased, pinned, found)


def clear(root: Path, *, pinned_too: bool = False) -> PruneReport:
    """Remove every object that nobody uses, whatever the index says of it.

    Args:
        root: the directory.
        pinned_too: also what is pinned; the pins stay, and hold it again when it is fetched again.

    Raises:
        CacheError: there is no cache that we may change.
        sqlite3.Error: the index is busy or cannot be read.
    """
    layout, index = open_beside(root)
    freed = objects = leased = kept = 0
    try:
        orphans = _remove_orphans(layout, index)
        pins.catch_up(layout, index)
        for shard in SHARDS:
            pinned = set() if pinned_too else _pinned_of(index, shard)
            for digest in objects_of(layout, shard):
                if digest in pinned:
                    kept += 1
                    continue
                outcome = reclaim.evict(layout, Victim(digest, EVERYTHING, whole=True))
                freed += outcome.freed
                objects += outcome.gone
                leased += outcome.leased
        bring_in_line(layout, index)
    finally:
        index.close()
    return PruneReport(freed, objects, leased, kept, orphans)


def pin(root: Path, name: str, store: str, prefix: str) -> PinReport:
    """Pin what is cached of a store below a prefix now, whole objects and parts.

    Args:
        root: the directory.
        name: of the pin; one that is there is added to.
        store: `Store.identity`.
        prefix: of the keys.

    Raises:
        ConfigError: a pin cannot be called so.
        CacheError: there is no cache that we may change, nothing is cached there, or the pin cannot be written.
        sqlite3.Error: the index is busy or cannot be read.
    """
    check_name(name)
    layout, index = open_beside(root)
    try:
        found = _cached_below(layout, index, store, prefix)
        if not found:
            raise CacheError(
                f"nothing is cached of {prefix or 'any object'!r} in {store}",
                hint="fetch it first, with s3mount prefetch or by reading it through a mount",
            )
        added = pins.add(layout, index, name, (each.oid for each in found))
    finally:
        index.close()
    wanted = sum(pin_rows.whole_cost(each.oid) for each in found)
    return PinReport(len(found), sum(each.cached_bytes for each in found), wanted, added)


def unpin(root: Path, name: str) -> int:
    """Forget a pin; returns how many objects were in it.

    Raises:
        ConfigError: a pin cannot be called so.
        CacheError: there is no cache that we may change, or no such pin.
        sqlite3.Error: the index is busy or cannot be read.
    """
    check_name(name)
    layout, index = open_beside(root)
    try:
        return pins.remove(layout, index, name)
    finally:
        index.close()


def all_pins(root: Path) -> list[PinInfo]:
    """All pins, by name.

    Raises:
        CacheError: there is no cache that we may read.
        sqlite3.Error: the index is busy or cannot be read.
    """
    layout, index = open_beside(root)
    try:
        return pins.infos(layout, index)
    finally:
        index.close()


def _cached_below(layout: Layout, index: Index, store: str, prefix: str) -> list[Cached]:
    uncounted = [
        each
        for each in _uncounted(layout, index)
        if each.oid.store == store and each.oid.key.startswith(prefix)
    ]
    # After the disk: what a mount counts in between is found twice rather than not at all.
    counted = index.transact(lambda db: pin_rows.cached_below(db, store, prefix), write=False)
    return list({each.oid: each for each in (*uncounted, *counted)}.values())


def _uncounted(layout: Layout, index: Index) -> Iterator[Cached]:
    """What a mount has written and not counted yet, or a new index does not know yet."""
    for shard in SHARDS:
        rows = index.shard(shard)
        for digest in objects_of(layout, shard):
            oid = None if digest in rows else reclaim.identify(layout.object(digest))
            if oid is not None and oid.digest() == digest:
                yield Cached(oid, reclaim.measure(layout.object(digest))[0])


def _pinned_before(index: Index, before: float) -> int:
    return index.transact(lambda db: pin_rows.pinned_objects(db, before), write=False)


def _pinned_of(index: Index, shard: str) -> set[str]:
    return index.transact(lambda db: pin_rows.of_shard(db, shard), write=False)


def _remove_orphans(layout: Layout, index: Index) -> int:
    before = len(os.listdir(layout.tmp))
    reclaim.remove_leftovers(layout, "")
    found = before - len(os.listdir(layout.tmp))
    former = Former(layout)
    former.remove(EVERYTHING)
    found += former.removed
    dead = reclaim.dead_sessions(layout, index, "")
    for shard in SHARDS:
        for name in _strangers(layout.shard(shard)):
            os.unlink(name)
            found += 1
    bring_in_line(layout, index)
    for name in dead:
        index.end_session(name)
        session.forget(layout, name)
    return max(0, found)


def _strangers(shard: str) -> list[str]:
    """Files in a shard that are no object's."""
    try:
        with os.scandir(shard) as entries:
            return [
                entry.path for entry in entries if entry.is_file() and not is_digest(entry.name)
            ]
    except FileNotFoundError:
        return []
