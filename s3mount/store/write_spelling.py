"""How a write is spelled in HTTP: method, path, query, headers and body; signing and sending come after."""

from typing import NamedTuple
from urllib.parse import quote

from s3mount.errors import UnexpectedReply
from s3mount.store.bodies import NOTHING, Body, Bytes
from s3mount.store.s3_request import path_of
from s3mount.store.user_metadata import META, encode_value, is_plain
from s3mount.store.writing import (
    AbortUpload,
    CompleteUpload,
    Copy,
    CopyPart,
    CreateUpload,
    Delete,
    Look,
    Metadata,
    Part,
    Put,
    PutPart,
    Write,
)

Headers = list[tuple[str, str]]

_ABSENT = ("if-none-match", "*")
_XML = ("content-type", "application/xml")
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


class Spelled(NamedTuple):
    """One request in HTTP.

    Attributes:
        method: ``PUT``, ``POST``, ``DELETE`` or ``HEAD``.
        path: below the bucket, percent-encoded.
        query: percent-encoded and sorted, as signing wants it.
        headers: names in lower case.
        body: what is sent; None for a request that has none.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: Body | None


def spell(write: Write, *, bucket: str, checksums: bool = True, condition: bool = True) -> Spelled:
    """A write as S3 has it.

    Args:
        write: what is wanted.
        bucket: the store's own, for copies within it.
        checksums: begin uploads in parts so that each part carries its CRC-32.
        condition: send ``If-None-Match`` where only an absent object is to be written.

    Raises:
        UnicodeEncodeError: a key with a surrogate that stands for no byte.
        UnexpectedReply: no key, or metadata that no store can hold.
    """
    if not write.key:
        # Without a key the same request would make, or delete, the bucket itself.
        raise UnexpectedReply("an object must have a key", hint="name the object, not the bucket")
    path = path_of(write.key)
    match write:
        case Put():
            headers = described(write.content_type, write.metadata)
            _add_condition(headers, write.if_absent and condition)
            return Spelled("PUT", path, "", headers, write.body)
        case Look():
            return Spelled("HEAD", path, "", [("x-amz-checksum-mode", "ENABLED")], None)
        case Delete():
            return Spelled("DELETE", path, "", [], None)
        case Copy():
            headers = _source(write.source_bucket or bucket, write.source_key, write.source_etag)
            _add_condition(headers, write.if_absent and condition)
            return Spelled("PUT", path, "", headers, NOTHING)
        case _:
            return _spell_upload(write, path, bucket, checksums=checksums, condition=condition)


def _spell_upload(
    write: CreateUpload | PutPart | CopyPart | CompleteUpload | AbortUpload,
    path: str,
    bucket: str,
    *,
    checksums: bool,
    condition: bool,
) -> Spelled:
    if isinstance(write, CreateUpload):
        headers = described(write.content_type, write.metadata)
        if checksums:
            headers.append(("x-amz-checksum-algorithm", "CRC32"))
            headers.append(("x-amz-checksum-type", "FULL_OBJECT"))
        return Spelled("POST", path, "uploads=", headers, NOTHING)
    upload = f"uploadId={quote(write.upload_id, '-_.~')}"
    match write:
        case PutPart():
            return Spelled("PUT", path, f"partNumber={write.number}&{upload}", [], write.body)
        case CopyPart():
            headers = _source(write.source_bucket or bucket, write.source_key, write.source_etag)
            headers.append(("x-amz-copy-source-range", f"bytes={write.start}-{write.stop - 1}"))
            return Spelled("PUT", path, f"partNumber={write.number}&{upload}", headers, NOTHING)
        case CompleteUpload():
            headers = [_XML]
            _add_condition(headers, write.if_absent and condition)
            return Spelled("POST", path, upload, headers, Bytes(complete_xml(write.parts)))
        case AbortUpload():
            return Spelled("DELETE", path, upload, [], None)


def _add_condition(headers: Headers, if_absent: bool) -> None:
    if if_absent:
        headers.append(_ABSENT)


def _source(bucket: str, key: str, etag: str) -> Headers:
    headers = [("x-amz-copy-source", f"/{bucket}{path_of(key)}")]
    if etag:
        headers.append(("x-amz-copy-source-if-match", f'"{etag}"'))
    return headers


def described(content_type: str, metadata: Metadata) -> Headers:
    """The headers that say what an object is.

    Raises:
        UnexpectedReply: a name or a content type that cannot stand in a header, or the same name twice.
    """
    headers = []
    if content_type:
        if not is_plain(content_type):
            raise UnexpectedReply(f"{content_type!r} cannot be a content type")
        headers.append(("content-type", content_type))
    seen = set()
    for name, value in metadata:
        lower = name.lower()
        if not lower or not _NAME_LETTERS.issuperset(lower) or lower in seen:
            hint = "use letters, digits, dashes, dots and underscores, and each name once"
            raise UnexpectedReply(f"{name!r} cannot be a name of metadata", hint=hint)
        seen.add(lower)
        headers.append((META + lower, encode_value(value)))
    return headers


def complete_xml(parts: tuple[Part, ...]) -> bytes:
    """The document that lists the parts of an upload."""
    from html import escape  # nobody else needs what comes with it

    listed = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>&quot;{escape(part.etag)}&quot;</ETag>"
        + (f"<ChecksumCRC32>{escape(part.crc32)}</ChecksumCRC32>" if part.crc32 else "")
        + "</Part>"
        for part in parts
    )
    return (
        '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{listed}</CompleteMultipartUpload>"
    ).encode()
