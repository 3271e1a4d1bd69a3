"""Which file a key becomes below a directory, and which bucket and prefix a source names: plain functions, no I/O.

A key loses as many of its parts as the prefix has delimiters, so that a prefix which ends within a part keeps that
part. Empty parts and ``.`` are dropped, ``..`` is resolved; a key that would leave the directory has no path. Only a
key from which something was dropped or resolved can have the path of another key: it is not *plain*.
"""

import re
from typing import NamedTuple

from s3mount.errors import S3MountError

NAME_MAX = 255
"""Bytes of one part of a path: the limit of Linux's file systems."""
TEMPORARY = re.compile(r"\.s3mount-[0-9a-f]{24}\.part")
"""Names of files that are being written. No key gets such a path, so what is called so may be removed."""

_SHORT = NAME_MAX // 4
"""Letters that take at most `NAME_MAX` bytes, whichever they are."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")


class Unplaceable(S3MountError):
    """A key has no path below the directory."""


class FilePath(NamedTuple):
    """Where a key belongs, relative to the directory.

    Attributes:
        directory: parts joined by ``/``, none of them empty, ``.`` or ``..``; empty for the directory itself.
        name: of the file.
        is_plain: whether no other plain key has this path.
    """

    directory: str
    name: str
    is_plain: bool

    def __str__(self) -> str:
        return f"{self.directory}/{self.name}" if self.directory else self.name


class KeyMap:
    """Gives keys below a prefix their paths.

    Args:
        prefix: of all keys, in the middle of a part perhaps.
        delimiter: what separates the parts of a key; not empty.
    """

    def __init__(self, prefix: str, delimiter: str = "/") -> None:
        self.prefix = prefix
        self.delimiter = delimiter
        self._base = len(prefix) - len(prefix.split(delimiter)[-1])

    def is_marker(self, key: str, size: int) -> bool:
        """Whether an object only stands for a directory."""
        return key.endswith(self.delimiter) or (not size and key.endswith("/"))

    def is_plain(self, key: str) -> bool:
        """Whether a key is seen at once to have a path that no other plain key has; what is not may have it too."""
        rest = key[self._base :]
        return (
            self.delimiter == "/"
            and len(rest) <= _SHORT
            and key.startswith(self.prefix)
            and not _may_be_odd(rest)
        )

    def path_of(self, key: str) -> FilePath:
        """The path of a key.

        Raises:
            Unplaceable: it has none; the message says why.
        """
        if not key.startswith(self.prefix):
            raise _unplaceable(key, f"it does not begin with {self.prefix!r}")
        rest = key[self._base :]
        if len(rest) > _SHORT or self.delimiter != "/" or _may_be_odd(rest):
            return _path_of(key, rest, self.delimiter)
        directory, _, name = rest.rpartition("/")
        return FilePath(directory, name, True)


def _may_be_odd(rest: str) -> bool:
    """Whether a part may be empty or begin with a dot: a few searches, for this is asked of every key."""
    return (
        "/." in rest
        or "//" in rest
        or "\0" in rest
        or not rest
        or rest[0] in "./"
        or rest[-1] == "/"
    )


def _path_of(key: str, rest: str, delimiter: str) -> FilePath:
    segments = rest.split(delimiter)
    parts = [part for segment in segments for part in segment.split("/")]
    *above, name = parts
    if name in {"", ".", ".."}:
        raise _unplaceable(key, f"{name!r} cannot be the name of a file")
    directories: list[str] = []
    for part in above:
        if part == "..":
            if not directories:
                raise _unplaceable(key, "its path leads out of the directory")
            directories.pop()
        elif part not in {"", "."}:
            directories.append(part)
    for part in (*directories, name):
        _check_part(key, part)
    if TEMPORARY.fullmatch(name):
        raise _unplaceable(key, "its name is one that temporary files have")
    is_plain = [*directories, name] == segments
    return FilePath("/".join(directories), name, is_plain)


def _check_part(key: str, part: str) -> None:
    if "\0" in part:
        raise _unplaceable(key, "it holds a NUL")
    if len(part) > _SHORT and len(encoded(part)) > NAME_MAX:
        raise _unplaceable(key, f"a part of it is longer than {NAME_MAX} bytes")


def _unplaceable(key: str, why: str) -> Unplaceable:
    return Unplaceable(
        f"{key!r} cannot be a file here: {why}",
        hint="copy the object to another key, or leave it out with --exclude",
    )


def encoded(path: str) -> bytes:
    """A path as the kernel takes it: the bytes of the key, whatever the locale."""
    return path.encode("utf-8", "surrogateescape")


def split_source(text: str, delimiter: str = "/") -> tuple[str, str]:
    """The bucket and the prefix of what stands behind ``s3://``.

    They are separated by the first ``/`` or, where what precedes it cannot be a bucket's name, by the first delimiter:
    ``bucket:some:prefix``.

    Args:
        text: without the scheme.
        delimiter: what separates the parts of keys.
    """
    bucket, _, prefix = text.partition("/")
    if not _BUCKET.fullmatch(bucket) and delimiter in text:
        bucket, _, prefix = text.partition(delimiter)
    return bucket, prefix
