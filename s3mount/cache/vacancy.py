"""A small object that comes all at once: written, checksum and all, and named, with nothing made for it but its file.

What a `Fill` is for, readers of bytes that are on their way and ranges that are claimed, nobody needs of it. The file
is the one that a fill of the whole object would make. Concurrency rule: any thread.
"""

import os

from isal import isal_zlib

from s3mount.cache.layout import ObjectId
from s3mount.cache.space import Space
from s3mount.cache.temporary import drop, give_place
from s3mount.cache.trailer import CELL, charge, encode, identity, identity_prefix

MOST = CELL
"""Bytes of such an object: one checksum covers it."""


class Vacancy:
    """Where an object version would be, of which nothing was here a moment ago.

    Args:
        path: of the object.
        space: what may be taken of the cache.
        oid: the version, of 1 to `MOST` bytes.
        digest: of ``oid``.
    """

    __slots__ = ("_digest", "_oid", "_path", "_space")

    def __init__(self, path: str, space: Space, oid: ObjectId, digest: str) -> None:
        self._path = path
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
                is_named = give_place(fd, temporary, self._path)
        finally:
            os.close(fd)
            if not is_named:
                drop(temporary)
        return is_named
