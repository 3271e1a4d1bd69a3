"""Read a cache on local disk and check every byte of it.

This module works beside live mounts, on the directory alone; it knows no open `Cache`.
Concurrency rule: plain calls that block; objects that somebody uses are left alone and counted.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from s3mount.cache import at_rest, reclaim
from s3mount.cache.beside import bring_in_line, objects_of, open_beside
from s3mount.cache.extent import scratch_buffer
from s3mount.cache.layout import DATA, SHARDS, ByteRange, Layout, ObjectId, parse_extent_name
from s3mount.cache.open_file import read_fully
from s3mount.cache.trailer import CELL, CELL_SHIFT, Damaged, Trailer, check_cells, read_back

PIECE = 8 * CELL


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


def verify(root: Path, *, repair: bool) -> VerifyReport:
    """Read every extent and check every byte.

    Args:
        root: the directory.
        repair: remove what is damaged, unless somebody uses the object.

    Raises:
        CacheError: there is no cache that we may read.
        sqlite3.Error: the index is busy or cannot be read.
    """
    layout, index = open_beside(root)
    extents = checked = removed = leased = 0
    bad: list[BadExtent] = []
    try:
        for digest in (each for shard in SHARDS for each in objects_of(layout, shard)):
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
            bring_in_line(layout, index)
    finally:
        index.close()
    return VerifyReport(extents, checked, bad, removed, leased)


def verify_extent(path: str, digest: str) -> int:
    """Check one extent to its last byte.

    Args:
        path: of the file of the object, or of a trailer in its directory.
        digest: of the object.

    Returns:
        Its length.

    Raises:
        Damaged: it is not what was committed under this name.
        FileNotFoundError: it is gone.
    """
    is_apart = path.rpartition("/")[2] != digest
    with _opened(path) as fd:
        trailer = read_back(fd, is_apart=is_apart)
        _check_name(path, digest, trailer.oid, trailer.span)
        if not is_apart:
            return _check_bytes(fd, trailer, 0)
        try:
            with _opened(f"{path.rpartition('/')[0]}/{DATA}") as data:
                return _check_bytes(data, trailer, trailer.span.start)
        except (Damaged, FileNotFoundError) as error:
            if not os.fstat(fd).st_nlink:
                raise FileNotFoundError(path) from error  # evicted while it was read
            raise Damaged(str(error)) from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(f"cannot be opened: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _check_bytes(fd: int, trailer: Trailer, base: int) -> int:
    length = trailer.span.stop - trailer.span.start
    for at in range(0, length, PIECE):
        view = scratch_buffer(min(PIECE, length - at))
        read_fully(fd, view, base + at)
        check_cells(view, trailer.sums, at >> CELL_SHIFT)
    return length


def _check_name(path: str, digest: str, oid: ObjectId, span: ByteRange) -> None:
    name = path.rpartition("/")[2]
    claimed = ByteRange(0, oid.size) if name == digest else parse_extent_name(name)
    if oid.digest() != digest or span != claimed:
        raise Damaged("this is another extent's file")


def _remove(layout: Layout, digest: str, damaged: list[BadExtent]) -> bool:
    """Remove damaged extents; False when somebody uses the object."""
    path = layout.object(digest)
    try:
        with reclaim.alone(path) as (_, found):
            if stat.S_ISDIR(found.st_mode):
                bad = {extent.path for extent in damaged}
                at_rest.take(
                    path, [each for each in at_rest.contents(path).trailers if each.path in bad]
                )
            for extent in damaged:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(extent.path)
    except reclaim.Leased:
        return False
    except FileNotFoundError:
        pass  # somebody else removed it
    return True
