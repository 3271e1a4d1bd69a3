"""A ListObjectsV2 reply comes back as the keys that a server put into it."""

from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import UnexpectedReply
from s3mount.store.interface import ObjectMeta, Page
from s3mount.store.listing_xml import decode_key, parse_page, parse_time_ns, plain_etag

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
MTIME = "2023-11-14T22:13:20.000Z"
MTIME_NS = 1_700_000_000 * 10**9


def listing(
    objects=(), prefixes=(), *, token=None, encode=quote_plus, namespace=NAMESPACE, as_aws=True
):
    encoding = "<EncodingType>url</EncodingType>" if encode is not str else ""
    gap = "" if as_aws else " "
    rows = "".join(
        f"<Contents><Key>{escape(encode(key))}</Key><LastModified>{MTIME}</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag>{gap}<Size>{size}</Size>{extra}</Contents>"
        for key, etag, size, extra in objects
    )
    folded = "".join(
        f"<CommonPrefixes><Prefix>{escape(encode(prefix))}</Prefix></CommonPrefixes>"
        for prefix in prefixes
    )
    more = (
        f"<IsTruncated>true</IsTruncated><NextContinuationToken>{escape(token)}"
        "</NextContinuationToken>"
        if token
        else "<IsTruncated>false</IsTruncated>"
    )
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return (
        f"{head}<ListBucketResult{namespace}><Name>b</Name>{more}{rows}{folded}{encoding}"
        "</ListBucketResult>"
    ).encode()


def quote_bytes(key):
    return quote_plus(key.encode("utf-8", "surrogateescape"))


def quote_bytes_percent(key):
    return quote(key.encode("utf-8", "surrogateescape"))


any_key = st.binary(min_size=1, max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
xml_key = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), min_size=1, max_size=30)
tokens = st.one_of(st.none(), st.text("ab+/=% <&", min_size=1))


@given(
    st.lists(any_key),
    st.lists(any_key),
    tokens,
    st.sampled_from(["", NAMESPACE]),
    st.sampled_from([quote_bytes, quote_bytes_percent]),
    st.booleans(),
)
def test_round_trip_of_any_keys(keys, prefixes, token, namespace, encode, as_aws):
    objects = [(key, f"e{n}", n, "") for n, key in enumerate(keys)]
    body = listing(
        objects, prefixes, token=token, namespace=namespace, encode=encode, as_aws=as_aws
    )
    assert parse_page(body) == Page(
        [ObjectMeta(key, size, etag, MTIME_NS) for key, etag, size, _ in objects], prefixes, token
    )


@given(st.lists(xml_key), st.lists(xml_key))
def test_a_server_without_encoding_type_is_read_plainly(keys, prefixes):
    page = parse_page(listing([(key, "e", 1, "") for key in keys], prefixes, encode=str))
    assert [item.key for item in page.objects] == keys
    assert page.prefixes == prefixes


def test_objects_of_two_spellings_stay_in_order():
    first, second = (listing([(key, "e", 1, "")], as_aws=key == "a") for key in "ab")
    row = second[second.index(b"<Contents>") : second.index(b"</Contents>") + len(b"</Contents>")]
    body = first.replace(b"<Contents>", row + b"<Contents>")
    assert [item.key for item in parse_page(body).objects] == ["b", "a"]


def test_prefixes_between_objects_are_kept():
    body = listing([("a", "e", 1, ""), ("b", "e", 1, "")])
    folded = b"</Contents><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
    page = parse_page(body.replace(b"</Contents>", folded, 1))
    assert [item.key for item in page.objects] == ["a", "b"]
    assert page.prefixes == ["p/"]


@pytest.mark.parametrize(
    "spelling", ["&quot;e&quot;", '"e"', "e", "W/&quot;e&quot;", "&#34;e&#34;"]
)
def test_etags_of_listings_are_normalised(spelling):
    for as_aws in (True, False):
        body = listing([("k", "?", 1, "")], as_aws=as_aws)
        body = body.replace(b"&quot;?&quot;", spelling.encode())
        assert parse_page(body).objects[0].etag == "e"


@pytest.mark.parametrize(
    ("status", "restored"),
    [
        ("", False),
        ("<IsRestoreInProgress>true</IsRestoreInProgress>", False),
        ("<IsRestoreInProgress>false</IsRestoreInProgress>", False),
        (
            "<IsRestoreInProgress>false</IsRestoreInProgress>"
            "<RestoreExpiryDate>2030-01-01T00:00:00.000Z</RestoreExpiryDate>",
            True,
        ),
    ],
)
def test_archived_objects(status, restored):
    extra = "<StorageClass>GLACIER</StorageClass>"
    if status:
        extra += f"<RestoreStatus>{status}</RestoreStatus>"
    (item,) = parse_page(listing([("k", "e", 1, extra)])).objects
    assert item.storage_class == "GLACIER"
    assert item.restored is restored
    assert item.archived is not restored


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no element"),
        (b"<html>hello</html>", "<html>"),
        (b"not xml", "not xml"),
        (listing([("k", "e", 1, "")])[:-30], "no element|not well-formed|mismatched|unclosed"),
        (listing([("k", "e", "many", "")]), "many"),
        (listing([("k", "e", 1, "")]).replace(MTIME.encode(), b"noon"), "noon"),
        (listing([("k", "e", 1, "")]).replace(b"Size>", b"Weight>"), "Size"),
        (listing([("k", "e", 1, "")]).replace(b"<Key>k</Key>", b"<Key/>"), "without a key"),
        (listing([], token="t").replace(b"NextCont", b"Cont"), "without a token"),
        (b"<Error><Code>SlowDown</Code></Error>", "<Error>"),
    ],
)
def test_other_documents_are_told_clearly(body, said):
    with pytest.raises(UnexpectedReply, match=said):
        parse_page(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_page_or_an_unexpected_reply(body):
    with pytest.raises(UnexpectedReply):
        parse_page(body)


@pytest.mark.parametrize(
    ("text", "plain"), [('"a"', "a"), ("a", "a"), ('W/"a"', "a"), ("", ""), ('"a-2"', "a-2")]
)
def test_etags_are_normalised(text, plain):
    assert plain_etag(text) == plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00.000Z", 0),
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T00:00:00.123456789Z", 123_456_000),
        ("1970-01-01T02:00:00+01:00", 3600 * 10**9),
        ("1970-01-01T00:00:01", 10**9),
        ("1969-12-31T23:59:59Z", -(10**9)),
    ],
)
def test_times(text, expected):
    assert parse_time_ns(text) == expected


def test_plus_is_a_space():
    assert decode_key("a+b%2Bc%FF") == "a b+c\udcff"
