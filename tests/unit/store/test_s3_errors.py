"""Every reply and every failure of libcurl has one meaning and says what to do."""

import pycurl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount import errors
from s3mount.store.curl_handle import CurlFailure
from s3mount.store.s3_errors import (
    error_of_curl,
    error_of_reply,
    means_bad_credentials,
    region_named,
)


def body(code, message="because", extra=""):
    return (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>{extra}"
        "<RequestId>R1</RequestId></Error>"
    ).encode()


@pytest.mark.parametrize(
    ("status", "code", "kind", "hint"),
    [
        (404, "NoSuchBucket", errors.NoSuchBucket, "bucket's name"),
        (404, "NoSuchKey", errors.NotFound, ""),
        (404, "", errors.NotFound, ""),
        (403, "AccessDenied", errors.AccessDenied, "s3:GetObject"),
        (403, "", errors.AccessDenied, "s3:GetObject"),
        (401, "", errors.AccessDenied, "s3:GetObject"),
        (403, "KMS.DisabledException", errors.AccessDenied, "kms:Decrypt"),
        (400, "ExpiredToken", errors.CredentialsExpired, "sso login"),
        (400, "TokenRefreshRequired", errors.CredentialsExpired, "sso login"),
        (400, "InvalidToken", errors.CredentialsExpired, "sso login"),
        (403, "InvalidAccessKeyId", errors.AccessDenied, "profile"),
        (403, "SignatureDoesNotMatch", errors.AccessDenied, "secret key"),
        (403, "RequestTimeTooSkewed", errors.AccessDenied, "clock"),
        (412, "PreconditionFailed", errors.ObjectChanged, ""),
        (412, "", errors.ObjectChanged, ""),
        (416, "InvalidRange", errors.ObjectChanged, ""),
        (403, "InvalidObjectState", errors.ObjectArchived, "restore"),
        (503, "SlowDown", errors.Throttled, ""),
        (503, "", errors.Throttled, ""),
        (429, "", errors.Throttled, ""),
        (500, "InternalError", errors.ServerFault, ""),
        (502, "", errors.ServerFault, ""),
        (504, "", errors.ServerFault, ""),
        (599, "", errors.ServerFault, ""),
        (400, "RequestTimeout", errors.StoreTimeout, ""),
        (307, "TemporaryRedirect", errors.ServerFault, ""),
        (301, "PermanentRedirect", errors.UnexpectedReply, "--region"),
        (400, "AuthorizationHeaderMalformed", errors.UnexpectedReply, "--region"),
        (418, "", errors.UnexpectedReply, ""),
        (501, "NotImplemented", errors.UnexpectedReply, ""),
    ],
)
def test_replies(status, code, kind, hint):
    error = error_of_reply(status, {}, body(code), key="a/b")
    assert type(error) is kind
    assert hint in error.hint
    assert (error.key, error.status, error.code, error.request_id) == ("a/b", status, code, "R1")
    assert str(status) in error.message
    assert code in error.message


def test_a_listing_has_no_missing_key():
    error = error_of_reply(404, {}, b"", key="p/", listing=True)
    assert type(error) is errors.NoSuchBucket
    named = error_of_reply(404, {}, body("NoSuchBucket"), key="p/", listing=True, bucket="builds")
    assert "LIST 's3://builds/p/': 404 NoSuchBucket" in named.message
    denied = error_of_reply(403, {}, body("AccessDenied"), key="p/", listing=True)
    assert "s3:ListBucket" in denied.hint


def test_a_kms_denial_is_known_by_its_message():
    text = "User is not authorized to perform: kms:Decrypt on resource"
    assert "kms:Decrypt" in error_of_reply(403, {}, body("AccessDenied", text), key="k").hint


def test_a_region_is_named_by_header_or_body():
    assert region_named({"x-amz-bucket-region": "eu-west-1"}, b"") == "eu-west-1"
    assert region_named({}, body("X", extra="<Region>eu-west-2</Region>")) == "eu-west-2"
    assert region_named({}, b"<html>") == ""
    error = error_of_reply(
        301, {"x-amz-bucket-region": "eu-west-1"}, body("PermanentRedirect"), key="k"
    )
    assert "--region eu-west-1" in error.hint


@given(st.integers(100, 999), st.binary(max_size=300), st.booleans())
def test_any_reply_is_an_error(status, junk, listing):
    error = error_of_reply(status, {}, junk, key="k", listing=listing)
    assert isinstance(error, errors.StoreError)
    assert error.message


@pytest.mark.parametrize(
    ("code", "connected", "got", "kind", "said"),
    [
        (pycurl.E_COULDNT_CONNECT, False, 0, errors.Unreachable, "http://e"),
        (pycurl.E_COULDNT_RESOLVE_HOST, False, 0, errors.Unreachable, "no such host"),
        (pycurl.E_PEER_FAILED_VERIFICATION, False, 0, errors.Unreachable, "TLS"),
        (pycurl.E_SSL_CONNECT_ERROR, False, 0, errors.Unreachable, "TLS"),
        (pycurl.E_OPERATION_TIMEDOUT, False, 0, errors.Unreachable, "http://e"),
        (pycurl.E_OPERATION_TIMEDOUT, True, 5, errors.StoreTimeout, "http://e"),
        (pycurl.E_PARTIAL_FILE, True, 5, errors.BadBody, "5 bytes"),
        (pycurl.E_RECV_ERROR, True, 5, errors.BadBody, "5 bytes"),
        (pycurl.E_RECV_ERROR, True, 0, errors.Unreachable, "http://e"),
        (pycurl.E_GOT_NOTHING, True, 0, errors.Unreachable, "http://e"),
        (8, True, 0, errors.UnexpectedReply, "http://e"),
        (pycurl.E_UNSUPPORTED_PROTOCOL, True, 0, errors.UnexpectedReply, "http://e"),
    ],
)
def test_failures_of_libcurl(code, connected, got, kind, said):
    failure = CurlFailure(code, "its words", connected)
    error = error_of_curl(failure, endpoint="http://e", key="k", got=got)
    assert type(error) is kind
    assert said in error.message
    assert "its words" in error.message


@given(st.integers(0, 200), st.booleans(), st.integers(0, 9))
def test_any_failure_is_an_error(code, connected, got):
    failure = CurlFailure(code, "", connected)
    assert isinstance(error_of_curl(failure, endpoint="e", key="k", got=got), errors.StoreError)


@pytest.mark.parametrize(
    ("code", "bad"),
    [("ExpiredToken", True), ("InvalidAccessKeyId", True), ("AccessDenied", False)],
)
def test_other_credentials_may_help(code, bad):
    assert means_bad_credentials(error_of_reply(403, {}, body(code), key="k")) is bad
