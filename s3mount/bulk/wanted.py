"""A file that is to be there: what is known of it, how its bytes are written, and what stands in the way in words."""

import errno
import os
from typing import NamedTuple

from s3mount.bulk.folders import NotWritable
from s3mount.bulk.keys import FilePath
from s3mount.store.pieces import SHORT, write_at

SECOND = 1_000_000_000


class DiskFull(NotWritable):
    """The disk, or the user's share of it, has no room: nothing more can be written."""


class Collision(NotWritable):
    """Another key has the same path."""


class Wanted(NamedTuple):
    """A file that is to be there.

    Attributes:
        key: of the object, for messages.
        path: where.
        size: bytes.
        mtime_ns: its modification time, nanoseconds since the epoch.
        mode: its permissions; None for what is usual.
    """

    key: str
    path: FilePath
    size: int
    mtime_ns: int
    mode: int | None = None


def fill(descriptor: int, wanted: Wanted, body: bytes) -> None:
    """Write a whole body, and set its time and mode."""
    size = len(body)
    if size > SHORT or os.pwrite(descriptor, body, 0) != size:
        write_at(descriptor, (body,), 0)
    describe(descriptor, wanted)


def describe(descriptor: int, wanted: Wanted) -> None:
    """Set the time and the mode of an open file."""
    os.utime(descriptor, ns=(wanted.mtime_ns, wanted.mtime_ns))
    if wanted.mode is not None:
        os.fchmod(descriptor, wanted.mode)


def same_time(found_ns: int, wanted_ns: int) -> bool:
    """Whether two times are the same; where one of them knows whole seconds only, in seconds."""
    if found_ns == wanted_ns:
        return True
    is_coarse = not found_ns % SECOND or not wanted_ns % SECOND
    return is_coarse and found_ns // SECOND == wanted_ns // SECOND


def translated(error: OSError, path: FilePath) -> NotWritable:
    """An error of the file system, in words that say what to do."""
    shown = repr(str(path))
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        whose = "the disk is full" if error.errno == errno.ENOSPC else "your quota is used up"
        return DiskFull(
            f"{whose}: {shown} cannot be written",
            hint="make room and run the same command with --skip-existing: it goes on from there",
        )
    if error.errno in {errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST}:
        return NotWritable(
            f"{shown} is a directory, and a file is needed in its place",
            hint="a file cannot be a directory too: leave one of the keys out with --exclude",
        )
    return NotWritable(f"{shown} cannot be written: {error.strerror or error}")


def collision(wanted: Wanted, why: str) -> Collision:
    """The error for a key whose path is another one's."""
    return Collision(
        f"{wanted.key!r} has the same path, {str(wanted.path)!r}, {why}",
        hint="empty parts of keys have no place in a path: download such keys into another directory",
    )
