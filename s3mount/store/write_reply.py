"""What S3 answers to a write: from headers and XML to an `Answer`."""

import re
from collections.abc import Mapping

from s3mount.errors import UnexpectedReply
from s3mount.store.http_date import date_ns
from s3mount.store.listing_xml import plain_etag
from s3mount.store.user_metadata import metadata_in
from s3mount.store.writing import (
    AbortUpload,
    Answer,
    Begun,
    CompleteUpload,
    Copy,
    CopyPart,
    CreateUpload,
    Delete,
    Facts,
    Gone,
    Look,
    Write,
    Written,
)

_SHOWN = 200
"""Bytes of a reply that an error message quotes."""


def answer_of(write: Write, headers: Mapping[str, str], body: bytes, crc32: str) -> Answer:
    """What a reply of success says.

    Args:
        write: what was asked for.
        headers: names in lower case.
        body: all of it.
        crc32: base64 of the checksum that was sent, empty where none was.

    Raises:
        UnexpectedReply: it does not say what S3 says.
    """
    match write:
        case Delete() | AbortUpload():
            return Gone(write.key)
        case Look():
            return _facts(write.key, headers)
        case CreateUpload():
            return Begun(_field(body, "UploadId", write.key))
        case Copy() | CopyPart() | CompleteUpload():
            etag = _field(body, "ETag", write.key)
        case _:
            etag = headers.get("etag", "")
            if not etag:
                raise UnexpectedReply(f"{write.key!r}: a reply without an ETag", key=write.key)
    version = headers.get("x-amz-version-id", "")
    return Written(plain_etag(etag), version, date_ns(headers.get("date", "")), crc32)


def holds_error(body: bytes) -> bool:
    """Whether the body of a reply with status 200 says that it has failed after all.

    S3 answers copies and the end of uploads before it knows how they end.
    """
    return re.match(rb"\s*(<\?xml[^>]*\?>)?\s*<Error[\s>]", body) is not None


def _facts(key: str, headers: Mapping[str, str]) -> Facts:
    size = headers.get("content-length", "")
    if not size.isdecimal():
        raise UnexpectedReply(f"{key!r}: a reply that does not tell the size", key=key)
    is_whole = headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT"
    crc32 = headers.get("x-amz-checksum-crc32", "") if is_whole else ""
    return Facts(
        key=key,
        size=int(size),
        etag=plain_etag(headers.get("etag", "")),
        mtime_ns=date_ns(headers.get("last-modified", "")),
        content_type=headers.get("content-type", ""),
        metadata=metadata_in(headers),
        version_id=headers.get("x-amz-version-id", ""),
        storage_class=headers.get("x-amz-storage-class", "STANDARD"),
        crc32="" if "-" in crc32 else crc32,
    )


def _field(body: bytes, name: str, key: str) -> str:
    """The text of one element that has no others in it."""
    found = re.search(rf"<{name}>([^<]+)</{name}>".encode(), body)
    if found is None:
        start = body[:_SHOWN].decode(errors="replace")
        raise UnexpectedReply(f"{key!r}: a reply without <{name}>: {start!r}", key=key)
    text = found[1].decode(errors="replace")
    if "&" not in text:
        return text
    from html import unescape  # nearly nobody needs its tables

    return unescape(text)
