"""The file of one pin: a line that says which file it is, then a line for each object version.

This module reads and appends lines; it knows no index. A line is JSON: ``[store, key, etag, size]``.
Concurrency rule: who appends holds the file's lock, so that processes may add to one pin at once; who
reads needs none, for a line counts only with its end.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from s3mount.cache.layout import Layout, ObjectId
from s3mount.errors import ConfigError
from s3mount.store.pieces import write_at

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HEAD = re.compile(rb"s3mount pin ([0-9a-f]{16})\n")
_PIECE = 64 * 1024
_HEAD_SIZE = len(b"s3mount pin 0123456789abcdef\n")


class State(NamedTuple):
    """How far a file goes.

    Attributes:
        tag: of the file; another file of the same name has another one.
        size: bytes.
    """

    tag: str
    size: int


def is_name(name: str) -> bool:
    """Whether a pin can be called so."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Refuse what a pin cannot be called.

    Raises:
        ConfigError: with what it can be called.
    """
    if not is_name(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a pin",
            hint="up to 100 letters, digits, dots, dashes and underscores, a letter or digit first",
        )


def state(layout: Layout, name: str) -> State | None:
    """How far the file of a pin goes, None when there is no such pin.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        fd = os.open(layout.pin(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        head = _HEAD.fullmatch(os.pread(fd, _HEAD_SIZE, 0))
        return State(head[1].decode("ascii"), os.fstat(fd).st_size) if head else None
    finally:
        os.close(fd)


def append(layout: Layout, name: str, oids: Iterable[ObjectId]) -> None:
    """Add lines; when this returns they survive a power cut. The file is made when it is not there.

    Raises:
        OSError: the disk refuses; some of the lines may have been added.
    """
    lines = b"".join(json.dumps(oid, separators=(",", ":")).encode("ascii") + b"\n" for oid in oids)
    fd = _open_alone(layout, name)
    try:
        write_at(fd, (lines,), _end_of_last_line(fd))
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(layout: Layout, name: str) -> bool:
    """Remove the file of a pin; False when there is none."""
    try:
        os.unlink(layout.pin(name))
    except FileNotFoundError:
        return False
    _sync_directory(layout.pins)
    return True


def read(
    layout: Layout, name: str, known: State, start: int, count: int
) -> Iterator[tuple[list[ObjectId], int]]:
    """Batches of what stands behind offset ``start``, each with the offset of its end.

    A line that is no object version is passed over. One whose end is missing is not read: it may still be written, and
    who appends next writes over it.

    Args:
        layout: which cache.
        name: of the pin.
        known: the file that is meant, up to its size.
        start: the end of a batch, or 0.
        count: lines in a batch.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        file = open(layout.pin(name), "rb")  # noqa: SIM115 -- closed below
    except FileNotFoundError:
        return
    with file:
        if file.read(_HEAD_SIZE) != _head(known.tag):
            return
        end = max(start, _HEAD_SIZE)
        file.seek(end)
        while end < known.size:
            lines = list(islice(file, count))
            is_torn = bool(lines) and not lines[-1].endswith(b"\n")
            if is_torn:
                lines.pop()
            if lines:
                end += sum(map(len, lines))
                yield [oid for line in lines if (oid := _parse(line)) is not None], end
            # Behind a torn line its rest may come any moment, and would be taken for a line of its own.
            if is_torn or not lines:
                return


def _head(tag: str) -> bytes:
    return f"s3mount pin {tag}\n".encode("ascii")


def _parse(line: bytes) -> ObjectId | None:
    try:
        match json.loads(line):
            case [str(store), str(key), str(etag), int(size)]:
                return ObjectId(store, key, etag, size)
    except ValueError:
        pass
    return None


def _open_alone(layout: Layout, name: str) -> int:
    """The file with its head, locked."""
    path = layout.pin(name)
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                _give_head(fd, layout)
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # removed while we waited


def _give_head(fd: int, layout: Layout) -> None:
    """Write the head of a file that is new, or whose maker died before it was whole."""
    if _HEAD.fullmatch(os.pread(fd, _HEAD_SIZE, 0)) is None:
        os.ftruncate(fd, 0)
        write_at(fd, (_head(os.urandom(8).hex()),), 0)
        os.fsync(fd)
        _sync_directory(layout.pins)


def _end_of_last_line(fd: int) -> int:
    """Where the next line begins; what a crash left behind that is cut off."""
    end = size = os.fstat(fd).st_size
    while not (end and os.pread(fd, 1, end - 1) == b"\n"):
        start = max(_HEAD_SIZE, end - _PIECE)
        end = start + os.pread(fd, end - start, start).rfind(b"\n") + 1
    if end < size:
        os.ftruncate(fd, end)
    return end


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
