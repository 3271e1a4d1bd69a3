"""The connections that we read ourselves: which stand, which wait to be used again, which are given up.

libcurl makes them. Concurrency rule: everything happens on the thread that polls, outside of libcurl's callbacks.
"""

import select
from collections.abc import Callable

import pycurl

from s3mount.store.curl_handle import CurlOptions
from s3mount.store.stream import Stream, connecting

KEPT = 60.0
"""Seconds that an idle connection is trusted: servers close them after a minute or more, and routers forget them."""


class Connections:
    """Streams by what they are known by.

    Args:
        multi: connects.
        watch: has a socket watched for so much, see ``select.epoll``.
        options: of the loop.
        on_socket: called for every socket that is opened.
    """

    def __init__(
        self,
        multi: pycurl.CurlMulti,
        watch: Callable[[int, int], None],
        options: CurlOptions,
        on_socket: Callable[[int, int], int],
    ) -> None:
        self._multi = multi
        self._watch = watch
        self._options = options
        self._on_socket = on_socket
        self._by_easy: dict[pycurl.Curl, Stream] = {}
        self._by_fd: dict[int, Stream] = {}
        self._idle: dict[str, list[Stream]] = {}
        self.of_handle = self._by_easy.get
        self.of_socket = self._by_fd.get

    def kept(self, origin: str, now: float) -> Stream | None:
        """One that waits to be used again: the one that was used last, which is the most alive."""
        idle = self._idle.get(origin)
        while idle:
            stream = idle.pop()
            if now - stream.moved_at < KEPT:
                return stream
            self.drop(stream)
        return None

    def connect(self, origin: str) -> Stream:
        """A new one, which libcurl connects."""
        stream = connecting(origin, self._options, self._on_socket)
        self._by_easy[stream.easy] = stream
        self._multi.add_handle(stream.easy)
        return stream

    def stands(self, stream: Stream) -> None:
        """It is connected."""
        stream.fd = fd = int(stream.easy.getinfo(pycurl.ACTIVESOCKET))
        self._by_fd[fd] = stream
        self._watch(fd, select.EPOLLIN)

    def keep(self, stream: Stream, now: float) -> None:
        """Its reply is over: let it be used again."""
        stream.moved_at = now
        self._idle.setdefault(stream.origin, []).append(stream)

    def forget_idle(self, stream: Stream) -> None:
        """One that waits has news, mostly its end."""
        idle = self._idle.get(stream.origin, [])
        if stream in idle:
            idle.remove(stream)
        self.drop(stream)

    def drop(self, stream: Stream) -> None:
        """Close it; again it does nothing."""
        if self._by_easy.pop(stream.easy, None) is None:
            return
        self._by_fd.pop(stream.fd, None)
        self._multi.remove_handle(stream.easy)
        stream.easy.close()

    def close(self) -> None:
        """Close all; the multi handle must still be open."""
        for stream in list(self._by_easy.values()):
            self.drop(stream)
        self._idle.clear()
