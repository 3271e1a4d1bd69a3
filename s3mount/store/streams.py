"""Transfers over connections that we read ourselves.

Concurrency rule: everything happens on the thread that polls, outside of libcurl's callbacks, but for `cancel`, which
only notes what is wanted.
"""

import os
from collections.abc import Callable, Mapping

import pycurl

from s3mount.store.connections import Connections
from s3mount.store.curl_handle import CurlFailure, CurlOptions, Transfer
from s3mount.store.plain_request import spelled
from s3mount.store.stream import Broken, Stale, Stream, Unusual
from s3mount.store.ways import Ways

LEAST = 1
"""Bytes that are expected, from which on a transfer comes this way: what is not known, as of a listing, may be told
without a length."""
LOOK = 1.0
"""Seconds between two looks at what stalls."""

Outcome = CurlFailure | BaseException | None


def any_proxy(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names a proxy; requests to one are spelled in another way."""
    names = (name.lower() for name, value in environment.items() if value)
    return any(name.endswith("_proxy") and name != "no_proxy" for name in names)


class Streams:
    """Transfers of replies whose length is known, over plain HTTP.

    Args:
        connections: carry them.
        options: of the loop.
        over: told of each end.
        leave: takes a transfer that libcurl should have.
    """

    def __init__(
        self,
        connections: Connections,
        options: CurlOptions,
        *,
        over: Callable[[Transfer, Outcome], None],
        leave: Callable[[Transfer], None],
    ) -> None:
        self._connections = connections
        self._options = options
        self._over = over
        self._leave = leave
        self._has_proxy = any_proxy()
        self._left_alone: set[str] = set()
        self._active: dict[int, Stream] = {}
        self._cancelled: list[Stream] = []
        self._ways = Ways()

    @property
    def active(self) -> int:
        """Transfers under way."""
        return len(self._active)

    def goes_to(self, origin: str) -> bool:
        """Whether replies from there are for us, as far as is known."""
        return (
            origin.startswith("http://")
            and "@" not in origin
            and not self._has_proxy
            and origin not in self._left_alone
        )

    def begin(self, transfer: Transfer, now: float, *, on_new: bool = False) -> bool:
        """Take on a transfer; False when it is not for us.

        Args:
            transfer: which one.
            now: seconds of a monotonic clock.
            on_new: use no connection that was used before.
        """
        if transfer.expected < LEAST or self._has_proxy:
            return False
        spelling = spelled(transfer)
        if spelling is None or spelling[0] in self._left_alone:
            return False
        origin, request = spelling
        stream = None if on_new else self._connections.kept(origin, now)
        if stream is None:
            stream = self._connections.connect(origin)
        stream.request = request
        self.adopt(stream, transfer)
        if stream.fd >= 0:
            self.send(stream, transfer, now)
        return True

    def adopt(self, stream: Stream, transfer: Transfer) -> None:
        """Have a transfer on a connection, on which its request is sent, or will be."""
        stream.transfer = transfer
        self._active[id(transfer)] = stream

    def cancel(self, transfer: Transfer) -> bool:
        """Never call a transfer again; False when it is not here."""
        stream = self._active.pop(id(transfer), None)
        if stream is None:
            return False
        stream.transfer = None
        self._cancelled.append(stream)
        return True

    def drop_cancelled(self) -> None:
        """Close what was cancelled."""
        while self._cancelled:
            self._connections.drop(self._cancelled.pop())

    def send(self, stream: Stream, transfer: Transfer, now: float) -> None:
        """Send the request on a connection that stands."""
        try:
            stream.send(now)
        except (Stale, Broken) as error:
            self.failed(stream, transfer, error, now)

    def failed(self, stream: Stream, transfer: Transfer, error: Stale | Broken, now: float) -> None:
        """A request could not be sent, or was not answered."""
        if isinstance(error, Broken):
            self.end(stream, error.failure)
            return
        self._abandon(stream)
        if not self.begin(transfer, now, on_new=True):
            self._leave(transfer)

    def ready(self, stream: Stream, now: float) -> None:
        """A socket has news."""
        transfer = stream.transfer
        if transfer is None:
            self._connections.forget_idle(stream)
            return
        try:
            is_over = stream.receive(self._ways, now)
        except Unusual as reply:
            self._abandon(stream)
            if reply.is_rule:
                self._left_alone.add(stream.origin)
            self._leave(transfer)
        except (Stale, Broken) as error:
            self.failed(stream, transfer, error, now)
        except BaseException as error:
            self.end(stream, error)
        else:
            if is_over and stream.transfer is not None:
                self.end(stream, None, now)

    def end(self, stream: Stream, outcome: Outcome, now: float | None = None) -> None:
        """A transfer is over; with the time its connection may be used again."""
        transfer = stream.transfer
        if now is not None and stream.keeps:
            stream.transfer = None
            self._connections.keep(stream, now)
        else:
            self._connections.drop(stream)
        if transfer is not None:
            self._active.pop(id(transfer), None)
            self._over(transfer, outcome)

    def look(self, now: float) -> None:
        """Look closer at what has had no byte for a while, and end what has had none for too long."""
        patience = self._options.stall_timeout
        text = f"no byte came for {patience:g} seconds"
        for stream in [each for each in self._active.values() if each.fd >= 0]:
            if now - stream.moved_at > LOOK:
                stream.relax()
            if now - stream.moved_at > patience:
                self.end(stream, CurlFailure(pycurl.E_OPERATION_TIMEDOUT, text, True))

    def close(self) -> None:
        """Give everything back but the connections."""
        self._active.clear()
        self._ways.close()

    def _abandon(self, stream: Stream) -> None:
        self._active.pop(id(stream.transfer), None)
        self._connections.drop(stream)
