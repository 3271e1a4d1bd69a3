"""Parcels on their way: small objects over connections of ours, with nothing made for one but its request.

While a reply is plain (`plain_reply`) it is read in one go and told in one call. Whatever else happens turns the
parcel into the transfer that it would have been from the start, which takes its connection and what has come on it;
so every rule about replies, errors and dead connections stays where it is, in `stream`, `streams` and `exchange`.

Concurrency rule: that of `streams`.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from s3mount.metrics import Counters
from s3mount.store.connections import Connections
from s3mount.store.curl_handle import Transfer
from s3mount.store.interface import Head, Parcel
from s3mount.store.plain_reply import NotPlain, ReplyReader
from s3mount.store.stream import Broken, Stale, Stream
from s3mount.store.streams import Streams
from s3mount.store.whole_request import Spelling

ROOM = 2048
"""Bytes beside those of the body that are read at once: heads are shorter."""
LOAD_MOST = 64 * 1024
"""Bytes of a parcel: those of more come in so many pieces over slow lines that joining them tells."""


class Load(NamedTuple):
    """A parcel and its request.

    Attributes:
        parcel: it.
        request: as it is sent.
        spelling: by which.
    """

    parcel: Parcel
    request: bytes
    spelling: Spelling


Arrived = Callable[[Parcel, Head, bytes], None]
Unpack = Callable[[Load], Transfer]


class Loads:
    """All parcels of a loop.

    Args:
        connections: carry them.
        streams: takes over what is not plain.
        counters: of bytes.
    """

    def __init__(self, connections: Connections, streams: Streams, counters: Counters) -> None:
        self._connections = connections
        self._streams = streams
        self._counters = counters
        self._waiting: deque[Load] = deque()
        self._carried: dict[int, Stream] = {}
        self._cancelled: list[Stream] = []
        self._reader = ReplyReader()

    @property
    def under_way(self) -> int:
        """Connections that carry a parcel, or are being made for one."""
        return len(self._carried) + len(self._cancelled)

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to `send`."""
        return bool(self._waiting)

    def serve(self, arrived: Arrived, unpack: Unpack) -> None:
        """Say who takes parcels.

        Args:
            arrived: told of those that are here.
            unpack: makes the transfer that a parcel would have been.
        """
        self._arrived = arrived
        self._unpack = unpack

    def add(self, parcels: Sequence[Parcel], spelling: Spelling) -> Sequence[Parcel]:
        """Send the requests of parcels at the next `send`.

        Returns:
            Those that take more thought.
        """
        refused = []
        for parcel in parcels:
            request = None
            if parcel.size <= LOAD_MOST:
                request = spelling.spell(parcel.key, parcel.etag)
            if request is None:
                refused.append(parcel)
            else:
                self._waiting.append(Load(parcel, request, spelling))
        return refused

    def recall(self, parcel: Parcel) -> None:
        """Never tell of a parcel again; one that is not here is ignored."""
        stream = self._carried.pop(id(parcel), None)
        if stream is not None:
            stream.load = None
            self._cancelled.append(stream)
        elif self._waiting:
            self._waiting = deque(each for each in self._waiting if each.parcel is not parcel)

    def drop_recalled(self) -> None:
        """Close what was recalled."""
        while self._cancelled:
            self._connections.drop(self._cancelled.pop())

    def send(self, room: int, now: float) -> None:
        """Send requests, on connections that are kept or on new ones.

        Args:
            room: connections that may be used.
            now: seconds of a monotonic clock.
        """
        waiting, connections = self._waiting, self._connections
        for _ in range(min(room, len(waiting))):
            load = waiting.popleft()
            origin = load.spelling.endpoint.origin
            stream = connections.kept(origin, now) or connections.connect(origin)
            stream.load = load
            self._carried[id(load.parcel)] = stream
            if stream.fd >= 0:
                self.sent(stream, load, now)

    def sent(self, stream: Stream, load: Load, now: float) -> None:
        """Send the request of a load on a connection that stands."""
        stream.request = load.request
        try:
            stream.send(now)
        except (Stale, Broken) as error:
            transfer = self.unload(stream, load)
            self._streams.failed(stream, transfer, error, now)

    def ready(self, stream: Stream, load: Load, now: float) -> None:
        """A socket that carries a load has news."""
        parcel = load.parcel
        try:
            data = os.read(stream.fd, parcel.size + ROOM)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # libcurl will meet the end of the connection
        try:
            reply = self._reader.read(stream.early, data, parcel)
        except NotPlain:
            stream.early += data
            self.unload(stream, load)
            self._streams.ready(stream, now)
            return
        stream.moved_at = now
        if reply is None:
            stream.early += data
            return
        stream.load = None
        stream.early = b""
        stream.is_used = True
        del self._carried[id(parcel)]
        self._connections.keep(stream, now)
        self._counters.add("bytes.received", parcel.size)
        self._arrived(parcel, *reply)

    def unload(self, stream: Stream, load: Load) -> Transfer:
        """Make it a transfer like any other."""
        transfer = self._unpack(load)
        del self._carried[id(load.parcel)]
        stream.load = None
        self._streams.adopt(stream, transfer)
        return transfer

    def look(self, now: float, patience: float) -> None:
        """Leave what has stalled to others."""
        for stream in list(self._carried.values()):
            if stream.fd >= 0 and now - stream.moved_at > patience and stream.load is not None:
                self.unload(stream, stream.load)

    def close(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._carried.clear()
        self._cancelled.clear()
