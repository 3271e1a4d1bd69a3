"""One version of one object: what of it is here, what is on its way, and who waits.

This module joins the extents on disk (`on_disk`) with the fills in flight; it knows no other object
and no policy. Concurrency rule: one lock for each object, held while descriptions change and
while a new extent is renamed, never while object bytes are read or written and never while a
callback runs. A read that one extent can answer takes no lock at all.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

from s3mount.cache.extent import Extent, reply_buffer
from s3mount.cache.extent_map import subtract
from s3mount.cache.fill import Fill, Snapshot
from s3mount.cache.layout import ByteRange, ObjectId
from s3mount.cache.on_disk import OnDisk
from s3mount.cache.open_file import OpenFile
from s3mount.cache.shared import Job, Shared
from s3mount.cache.trailer import Damaged
from s3mount.cache.waiting import Waiter
from s3mount.errors import S3MountError, StoreError

RWF_NOWAIT = 8
"""Of preadv2: fail rather than wait for the disk. A constant of Linux, which `os` has only where
the C library does."""


class _Piece(NamedTuple):
    """A part of a read that spans several sources."""

    start: int
    stop: int
    source: Extent | Fill
    snapshot: Snapshot | None

    def copy(self, target: memoryview, flags: int) -> bool:
        """Copy into ``target``; False when the disk would have to be waited for."""
        if isinstance(self.source, Extent):
            return self.source.copy(self.start, self.stop, target, flags)
        assert self.snapshot is not None
        return self.snapshot.copy(self.start - self.source.start, target)


class Registry(Protocol):
    """Who knows all open objects."""

    def hold(self, held: "CachedObject") -> bool:
        """One holder more; False when the last one has just left."""

    def let_go(self, held: "CachedObject") -> None:
        """One holder less; the last one shuts the object."""


class CachedObject:
    """The bytes of one object version while somebody holds it; `Cache.open_object` makes it.

    Args:
        oid: which version.
        shared: the parts of the cache.
        registry: who counts the holders.
    """

    __slots__ = (
        "_fills",
        "_loaded",
        "_lock",
        "_place",
        "_registry",
        "_shared",
        "_streamed",
        "oid",
        "on_disk",
    )

    def __init__(self, oid: ObjectId, shared: Shared, registry: Registry) -> None:
        self.oid = oid
        self._shared = shared
        self._registry = registry
        self._lock = threading.Lock()
        # Guarded by the lock.
        self.on_disk = OnDisk(oid, shared, self._lock, self._later)
        self._place = self.on_disk.place
        self._loaded = False
        self._fills: list[Fill] = []
        self._streamed: list[Fill] = []

    def __repr__(self) -> str:
        return f"<CachedObject {self.oid.key!r} {self._place.extents} {self._fills}>"

    def load(self) -> None:
        """Take the lease and find the extents, at the first call."""
        with self._lock:
            if not self._loaded:
                self._loaded = True
                if self._place.refresh():
                    self.on_disk.touch()

    def read(self, start: int, stop: int) -> memoryview | bytes | None:
        """Bytes ``start`` to ``stop`` if all of them are here.

        Args:
            start: the first byte.
            stop: the byte behind the last, at most the object's size.

        Returns:
            A view that is valid until the same thread's next read, or None when a part is
            missing, on its way, or was found damaged.
        """
        extent = self._place.extents.at(start)
        if extent is not None and stop <= extent.stop:
            try:
                return extent.read(start, stop)
            except (Damaged, OSError) as error:
                self.on_disk.discard(extent, error)
        return self._gather(start, stop, 0)

    def read_if_in_memory(self, start: int, stop: int) -> memoryview | bytes | None:
        """The same, but None as well when the disk would have to be waited for."""
        extent = self._place.extents.at(start)
        if extent is not None and stop <= extent.stop:
            try:
                return extent.read(start, stop, RWF_NOWAIT)
            except (Damaged, OSError) as error:
                self.on_disk.discard(extent, error)
        return self._gather(start, stop, RWF_NOWAIT)

    def missing(self, start: int, stop: int) -> list[ByteRange]:
        """The parts of ``start`` to ``stop`` that are neither here nor on their way."""
        with self._lock:
            gaps = self._gaps(start, stop)
            if gaps and self._place.refresh():
                gaps = self._gaps(start, stop)
            return gaps

    def begin_fill(
        self,
        start: int,
        stop: int,
        settled: Callable[[S3MountError | None], None] | None = None,
    ) -> Fill:
        """Announce bytes ``start`` to ``stop``; what is returned must be finished or failed.

        Args:
            start: the first byte.
            stop: the byte behind the last.
            settled: called once, on the thread that writes, when the fill is over: with None when its bytes are in the
                cache for others too, with `CacheFull` when there was no room for them, else with what went wrong.
        """
        fill = Fill(self, self._shared, start, stop, settled)
        self._registry.hold(self)
        with self._lock:
            self._fills.append(fill)
        return fill

    def when_ready(
        self, start: int, stop: int, callback: Callable[[StoreError | None], None]
    ) -> Waiter:
        """Call back once, from any thread and maybe before this returns.

        Args:
            start: the first byte.
            stop: the byte behind the last.
            callback: given None when ``read(start, stop)`` can succeed, or when a part is missing
                of which nothing is in flight, so that the caller must look again; given the error
                when a fill of a part failed.

        Returns:
            What ends the wait.
        """
        waiter = Waiter(ByteRange(start, stop), callback, self._cancel)
        with self._lock:
            parked = self._park(waiter)
        if not parked:
            waiter.fire(None)
        return waiter

    def cached_bytes(self) -> int:
        """Bytes of the object that are on disk."""
        return self._place.extents.total()

    def check(self) -> int:
        """Read and prove every byte that is on disk, and discard extents that are damaged; blocks.

        Returns:
            Bytes of the extents that were found damaged; they are missing now.
        """
        with self._lock:
            self._place.refresh()
        damaged = 0
        for extent in self._place.extents:
            try:
                extent.check()
            except (Damaged, OSError) as error:
                self.on_disk.discard(extent, error)
                damaged += extent.stop - extent.start
        return damaged

    def backing(self) -> OpenFile | None:
        """A file with the object's bytes at their own offsets and nothing behind them, for who reads past us.

        Asked at each open of a file: a few system calls for an object that came in parts, nothing for others.

        Returns:
            The file, open for reading only, when the whole object is on disk and every byte is known good in this boot
            of the machine; None otherwise, and always for an object that came with one GET, whose file is longer. It
            holds these bytes as long as this object is held: who uses it holds both, and closes this one last.
        """
        return self.on_disk.backing()

    def close(self) -> None:
        """Give this holder's lease back. Fills in flight go on to their commit."""
        self._registry.let_go(self)

    def shut(self) -> None:
        """The last holder has left: close files, forget what is only in memory."""
        with self._lock:
            streamed, self._streamed = self._streamed, []
        for fill in streamed:
            fill.release()
        with self._lock:
            self.on_disk.close()

    # What a fill calls.

    def arrived(self, fill: Fill, piece: bytes) -> None:
        """Add bytes to the fill's tail and wake who waited for them."""
        due: list[Waiter] = []
        with self._lock:
            fill.offsets.append(fill.pos - fill.start)
            fill.tail.append(piece)
            fill.tail_bytes += len(piece)
            fill.pos += len(piece)
            if not fill.withheld:
                fill.ready = fill.pos
                if fill.ready >= fill.wake_at:
                    due = self._due(fill)
        for waiter in due:
            waiter.fire(None)

    def written(self, fill: Fill, file: OpenFile, pieces: int, count: int) -> None:
        """The first ``pieces`` of the tail, ``count`` bytes, are in the file now."""
        with self._lock:
            fill.file = file
            fill.written_bytes += count
            fill.tail_bytes -= count
            # New lists: a reader may be copying from the old ones.
            fill.tail, fill.offsets = fill.tail[pieces:], fill.offsets[pieces:]

    def is_sound(self, fill: Fill) -> None:
        """All bytes are here and may be read, although the fill is not over."""
        with self._lock:
            fill.ready = fill.stop
            due = self._due(fill)
        for waiter in due:
            waiter.fire(None)

    def settle(self, fill: Fill, error: StoreError | None) -> None:
        """The fill is over; a spilled one is kept in memory."""
        with self._lock:
            self._fills.remove(fill)
            if error is not None:
                due, fill.waiters = fill.waiters, []
            else:
                fill.ready = fill.stop
                if fill.spilled:
                    self._streamed.append(fill)
                    self._shared.memory.finished(fill)
                due = self._due(fill)
            if not fill.spilled:
                fill.empty()
        for waiter in due:
            waiter.fire(error)
        if fill.settled is not None:
            fill.settled(error or fill.unkept())
        self._registry.let_go(self)

    def forget(self, fill: Fill) -> None:
        """A finished fill's memory is needed elsewhere."""
        with self._lock:
            if fill not in self._streamed:
                return
            self._streamed.remove(fill)
        fill.release()

    def _later(self, job: Job) -> None:
        """Have something written that is not bytes, while the object is held."""
        if not self._registry.hold(self):
            return

        def work() -> None:
            try:
                job()
            finally:
                self._registry.let_go(self)

        self._shared.backlog.leave(work, 0)

    # Under the lock.

    def _arriving(self) -> list[Fill]:
        return [fill for fill in (*self._streamed, *self._fills) if not fill.broken]

    def _gaps(self, start: int, stop: int) -> list[ByteRange]:
        gaps = self._place.extents.gaps(start, stop)
        if gaps:
            for fill in self._arriving():
                gaps = subtract(gaps, fill)
        return gaps

    def _pieces(self, start: int, stop: int) -> list[_Piece] | None:
        """Where each part of the range is; None when a part is not here (yet)."""
        pieces: list[_Piece] = []
        extents = self._place.extents
        while start < stop:
            extent = extents.at(start)
            if extent is not None:
                end = min(stop, extent.stop)
                pieces.append(_Piece(start, end, extent, None))
            else:
                fill = self._best_fill(start)
                if fill is None:
                    return None
                end = min(stop, fill.ready)
                fill.awaited = False
                pieces.append(_Piece(start, end, fill, fill.snapshot()))
            start = end
        return pieces

    def _best_fill(self, position: int) -> Fill | None:
        able = [fill for fill in self._arriving() if fill.start <= position < fill.ready]
        return max(able, key=lambda fill: fill.ready, default=None)

    def _park(self, waiter: Waiter) -> bool:
        """Leave the waiter with the fill it needs next; False when there is nothing to wait for."""
        if self._gaps(waiter.start, waiter.stop):
            return False
        position = waiter.start
        extents = self._place.extents
        while position < waiter.stop:
            here = extents.at(position)
            if here is not None:
                position = here.stop
                continue
            best = self._best_fill(position)
            if best is not None:
                position = best.ready
                continue
            coming = [
                fill
                for fill in self._fills
                if not fill.broken and fill.start <= position < fill.stop
            ]
            waiter.fill = fill = max(coming, key=lambda fill: fill.ready)
            waiter.until = min(waiter.stop, fill.stop)
            fill.waiters.append(waiter)
            fill.wake_at = min(fill.wake_at, waiter.until)
            return True
        waiter.fill = None
        for fill in self._arriving():
            if fill.start < waiter.stop and waiter.start < fill.stop:
                fill.awaited = True
        return False

    def _due(self, fill: Fill) -> list[Waiter]:
        """Waiters whose whole range is here now; the others go on waiting."""
        waiting, fill.waiters = fill.waiters, []
        fill.wake_at = fill.stop + 1
        return [waiter for waiter in waiting if not self._park(waiter)]

    # Without the lock.

    def _cancel(self, waiter: Waiter) -> None:
        with self._lock:
            waiter.callback = None
            if waiter.fill is not None and waiter in waiter.fill.waiters:
                waiter.fill.waiters.remove(waiter)
            for fill in self._arriving():
                if fill.start < waiter.stop and waiter.start < fill.stop:
                    fill.awaited = False

    def _gather(self, start: int, stop: int, flags: int) -> memoryview | bytes | None:
        with self._lock:
            pieces = self._pieces(start, stop)
            taken_back = self._place.taken_back
        if not pieces:
            return b"" if start == stop else None
        view = reply_buffer(stop - start)
        for piece in pieces:
            target = view[piece.start - start : piece.stop - start]
            try:
                if not piece.copy(target, flags):
                    return None
            except (Damaged, OSError) as error:
                if isinstance(piece.source, Extent):
                    self.on_disk.discard(piece.source, error)
                else:
                    self._break(piece.source)
                return None
        # What was given back while it was copied may be a hole, or another fill's.
        return view if self._place.taken_back == taken_back else None

    def _break(self, fill: Fill) -> None:
        """The disk does not give back what a fill wrote: its range counts as missing."""
        with self._lock:
            fill.broken = True
        self.forget(fill)
