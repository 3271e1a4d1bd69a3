"""What is said to a hub, and what its replies mean."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from s3mount.artifact.failures import HubError
from s3mount.artifact.hub_wire import (
    HUB_PAUSE,
    LONGEST_WAIT,
    STORAGE_PAUSE,
    Kind,
    Signed,
    may_pass,
    object_path,
    push_urls,
    read_reply,
    request_body,
    request_url,
    seconds_to_wait,
    shown,
    size_told,
    time_told,
)
from s3mount.errors import ConfigError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REMOTE = "artifacts/jobs/1/d"


@pytest.mark.parametrize(
    ("organization", "url"),
    [
        ("https://o.semaphoreci.com", "https://o.semaphoreci.com/api/v1/artifacts"),
        ("https://o.semaphoreci.com/", "https://o.semaphoreci.com/api/v1/artifacts"),
        ("http://127.0.0.1:8080/some/path?a=b", "http://127.0.0.1:8080/api/v1/artifacts?a=b"),
        ("https://o.semaphoreci.com\n", "https://o.semaphoreci.com/api/v1/artifacts"),
    ],
)
def test_where_requests_go(organization, url):
    assert request_url(organization) == url


@pytest.mark.parametrize("written", ["o.semaphoreci.com", "", "ftp://o", "http://[o", "http://o:p"])
def test_an_address_that_is_none(written):
    with pytest.raises(ConfigError, match=r"^failed to parse SEMAPHORE_ORGANIZATION_URL"):
        request_url(written)


@pytest.mark.parametrize(
    ("kind", "paths", "body"),
    [
        (Kind.PUSH, ["p"], b'{"paths":["p"]}\n'),
        (Kind.PUSH_FORCE, ["p", "q"], b'{"paths":["p","q"],"type":1}\n'),
        (Kind.PULL, ["\u00e4"], '{"paths":["ä"],"type":2}\n'.encode()),
        (Kind.YANK, ["p"], b'{"paths":["p"],"type":3}\n'),
        (Kind.PUSH, [], b"{}\n"),
    ],
)
def test_what_is_asked(kind, paths, body):
    assert request_body(kind, paths) == body


@pytest.mark.parametrize(
    "reply",
    [
        {"urls": [{"url": "u", "method": "GET"}], "error": ""},
        {"URLs": [{"URL": "u", "method": "GET"}]},
        {"Urls": [{"Url": "u", "Method": "GET"}]},
    ],
)
def test_either_spelling_is_understood(reply):
    assert read_reply(json.dumps(reply).encode()) == [Signed("u", "GET")]


def test_a_method_that_is_left_out():
    assert read_reply(b'{"URLs":[{"URL":"u"}]}') == [Signed("u", "")]


@pytest.mark.parametrize("reply", [b"{}", b'{"URLs":[]}', b'{"urls":null}'])
def test_no_urls(reply):
    assert read_reply(reply) == []


@pytest.mark.parametrize(
    "reply", [b"", b"<html>", b"[]", b'{"urls":[{}]}', b'{"urls":["u"]}', b"1"]
)
def test_a_reply_that_cannot_be_read(reply):
    with pytest.raises(HubError, match=r"^failed to decode signed URL http response: "):
        read_reply(reply)


def test_a_reply_that_tells_of_an_error():
    with pytest.raises(HubError, match=r"^signed URL response returned errors: no room$"):
        read_reply(b'{"urls":[],"error":"no room"}')


def test_the_urls_of_a_push():
    signed = [Signed("1", "HEAD"), Signed("2", "PUT"), Signed("3", "HEAD"), Signed("4", "PUT")]
    assert push_urls(signed, 2, force=False) == (["1", "3"], ["2", "4"])
    assert push_urls([Signed("1", "PUT")], 1, force=True) == ([], ["1"])
    assert push_urls([], 0, force=False) == ([], [])


@pytest.mark.parametrize(
    ("signed", "force", "says"),
    [
        (["PUT"], False, "bad number of signed URLs (1) for non-forceful push - should be 2"),
        (["HEAD", "PUT"], True, "bad number of signed URLs (2) for forceful push - should be 1"),
        (["PUT", "HEAD"], False, "signed URLs are not in the order HEAD, PUT of each file"),
        (["GET"], True, "signed URLs are not in the order PUT of each file"),
    ],
)
def test_too_many_or_the_wrong_urls(signed, force, says):
    with pytest.raises(HubError) as caught:
        push_urls([Signed("u", method) for method in signed], 1, force=force)
    assert caught.value.message == says


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://storage.googleapis.com/bucket-1/artifacts/jobs/1/d/x?Expires=1", "/x"),
        ("https://bucket.s3.amazonaws.com/project/artifacts/jobs/1/d/x?X-Amz=1", "/x"),
        ("https://bucket.s3.eu-west-1.amazonaws.com/project/artifacts/jobs/1/d/x", "/x"),
        ("https://s3.amazonaws.com/bucket/project/artifacts/jobs/1/d/x", "/x"),
        ("http://127.0.0.1:9000/artifacts/jobs/1/d/x?sig", "/x"),
        ("https://minio.example/bucket/project/artifacts/jobs/1/d/x?sig", "/x"),
        ("http://minio.example:9000/My.Bucket/project/artifacts/jobs/1/d/x", "/x"),
        ("http://127.0.0.1:9000/artifacts/jobs/1/d?sig", ""),
        ("http://127.0.0.1:9000/artifacts/jobs/1/d/a%20b%2Bc%C3%A4?sig", "/a b+cä"),
        ("http://127.0.0.1:9000/artifacts/jobs/1/d/a+b?sig", "/a+b"),
        ("http://127.0.0.1:9000/artifacts/jobs/1/d/%2520", "/%20"),
        ("http://h/artifacts/jobs/1/d/artifacts/jobs/1/d", "/artifacts/jobs/1/d"),
    ],
)
def test_what_a_url_is_for(url, path):
    assert object_path(url, REMOTE) == f"{REMOTE}{path}"


@pytest.mark.parametrize(
    "url",
    ["http://h/artifacts/jobs/1/dd", "http://h/artifacts/jobs/1", "http://h/?artifacts/jobs/1/d"],
)
def test_a_url_for_something_else(url):
    with pytest.raises(HubError, match="unrecognized URL"):
        object_path(url, REMOTE)


def test_a_signature_is_not_shown():
    assert shown("https://h/p?X-Amz-Signature=secret#f") == "https://h/p"


@pytest.mark.parametrize(
    ("status", "passes"),
    [(200, False), (404, False), (403, False), (429, True), (500, True), (501, False), (503, True)],
)
def test_what_may_pass(status, passes):
    assert may_pass(status) is passes


def test_how_long_to_wait():
    def wait(failures, pause, status=500, retry_after=""):
        return seconds_to_wait(failures, pause, status, retry_after, NOW)

    assert [wait(each, HUB_PAUSE) for each in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert [wait(each, STORAGE_PAUSE) for each in (1, 2, 3, 4)] == [0.5, 1, 1, 1]
    assert wait(1, HUB_PAUSE, 429, "7") == 7
    assert wait(1, HUB_PAUSE, 503, "0") == 0
    assert wait(1, HUB_PAUSE, 500, "7") == 1, "only where the contract honours it"
    assert wait(1, HUB_PAUSE, 503, "99999") == LONGEST_WAIT
    assert wait(1, HUB_PAUSE, 503, "soon") == 1
    then = format_datetime(NOW + timedelta(seconds=5), usegmt=True)
    assert wait(1, HUB_PAUSE, 503, then) == 5
    assert wait(1, HUB_PAUSE, 503, format_datetime(NOW - timedelta(1), usegmt=True)) == 0


@pytest.mark.parametrize(
    ("status", "headers", "size"),
    [
        (206, {"content-range": "bytes 0-0/123", "content-length": "1"}, 123),
        (416, {"content-range": "bytes */0"}, 0),
        (200, {"content-length": "5"}, 5),
        (200, {"content-range": "bytes 0-0/9"}, 9),
        (200, {}, None),
        (403, {"content-length": "5"}, None),
        (206, {"content-range": "bytes 0-0/*"}, None),
    ],
)
def test_a_size_that_is_told(status, headers, size):
    assert size_told(status, headers) == size


def test_a_time_that_is_told():
    assert time_told({"last-modified": "Thu, 01 Jan 1970 00:00:01 GMT"}) == 1_000_000_000
    assert time_told({"last-modified": "yesterday"}) is None
    assert time_told({}) is None
