"""Pages of ListObjectsV2 from keys in order, as AWS spells them. Plain functions; `listing` serves them.

The XML of each object is made once, so that a page of a thousand costs a bisection and a join.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from xml.sax.saxutils import escape

LAST = "\U0010ffff"  # behind every character of a key
PAGE_MAX = 1000
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Ask(NamedTuple):
    """The fields of a request for a page; ``token`` is None for the first page."""

    prefix: str = ""
    start_after: str = ""
    token: str | None = None
    delimiter: str = ""
    max_keys: int = PAGE_MAX
    encoded: bool = False


class Choice(NamedTuple):
    """What a page holds: positions of keys, common prefixes, and the token of the next page."""

    positions: Sequence[int]
    prefixes: list[str]
    token: str | None


def ask_of(query: Mapping[str, str]) -> Ask:
    """Read the query of a request.

    Raises:
        ValueError: ``max-keys`` is no number.
    """
    return Ask(
        query.get("prefix", ""),
        query.get("start-after", ""),
        query.get("continuation-token"),
        query.get("delimiter", ""),
        min(int(query.get("max-keys", PAGE_MAX)), PAGE_MAX),
        query.get("encoding-type") == "url",
    )


def choose(keys: Sequence[str], ask: Ask) -> Choice:
    """Say what the page holds.

    Args:
        keys: all keys, in order.
        ask: what was asked. A token is the last key or common prefix of the page before.
    """
    after = ask.start_after if ask.token is None else ask.token
    is_folded = ask.delimiter and after.endswith(ask.delimiter) and after != ask.prefix
    if ask.token is not None and is_folded:
        after += LAST  # a common prefix: what is folded into it was told
    begin = max(bisect_left(keys, ask.prefix), bisect_right(keys, after))
    end = bisect_left(keys, ask.prefix + LAST)
    if ask.delimiter:
        return fold(keys, ask, begin, end)
    stop = max(begin, min(end, begin + ask.max_keys))
    more = begin < stop < end
    return Choice(range(begin, stop), [], keys[stop - 1] if more else None)


def fold(keys: Sequence[str], ask: Ask, begin: int, end: int) -> Choice:
    """A page with common prefixes; what is folded is jumped over, never walked."""
    positions: list[int] = []
    prefixes: list[str] = []
    last = ""
    while begin < end:
        if len(positions) + len(prefixes) >= ask.max_keys:
            return Choice(positions, prefixes, last or None)
        key = keys[begin]
        at = key.find(ask.delimiter, len(ask.prefix))
        if at < 0:
            positions.append(begin)
            last = key
            begin += 1
        else:
            last = key[: at + len(ask.delimiter)]
            prefixes.append(last)
            begin = bisect_left(keys, last + LAST, begin, end)
    return Choice(positions, prefixes, None)


class Shelf:
    """Keys with their XML.

    Args:
        bucket: its name.
        objects: key and bytes, in order; keys of letters, digits and ``/-._`` need no encoding.
        modified: seconds since the epoch, of all objects.
    """

    def __init__(self, bucket: str, objects: Sequence[tuple[str, int]], modified: int) -> None:
        self.keys = [key for key, _ in objects]
        self._bucket = bucket
        moment = datetime.fromtimestamp(modified, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self._contents = [
            f"<Contents><Key>{key}</Key><LastModified>{moment}</LastModified>"
            f"<ETag>&quot;{etag(modified, size)}&quot;</ETag><Size>{size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key, size in objects
        ]

    def page(self, ask: Ask) -> bytes:
        """The body of the reply."""
        choice = choose(self.keys, ask)
        fields = {
            "Name": self._bucket,
            "Prefix": ask.prefix,
            "Delimiter": ask.delimiter,
            "StartAfter": ask.start_after,
            "ContinuationToken": ask.token or "",
            "NextContinuationToken": choice.token or "",
            "KeyCount": str(len(choice.positions) + len(choice.prefixes)),
            "MaxKeys": str(ask.max_keys),
            "EncodingType": "url" if ask.encoded else "",
            "IsTruncated": "true" if choice.token else "false",
        }
        always = {"Prefix"}
        return "".join(
            [
                f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{NAMESPACE}">',
                *(f"<{n}>{escape(v)}</{n}>" for n, v in fields.items() if v or n in always),
                *(self._contents[position] for position in choice.positions),
                *(
                    f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"
                    for prefix in choice.prefixes
                ),
                "</ListBucketResult>",
            ]
        ).encode()


def etag(modified: int, size: int) -> str:
    """The ETag that nginx gives a file, which is what it holds ``If-Match`` against."""
    return f"{modified:x}-{size:x}"
