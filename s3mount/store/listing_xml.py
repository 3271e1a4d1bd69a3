"""From the XML of a ListObjectsV2 reply to a page.

Keys are asked for with ``encoding-type=url``, because XML 1.0 cannot hold every key; servers that ignore this are
recognised by the missing ``EncodingType`` in the reply.

Two roads lead to the same page. Objects that are spelled exactly as AWS spells them are cut out with one regular
expression, and the C parser of the standard library reads what remains. When an object remains, the parser reads the
whole reply instead. The first takes 2 us a key, the second 6; boto3's own parser takes 60, most of it for the date.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import repeat
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree as ET

from s3mount.errors import UnexpectedReply
from s3mount.store.interface import ObjectMeta, Page

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STANDARD = "STANDARD"
_SHOWN = 200
"""Bytes of a reply that an error message quotes."""

_QUOTE = r"(?:&quot;|&#34;|\")?"
_OBJECT = re.compile(
    r"<Contents><Key>([^<&]+)</Key><LastModified>([^<&]+)</LastModified>"
    rf"<ETag>(?:W/)?{_QUOTE}([^<&\"]*){_QUOTE}</ETag>"
    r"(?:<ChecksumAlgorithm>[^<&]*</ChecksumAlgorithm>)*(?:<ChecksumType>[^<&]*</ChecksumType>)?"
    r"<Size>([0-9]+)</Size>(?:<StorageClass>([^<&]*)</StorageClass>)?</Contents>"
)
_PIECES = _OBJECT.groups + 1
"""`re.split` gives the text before a match, then its groups, and so on."""


def parse_page(body: bytes) -> Page:
    """The page that a reply holds.

    Raises:
        UnexpectedReply: no XML, another document, or a field that is missing or is not what S3 says it is.
    """
    try:
        return _page_as_aws_writes(body) or _page_of(ET.fromstring(body))
    except (ET.ParseError, ValueError, LookupError) as error:
        start = body[:_SHOWN].decode(errors="replace")
        raise UnexpectedReply(f"the listing cannot be read ({error}): {start!r}") from error


def plain_etag(text: str) -> str:
    """An ETag without quotes and without the mark of a weak one: servers differ, and from call to call."""
    return text.removeprefix("W/").strip('"')


def decode_key(text: str) -> str:
    """A key as ``encoding-type=url`` spells it: ``+`` is a space; bytes that are no UTF-8 become surrogate escapes."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def parse_time_ns(text: str) -> int:
    """Nanoseconds since the epoch of an ISO 8601 time; without a zone it is UTC.

    Raises:
        ValueError: it is not a time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    past = moment - _EPOCH
    return (past.days * 86_400 + past.seconds) * 1_000_000_000 + past.microseconds * 1_000


def _page_as_aws_writes(body: bytes) -> Page | None:
    """The page when every object is spelled as `_OBJECT` has it, else None."""
    try:
        pieces = _OBJECT.split(body.decode())
    except UnicodeDecodeError:
        return None
    remainder = "".join(pieces[::_PIECES])
    if len(pieces) == 1 or "<Contents" in remainder:
        return None
    page = ET.fromstring(remainder.encode())
    decode = _decoder_of(page, _namespace_of(page))
    keys, times, etags, sizes, kinds = (pieces[at::_PIECES] for at in range(1, _PIECES))
    # Objects that were written together have their times in common.
    moments = {text: parse_time_ns(text) for text in set(times)}
    columns = (
        map(decode, keys),
        map(int, sizes),
        etags,
        map(moments.__getitem__, times),
        (kind or _STANDARD for kind in kinds),
        repeat(False, len(keys)),
    )
    # A named tuple's own constructor takes longer than all that goes into it.
    make = partial(tuple.__new__, ObjectMeta)
    objects: list[ObjectMeta] = list(map(make, zip(*columns, strict=True)))
    return _page_of(page)._replace(objects=objects)


def _page_of(root: ET.Element) -> Page:
    namespace = _namespace_of(root)
    decode = _decoder_of(root, namespace)
    objects = [
        _object_of(item, namespace, decode) for item in root.iterfind(f"{namespace}Contents")
    ]
    prefixes = [
        decode(_text(item, f"{namespace}Prefix"))
        for item in root.iterfind(f"{namespace}CommonPrefixes")
    ]
    token = None
    if root.findtext(f"{namespace}IsTruncated", "false") == "true":
        token = root.findtext(f"{namespace}NextContinuationToken")
        if not token:
            raise ValueError("truncated, but without a token for the next page")
    return Page(objects, prefixes, token)


def _namespace_of(root: ET.Element) -> str:
    """What the tags of this reply begin with: ``{http://...}`` or nothing, depending on the server."""
    namespace, brace, name = root.tag.rpartition("}")
    if name != "ListBucketResult":
        raise ValueError(f"a <{name}> where a <ListBucketResult> was expected")
    return namespace + brace


def _decoder_of(root: ET.Element, namespace: str) -> Callable[[str], str]:
    encoding = root.findtext(f"{namespace}EncodingType", "")
    return decode_key if encoding.lower() == "url" else str


def _object_of(item: ET.Element, namespace: str, decode: Callable[[str], str]) -> ObjectMeta:
    # One pass over the children costs half of what six searches do; this runs once a key.
    fields = {child.tag: child.text for child in item}
    key = fields[f"{namespace}Key"]
    size = fields[f"{namespace}Size"]
    modified = fields[f"{namespace}LastModified"]
    if key is None or size is None or modified is None:
        raise ValueError("an object without a key, a size or a time")
    restored = f"{namespace}RestoreStatus" in fields and _is_restored(item, namespace)
    return ObjectMeta(
        decode(key),
        int(size),
        plain_etag(fields.get(f"{namespace}ETag") or ""),
        parse_time_ns(modified),
        fields.get(f"{namespace}StorageClass") or _STANDARD,
        restored,
    )


def _is_restored(item: ET.Element, namespace: str) -> bool:
    """A copy is there when no restore is under way and the reply says until when the copy lasts."""
    status = item.find(f"{namespace}RestoreStatus")
    if status is None:
        return False
    under_way = status.findtext(f"{namespace}IsRestoreInProgress", "true")
    return under_way == "false" and bool(status.findtext(f"{namespace}RestoreExpiryDate"))


def _text(item: ET.Element, tag: str) -> str:
    text = item.findtext(tag)
    if text is None:
        raise ValueError(f"<{item.tag}> without <{tag}>")
    return text
