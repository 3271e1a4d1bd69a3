"""Taking bytes away from the disk: evictions, leftovers of dead processes, wrong rows.

This module removes files and reads directories; whom to remove is told to it, or decided in
`evict`. Concurrency rule: an object is touched only under an exclusive lock that nobody's lease
shares, so several processes may do this at once.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from s3mount.cache import at_rest, stamp
from s3mount.cache.evict import Victim
from s3mount.cache.index import Index
from s3mount.cache.layout import DATA, Layout, ObjectId, is_digest, session_of
from s3mount.cache.session import is_alive
from s3mount.cache.trailer import Damaged, charge, read_back

SETTLED = 60.0
"""Seconds after which a live process has counted what it committed: it flushes every second or
so. Younger files are left to it, or they would be counted twice."""


class Outcome(NamedTuple):
    """What became of a victim.

    Attributes:
        freed: bytes of disk.
        gone: nothing of it is left.
        leased: somebody uses it, and nothing was done.
    """

    freed: int = 0
    gone: bool = False
    leased: bool = False


class Leased(Exception):
    """Somebody uses this object."""


@contextlib.contextmanager
def alone(path: str) -> Iterator[tuple[int, os.stat_result]]:
    """Hold an object that nobody uses; yields its descriptor and what it is.

    Raises:
        Leased: somebody uses it.
        OSError: it is not there.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(fd)
        if os.lstat(path).st_ino != found.st_ino:
            raise Leased  # replaced between the two calls: somebody is at work there
        yield fd, found
    except BlockingIOError as error:
        raise Leased from error
    finally:
        os.close(fd)


def evict(layout: Layout, victim: Victim) -> Outcome:
    """Take bytes from an object unless it is leased; from the end first when not all must go."""
    path = layout.object(victim.digest)
    try:
        with alone(path) as (_, found):
            if stat.S_ISREG(found.st_mode):
                os.unlink(path)
                return Outcome(charge(found.st_size), gone=True)
            return _evict_directory(path, victim)
    except Leased:
        return Outcome(leased=True)
    except FileNotFoundError:
        return Outcome(gone=True)


def _evict_directory(path: str, victim: Victim) -> Outcome:
    if not victim.whole:
        freed = at_rest.take_from_end(path, victim.give_up)
        if at_rest.contents(path).trailers:
            return Outcome(freed)
        return Outcome(freed + at_rest.remove(path), gone=True)
    return Outcome(at_rest.remove(path), gone=True)


def remove_leftovers(layout: Layout, own: str) -> int:
    """Remove what dead processes were writing; returns the bytes freed.

    Args:
        layout: which cache.
        own: the session that asks, which is alive.
    """
    freed = 0
    known = {own: True}
    for name in os.listdir(layout.tmp):
        session = session_of(name)
        if session not in known:
            known[session] = is_alive(layout, session)
        if not known[session]:
            path = f"{layout.tmp}/{name}"
            with contextlib.suppress(FileNotFoundError):
                size = os.lstat(path).st_size
                os.unlink(path)
                freed += charge(size)
    return freed


def dead_sessions(layout: Layout, index: Index, own: str) -> set[str]:
    """Sessions whose process ended without a word."""
    names = set(index.sessions()) | set(os.listdir(layout.sessions))
    return {name for name in names if name != own and not is_alive(layout, name)}


def sweep_shard(
    layout: Layout, index: Index, shard: str, now: float, *, settled: float = SETTLED
) -> int:
    """Bring the rows of one shard in line with what is on disk.

    Args:
        layout: which cache.
        index: its index.
        shard: two digits.
        now: seconds since the epoch.
        settled: files changed in the last so many seconds are left alone.

    Returns:
        How many entries were looked at.
    """
    rows = index.shard(shard)  # before the disk: what comes or goes in between errs towards
    "full"
    found: list[tuple[str, ObjectId, int, float]] = []
    drifted: list[tuple[str, int, int]] = []
    try:
        names = os.listdir(layout.shard(shard))
    except FileNotFoundError:
        names = []
    for name in filter(is_digest, names):
        said = rows.pop(name, None)
        size, changed = measure(layout.object(name), mends=True)
        if not size or changed > now - settled:
            continue
        if said is None:
            oid = identify(layout.object(name))
            if oid is not None and oid.digest() == name:
                found.append((name, oid, size, changed))
            else:
                evict(layout, Victim(name, 0, whole=True))
        elif said != size:
            drifted.append((name, size, said))
    if found or drifted or rows:
        index.correct(found, drifted, list(rows))
    return len(names)


def measure(path: str, *, mends: bool = False) -> tuple[int, float]:
    """What an object costs the limit, and when it last changed; zeros when it is not there.

    Args:
        path: of the object.
        mends: give back what belongs to nothing, unless somebody uses the object.
    """
    try:
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode):
            return charge(found.st_size), found.st_mtime
        inside = at_rest.contents(path)
        changed = max(found.st_mtime, inside.data.st_mtime if inside.data else 0.0)
        excess = inside.unaccounted() if mends else 0
        return inside.cost() + (excess and _left_over(path, excess)), changed
    except FileNotFoundError:
        return 0, 0.0


def _left_over(path: str, excess: int) -> int:
    """What stays of bytes that belong to nothing. Those of a leased object may be on their way, and are reserved."""
    try:
        with alone(path):
            return 0 if at_rest.mend(path) else excess
    except (Leased, FileNotFoundError):
        return 0


def identify(path: str) -> ObjectId | None:
    """Which object a file or directory belongs to, by the first whole trailer in it."""
    is_directory = os.path.isdir(path)
    for extent in extents_of(path):
        with contextlib.suppress(Damaged, OSError):
            fd = os.open(extent, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return read_back(fd, is_apart=is_directory).oid
            finally:
                os.close(fd)
    return None


def extents_of(path: str) -> list[str]:
    """The files of an object that have a trailer, whether it is one file or a directory."""
    try:
        names = [name for name in os.listdir(path) if name not in (DATA, stamp.NAME)]
        return sorted(f"{path}/{name}" for name in names)
    except NotADirectoryError:
        return [path]
    except FileNotFoundError:
        return []
