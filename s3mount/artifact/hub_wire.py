"""What is said to a hub and what its replies mean: plain functions over texts, bytes and numbers.

A hub answers a list of remote paths with signed URLs: for a push HEAD and PUT of each path in their order, for a forced
one PUT of each; for a pull or a yank one URL for each object that the only path names.
"""

import enum
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from s3mount.artifact.failures import HubError
from s3mount.errors import ConfigError
from s3mount.store.http_date import date_ns

API = "/api/v1/artifacts"
TRIES = 5
"""Requests at the most, the first one included."""
LONGEST_WAIT = 300.0
"""Seconds that a server may make anybody wait between two tries."""

_TOO_MANY = 429
_FAULT = 500
_NOT_IMPLEMENTED = 501
_UNAVAILABLE = 503


class Kind(enum.IntEnum):
    """What URLs are wanted for; the numbers of the protocol."""

    PUSH = 0
    PUSH_FORCE = 1
    PULL = 2
    YANK = 3


class Signed(NamedTuple):
    """A URL that may be used without further proof, by one method."""

    url: str
    method: str


class Pause(NamedTuple):
    """How long to wait between tries where the server does not say: seconds, doubled from one to the other."""

    least: float
    most: float


HUB_PAUSE = Pause(1.0, 1.0)
STORAGE_PAUSE = Pause(0.5, 1.0)


def request_url(organization: str) -> str:
    """Where requests go: the organization's address with another path.

    Raises:
        ConfigError: it is no address.
    """
    try:
        parts = urlsplit(organization.strip())
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return urlunsplit(parts._replace(path=API, fragment=""))
    except ValueError:  # brackets, or a port that is no number
        pass
    raise ConfigError(
        f"failed to parse SEMAPHORE_ORGANIZATION_URL {organization!r}",
        hint="write https://ORGANIZATION.semaphoreci.com",
    )


def request_body(kind: Kind, paths: Sequence[str]) -> bytes:
    """The body of a request; what is zero or empty is left out."""
    fields: dict[str, Any] = {}
    if paths:
        fields["paths"] = list(paths)
    if kind:
        fields["type"] = int(kind)
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def read_reply(body: bytes) -> list[Signed]:
    """The URLs in a reply, in either spelling of the names.

    Raises:
        HubError: it cannot be read, or tells of an error.
    """
    try:
        reply = _lower(json.loads(body))
        errors = reply.get("error")
        rows = [_lower(row) for row in reply.get("urls") or []]
        signed = [Signed(str(row["url"]), str(row.get("method") or "")) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise HubError(
            f"failed to decode signed URL http response: {error}",
            hint="does SEMAPHORE_ORGANIZATION_URL name a hub?",
        ) from error
    if errors:
        raise HubError(f"signed URL response returned errors: {errors}")
    return signed


def _lower(table: object) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise TypeError(f"{table!r} is not an object")
    return {name.lower(): value for name, value in table.items()}


class PushUrls(NamedTuple):
    """The URLs of a push, in the order of its files.

    Attributes:
        heads: that say what is there already; empty for a forced push.
        puts: that store.
    """

    heads: Sequence[str]
    puts: Sequence[str]


def push_urls(signed: Sequence[Signed], files: int, *, force: bool) -> PushUrls:
    """Sort the URLs of a push.

    Raises:
        HubError: there are too many or too few of them, or they are in another order.
    """
    each = ["PUT"] if force else ["HEAD", "PUT"]
    if len(signed) != files * len(each):
        how = "forceful" if force else "non-forceful"
        raise HubError(
            f"bad number of signed URLs ({len(signed)}) for {how} push - should be {files * len(each)}"
        )
    if [one.method.upper() for one in signed] != each * files:
        raise HubError(f"signed URLs are not in the order {', '.join(each)} of each file")
    urls = [one.url for one in signed]
    return PushUrls([], urls) if force else PushUrls(urls[::2], urls[1::2])


def object_path(url: str, remote: str) -> str:
    """Which remote path a signed URL is for: what is in its path from ``remote`` on, decoded.

    What stands before depends on the storage: a bucket, a project, nothing.

    Raises:
        HubError: it is for something else.
    """
    path = unquote(urlsplit(url).path)
    start = f"{path}/".find(f"/{remote}/")
    if start < 0:
        raise HubError(f"unrecognized URL {shown(url)}: it is not for {remote}", key=remote)
    return path[start + 1 :]


def shown(url: str) -> str:
    """A URL for messages; its signature is nobody's business."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def is_success(status: int) -> bool:
    """Whether what was asked for was done."""
    return 200 <= status < 300  # noqa: PLR2004 -- HTTP's


def may_pass(status: int) -> bool:
    """Whether another try may go better."""
    return status == _TOO_MANY or (status >= _FAULT and status != _NOT_IMPLEMENTED)


def seconds_to_wait(
    failures: int, pause: Pause, status: int, retry_after: str, now: datetime
) -> float:
    """How long to wait before the next try.

    Args:
        failures: so far, at least 1.
        pause: where the server does not say.
        status: of the last reply, 0 when there was none.
        retry_after: what it said of that: seconds or a date; empty when nothing.
        now: with a time zone.
    """
    if status in {_TOO_MANY, _UNAVAILABLE} and retry_after:
        told = _read_retry_after(retry_after, now)
        if told is not None:
            return min(max(0.0, told), LONGEST_WAIT)
    return min(pause.most, pause.least * 2.0 ** (failures - 1))


def _read_retry_after(text: str, now: datetime) -> float | None:
    if text.strip().isdecimal():
        return float(text)
    try:
        return (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):
        return None


def size_told(status: int, headers: Mapping[str, str]) -> int | None:
    """Bytes of the whole object, as a reply to a request for its first byte tells them."""
    if is_success(status) and "content-range" not in headers:
        text = headers.get("content-length", "")
    else:
        text = headers.get("content-range", "").rpartition("/")[2]
    return int(text) if text.isdecimal() else None


def time_told(headers: Mapping[str, str]) -> int | None:
    """When an object was stored, nanoseconds since the epoch."""
    return date_ns(headers.get("last-modified", "")) or None
