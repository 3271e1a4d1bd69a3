"""One connection that libcurl makes and we read: objects come in long pieces, and small ones with less ado.

libcurl hands a body over in pieces of 16 KiB, and each is a turn of the interpreter's lock. A handle that only connects
(``CONNECT_ONLY``) gives what the socket has instead, up to half a MiB in one call, and lets a body go through a pipe
where it is wanted in a file. What HTTP wants of us then is small: a request without a body, and a reply whose length is
told. Every other reply is left to libcurl.
"""

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pycurl

from s3mount.store.curl_handle import (
    CurlFailure,
    CurlOptions,
    Transfer,
    parse_head,
    set_up_connection,
)
from s3mount.store.pipe import Drain, NoSplice, Pipe
from s3mount.store.ways import PIECE, Ways

if TYPE_CHECKING:
    from s3mount.store.loads import Load

TURN = 1024 * 1024
"""Bytes after which another connection has its turn."""
HEAD_PIECE = 16 * 1024
"""Bytes of which the head of a reply is a part; what follows it is copied once."""
HEAD_MOST = 256 * 1024
"""Bytes of a head that no server sends."""
GATHER = 512 * 1024
"""Bytes of a body for a pipe that the kernel gathers before it tells of them: fewer turns, each of more pages."""
_END = b"\r\n\r\n"
_FIRST_FINAL = 200
_GOOD = frozenset({200, 206})
_BODILESS = frozenset({204, 304})


class Unusual(Exception):
    """A reply that libcurl should have: nothing of it has been told.

    Attributes:
        is_rule: whether the server's other replies will be like that.
    """

    def __init__(self, *, is_rule: bool = False) -> None:
        super().__init__()
        self.is_rule = is_rule


class Stale(Exception):
    """A connection that was kept turns out to be dead: nothing was answered."""


class Broken(Exception):
    """The connection failed; ``failure`` says how."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.failure = CurlFailure(code, text, connected=True)


class _NotYet(Exception):
    """The socket has nothing now. What a transfer raises is never taken for it."""


class Stream:
    """A connection, and the transfer under way on it.

    Attributes:
        easy: libcurl's handle; it stays with its multi handle as long as the connection lives.
        origin: scheme, host and port.
        fd: the socket's number; -1 while it is being connected.
        transfer: None while the connection is idle, and once the transfer is cancelled.
        request: of the transfer, as it is sent.
        moved_at: when bytes came, or it was sent, or it became idle; the clock of whoever calls.
        keeps: whether the server keeps the connection after the reply.
        load: the parcel under way on it, instead of a transfer; see `loads`.
        early: what has come of its reply.
        is_used: whether a reply has come on it.
    """

    __slots__ = (
        "_drain",
        "_gathers",
        "_head",
        "_is_slow",
        "_left",
        "early",
        "easy",
        "fd",
        "is_used",
        "keeps",
        "load",
        "moved_at",
        "origin",
        "request",
        "transfer",
    )

    def __init__(self, easy: pycurl.Curl, origin: str) -> None:
        self.easy = easy
        self.origin = origin
        self.fd = -1
        self.transfer: Transfer | None = None
        self.request = b""
        self.moved_at = 0.0
        self.keeps = True
        self.load: Load | None = None
        self.early = b""
        self.is_used = False
        self._head = b""
        self._left: int | None = None
        self._drain: Drain | None = None
        self._gathers = 1
        self._is_slow = False

    def send(self, now: float) -> None:
        """Send the request on a connection that stands.

        Raises:
            Stale: it should be sent on another connection.
            Broken: it cannot be sent.
        """
        self.moved_at = now
        self.early = self._head = b""
        self._left = None
        self._drain = None
        self._is_slow = False
        try:
            sent = self.easy.send(self.request)
        except (pycurl.error, BlockingIOError) as error:
            raise self._broken(error) from error
        if sent != len(self.request):
            text = f"{sent} of {len(self.request)} bytes could be sent"
            raise Broken(pycurl.E_SEND_ERROR, text)

    def receive(self, ways: Ways, now: float) -> bool:
        """Take what is there, and what comes meanwhile, and hand it on.

        To look once more costs a tenth of what waiting for the socket again does.

        Args:
            ways: by which.
            now: see ``moved_at``.

        Returns:
            Whether the transfer is over: its reply has ended, or it wants no more.

        Raises:
            Unusual: the reply is for libcurl.
            Stale: the request should be sent on another connection.
            Broken: the reply broke off.
            Exception: what the transfer raised.
        """
        taken = 0
        if self.early:
            early, self.early = self.early, b""
            if self._begin_with(early, ways):
                return True
        while taken < TURN:
            left = self._left
            try:
                if left is not None and self._drain is not None and ways.pipe is not None:
                    count, is_over = self._let_through(ways, ways.pipe, self._drain, left)
                else:
                    count, is_over = self._read(ways, left)
            except _NotYet:
                return False
            self.moved_at = now
            taken += count
            if is_over:
                return True
        return False

    def _read(self, ways: Ways, left: int | None) -> tuple[int, bool]:
        data = self._take(ways.scratch)
        if left is not None:
            return len(data), self._hand_on(data, left)
        return len(data), self._begin_with(data, ways)

    def _begin_with(self, data: bytes, ways: Ways) -> bool:
        is_over = self._take_head(data)
        if self._drain is not None:
            ways.open_pipe()
        return is_over

    def _let_through(self, ways: Ways, pipe: Pipe, drain: Drain, left: int) -> tuple[int, bool]:
        if self.transfer is None:  # cancelled by what it was told last
            return 0, True
        try:
            count = pipe.fill(self.fd, left)
        except BlockingIOError as error:
            raise _NotYet from error
        except NoSplice:
            ways.give_up_pipe()
            return 0, False
        except OSError as error:
            raise Broken(pycurl.E_RECV_ERROR, str(error)) from error
        if not count:
            raise self._ended_early()
        self._left = left = left - count
        size = 1 if self._is_slow else max(1, min(GATHER, left))
        if size != self._gathers:
            self._gather(size)
        try:
            drain(pipe, count)
        finally:
            while pipe.held:
                pipe.read(PIECE)
        return count, not left or self.transfer is None

    def relax(self) -> None:
        """Nothing has come for a while: have the kernel tell of less, until the reply is over."""
        self._is_slow = True
        if self._gathers > 1:
            self._gather(1)

    def _gather(self, size: int) -> None:
        """Have the kernel tell of the socket when so many bytes are there, or its end."""
        self._gathers = size
        view = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, self.fd)
        # A sandbox may not know it; then bytes come as they do.
        with contextlib.suppress(OSError):
            view.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        view.detach()  # libcurl closes it

    def _take(self, scratch: memoryview) -> bytes:
        size = HEAD_PIECE if self._left is None else min(PIECE, self._left)
        try:
            count = self.easy.recv_into(scratch, size)
        except BlockingIOError as error:
            raise _NotYet from error
        except pycurl.error as error:
            raise self._broken(error) from error
        if not count:
            raise self._ended_early()
        return bytes(scratch[:count])

    def _take_head(self, data: bytes) -> bool:
        self._head += data
        while (end := self._head.find(_END)) >= 0:
            head, rest = self._head[: end + len(_END)], self._head[end + len(_END) :]
            try:
                status, headers = parse_head([head])
            except (ValueError, IndexError) as error:
                raise Unusual from error
            if status >= _FIRST_FINAL:
                return self._begin_body(head, status, headers, rest)
            self._head = rest
        if len(self._head) > HEAD_MOST:
            raise Unusual
        return False

    def _begin_body(self, head: bytes, status: int, headers: dict[str, str], rest: bytes) -> bool:
        length = headers.get("content-length", "")
        if not length.isdecimal() or "transfer-encoding" in headers or status in _BODILESS:
            raise Unusual(is_rule=status in _GOOD)
        self.is_used = True
        self._head = b""
        self.keeps = (
            head.startswith(b"HTTP/1.1")
            and "close" not in headers.get("connection", "").lower()
            and len(rest) <= int(length)
        )
        transfer = self.transfer
        assert transfer is not None
        self._drain = transfer.head(status, headers)
        self._left = int(length)
        rest = rest[: self._left]
        return self._hand_on(rest, self._left) if rest else not self._left

    def _hand_on(self, data: bytes, left: int) -> bool:
        transfer = self.transfer
        if transfer is None:  # cancelled by what it was told last
            return True
        self._left = left = left - len(data)
        has_enough = transfer.body(data)
        if left and has_enough:
            self.keeps = False
        return has_enough or not left

    @property
    def _is_stale(self) -> bool:
        """Whether a failure now means that a kept connection was dead: nothing of a reply has come."""
        return self.is_used and self._left is None and not self._head

    def _ended_early(self) -> Exception:
        if self._left is not None:
            text = f"the connection was closed with {self._left} bytes still to come"
            return Broken(pycurl.E_PARTIAL_FILE, text)
        if self._is_stale:
            return Stale()
        return Broken(pycurl.E_GOT_NOTHING, "the connection was closed without a reply")

    def _broken(self, error: Exception) -> Exception:
        if self._is_stale:
            return Stale()
        if isinstance(error, pycurl.error):
            return Broken(*error.args)
        return Broken(pycurl.E_SEND_ERROR, str(error))


def connecting(origin: str, options: CurlOptions, on_socket: Callable[[int, int], int]) -> Stream:
    """A handle that connects once it is added to a multi handle.

    Args:
        origin: scheme, host and port.
        options: of the loop.
        on_socket: called for the socket that is opened.
    """
    easy = pycurl.Curl()
    set_up_connection(easy, options, on_socket)
    easy.setopt(pycurl.URL, origin)
    easy.setopt(pycurl.CONNECT_ONLY, 1)
    return Stream(easy, origin)
