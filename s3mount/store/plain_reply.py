"""The head of a reply to a GET of a whole small object, read with as few looks as are enough where nothing is special.

A server's replies are alike. So the fields of one that was read by the rules for all of them (`exchange.check_get`, and
those of `stream.Stream`) are kept as a pattern: no others, in any order, spelled alike, those that have a say with the
same value. Whatever fits it means the same but for its ETag, its length and its version, and those are compared. What
fits not is read by the rules, and what they would not take as the whole object is left to others. (The order is free
because that of some servers written in Go changes from reply to reply; it costs a third of a microsecond.)
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from s3mount.errors import StoreError
from s3mount.store.curl_handle import parse_head
from s3mount.store.exchange import check_get
from s3mount.store.interface import Head, Parcel, get_of

_END = b"\r\n\r\n"
_BEGINNING = b"HTTP/1.1 200 "
_OK = 200
_MOST = 64 * 1024
"""Bytes of a head that is waited for."""
_LESSONS = 8
"""Times that more fields are learned from one server: one that has new ones all the time is read by the rules."""
_WORDS = {
    b"etag": rb'"([^"\r]*)"',
    b"content-length": rb"([0-9]+)",
    b"x-amz-version-id": rb"([!-~]+)",
}
"""How values that are read each time are spelled."""
_TELLING = re.compile(rb"connection|transfer-encoding|content-(range|encoding)")
"""Fields that have a say with their value."""
_NEVER = re.compile(rb"x-amz-checksum-.*|[^a-z0-9-].*|http/.*")
"""Fields whose values are for the rules, and what is no field."""


class NotPlain(Exception):
    """Another way must be found to take this reply; nothing has been told."""


_Fields = dict[bytes, bytes]
"""The pattern of the line of each field, by its name in lower case; that of the first line by no name."""


class _Shape(NamedTuple):
    """How a server's replies look.

    Attributes:
        pattern: of a whole head; its groups hold nothing where the field is missing.
        etag: the group of its ETag.
        length: the group of the body's length.
        version: the group of the version, 0 where none is told.
    """

    pattern: re.Pattern[bytes]
    etag: int
    length: int
    version: int


class _Unread(Mapping[str, str]):
    """The headers of a reply, read when they are asked for."""

    __slots__ = ("_headers", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._headers: dict[str, str] | None = None

    def _read(self) -> dict[str, str]:
        if self._headers is None:
            self._headers = parse_head([self._raw])[1]
        return self._headers

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


class ReplyReader:
    """Reads the heads of one server's replies."""

    def __init__(self) -> None:
        self._shape: _Shape | None = None
        self._fields: _Fields = {}
        self._lessons = 0

    def read(self, early: bytes, data: bytes, parcel: Parcel) -> tuple[Head, bytes] | None:
        """A reply that brings a whole object, and nothing else; None while it is not all here.

        Args:
            early: what has come of it before.
            data: what has come now; empty at the end of the connection.
            parcel: which object.

        Returns:
            Head and body.

        Raises:
            NotPlain: it is another reply, or may be.
        """
        if not data:
            raise NotPlain
        if early:
            data = early + data
        found = self._head_of(data, parcel)
        if found is None:
            return None
        head, start = found
        missing = start + parcel.size - len(data)
        if missing < 0:
            raise NotPlain
        return None if missing else (head, data[start:])

    def _head_of(self, data: bytes, parcel: Parcel) -> tuple[Head, int] | None:
        """The head, and where the body begins; None while it is not all here."""
        if self._shape is not None:
            pattern, etag_at, length_at, version_at = self._shape
            found = pattern.match(data)
            if found is not None and found[etag_at] and found[length_at]:
                etag = parcel.etag
                if found[etag_at] != etag.encode("latin-1") or int(found[length_at]) != parcel.size:
                    raise NotPlain
                start = found.end()
                version = (found[version_at] or b"").decode("ascii") if version_at else ""
                return Head(etag, parcel.size, version, None, _Unread(data[: start - 2])), start
        end = data.find(_END)
        if end < 0:
            if len(data) > _MOST or not data.startswith(_BEGINNING[: len(data)]):
                raise NotPlain
            return None
        raw = data[: end + 2]
        head = _judged(raw, parcel)
        if self._lessons < _LESSONS:
            self._lessons += 1
            self._learn(raw)
        return head, end + len(_END)

    def _learn(self, raw: bytes) -> None:
        """Know the fields of a head that was good, beside those that are known."""
        fields = _fields_of(raw)
        if fields is not None:
            self._fields |= fields
            self._shape = _shape_of(self._fields)


def _judged(raw: bytes, parcel: Parcel) -> Head:
    """The head, by the rules for all replies.

    Raises:
        NotPlain: it is none of this object, or the connection does not stay.
    """
    size = parcel.size
    if not raw.startswith(_BEGINNING):
        raise NotPlain
    try:
        status, headers = parse_head([raw])
        head, plan = check_get(get_of(parcel), status, headers)
    except (ValueError, IndexError, StoreError) as error:
        raise NotPlain from error
    if (
        status != _OK
        or plan.cut
        or plan.length != size
        or headers.get("content-length") != str(size)
        or "transfer-encoding" in headers
        or "close" in headers.get("connection", "").lower()
    ):
        raise NotPlain
    return head


def _fields_of(raw: bytes) -> _Fields | None:
    """The fields of a head that was good; None where there is something in it that is to be read each time."""
    first, *lines = raw.split(b"\r\n")[:-1]
    fields = {b"": re.escape(first)}
    for line in lines:
        name, colon, value = line.partition(b":")
        low = name.lower()
        if not colon or _NEVER.fullmatch(low):
            return None
        spelled = value.strip()
        word = _WORDS.get(low)
        if word is not None:
            if low in fields or not re.fullmatch(word, spelled):
                return None
            gap = value[: value.find(spelled)]
            fields[low] = re.escape(name + colon + gap) + word
        elif _TELLING.fullmatch(low):
            fields[low] = re.escape(line)
        else:
            fields[low] = re.escape(name + colon) + rb"[^\r]*"
    return fields


def _shape_of(fields: _Fields) -> _Shape | None:
    """The shape of replies with no other fields; None where these do not tell of an ETag and a length."""
    groups = {low: number for number, low in enumerate((low for low in fields if low in _WORDS), 1)}
    if b"etag" not in groups or b"content-length" not in groups:
        return None
    lines = b"|".join(pattern for low, pattern in fields.items() if low)
    pattern = re.compile(fields[b""] + rb"(?:\r\n(?:" + lines + rb"))+" + re.escape(_END))
    version = groups.get(b"x-amz-version-id", 0)
    return _Shape(pattern, groups[b"etag"], groups[b"content-length"], version)
