"""A small object that comes all at once: written, checksum and all, and named, with nothing made for it but its file.

What a `Fill` is for, readers of bytes that are on their way and ranges that are claimed, nobody needs of it. The file
is the one that a fill of the whole object would make. Concurrency rule: any thread.
"""

import contextlib
import os

from isal import isal_zlib

from s3mount.cache.layout import Layout, ObjectId, make_directory
from s3mount.cache.space import Space
from s3mount.cache.temporary import give_name
from s3mount.cache.trailer import CELL, charge, encode, identity, identity_prefix

MOST = CELL
"""Bytes of such an object: one checksum covers it."""


class Vacancy:
    """Where an object version would be, of which nothing was here a moment ago.

    Args:
        layout: of the cache.
        space: what may be taken of it.
        oid: the version, of 1 to `MOST` bytes.
        digest: of ``oid``.
    """

    __slots__ = ("_digest", "_layout", "_oid", "_space")

    def __init__(self, layout: Layout, space: Space, oid: ObjectId, digest: str) -> None:
        self._layout = layout
        self._space = space
        self._oid = oid
        self._digest = digest

    def take(self, body: bytes) -> bool:
        """Keep all bytes of the object.

        Returns:
            False where it is not kept: there is no room, others were here first, or the disk refuses. A fill can find
            out which, and what is to be done.
        """
        size = self._oid.size
        name = identity(identity_prefix(self._oid), 0, size)
        trailer = encode((isal_zlib.crc32(body),), name, size)
        cost = charge(size + len(trailer))
        if not self._space.reserve(cost):
            return False
        try:
            is_kept = self._write(body, trailer)
        except OSError:
            is_kept = False
        if is_kept:
            self._space.committed(self._digest, self._oid, cost)
        else:
            self._space.release(cost)
        return is_kept

    def _write(self, body: bytes, trailer: bytes) -> bool:
        fd, temporary = self._space.create()
        is_named = False
        try:
            if os.writev(fd, (body, trailer)) == len(body) + len(trailer):
                is_named = self._give_name(fd, temporary)
        finally:
            os.close(fd)
            if temporary and not is_named:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
        return is_named

    def _give_name(self, fd: int, temporary: str) -> bool:
        path = self._layout.object(self._digest)
        try:
            return give_name(fd, temporary, path)
        except FileNotFoundError:
            make_directory(os.path.dirname(path))
            return give_name(fd, temporary, path)
