"""One object on its way from the cache into a file."""

from typing import TYPE_CHECKING

from s3mount.bulk.receiving import committed
from s3mount.bulk.roads import End, Over, Roads
from s3mount.bulk.target import PartFile
from s3mount.errors import CacheError
from s3mount.transfer.flight import Cancelled

if TYPE_CHECKING:
    from s3mount.cache.cache import CachedObject

COPY = 1024 * 1024
"""Bytes copied at once."""


class NotCached(CacheError):
    """The cache does not have the bytes any more."""


class Copied:
    """An object that is copied from the cache; its end is told on the worker's thread.

    Args:
        roads: how.
        held: the object; closed at the end.
        file: where it goes.
        over: told of the end, with `NotCached` when the cache has not all of it.
    """

    def __init__(self, roads: Roads, held: "CachedObject", file: PartFile, over: Over) -> None:
        self._held = held
        self._file = file
        self._over = over
        self._is_stopped = False
        roads.worker.submit(self._run)

    def stop(self) -> None:
        """See `Stoppable.stop`."""
        self._is_stopped = True

    def _run(self) -> None:
        try:
            error = self._copy()
        except Exception as failure:
            error = failure
        if error is not None:
            self._file.discard()
        else:
            error = committed(self._file)
        self._held.close()
        self._over(self, End(error))

    def _copy(self) -> Exception | None:
        oid = self._held.oid
        for start in range(0, oid.size, COPY):
            if self._is_stopped:
                return Cancelled("no longer wanted", key=oid.key)
            chunk = self._held.read(start, min(start + COPY, oid.size))
            if chunk is None:
                return NotCached(f"{oid.key!r} is no longer in the cache")
            self._file.write([bytes(chunk)], start)
        return None
