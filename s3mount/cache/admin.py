"""What the command line does to a cache: look, verify, prune, clear.

This module works beside live mounts, on the directory alone; it knows no open `Cache`.
Concurrency rule: plain calls that block; objects that somebody uses are left alone and counted.
"""

import os
import time
from pathlib import Path
from typing import NamedTuple

from s3mount.cache import reclaim, session
from s3mount.cache.evict import Victim
from s3mount.cache.extent import scratch_buffer
from s3mount.cache.housekeeping import evict_bytes
from s3mount.cache.index import Index, StoreTotal
from s3mount.cache.layout import (
    SHARDS,
    ByteRange,
    Layout,
    ObjectId,
    is_digest,
    parse_extent_name,
)
from s3mount.cache.trailer import CELL, CELL_SHIFT, Damaged, check_cells, read_back
from s3mount.errors import CacheError

PATIENCE = 10.0
"""Seconds that a command waits for a mount's transaction."""
PIECE = 8 * CELL
EVERYTHING = 1 << 62


class CacheInfo(NamedTuple):
    """A cache at one moment; sizes in bytes.

    Attributes:
        root: the directory.
        used: on disk.
        reserved: promised to running processes.
        objects: object versions of which bytes are here.
        free: on the file system.
        stores: the same for each endpoint and bucket.
    """

    root: Path
    used: int
    reserved: int
    objects: int
    free: int
    stores: list[StoreTotal]


class BadExtent(NamedTuple):
    """An extent that is not what was committed."""

    path: str
    reason: str


class VerifyReport(NamedTuple):
    """What `verify` found.

    Attributes:
        extents: how many were read.
        checked: bytes of object that were read.
        bad: those that are damaged.
        removed: how many of these were taken away.
        leased: how many of these stay because somebody uses the object; readers notice by
            themselves.
    """

    extents: int
    checked: int
    bad: list[BadExtent]
    removed: int
    leased: int


class PruneReport(NamedTuple):
    """What `prune` and `clear` did.

    Attributes:
        freed: bytes of disk.
        objects: how many were removed, whole or in part.
        leased: how many stay because somebody uses them.
        orphans: files that belonged to nothing and were removed.
    """

    freed: int
    objects: int
    leased: int
    orphans: int


def info(root: Path) -> CacheInfo:
    """What is in a cache.

    Raises:
        CacheError: there is no cache that we may read.
        sqlite3.Error: the index is busy or cannot be read.
    """
    layout, index = _open(root)
    try:
        totals = index.totals()
        stores = index.by_store()
    finally:
        index.close()
    system = os.statvfs(layout.home)
    free = system.f_bavail * system.f_frsize
    return CacheInfo(root, totals.cached, totals.granted, totals.objects, free, stores)


def verify(root: Path, *, repair: bool) -> VerifyReport:
    """Read every extent and check every byte.

    Args:
        root: the directory.
        repair: remove what is damaged, unless somebody uses the object.

    Raises:
        CacheError: there is no cache that we may read.
        sqlite3.Error: the index is busy or cannot be read.
    """
    layout, index = _open(root)
    extents = checked = removed = leased = 0
    bad: list[BadExtent] = []
    try:
        for digest in _objects(layout):
            damaged = []
            for path in reclaim.extents_of(layout.object(digest)):
                extents += 1
                try:
                    checked += verify_extent(path, digest)
                except Damaged as error:
                    damaged.append(BadExtent(path, str(error)))
                except FileNotFoundError:
                    extents -= 1
            bad += damaged
            if repair and damaged:
                if _remove(layout, digest, damaged):
                    removed += len(damaged)
                else:
                    leased += len(damaged)
        if removed:
            _settle(layout, index)
    finally:
        index.close()
    return VerifyReport(extents, checked, bad, removed, leased)


def prune(
    root: Path,
    *,
    to_bytes: int | None = None,
    older_than: float | None = None,
    orphans: bool = True,
) -> PruneReport:
    """Make a cache smaller.

    Args:
        root: the directory.
        to_bytes: evict the least recently used objects until no more than this is used.
        older_than: evict all objects that were not used since this time, seconds since the epoch.
        orphans: remove leftovers of dead processes and rows and files that belong to nothing.

    Raises:
        CacheError: there is no cache that we may change.
        sqlite3.Error: the index is busy or cannot be read.
    """
    layout, index = _open(root)
    now = _now()
    freed = leased = found = 0
    try:
        if orphans:
            found = _remove_orphans(layout, index)
        before = index.totals()
        if older_than is not None:
            some, leased = evict_bytes(layout, index, EVERYTHING, now, before=older_than)
            freed += some
        if to_bytes is not None and (excess := index.totals().cached - to_bytes) > 0:
            some, busy = evict_bytes(layout, index, excess, now)
            freed += some
            leased = max(leased, busy)
        removed = before.objects - index.totals().objects
    finally:
        index.close()
    return PruneReport(freed, max(0, removed), leased, found)


def clear(root: Path) -> PruneReport:
    """Remove every object that nobody uses, pinned ones too, whatever the index says.

    Raises:
        CacheError: there is no cache that we may change.
        sqlite3.Error: the index is busy or cannot be read.
    """
    layout, index = _open(root)
    freed = objects = leased = 0
    try:
        orphans = _remove_orphans(layout, index)
        for digest in _objects(layout):
            outcome = reclaim.evict(layout, Victim(digest, EVERYTHING, whole=True))
            freed += outcome.freed
            objects += outcome.gone
            leased += outcome.leased
        _settle(layout, index)
    finally:
        index.close()
    return PruneReport(freed, objects, leased, orphans)


def verify_extent(path: str, digest: str) -> int:
    """Check one extent to its last byte.

    Returns:
        Its length.

    Raises:
        Damaged: it is not what was committed under this name.
        FileNotFoundError: it is gone.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(f"cannot be opened: {error.strerror}") from error
    try:
        return _verify_open(fd, path, digest)
    except OSError as error:
        raise Damaged(f"cannot be read: {error.strerror}") from error
    finally:
        os.close(fd)


def _verify_open(fd: int, path: str, digest: str) -> int:
    trailer = read_back(fd)
    _check_name(path, digest, trailer.oid, trailer.span)
    length = trailer.span.stop - trailer.span.start
    for at in range(0, length, PIECE):
        view = scratch_buffer(min(PIECE, length - at))
        if os.preadv(fd, [view], at) != len(view):
            raise Damaged("the file ends too soon")
        check_cells(view, trailer.sums, at >> CELL_SHIFT)
    return length


def _check_name(path: str, digest: str, oid: ObjectId, span: ByteRange) -> None:
    name = path.rpartition("/")[2]
    claimed = ByteRange(0, oid.size) if name == digest else parse_extent_name(name)
    if oid.digest() != digest or span != claimed:
        raise Damaged("this is another extent's file")


def _open(root: Path) -> tuple[Layout, Index]:
    layout = Layout(root)
    if not os.path.isdir(layout.home):
        raise CacheError(f"there is no cache in {root}", hint="name its directory with --cache-dir")
    layout.prepare()
    return layout, Index(layout, patience=PATIENCE)


def _objects(layout: Layout) -> list[str]:
    """All objects, read shard by shard; those that come later are left out."""
    found: list[str] = []
    for shard in SHARDS:
        try:
            found += filter(is_digest, os.listdir(layout.shard(shard)))
        except FileNotFoundError:
            continue
    return found


def _remove(layout: Layout, digest: str, damaged: list[BadExtent]) -> bool:
    """Remove damaged extents; False when somebody uses the object."""
    try:
        with reclaim.alone(layout.object(digest)):
            for extent in damaged:
                os.unlink(extent.path)
    except reclaim.Leased:
        return False
    except FileNotFoundError:
        pass  # somebody else removed it
    return True


def _remove_orphans(layout: Layout, index: Index) -> int:
    before = len(os.listdir(layout.tmp))
    reclaim.remove_leftovers(layout, "")
    found = before - len(os.listdir(layout.tmp))
    dead = reclaim.dead_sessions(layout, index, "")
    for shard in SHARDS:
        for name in _strangers(layout.shard(shard)):
            os.unlink(name)
            found += 1
    _settle(layout, index)
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


def _settle(layout: Layout, index: Index) -> None:
    """Bring all rows in line with the disk."""
    for shard in SHARDS:
        reclaim.sweep_shard(layout, index, shard, _now(), settled=0.0)


def _now() -> float:
    return time.clock_gettime(time.CLOCK_REALTIME)
