"""One write to S3 and its reply; see `exchange` for what is common to all requests.

Servers differ in two ways that no caller could handle better. One refuses the header of a checksum: the write is sent
again with ``Content-MD5``. One does not know ``If-None-Match``, and overwrites: outside of AWS the object is looked at
first, unless the caller just has, so that what is there is left alone, though two writers in the same moment are then
not told apart.
"""

from s3mount.errors import AlreadyExists, NotFound, StoreError, UnexpectedReply, as_store_error
from s3mount.store.bodies import Body, Digests, digests_of
from s3mount.store.curl_handle import CurlFailure
from s3mount.store.exchange import Exchange, Settle
from s3mount.store.interface import Receiver
from s3mount.store.manners import Manners
from s3mount.store.s3_errors import error_of_reply
from s3mount.store.signing import EMPTY_PAYLOAD, UNSIGNED_PAYLOAD
from s3mount.store.write_reply import answer_of, holds_error
from s3mount.store.write_spelling import Headers, Spelled, spell
from s3mount.store.writing import (
    CompleteUpload,
    Copy,
    CopyPart,
    CreateUpload,
    Look,
    Put,
    PutPart,
    Write,
)

_SUCCESS = range(200, 300)
_CONDITION_FAILED = 412
_NOT_IMPLEMENTED = 501
_REFUSED_STATUSES = frozenset({400, 501})
"""With these servers answer a header that they do not implement."""
_ASKED_FROM = 1024 * 1024
"""Bytes from which a conditional body is sent only when the server has said that it wants it."""
_QUIET_TIME = 600.0
"""Seconds without a byte that a copy, or the end of an upload, may take: the server works on gigabytes meanwhile."""


class WriteExchange(Exchange):
    """A write: the reply is kept and read at its end."""

    counter = "requests.write"
    writes = True

    def __init__(
        self, request: Write, receiver: Receiver, settle: Settle, manners: Manners
    ) -> None:
        super().__init__(request, receiver, settle)
        self._write = request
        self._manners = manners
        self._only_absent = isinstance(request, Put | CompleteUpload | Copy) and request.if_absent
        self._sends_condition = self._only_absent
        self._has_looked = isinstance(request, Put | CompleteUpload) and request.looked
        self._is_looking = self._only_absent and not (manners.takes_condition or self._has_looked)
        self._sends_checksum = manners.takes_checksums and isinstance(
            request, Put | PutPart | CreateUpload
        )
        self._crc32 = ""
        self.payload: Body | None = None
        self.rewinds = not self._only_absent and not isinstance(request, CompleteUpload)
        if isinstance(request, CompleteUpload | Copy | CopyPart):
            self.quiet_time = _QUIET_TIME

    def spelled(self, bucket: str, *, secure: bool) -> tuple[Spelled, str]:
        """What is sent next, and what signing says of its body.

        Args:
            bucket: the store's.
            secure: whether TLS guards the body on its way.

        Raises:
            StoreError: no request can say this, or the file is not what it was, or cannot be read.
            UnicodeEncodeError: a key with a surrogate that stands for no byte.
        """
        spelled = spell(
            Look(self.key) if self._is_looking else self._write,
            bucket=bucket,
            checksums=self._sends_checksum,
            condition=self._sends_condition,
        )
        self.method = spelled.method
        self.payload = spelled.body
        try:
            return spelled, self._guard(spelled, secure=secure)
        except OSError as error:
            raise as_store_error(error, self.key) from error

    def _guard(self, spelled: Spelled, *, secure: bool) -> str:
        """Add the checksums of the body; how signing names the body."""
        body = spelled.body
        if body is None or not body.size:
            return EMPTY_PAYLOAD
        if not isinstance(self._write, Put | PutPart):
            return digests_of(body, sha256=True).sha256
        checks = self._sends_checksum
        digests = digests_of(body, crc32=checks, md5=not checks, sha256=not secure)
        self._crc32 = digests.crc32
        _add_digests(spelled.headers, digests)
        return digests.sha256 or UNSIGNED_PAYLOAD

    def transport_lines(self) -> list[str]:
        """Header lines that are for libcurl alone and are not signed."""
        body = self.payload
        if body is None or (self._only_absent and body.size > _ASKED_FROM):
            return []
        # Without this libcurl waits a second for servers that never say "100 Continue".
        return ["Expect:"]

    def goes_on(self, error: StoreError) -> bool:
        """Whether the write is to be sent now, or again in another way, after a reply that was no success."""
        if self._is_looking:
            self._is_looking = False
            self._has_looked = True
            return isinstance(error, NotFound)
        refuses_header = self.status in _REFUSED_STATUSES and type(error) is UnexpectedReply
        if self._sends_checksum and refuses_header:
            self._sends_checksum = False
            return True
        if self._sends_condition and refuses_header and self.status == _NOT_IMPLEMENTED:
            self._sends_condition = False
            self._is_looking = not self._has_looked
            return True
        return False

    def _verdict(self, failure: CurlFailure | BaseException | None) -> StoreError | None:
        if failure is not None:
            return super()._verdict(failure)
        if self.status not in _SUCCESS or holds_error(self.kept):
            return self._refusal()
        if self._is_looking:
            return _exists(self.key, self.status)
        return self._complete()

    def _refusal(self) -> StoreError | None:
        """What a reply means that is no success."""
        error = error_of_reply(
            self.status,
            self.headers,
            self.kept,
            key=self.key,
            bucket=self.bucket,
            verb=self.method,
        )
        if self.method == "DELETE" and isinstance(error, NotFound):
            return self._complete()
        if self.status == _CONDITION_FAILED and self._only_absent and not self._blames_source():
            self._manners.takes_condition = True
            return _exists(self.key, self.status, error.request_id)
        return error

    def _blames_source(self) -> bool:
        """Whether the condition that failed is that of a copy's source."""
        return b"copy-source" in self.kept.lower()

    def _complete(self) -> StoreError | None:
        try:
            answer = answer_of(self._write, self.headers, self.kept, self._crc32)
            self.receiver.answer(answer)
        except Exception as error:
            return as_store_error(error, self.key)
        if not self._sends_checksum and isinstance(self._write, Put | PutPart | CreateUpload):
            self._manners.takes_checksums = False
        return None


def _add_digests(headers: Headers, digests: Digests) -> None:
    if digests.crc32:
        headers.append(("x-amz-checksum-crc32", digests.crc32))
    if digests.md5:
        headers.append(("content-md5", digests.md5))


def _exists(key: str, status: int, request_id: str = "") -> AlreadyExists:
    return AlreadyExists(
        f"there is an object {key!r} already", key=key, status=status, request_id=request_id
    )
