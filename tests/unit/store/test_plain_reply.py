"""The short look at a reply, held against the rules for all replies."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import StoreError
from s3mount.store.curl_handle import parse_head
from s3mount.store.exchange import check_get
from s3mount.store.interface import get_of
from s3mount.store.plain_reply import NotPlain, ReplyReader

PARCEL = SimpleNamespace(key="k", etag="e", size=3)
PLAIN = [
    "Date: Mon",
    "Content-Length: 3",
    "Connection: keep-alive",
    'ETag: "e"',
    "x-amz-meta-a: 1",
]


def reply(lines, body=b"abc", first="HTTP/1.1 200 OK"):
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1") + body


def by_the_rules(raw, parcel):
    """What the rules make of a whole reply: the head, None where they refuse or would go another way."""
    head, _, body = raw.partition(b"\r\n\r\n")
    try:
        status, headers = parse_head([head + b"\r\n"])
        told, plan = check_get(get_of(parcel), status, headers)
    except (StoreError, ValueError, IndexError):
        return None
    is_whole = status == 200 and not plan.cut and plan.length == len(body) == parcel.size
    keeps = "close" not in headers.get("connection", "").lower()
    framed = "transfer-encoding" not in headers and "content-length" in headers
    return told if is_whole and keeps and framed else None


FIELDS = st.sampled_from(
    [
        *PLAIN,
        "etag: e",
        'ETag: W/"e"',
        'ETag: "other"',
        'eTag:"e"',
        "content-length:3",
        "Content-Length: 03",
        "Content-Length: 4",
        "Connection: close",
        "Connection: Keep-Alive",
        "Transfer-Encoding: chunked",
        "Content-Range: bytes 0-2/3",
        "x-amz-version-id: v1",
        "x-amz-version-id: v2",
        "x-amz-checksum-crc32: NSRBwg==",
        "x-amz-checksum-type: FULL_OBJECT",
        "x-amz-checksum-type: COMPOSITE",
        "Server: \xe9",
        "no colon",
        "HTTP/1.1 404 Not Found",
    ]
)
REPLIES = st.lists(
    st.tuples(
        st.lists(FIELDS, max_size=8) | st.permutations(PLAIN),
        st.sampled_from(["HTTP/1.1 200 OK", "HTTP/1.1 206 Partial", "HTTP/1.0 200 OK"]),
        st.sampled_from([b"abc", b"ab", b"abcd"]),
    ),
    max_size=6,
)


@given(REPLIES)
def test_what_is_taken_is_what_the_rules_take(replies):
    """Whatever the server's replies before have taught."""
    reader = ReplyReader()
    for lines, first, body in [(PLAIN, "HTTP/1.1 200 OK", b"abc"), *replies]:
        raw = reply(lines, body, first)
        try:
            taken = reader.read(b"", raw, PARCEL)
        except NotPlain:
            continue
        if taken is None:
            continue
        head, got = taken
        told = by_the_rules(raw, PARCEL)
        assert told is not None
        assert (head[:4], got) == (told[:4], body)
        assert dict(head.headers) == dict(told.headers)


@given(st.integers(1, 500))
def test_a_reply_in_pieces_is_taken_once_it_is_whole(cut):
    raw = reply(PLAIN)
    reader = ReplyReader()
    for _ in range(3):
        if cut < len(raw):
            assert reader.read(b"", raw[:cut], PARCEL) is None
            head, body = reader.read(raw[:cut], raw[cut:], PARCEL)
        else:
            head, body = reader.read(b"", raw, PARCEL)
        assert (head.etag, head.size, body) == ("e", 3, b"abc")
        assert head.headers["date"] == "Mon"
        assert head.metadata == (("a", "1"),)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 404",
        b"x" * 100,
        reply(PLAIN, b"abcd"),
        reply([*PLAIN, "Connection: close"]),
        reply(PLAIN, first="HTTP/1.1 100 Continue"),
        b"HTTP/1.1 200 OK\r\n" + b"a" * 70_000,
    ],
)
def test_what_is_no_plain_reply_is_left_to_others(raw):
    reader = ReplyReader()
    reader.read(b"", reply(PLAIN), PARCEL)
    with pytest.raises(NotPlain):
        reader.read(b"", raw, PARCEL)


def test_another_version_or_length_does_not_pass_by_its_looks():
    reader = ReplyReader()
    reader.read(b"", reply(PLAIN), PARCEL)
    for line, other in (('ETag: "e"', 'ETag: "f"'), ("Content-Length: 3", "Content-Length: 2")):
        changed = [other if each == line else each for each in PLAIN]
        with pytest.raises(NotPlain):
            reader.read(b"", reply(changed), PARCEL)


def test_a_version_is_told_of_each_reply():
    reader = ReplyReader()
    for version in ("v1", "v2", "v3"):
        raw = reply([*PLAIN, f"x-amz-version-id: {version}"])
        head, _ = reader.read(b"", raw, PARCEL)
        assert head.version_id == version


@given(st.lists(st.permutations(PLAIN), min_size=2, max_size=40))
def test_the_order_of_fields_is_free(orders):
    """Servers that change it with each reply are read by the pattern after the first."""
    reader = ReplyReader()
    judged = []
    for lines in orders:
        assert reader.read(b"", reply(lines), PARCEL)[1] == b"abc"
        judged.append(reader._lessons)
    assert judged == [1] * len(orders)
