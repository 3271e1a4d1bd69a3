"""A file of a directory store before it has its name, and what is kept beside it afterwards.

It is written under a temporary name beside its place and renamed, or linked where it must not replace another. Content
type and metadata are kept in the extended attribute `ATTRIBUTE`. A file system that has none refuses metadata; a
content type is then lost, for the name tells it again.
"""

import contextlib
import errno
import json
import os
from dataclasses import dataclass

from s3mount.errors import (
    AlreadyExists,
    BadBody,
    NotFound,
    ObjectChanged,
    SourceChanged,
    UnexpectedReply,
)
from s3mount.store.bodies import CHUNK, Body, FilePart
from s3mount.store.pieces import write_at
from s3mount.store.writing import Metadata, Written

ATTRIBUTE = "user.s3mount.meta"
TEMPORARY = ".s3mount-write-"
_LEFT_AFTER = 86_400 * 1_000_000_000
"""Nanoseconds without a write after which a temporary file is taken for one that a killed process has left."""
_NO_ATTRIBUTES = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})


def is_temporary(name: str) -> bool:
    """Whether a file of this name is no object (yet)."""
    return name.startswith(TEMPORARY)


def etag_of(status: os.stat_result) -> str:
    """The version of a file."""
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"


@dataclass(slots=True)
class Draft:
    """A file that has no name of its own yet; its descriptor is open until `commit` or `discard`."""

    key: str
    path: str
    temporary: str
    descriptor: int


def open_below(parent: str, path: str, flags: int) -> int:
    """Make a file, and its directory where it is not there."""
    while True:
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            # Who deletes its last file may take it away again at once.
            os.makedirs(parent, exist_ok=True)


def fill(draft: Draft, body: Body, start: int) -> None:
    """Write a body at its place.

    Raises:
        BadBody: it has another size than it says.
        SourceChanged: the file is not what it was.
    """
    at = start
    with contextlib.closing(body.open()) as reader:
        while chunk := reader.read(CHUNK):
            write_at(draft.descriptor, (chunk,), at)
            at += len(chunk)
    if at - start != body.size:
        raise BadBody(f"{draft.key!r}: {at - start} of {body.size} bytes came", key=draft.key)


def fill_from(draft: Draft, source: FilePart, key: str) -> None:
    """Write a stretch of another object at the same place.

    Raises:
        ObjectChanged: it is not what it was.
    """
    try:
        fill(draft, source, source.start)
    except SourceChanged as error:
        raise ObjectChanged("the file was changed", key=key) from error


def describe(draft: Draft, content_type: str, metadata: Metadata) -> None:
    """Keep content type and metadata beside the file.

    Raises:
        UnexpectedReply: the file system keeps no metadata.
    """
    if not content_type and not metadata:
        return
    told = json.dumps({"content_type": content_type, "metadata": dict(metadata)})
    try:
        os.setxattr(draft.descriptor, ATTRIBUTE, told.encode())
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise
        if metadata:
            raise UnexpectedReply(
                f"{draft.key!r}: this file system keeps no metadata",
                key=draft.key,
                hint="use a directory on a file system with extended attributes, or send none",
            ) from error


def description(path: str) -> tuple[str, Metadata]:
    """What was kept beside a file; nothing where it was written by others."""
    try:
        told = json.loads(os.getxattr(path, ATTRIBUTE))
        metadata = told["metadata"].items()
        return str(told["content_type"]), tuple((str(name), str(text)) for name, text in metadata)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return "", ()


def commit(draft: Draft, *, if_absent: bool) -> Written:
    """Give a draft its name; where that fails it is discarded.

    Raises:
        AlreadyExists: something has the name, and ``if_absent`` was asked for.
        UnexpectedReply: there is a directory in its place.
    """
    try:
        status = os.fstat(draft.descriptor)
        if if_absent:
            _name_first(draft)
        else:
            os.replace(draft.temporary, draft.path)
    except BaseException as error:
        discard(draft)
        if isinstance(error, IsADirectoryError):
            what = f"{draft.key!r}: there is a directory in its place"
            raise UnexpectedReply(what, key=draft.key) from error
        raise
    os.close(draft.descriptor)
    return Written(etag_of(status), mtime_ns=status.st_mtime_ns)


def _name_first(draft: Draft) -> None:
    """Give a draft its name unless something has it."""
    try:
        os.link(draft.temporary, draft.path)
    except FileExistsError:
        raise exists(draft.key) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _claim(draft)
        os.replace(draft.temporary, draft.path)
    else:
        os.unlink(draft.temporary)


def _claim(draft: Draft) -> None:
    """Take the name with an empty file, where the file system has no links."""
    try:
        os.close(os.open(draft.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except FileExistsError:
        raise exists(draft.key) from None


def discard(draft: Draft) -> None:
    """Throw a draft away."""
    os.close(draft.descriptor)
    with contextlib.suppress(OSError):
        os.unlink(draft.temporary)


def sweep(directory: str, now: int) -> None:
    """Remove what was left behind; ``now`` is the file system's own time."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if is_temporary(entry.name):
                status = entry.stat(follow_symlinks=False)
                if now - status.st_mtime_ns > _LEFT_AFTER:
                    os.unlink(entry)


def exists(key: str) -> AlreadyExists:
    """The error for a key that has an object."""
    return AlreadyExists(f"there is an object {key!r} already", key=key, status=412)


def missing(key: str) -> NotFound:
    """The error for a key that has none."""
    return NotFound("no such key", key=key, status=404)
