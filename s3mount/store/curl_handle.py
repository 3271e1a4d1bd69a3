"""One easy handle of libcurl and the transfer that it carries.

A handle is set up once and used again for the next transfer: only the URL and the header lines change. Its callbacks
run inside libcurl, where ``getinfo`` and exceptions are forbidden: status and headers come from the header lines, and
what a transfer raises is kept until `outcome`.
"""

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pycurl

if TYPE_CHECKING:
    from s3mount.store.bodies import Body, Reader
    from s3mount.store.pipe import Drain

_RECEIVE_BUFFER = 512 * 1024
"""Bytes: beyond this a socket read no longer gets cheaper, far beyond it the buffer falls out of the CPU's cache."""
_SEND_BUFFER = 512 * 1024
"""Bytes read of a body at once: a fifth less processor time for a large file than with libcurl's own 64 KiB."""

_OWN_METHODS = frozenset({"GET", "HEAD", "PUT"})
"""Those that libcurl sends by itself; the others are named to it."""


USER_AGENT = "s3mount"


class CurlFailure(NamedTuple):
    """Why libcurl gave up on a transfer.

    Attributes:
        code: a ``CURLE_`` number.
        text: libcurl's own words.
        connected: whether the connection stood (TLS included), so that the request was sent.
    """

    code: int
    text: str
    connected: bool


class CurlOptions(NamedTuple):
    """What all transfers of one loop share; times in seconds.

    Attributes:
        ca_path: a file or a directory of certificates to trust; empty for libcurl's own.
    """

    connections: int
    connect_timeout: float
    stall_timeout: float
    ca_path: str = ""


class Transfer(Protocol):
    """One HTTP request: what is asked for, and who is told of the reply.

    Attributes:
        url: sent as it is, dots and doubled slashes included.
        header_lines: ``name:value``, beside those that libcurl adds.
        method: ``GET``, ``HEAD``, ``PUT``, ``POST`` or ``DELETE``.
        payload: what is sent; None for a request without a body. Its end must be as far away as it says.
        rewinds: whether libcurl may send it once more where a connection that was kept turns out to be dead.
        quiet_time: seconds without a byte that are no stall; 0 for what `CurlOptions` says.
        expected: bytes of the reply, as far as is known; 0 where it is not.
    """

    url: str
    header_lines: list[str]

    method: str
    payload: "Body | None"
    rewinds: bool
    quiet_time: float
    expected: int

    def head(self, status: int, headers: dict[str, str]) -> "Drain | None":
        """Status and headers (names in lower case), once, before the first byte. May raise: then ``over`` follows.

        Returns:
            What takes bytes of the body out of a pipe. Those that come without one go to ``body`` all the same.
        """

    def body(self, chunk: bytes) -> bool:
        """The next bytes, a piece of up to 512 KiB; True when no more are wanted."""

    def over(self, failure: CurlFailure | BaseException | None) -> None:
        """The last call: None when the reply ended as HTTP says or enough had come."""


class Progress:
    """Whether any transfer has had bytes or an end since this was last set to False."""

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made = False


class CurlHandle:
    """One reused easy handle and what it holds of the transfer under way."""

    __slots__ = (
        "_enough",
        "_error",
        "_lines",
        "_method",
        "_progress",
        "_reader",
        "_stall_time",
        "_told",
        "added",
        "easy",
        "transfer",
    )

    def __init__(self, progress: Progress) -> None:
        self.easy = pycurl.Curl()
        self.transfer: Transfer | None = None
        self.added = False
        self._progress = progress
        self._lines: list[bytes] = []
        self._told = False
        self._enough = False
        self._error: BaseException | None = None
        self._method = "GET"
        self._stall_time = 0
        self._reader: Reader | None = None

    def set_up(self, options: CurlOptions, on_socket: Callable[[int, int], int]) -> None:
        """Set what all transfers share; ``on_socket`` is called for every socket that is opened."""
        set_up_connection(self.easy, options, on_socket)
        setopt: Any = self.easy.setopt
        setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        setopt(pycurl.PATH_AS_IS, 1)
        setopt(pycurl.BUFFERSIZE, _RECEIVE_BUFFER)
        setopt(pycurl.UPLOAD_BUFFERSIZE, _SEND_BUFFER)
        # libcurl takes the mean of some five seconds: a stall after fast bytes is noticed that much later.
        setopt(pycurl.LOW_SPEED_LIMIT, 1)
        self._stall_time = max(1, math.ceil(options.stall_timeout))
        setopt(pycurl.LOW_SPEED_TIME, self._stall_time)
        setopt(pycurl.USERAGENT, USER_AGENT)
        setopt(pycurl.HEADERFUNCTION, self._lines.append)
        setopt(pycurl.WRITEFUNCTION, self._write)
        setopt(pycurl.READFUNCTION, self._read)
        setopt(pycurl.SEEKFUNCTION, self._seek)
        if options.ca_path:
            path_kind = pycurl.CAPATH if os.path.isdir(options.ca_path) else pycurl.CAINFO
            setopt(path_kind, options.ca_path)

    def begin(self, transfer: Transfer) -> None:
        """Take on a transfer; the handle must be idle."""
        self.transfer = transfer
        self._lines.clear()
        self._told = self._enough = False
        self._error = None
        self.added = True
        self.easy.setopt(pycurl.URL, transfer.url)
        self.easy.setopt(pycurl.HTTPHEADER, transfer.header_lines)
        if transfer.method != "GET" or self._method != "GET":
            self._shape(transfer)

    def _shape(self, transfer: Transfer) -> None:
        """Set what GETs have in common and other methods have not."""
        setopt: Any = self.easy.setopt
        method, payload = transfer.method, transfer.payload
        if method != self._method:
            self._method = method
            # This takes back what any other method has set.
            setopt(pycurl.HTTPGET, 1)
            self.easy.unsetopt(pycurl.CUSTOMREQUEST)
            setopt(pycurl.LOW_SPEED_TIME, self._stall_time)
            if method == "HEAD":
                setopt(pycurl.NOBODY, 1)
            elif payload is not None:
                setopt(pycurl.UPLOAD, 1)
            if method not in _OWN_METHODS:
                setopt(pycurl.CUSTOMREQUEST, method)
        if payload is not None:
            setopt(pycurl.INFILESIZE_LARGE, payload.size)
        if method != "GET":
            setopt(pycurl.LOW_SPEED_TIME, max(self._stall_time, math.ceil(transfer.quiet_time)))

    def _read(self, size: int) -> bytes | int:
        """Called by libcurl for bytes to send."""
        transfer = self.transfer
        if transfer is None or transfer.payload is None:
            return int(pycurl.READFUNC_ABORT)
        try:
            if self._reader is None:
                self._reader = transfer.payload.open()
            return self._reader.read(size)
        except BaseException as error:
            self._error = error
            return int(pycurl.READFUNC_ABORT)

    def _seek(self, offset: int, origin: int) -> int:
        """Called by libcurl to begin the body anew."""
        transfer = self.transfer
        if transfer is None or not transfer.rewinds or offset or origin:
            return int(pycurl.SEEKFUNC_CANTSEEK)
        self.release()
        return int(pycurl.SEEKFUNC_OK)

    def release(self) -> None:
        """Let go of the body."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.close()

    def _write(self, chunk: bytes) -> int | None:
        """Called by libcurl with bytes of the body; -1 stops the transfer."""
        transfer = self.transfer
        if transfer is None:
            return -1
        self._progress.made = True
        try:
            if not self._told:
                self._told = True
                transfer.head(*parse_head(self._lines))
            self._enough = transfer.body(chunk)
        except BaseException as error:
            self._error = error
            return -1
        return -1 if self._enough or self.transfer is None else None

    def outcome(
        self, failure: CurlFailure | BaseException | None
    ) -> CurlFailure | BaseException | None:
        """What to tell the transfer at its end; a reply without a body gets its head told here."""
        if self._error is not None:
            return self._error
        if self._enough:
            return None
        if failure is None and not self._told and self.transfer is not None:
            try:
                self.transfer.head(*parse_head(self._lines))
            except BaseException as error:
                return error
        return failure


def set_up_connection(
    easy: pycurl.Curl, options: CurlOptions, on_socket: Callable[[int, int], int]
) -> None:
    """Set how a handle connects; ``on_socket`` is called for every socket that is opened."""
    setopt: Any = easy.setopt
    setopt(pycurl.NOSIGNAL, 1)
    setopt(pycurl.TCP_NODELAY, 1)
    setopt(pycurl.TCP_KEEPALIVE, 1)
    setopt(pycurl.CONNECTTIMEOUT_MS, math.ceil(options.connect_timeout * 1000))
    setopt(pycurl.SOCKOPTFUNCTION, on_socket)


def parse_head(lines: list[bytes]) -> tuple[int, dict[str, str]]:
    """Status and headers of the last reply among the lines (interim ``1xx`` replies come before it).

    Raises:
        ValueError: there is no status line.
    """
    text = b"".join(lines).decode("latin-1")
    if not text.startswith("HTTP/"):
        raise ValueError("a reply without a status line")
    # Interim replies (``1xx``) come before the last one.
    first, *rest = text.rpartition("\r\nHTTP/")[2].split("\r\n")
    status = int(first.split(" ", 2)[1])
    headers = {
        name.lower(): value.strip()
        for name, colon, value in [line.partition(":") for line in rest]
        if colon
    }
    return status, headers
