"""HTTP/1.1 framing as plain functions and classes: where a head ends, where a body ends.

The proxy passes bytes on as they come and only needs to know which bytes belong to which message. Nothing here does
I/O, so that the odd cases (chunked replies, replies without a body, interim replies) are tested without a socket.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

HEAD_END = b"\r\n\r\n"
LISTING_PARAMETERS = frozenset(
    {"list-type", "prefix", "delimiter", "marker", "max-keys", "encoding-type"}
)

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Head:
    """Start line and header fields (names in lower case) of a request or a reply."""

    start_line: str
    fields: dict[str, str]

    def has_token(self, name: str, token: str) -> bool:
        """Whether a comma-separated field contains a word, whatever its case."""
        return token in [part.strip().lower() for part in self.fields.get(name, "").split(",")]


def parse_head(raw: bytes) -> Head:
    """Split the bytes up to and including the empty line."""
    start_line, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    return Head(start_line, fields)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it was seen on the wire.

    Attributes:
        method: ``GET``, ``HEAD`` ...
        path: decoded, with the bucket as its first part.
        query: the raw query string.
        range: the Range header, empty when there was none.
        if_match: the If-Match header, empty when there was none.
    """

    method: str
    path: str
    query: str
    range: str = ""
    if_match: str = ""

    @property
    def line(self) -> str:
        """Method, path and query as one line, for patterns and messages."""
        return f"{self.method} {self.path}" + (f"?{self.query}" if self.query else "")

    @property
    def kind(self) -> str:
        """What the request is to an object store: the name under which it is counted."""
        if self.method == "GET":
            if len(self.path.strip("/").split("/", 1)) == 1:
                return "list" if self._lists() else "other"
            return "ranged_get" if self.range else "get"
        return {"HEAD": "head", "PUT": "put"}.get(self.method, "other")

    def _lists(self) -> bool:
        names = parse_qs(self.query, keep_blank_values=True).keys()
        return bool(self.path.strip("/")) and (not names or bool(LISTING_PARAMETERS & names))


def parse_request(head: Head) -> Request:
    """Read the start line of a request."""
    method, target, _ = head.start_line.split(" ", 2)
    parts = urlsplit(target if target.startswith("/") else "/" + target.split("/", 3)[-1])
    fields = head.fields
    return Request(
        method,
        unquote(parts.path),
        parts.query,
        fields.get("range", ""),
        fields.get("if-match", "").strip('"'),
    )


class LengthBody:
    """A body of a known number of bytes."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[int, Sequence[Span]]:
        """Say how many bytes belong to this body, and which of them are payload."""
        taken = min(len(data), self._left)
        self._left -= taken
        self.done = self._left == 0
        return taken, [(0, taken)]


class EndlessBody:
    """A body that ends with the connection."""

    done = False

    def feed(self, data: bytes) -> tuple[int, Sequence[Span]]:
        """Everything belongs to this body."""
        return len(data), [(0, len(data))]


class ChunkedBody:
    """A body in chunks: size lines, payload, a trailer that ends with an empty line."""

    def __init__(self) -> None:
        self.done = False
        self._line = bytearray()
        self._left = 0  # bytes of the present chunk still to come
        self._at: Callable[[bytes], None] = self._size_line

    def feed(self, data: bytes) -> tuple[int, Sequence[Span]]:
        """Say how many bytes belong to this body, and which of them are payload."""
        position = 0
        spans = []
        while position < len(data) and not self.done:
            if self._left:
                taken = min(self._left, len(data) - position)
                spans.append((position, position + taken))
                self._left -= taken
                position += taken
                continue
            end = data.find(b"\n", position)
            stop = len(data) if end < 0 else end + 1
            self._line += data[position:stop]
            position = stop
            if end >= 0:
                line = bytes(self._line).rstrip(b"\r\n")
                self._line.clear()
                self._at(line)
        return position, spans

    def _size_line(self, line: bytes) -> None:
        self._left = int(line.split(b";")[0], 16)
        self._at = self._after_chunk if self._left else self._trailer

    def _after_chunk(self, _line: bytes) -> None:
        self._at = self._size_line

    def _trailer(self, line: bytes) -> None:
        self.done = not line


Body = LengthBody | EndlessBody | ChunkedBody


def request_body(head: Head) -> Body:
    """How the body of a request is framed; without a length there is none."""
    if head.has_token("transfer-encoding", "chunked"):
        return ChunkedBody()
    return LengthBody(int(head.fields.get("content-length", "0")))


def reply_status(head: Head) -> int:
    """The status code of a reply's head."""
    return int(head.start_line.split(" ", 2)[1])


def reply_body(head: Head, method: str) -> Body:
    """How the body of the reply to a request of this method is framed."""
    if method == "HEAD" or reply_status(head) in {204, 304}:
        return LengthBody(0)
    if head.has_token("transfer-encoding", "chunked"):
        return ChunkedBody()
    if "content-length" in head.fields:
        return LengthBody(int(head.fields["content-length"]))
    return EndlessBody()
