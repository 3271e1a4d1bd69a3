"""What is sent with a write: bytes that can be opened again for the next try, and their checksums."""

import base64
import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple, Protocol

from isal import isal_zlib

from s3mount.errors import SourceChanged
from s3mount.store.buffers import read_at

CHUNK = 1024 * 1024
"""Bytes read at a time where a checksum of a file is made."""


class Reader(Protocol):
    """A body that is open."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, ``size`` at the most; none at the end."""

    def close(self) -> None:
        """Give back what it holds."""


class Body(Protocol):
    """Bytes of a known number that can be read again from the start."""

    @property
    def size(self) -> int:
        """Bytes."""

    def open(self) -> Reader:
        """Begin at the start.

        Raises:
            SourceChanged: it is not what it was when the write was asked for.
            OSError: it cannot be read.
        """


class Bytes(NamedTuple):
    """A body in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def open(self) -> Reader:
        """Begin at the start."""
        return BytesIO(self.data)


NOTHING = Bytes(b"")


class Stamp(NamedTuple):
    """By what a file is known to be the same, contents included."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of an open file."""
    return Stamp(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """A descriptor of a regular file, and what the file is now.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    # A pipe would make a plain open wait for its other end.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    if S_ISREG(status.st_mode):
        return descriptor, status
    os.close(descriptor)
    if S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory", path)
    raise OSError(errno.EINVAL, "is no regular file", path)


class FilePart(NamedTuple):
    """Bytes ``start`` to ``start + size`` of a regular file that must stay as ``stamp`` says.

    A file is compared when it is opened and again when its last byte has been read. Within one tick of the file
    system's clock, some milliseconds, a writer that keeps the size is not seen.
    """

    path: str
    stamp: Stamp
    start: int
    size: int

    def open(self) -> Reader:
        """Begin at the start.

        Raises:
            SourceChanged: another file, or another content.
            OSError: it cannot be read.
        """
        try:
            descriptor, status = open_regular(self.path)
        except FileNotFoundError:
            raise changed(self.path) from None
        if stamp_of(status) != self.stamp:
            os.close(descriptor)
            raise changed(self.path)
        return _PartReader(descriptor, self)


class _PartReader:
    """Reads a stretch of a file."""

    def __init__(self, descriptor: int, part: FilePart) -> None:
        self._descriptor = descriptor
        self._part = part
        self._at = part.start
        self._stop = part.start + part.size

    def read(self, size: int, /) -> bytes:
        wanted = min(size, self._stop - self._at)
        if wanted <= 0:
            return b""
        chunk = read_at(self._descriptor, wanted, self._at)
        self._at += len(chunk)
        is_over = self._at == self._stop
        if not chunk or (is_over and stamp_of(os.fstat(self._descriptor)) != self._part.stamp):
            raise changed(self._part.path)
        return chunk

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def changed(path: str) -> SourceChanged:
    """The error for a file that is not what it was."""
    return SourceChanged(
        f"{path} changed while it was being sent", hint="send it again when nobody writes to it"
    )


class Digests(NamedTuple):
    """Checksums of a body; empty where they were not asked for.

    Attributes:
        crc32: base64 of the four bytes, as ``x-amz-checksum-crc32`` has it.
        sha256: hexadecimal, as ``x-amz-content-sha256`` has it.
        md5: base64, as ``Content-MD5`` has it.
    """

    crc32: str = ""
    sha256: str = ""
    md5: str = ""


def digests_of(
    body: Body, *, crc32: bool = False, sha256: bool = False, md5: bool = False
) -> Digests:
    """The checksums that are asked for, in one reading; none is made without being asked for.

    Raises:
        SourceChanged: the file is not what it was.
        OSError: it cannot be read.
    """
    if not (crc32 or sha256 or md5):
        return Digests()
    crc = 0
    secure = hashlib.sha256()
    old = hashlib.md5(usedforsecurity=False)
    for chunk in _chunks(body):
        if crc32:
            crc = isal_zlib.crc32(chunk, crc)
        if sha256:
            secure.update(chunk)
        if md5:
            old.update(chunk)
    return Digests(
        base64.b64encode(crc.to_bytes(4, "big")).decode() if crc32 else "",
        secure.hexdigest() if sha256 else "",
        base64.b64encode(old.digest()).decode() if md5 else "",
    )


def _chunks(body: Body) -> Iterator[bytes]:
    if isinstance(body, Bytes):
        yield body.data
        return
    with closing(body.open()) as reader:
        while chunk := reader.read(CHUNK):
            yield chunk
