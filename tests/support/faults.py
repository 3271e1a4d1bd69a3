"""What a proxy does wrong on purpose: rules that are matched to requests, and the damage done to a reply's bytes.

Plain decisions: a rule is asked per request, a ``Damage`` per piece of payload. The proxy carries them out.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.support.wire import Request, Span

KINDS = ("get", "ranged_get", "head", "list", "put", "other")
ERROR_CODES = {
    400: "InvalidRequest",
    401: "InvalidAccessKeyId",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "OperationAborted",
    412: "PreconditionFailed",
    416: "InvalidRange",
    429: "TooManyRequests",
    500: "InternalError",
    503: "SlowDown",
}

Match = str | Callable[[Request], bool] | None
Ending = Literal["reset", "truncate", "stall"]


@dataclass(slots=True)
class Fault:
    """One rule: which requests, how often, and what happens to them.

    Attributes:
        match: a kind (``"list"``), a regular expression on ``"GET /bucket/key?query"``, a predicate, or None for all.
        times: how many requests it may still hit; None for every one.
        status: answer with this status at once, without asking the server.
        code: the S3 error code in that answer.
        reset_after: reset the connection after so many payload bytes.
        truncate_after: close the connection in order after so many payload bytes.
        stall_after: send so many payload bytes and then nothing more.
        corrupt_at: flip the byte at this offset of the payload.
        delay: seconds to hold the request back, beside the proxy's own delay.
        hang: never answer.
        lose_reply: let the server do its work, and reset the connection in place of its reply.
        hits: how many requests it has hit.
    """

    match: Match = None
    times: int | None = 1
    status: int | None = None
    code: str = ""
    reset_after: int | None = None
    truncate_after: int | None = None
    stall_after: int | None = None
    corrupt_at: int | None = None
    delay: float = 0.0
    hang: bool = False
    lose_reply: bool = False
    hits: int = 0

    def takes(self, request: Request) -> bool:
        """Whether this request is hit; counts it when so."""
        if self.times is not None and self.hits >= self.times:
            return False
        if not self._matches(request):
            return False
        self.hits += 1
        return True

    def _matches(self, request: Request) -> bool:
        if self.match is None:
            return True
        if callable(self.match):
            return self.match(request)
        if self.match in KINDS:
            return request.kind == self.match
        return re.search(self.match, request.line) is not None

    def reply(self) -> bytes:
        """The whole reply of a rule with a status."""
        status = self.status or 500
        code = self.code or ERROR_CODES.get(status, "InternalError")
        body = (
            f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code>"
            f"<Message>injected fault</Message><RequestId>FAULT{self.hits:04d}</RequestId></Error>"
        ).encode()
        head = (
            f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\n"
            f"x-amz-request-id: FAULT{self.hits:04d}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        return head + body


class Damage:
    """What is done to the payload of one reply."""

    def __init__(self, fault: Fault) -> None:
        self._corrupt_at = fault.corrupt_at
        self._seen = 0
        self._limit: int | None = None
        self.ending: Ending | None = None
        endings: tuple[tuple[Ending, int | None], ...] = (
            ("reset", fault.reset_after),
            ("truncate", fault.truncate_after),
            ("stall", fault.stall_after),
        )
        for ending, limit in endings:
            if limit is not None:
                self.ending, self._limit = ending, limit

    @property
    def reached(self) -> bool:
        """Whether the reply ends here."""
        return self._limit is not None and self._seen >= self._limit

    def apply(self, data: bytes, spans: Sequence[Span]) -> bytes:
        """The bytes to send instead: one flipped, or cut where the reply ends."""
        for start, stop in spans:
            if self._corrupt_at is not None and 0 <= self._corrupt_at - self._seen < stop - start:
                index = start + self._corrupt_at - self._seen
                data = data[:index] + bytes([data[index] ^ 0xFF]) + data[index + 1 :]
            if self._limit is not None and self._limit - self._seen <= stop - start:
                cut = start + self._limit - self._seen
                self._seen = self._limit
                return data[:cut]
            self._seen += stop - start
        return data
