"""One request to S3 and its reply: what is checked before a receiver hears of it.

The rules are plain (`check_get`); an exchange holds how far its reply has come. It sends nothing itself: at the end it
hands itself to ``settle``, which decides whether it is over.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from s3mount.errors import BadBody, ObjectChanged, StoreError, UnexpectedReply, as_store_error
from s3mount.store.curl_handle import CurlFailure
from s3mount.store.interface import Get, Head, ListPage, Receiver, Request
from s3mount.store.listing_xml import parse_page, plain_etag
from s3mount.store.s3_errors import error_of_curl, error_of_reply
from s3mount.store.signing import AccessKey

if TYPE_CHECKING:
    from s3mount.store.bodies import Body
    from s3mount.store.pipe import Drain, Pipe

_OK = 200
_PARTIAL = 206
_ERROR_BODY_LIMIT = 64 * 1024
"""Bytes of an error's body that are kept: S3's own are under 2 KiB, a proxy's page may be long."""
_LIST_BODY_LIMIT = 32 * 1024 * 1024
"""Bytes: 1,000 keys of 1,024 bytes, percent-encoded with all their fields, stay under 4 MiB."""

Settle = Callable[["Exchange", StoreError | None], None]


class Exchange:
    """What is common to all requests.

    Attributes:
        status: of the reply; 0 while there is none.
        bucket: that is asked, for messages.
        region: the region that the request was signed for.
        access: the credentials it was signed with.
        received: bytes of bodies, of all replies.
        moved: it was sent again because the bucket is in another region.
        asked_restore_status: it carried a header that some servers refuse.
        plainer: it was sent again without that header.
        counter: the name under which it is counted.
    """

    method: str = "GET"
    payload: "Body | None" = None
    rewinds: bool = False
    quiet_time: float = 0.0
    expected: int = 0
    counter = "requests.get"
    listing = False
    writes = False
    limit = _ERROR_BODY_LIMIT

    def __init__(self, request: Request, receiver: Receiver, settle: Settle) -> None:
        self.request = request
        self.receiver = receiver
        self.url = ""
        self.header_lines: list[str] = []
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.endpoint_url = ""
        self.bucket = ""
        self.region = ""
        self.access: AccessKey | None = None
        self.received = 0
        self.moved = False
        self.asked_restore_status = False
        self.plainer = False
        self.key = request.prefix if isinstance(request, ListPage) else request.key
        self._settle = settle
        self._kept: list[bytes] = []
        self._kept_size = 0

    @property
    def kept(self) -> bytes:
        """The body, as far as it was kept instead of handed on."""
        return b"".join(self._kept)

    def restart(self) -> None:
        """Forget the reply, to be sent again."""
        self.status = 0
        self.headers = {}
        self._kept.clear()
        self._kept_size = 0

    def head(self, status: int, headers: dict[str, str]) -> "Drain | None":
        """Status and headers have come."""
        self.status = status
        self.headers = headers
        return None

    def body(self, chunk: bytes) -> bool:
        """Keep bytes that no receiver is to see; True when there are too many."""
        self.received += len(chunk)
        self._kept_size += len(chunk)
        self._kept.append(chunk)
        return self._kept_size > self.limit

    def over(self, failure: CurlFailure | BaseException | None) -> None:
        """The reply has ended, well or not."""
        self._settle(self, self._verdict(failure))

    def _verdict(self, failure: CurlFailure | BaseException | None) -> StoreError | None:
        if isinstance(failure, CurlFailure):
            return error_of_curl(
                failure, endpoint=self.endpoint_url, key=self.key, got=self.received
            )
        if failure is not None:
            return as_store_error(failure, self.key)
        if self.status == _OK or (self.status == _PARTIAL and not self.listing):
            return self._complete()
        return error_of_reply(
            self.status,
            self.headers,
            self.kept,
            key=self.key,
            listing=self.listing,
            bucket=self.bucket,
        )

    def _complete(self) -> StoreError | None:
        """What is wrong with a successful reply now that all of it is here."""
        raise NotImplementedError


class GetExchange(Exchange):
    """A Get: bytes go straight to the receiver once the head is right."""

    def __init__(self, request: Get, receiver: Receiver, settle: Settle) -> None:
        super().__init__(request, receiver, settle)
        self._get = request
        self.expected = request.stop - request.start
        self._plan: BodyPlan | None = None
        self._got = 0
        self._drain: Drain | None = None

    def head(self, status: int, headers: dict[str, str]) -> "Drain | None":
        """Check a successful reply and tell the receiver."""
        self.status = status
        self.headers = headers
        if status not in {_OK, _PARTIAL}:
            return None
        head, plan = check_get(self._get, status, headers)
        self._drain = self.receiver.head(head)
        self._plan = plan
        # Of a body that is longer than what was asked for, the end is cut off; a pipe has no scissors.
        return self._let_through if self._drain is not None and not plan.cut else None

    def _let_through(self, pipe: "Pipe", count: int) -> None:
        assert self._drain is not None
        self.received += count
        self._got += count
        self._drain(pipe, count)

    def body(self, chunk: bytes) -> bool:
        """Hand bytes on, never more than were asked for."""
        plan = self._plan
        if plan is None:
            return super().body(chunk)
        self.received += len(chunk)
        got = self._got + len(chunk)
        if got > plan.length:
            if not plan.cut:
                raise BadBody(f"{self.key!r}: more than {plan.length} bytes came", key=self.key)
            chunk = chunk[: plan.length - self._got]
            got = plan.length
        self._got = got
        if chunk:
            self.receiver.data(chunk)
        return plan.cut and got >= plan.length

    def _complete(self) -> StoreError | None:
        if self._plan is None or self._got != self._plan.length:
            expected = self._plan.length if self._plan else 0
            return BadBody(f"{self.key!r}: {self._got} of {expected} bytes came", key=self.key)
        return None


class ListExchange(Exchange):
    """A ListPage: the reply is kept and parsed at its end."""

    counter = "requests.list"
    listing = True
    limit = _LIST_BODY_LIMIT

    def _complete(self) -> StoreError | None:
        if self._kept_size > self.limit:
            return UnexpectedReply(f"a listing of more than {self.limit} bytes", key=self.key)
        try:
            self.receiver.page(parse_page(self.kept))
        except Exception as error:
            return as_store_error(error, self.key)
        return None


class BodyPlan(NamedTuple):
    """How many bytes of a body to hand on, and whether the server is going to send more than that."""

    length: int
    cut: bool


def check_get(request: Get, status: int, headers: Mapping[str, str]) -> tuple[Head, BodyPlan]:
    """Whether a successful reply is the version and the bytes that were asked for.

    Servers differ: some ignore If-Match, some answer a Range with 200 and a Content-Range, some ignore the Range. An
    etag-less request for more than there is gets what there is.

    Raises:
        ObjectChanged: the reply is of another version.
        UnexpectedReply: it is of another range, or does not say of which.
        BadBody: its length is not that of the range.
    """
    etag = plain_etag(headers.get("etag", ""))
    if request.etag and etag != request.etag:
        if etag:
            message = f"{request.key!r} is {etag!r} now, {request.etag!r} was asked for"
            raise ObjectChanged(message, key=request.key, status=status)
        raise UnexpectedReply(f"{request.key!r}: a reply without an ETag", key=request.key)
    announced = _number(headers.get("content-length"), request.key)
    content_range = headers.get("content-range")
    whole = content_range is None and status == _OK
    if whole:
        size, plan = _plan_of_whole(request, announced)
    else:
        size, plan = _plan_of_range(request, content_range or "", announced)
    crc32 = _crc32_of(headers) if whole else None
    return Head(etag, size, headers.get("x-amz-version-id", ""), crc32, headers), plan


def _plan_of_whole(request: Get, announced: int | None) -> tuple[int, BodyPlan]:
    asked = request.stop - request.start
    size = announced
    if size is None:
        if not request.whole:
            message = f"{request.key!r}: the Range was ignored and the size is not told"
            raise UnexpectedReply(message, key=request.key)
        size = asked
    if request.start > 0:
        message = f"{request.key!r}: the whole object came where a later part was asked for"
        raise UnexpectedReply(message, key=request.key, hint="the server does not know Range")
    if request.etag and (size < request.stop or (request.whole and size != asked)):
        raise BadBody(f"{request.key!r}: {size} bytes told, {asked} asked for", key=request.key)
    if request.whole:
        return size, BodyPlan(size, cut=False)
    return size, BodyPlan(min(size, asked), cut=size > asked)


def _plan_of_range(request: Get, content_range: str, announced: int | None) -> tuple[int, BodyPlan]:
    start, stop, size = _parse_content_range(content_range, request.key)
    wanted_stop = request.stop if request.etag else min(request.stop, size)
    if (start, stop) != (request.start, wanted_stop):
        message = (
            f"{request.key!r}: bytes {start} to {stop} came where"
            f" {request.start} to {request.stop} were asked for"
        )
        raise UnexpectedReply(message, key=request.key)
    if announced is not None and announced != stop - start:
        message = f"{request.key!r}: {announced} bytes told for a range of {stop - start}"
        raise BadBody(message, key=request.key)
    return size, BodyPlan(stop - start, cut=False)


def _parse_content_range(text: str, key: str) -> tuple[int, int, int]:
    """``bytes 0-4/10`` as start, stop (exclusive) and size of the whole."""
    unit, _, rest = text.partition(" ")
    span, _, size = rest.partition("/")
    first, _, last = span.partition("-")
    if unit == "bytes" and first.isdecimal() and last.isdecimal() and size.isdecimal():
        return int(first), int(last) + 1, int(size)
    raise UnexpectedReply(f"{key!r}: the Content-Range {text!r} cannot be read", key=key)


def _number(text: str | None, key: str) -> int | None:
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    raise UnexpectedReply(f"{key!r}: the Content-Length {text!r} is no number", key=key)


def _crc32_of(headers: Mapping[str, str]) -> int | None:
    """The CRC-32 of the whole object; a COMPOSITE one is a checksum of the parts' checksums and of no use here."""
    text = headers.get("x-amz-checksum-crc32", "")
    if not text or headers.get("x-amz-checksum-type") != "FULL_OBJECT":
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return int.from_bytes(raw, "big") if len(raw) == 4 else None  # noqa: PLR2004
