"""Our signatures are botocore's, byte for byte."""

from datetime import UTC, datetime
from unittest import mock
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.store.interface import Get, ListPage
from s3mount.store.s3_request import headers_of, target_of
from s3mount.store.signing import AccessKey, Signer

SECOND = 1_700_000_000
plain = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)
keys = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
gets = st.builds(
    Get,
    key=keys,
    etag=st.one_of(st.just(""), st.text("0123456789abcdef-", min_size=1), st.just("a  b")),
    start=st.integers(0, 10**12),
    stop=st.integers(10**12, 10**13),
    whole=st.booleans(),
)
lists = st.builds(
    ListPage,
    prefix=keys,
    delimiter=st.sampled_from(["", "/", "+ "]),
    token=st.one_of(st.none(), plain),
    start_after=keys,
    max_keys=st.integers(1, 1000),
)
accesses = st.builds(AccessKey, st.text("ABC123", min_size=1), plain, st.one_of(st.just(""), plain))


def by_botocore(host, path, query, headers, access, region, second):
    request = AWSRequest(
        "GET", f"https://{host}{path}{'?' + query if query else ''}", headers=dict(headers)
    )
    credentials = Credentials(access.access_key, access.secret_key, access.token or None)
    now = datetime.fromtimestamp(second, UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def as_dict(lines):
    return dict(line.split(":", 1) for line in lines)


@given(st.one_of(gets, lists), accesses, st.sampled_from(["b.s3.amazonaws.com", "127.0.0.1:9000"]))
@settings(max_examples=300, deadline=None)
def test_equals_botocore(request, access, host):
    path, query = target_of(request)
    headers = headers_of(request, requester_pays=True, restore_status=True)
    lines = Signer("eu-west-1").sign(host, path, query, headers, access, SECOND)
    expected = by_botocore(host, path, query, headers, access, "eu-west-1", SECOND)
    assert as_dict(lines) == expected


def test_a_signer_follows_the_clock_and_the_credentials():
    signer = Signer("eu-west-1")
    first, second = AccessKey("A", "s"), AccessKey("B", "t", "token")
    for access, when in [
        (first, SECOND),
        (first, SECOND + 1),
        (first, SECOND + 86_400),
        (second, SECOND + 86_400),
        (first, SECOND),
    ]:
        lines = signer.sign("h", "/k", "", [], access, when)
        assert as_dict(lines) == by_botocore("h", "/k", "", [], access, "eu-west-1", when)


@given(st.binary(min_size=1, max_size=40))
def test_keys_are_encoded_byte_for_byte(raw):
    path, _ = target_of(Get(raw.decode("utf-8", "surrogateescape"), "", 0, 1))
    assert path == "/" + quote(raw, safe="/-_.~")
