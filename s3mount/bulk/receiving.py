"""Bytes of one object on their way into a file: a small one at once, a larger one piece by piece.

All tell their end once, as an `End`; what to do about an error is not decided here. Bytes are written by the thread
that brings them; see decision 14. Concurrency rule: everything happens on the engine's thread.
"""

import time

from isal import isal_zlib

from s3mount.bulk.arriving import split
from s3mount.bulk.roads import End, Over, Roads
from s3mount.bulk.target import PartFile
from s3mount.bulk.wanted import Wanted
from s3mount.cache.layout import ByteRange
from s3mount.errors import BadBody, StoreError
from s3mount.store.interface import Get, Head, ObjectMeta
from s3mount.store.pipe import Drain, Pipe
from s3mount.transfer.flight import Cancelled, Flight, Urgency

GATHER = 512 * 1024
"""Bytes written at once."""


class Damaged(BadBody):
    """All bytes came and they are not the object's; nobody has tried again yet."""


class Small:
    """An object that comes in one GET and is written at once; it is the sink of that GET.

    Args:
        roads: how.
        meta: which object.
        wanted: which file.
        over: told of the end, on the engine's thread.
    """

    __slots__ = (
        "_began",
        "_chunks",
        "_head",
        "_over",
        "_roads",
        "_wanted",
        "etag",
        "key",
        "size",
    )

    def __init__(self, roads: Roads, meta: ObjectMeta, wanted: Wanted, over: Over) -> None:
        self.key, self.size, self.etag = meta[:3]
        self._began = time.monotonic()
        self._roads = roads
        self._wanted = wanted
        self._over = over
        self._head: Head | None = None
        self._chunks: list[bytes] = []
        roads.engine.get_small(self)

    def arrived(self, head: Head, body: bytes) -> None:
        """All of it is here; see `Parcel.arrived`."""
        target = self._roads.target
        error: Exception | None = None
        if head.crc32 is not None and isal_zlib.crc32(body) != head.crc32:
            error = _damaged(self.key)
        else:
            try:
                target.write(target.described(self._wanted, head), body)
            except Exception as failure:
                error = failure
        seconds = time.monotonic() - self._began
        self._over(self, End(error, self.size, seconds, head.version_id))

    def head(self, head: Head) -> None:
        """The version is confirmed; see `Sink.head`."""
        self._head = head

    def write(self, chunk: bytes) -> None:
        """The next bytes; see `Sink.write`."""
        self._chunks.append(chunk)

    def finish(self) -> None:
        """All bytes came; see `Sink.finish`."""
        assert self._head is not None
        self.arrived(self._head, b"".join(self._chunks))

    def fail(self, error: StoreError) -> None:
        """There will be no more bytes; see `Sink.fail`."""
        fetched = sum(map(len, self._chunks))
        self._over(self, End(error, fetched, time.monotonic() - self._began))

    def stop(self) -> None:
        """See `Stoppable.stop`."""
        self._roads.engine.cancel_small((self,))


class Streamed:
    """An object whose bytes go into a temporary file while they come, in one GET or in several at once.

    Args:
        roads: how.
        meta: which object, of at least one byte.
        wanted: which file.
        over: told of the end, on the engine's thread.
    """

    def __init__(self, roads: Roads, meta: ObjectMeta, wanted: Wanted, over: Over) -> None:
        self._began = time.monotonic()
        self._roads = roads
        self._meta = meta
        self._wanted = wanted
        self._over = over
        self._parts = split([ByteRange(0, meta.size)], roads.part)
        self._flights: dict[_Part, Flight] = {}
        self._fetched = 0
        self._version_id = ""
        self._crc: int | None = None
        self._file: PartFile | None = None
        self._error: Exception | None = None
        self._is_over = False
        self._sum = 0

    @property
    def next_size(self) -> int:
        """Bytes that the part that is sent next has in memory, 0 when there is none."""
        return _held(*self._parts[0]) if self._parts else 0

    def send(self) -> None:
        """Send GETs, as many as may be under way."""
        while self._parts and len(self._flights) < self._roads.parts_each:
            if not self._roads.room.take(self.next_size):
                self._roads.room.wait(self)
                return
            start, stop = self._parts.popleft()
            whole = start == 0 and stop == self._meta.size
            request = Get(self._meta.key, self._meta.etag, start, stop, whole)
            sink = _Part(self, start, stop)
            self._flights[sink] = self._roads.engine.get(request, sink, Urgency.WARM)

    def stop(self) -> None:
        """See `Stoppable.stop`."""
        self._fail(Cancelled("no longer wanted", key=self._meta.key))
        self._end_if_done()

    # What a part calls.

    def told(self, head: Head) -> bool:
        """A reply begins; the first one makes the file.

        Returns:
            Whether nobody wants to see the bytes on their way into it.
        """
        self._version_id = head.version_id
        self._crc = head.crc32
        if self._file is None and self._error is None:
            try:
                self._wanted = self._roads.target.described(self._wanted, head)
                self._file = self._roads.target.begin(self._wanted)
            except Exception as error:
                self._fail(error)
        return self._file is not None and self._crc is None

    def put(self, pieces: list[bytes], start: int, count: int) -> None:
        """Some bytes have come."""
        self._fetched += count
        if self._file is not None and self._error is None:
            try:
                self._write(self._file, pieces, start)
            except Exception as error:
                self._fail(error)

    def drain(self, pipe: Pipe, start: int, count: int) -> None:
        """Some bytes have come in a pipe."""
        self._fetched += count
        if self._file is not None and self._error is None:
            try:
                self._file.drain(pipe, start)
            except Exception as error:
                self._fail(error)

    def part_over(self, part: "_Part", error: StoreError | None) -> None:
        """A GET has ended, and told of all its bytes."""
        del self._flights[part]
        if error is not None:
            self._fail(error)
        self._roads.room.give(part.held)
        self.send()
        self._end_if_done()

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        self._parts.clear()
        for flight in self._flights.values():
            self._roads.engine.cancel(flight)

    def _write(self, file: PartFile, pieces: list[bytes], start: int) -> None:
        file.write(pieces, start)
        if self._crc is not None:
            for piece in pieces:
                self._sum = isal_zlib.crc32(piece, self._sum)

    def _end_if_done(self) -> None:
        if self._parts or self._flights or self._is_over:
            return
        self._is_over = True
        error = self._error
        if self._file is not None:
            error = self._conclude(self._file, error)
        seconds = time.monotonic() - self._began
        self._over(self, End(error, self._fetched, seconds, self._version_id))

    def _conclude(self, file: PartFile, error: Exception | None) -> Exception | None:
        """Give the file its place or take it away; what was wrong, if anything."""
        if error is None and self._crc is not None and self._sum != self._crc:
            error = _damaged(self._meta.key)
        if error is None:
            return committed(file)
        file.discard()
        return error


class _Part:
    """The sink of one GET of several.

    Attributes:
        held: bytes that room is taken for.
    """

    __slots__ = ("_at", "_count", "_owner", "_pieces", "held")

    def __init__(self, owner: Streamed, start: int, stop: int) -> None:
        self._owner = owner
        self._at = start
        self.held = _held(start, stop)
        self._pieces: list[bytes] = []
        self._count = 0

    def head(self, head: Head) -> Drain | None:
        """The version is confirmed; see `Sink.head`."""
        return self._drain if self._owner.told(head) else None

    def write(self, chunk: bytes) -> None:
        """The next bytes; see `Sink.write`."""
        self._pieces.append(chunk)
        self._count += len(chunk)
        if self._count >= GATHER:
            self._hand_on()

    def finish(self) -> None:
        """All bytes came; see `Sink.finish`."""
        if self._count:
            self._hand_on()
        self._owner.part_over(self, None)

    def fail(self, error: StoreError) -> None:
        """There will be no more bytes; see `Sink.fail`."""
        self._owner.part_over(self, error)

    def _drain(self, pipe: Pipe, count: int) -> None:
        if self._count:
            self._hand_on()
        start = self._at
        self._at += count
        self._owner.drain(pipe, start, count)

    def _hand_on(self) -> None:
        pieces, count, start = self._pieces, self._count, self._at
        self._pieces, self._count = [], 0
        self._at += count
        self._owner.put(pieces, start, count)


def _held(start: int, stop: int) -> int:
    """Bytes of a part that are in memory at once: more are written when they come."""
    return min(stop - start, GATHER)


def committed(file: PartFile) -> Exception | None:
    """Give a file its place; what was wrong with it, if anything."""
    try:
        file.commit()
    except Exception as error:
        return error
    return None


def _damaged(key: str) -> Damaged:
    return Damaged(
        f"{key!r}: the bytes that came do not have the checksum that the store told", key=key
    )
