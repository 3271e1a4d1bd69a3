"""A file that was fetched and checked becomes part of the cache, so that nobody on this machine fetches it again.

Concurrency rule: `Adopter.take` belongs to the thread of the command; the bytes go on a thread of their own.
"""

import logging
import os

from s3mount.bulk.arriving import split
from s3mount.bulk.session import Session
from s3mount.cache.cache import ByteRange, CachedObject
from s3mount.cache.layout import ObjectId
from s3mount.errors import BadBody
from s3mount.store.buffers import read_at
from s3mount.store.interface import Head, ObjectMeta
from s3mount.transfer.housekeeping import Worker

log = logging.getLogger(__name__)

PART = 8 * 1024 * 1024
"""Bytes of an extent: as a prefetch makes them."""
PIECE = 1024 * 1024
"""Bytes read at once."""


class Adopter(Worker):
    """Takes files into the cache of a session; leaving waits for those that were taken.

    Args:
        session: an open one; it must outlive this.
    """

    def __init__(self, session: Session) -> None:
        super().__init__("s3mount-adopter")
        self._session = session

    def take(self, meta: ObjectMeta, path: str) -> None:
        """Have the file of an object in the cache soon. It may be removed at once: it is open until then.

        What cannot be kept is no error, for the file is there; the log says so.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            log.info("%r is not kept in the cache: %s", meta.key, error)
            return
        self.submit(lambda: self._adopt(meta, descriptor))

    def _adopt(self, meta: ObjectMeta, descriptor: int) -> None:
        try:
            if os.fstat(descriptor).st_size != meta.size:
                return
            oid = ObjectId(self._session.store.identity, meta.key, meta.etag, meta.size)
            held = self._session.cache.open_object(oid)
            try:
                for part in split(held.missing(0, meta.size), PART):
                    _copy(held, part, descriptor)
            finally:
                held.close()
        finally:
            os.close(descriptor)


def _copy(held: CachedObject, part: ByteRange, descriptor: int) -> None:
    fill = held.begin_fill(part.start, part.stop)
    fill.head(Head(held.oid.etag, held.oid.size))
    for start in range(part.start, part.stop, PIECE):
        piece = read_at(descriptor, min(PIECE, part.stop - start), start)
        if not piece:
            fill.fail(BadBody(f"the file of {held.oid.key!r} became shorter", key=held.oid.key))
            return
        fill.write(piece)
    fill.finish()
