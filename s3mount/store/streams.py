"""All connections that we read ourselves: which are under way, which wait to be used again.

Concurrency rule: everything happens on the thread that polls, outside of libcurl's callbacks, but for `cancel`, which
only notes what is wanted.
"""

import os
import select
from collections.abc import Callable, Mapping

import pycurl

from s3mount.store.curl_handle import CurlFailure, CurlOptions, Transfer
from s3mount.store.plain_request import spelled
from s3mount.store.stream import Broken, Stale, Stream, Unusual, connecting
from s3mount.store.ways import Ways

LEAST = 1
"""Bytes that are expected, from which on a transfer comes this way: what is not known, as of a listing, may be told
without a length."""
KEPT = 60.0
"""Seconds that an idle connection is trusted: servers close them after a minute or more, and routers forget them."""
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
        multi: connects.
        watch: has a socket watched for so much, see ``select.epoll``.
        options: of the loop.
        on_socket: called for every socket that is opened.
        over: told of each end.
        leave: takes a transfer that libcurl should have.
    """

    def __init__(
        self,
        multi: pycurl.CurlMulti,
        watch: Callable[[int, int], None],
        options: CurlOptions,
        *,
        on_socket: Callable[[int, int], int],
        over: Callable[[Transfer, Outcome], None],
        leave: Callable[[Transfer], None],
    ) -> None:
        self._multi = multi
        self._watch = watch
        self._options = options
        self._on_socket = on_socket
        self._over = over
        self._leave = leave
        self._has_proxy = any_proxy()
        self._left_alone: set[str] = set()
        self._by_easy: dict[pycurl.Curl, Stream] = {}
        self._by_fd: dict[int, Stream] = {}
        self._active: dict[int, Stream] = {}
        self._idle: dict[str, list[Stream]] = {}
        self._cancelled: list[Stream] = []
        self._looked_at = 0.0
        self._ways = Ways()

    @property
    def active(self) -> int:
        """Transfers under way."""
        return len(self._active)

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
        stream = None if on_new else self._kept(origin, now)
        if stream is None:
            stream = self._connect(origin)
        stream.transfer = transfer
        stream.request = request
        self._active[id(transfer)] = stream
        if stream.fd >= 0:
            self._send(stream, transfer, now)
        return True

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
            self._drop(self._cancelled.pop())

    def settle(self, easy: pycurl.Curl, failure: CurlFailure | None, now: float) -> bool:
        """A handle is connected, or could not be; False when it is not one of ours."""
        stream = self._by_easy.get(easy)
        if stream is None:
            return False
        transfer = stream.transfer
        if transfer is None:
            return True  # cancelled: dropped soon
        if failure is not None:
            self._end(stream, failure)
            return True
        stream.fd = fd = int(easy.getinfo(pycurl.ACTIVESOCKET))
        self._by_fd[fd] = stream
        self._watch(fd, select.EPOLLIN)
        self._send(stream, transfer, now)
        return True

    def ready(self, fd: int, now: float) -> bool:
        """A socket has news; False when it is not one of ours."""
        stream = self._by_fd.get(fd)
        if stream is None:
            return False
        transfer = stream.transfer
        if transfer is None:
            self._forget_idle(stream)
            return True
        try:
            is_over = stream.receive(self._ways, now)
        except Unusual as reply:
            self._abandon(stream)
            if reply.is_rule:
                self._left_alone.add(stream.origin)
            self._leave(transfer)
        except Stale:
            self._again(stream, transfer, now)
        except Broken as error:
            self._end(stream, error.failure)
        except BaseException as error:
            self._end(stream, error)
        else:
            if is_over and stream.transfer is not None:
                self._end(stream, None, now)
        return True

    def look(self, now: float) -> None:
        """Look closer at what has had no byte for a while, and end what has had none for too long."""
        if now < self._looked_at + LOOK:
            return
        self._looked_at = now
        patience = self._options.stall_timeout
        text = f"no byte came for {patience:g} seconds"
        for stream in [each for each in self._active.values() if each.fd >= 0]:
            if now - stream.moved_at > LOOK:
                stream.relax()
            if now - stream.moved_at > patience:
                self._end(stream, CurlFailure(pycurl.E_OPERATION_TIMEDOUT, text, True))

    def close(self) -> None:
        """Give everything back; the multi handle must still be open."""
        for stream in list(self._by_easy.values()):
            self._drop(stream)
        self._active.clear()
        self._idle.clear()
        self._ways.close()

    def _connect(self, origin: str) -> Stream:
        stream = connecting(origin, self._options, self._on_socket)
        self._by_easy[stream.easy] = stream
        self._multi.add_handle(stream.easy)
        return stream

    def _kept(self, origin: str, now: float) -> Stream | None:
        idle = self._idle.get(origin)
        while idle:
            stream = idle.pop()
            if now - stream.moved_at < KEPT:
                return stream
            self._drop(stream)
        return None

    def _send(self, stream: Stream, transfer: Transfer, now: float) -> None:
        try:
            stream.send(now)
        except Stale:
            self._again(stream, transfer, now)
        except Broken as error:
            self._end(stream, error.failure)

    def _again(self, stream: Stream, transfer: Transfer, now: float) -> None:
        self._abandon(stream)
        if not self.begin(transfer, now, on_new=True):
            self._leave(transfer)

    def _end(self, stream: Stream, outcome: Outcome, now: float | None = None) -> None:
        """A transfer is over; with the time its connection may be used again."""
        transfer = stream.transfer
        if now is not None and stream.keeps:
            stream.transfer = None
            stream.moved_at = now
            self._idle.setdefault(stream.origin, []).append(stream)
        else:
            self._drop(stream)
        if transfer is not None:
            self._active.pop(id(transfer), None)
            self._over(transfer, outcome)

    def _abandon(self, stream: Stream) -> None:
        self._active.pop(id(stream.transfer), None)
        self._drop(stream)

    def _forget_idle(self, stream: Stream) -> None:
        idle = self._idle.get(stream.origin, [])
        if stream in idle:
            idle.remove(stream)
        self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        if self._by_easy.pop(stream.easy, None) is None:
            return
        self._by_fd.pop(stream.fd, None)
        self._multi.remove_handle(stream.easy)
        stream.easy.close()
