"""What an HTTP reply or a failure of libcurl means, as one of `s3mount.errors`.

Plain and total: any status, any headers, any bytes give an error that says what happened and, where a person can do
something, what. Codes are those of the S3 API reference ("Error responses") and of its imitations.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import pycurl

from s3mount.errors import (
    AccessDenied,
    BadBody,
    CredentialsExpired,
    NoSuchBucket,
    NotFound,
    ObjectArchived,
    ObjectChanged,
    ServerFault,
    StoreError,
    StoreTimeout,
    Throttled,
    UnexpectedReply,
    Unreachable,
)
from s3mount.store.curl_handle import CurlFailure

_BUCKET_HINT = (
    "check the bucket's name, the endpoint and the account that the credentials belong to"
)
_RENEW_HINT = (
    "renew the credentials (`aws sso login`, a new token); they are picked up without a remount"
)
_KEY_ID_HINT = "the access key is unknown here: check which profile and which endpoint are meant"
_SECRET_HINT = (
    "the secret key does not belong to the access key, or a proxy changes requests on their way"
)
_CLOCK_HINT = "set this machine's clock: S3 takes signatures of the last 15 minutes only"
_READ_HINT = "the policy must allow s3:GetObject on this key (and s3:ListBucket, or a missing key is 403 too)"
_POLICY_HINTS = {
    "PUT": "the policy must allow s3:PutObject on this key",
    "POST": "the policy must allow s3:PutObject on this key",
    "DELETE": "the policy must allow s3:DeleteObject on this key",
}
_LIST_HINT = "the policy must allow s3:ListBucket on this bucket and prefix"
_KMS_HINT = (
    "the object is encrypted with a KMS key: its policy must allow kms:Decrypt to these credentials"
)
_CUSTOMER_KEY_HINT = "objects encrypted with a customer's own key (SSE-C) cannot be read"
_RESTORE_HINT = "restore the object first (`aws s3api restore-object`)"
_REGION_HINT = "name the bucket's region with --region"
_PAYER_HINT = "if the bucket is requester-pays, mount with --requester-pays"
_TLS_HINT = "name the right certificates with --ca-bundle or AWS_CA_BUNDLE"
_ENDPOINT_HINT = "check --endpoint-url, the network and the proxy settings"

_Rule = tuple[type[StoreError], str]

_BY_CODE: dict[str, _Rule] = {
    "NoSuchBucket": (NoSuchBucket, _BUCKET_HINT),
    "NoSuchKey": (NotFound, ""),
    "NoSuchVersion": (NotFound, ""),
    "ExpiredToken": (CredentialsExpired, _RENEW_HINT),
    "ExpiredTokenException": (CredentialsExpired, _RENEW_HINT),
    "TokenRefreshRequired": (CredentialsExpired, _RENEW_HINT),
    "InvalidToken": (CredentialsExpired, _RENEW_HINT),
    "InvalidAccessKeyId": (AccessDenied, _KEY_ID_HINT),
    "SignatureDoesNotMatch": (AccessDenied, _SECRET_HINT),
    "RequestTimeTooSkewed": (AccessDenied, _CLOCK_HINT),
    "PreconditionFailed": (ObjectChanged, ""),
    "InvalidRange": (ObjectChanged, ""),
    "InvalidObjectState": (ObjectArchived, _RESTORE_HINT),
    "SlowDown": (Throttled, ""),
    "Throttling": (Throttled, ""),
    "ThrottlingException": (Throttled, ""),
    "TooManyRequests": (Throttled, ""),
    "RequestLimitExceeded": (Throttled, ""),
    "BandwidthLimitExceeded": (Throttled, ""),
    "ServiceUnavailable": (Throttled, ""),
    "InternalError": (ServerFault, ""),
    "ConditionalRequestConflict": (ServerFault, ""),
    "OperationAborted": (ServerFault, ""),
    "NoSuchUpload": (NotFound, ""),
    "BadDigest": (BadBody, ""),
    "IncompleteBody": (BadBody, ""),
    "XAmzContentSHA256Mismatch": (BadBody, ""),
    "RequestTimeout": (StoreTimeout, ""),
    "AuthorizationHeaderMalformed": (UnexpectedReply, _REGION_HINT),
    "PermanentRedirect": (UnexpectedReply, _REGION_HINT),
    "TemporaryRedirect": (ServerFault, ""),
}

_BY_STATUS: dict[int, type[StoreError]] = {
    307: ServerFault,
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    408: StoreTimeout,
    412: ObjectChanged,
    416: ObjectChanged,
    429: Throttled,
    500: ServerFault,
    502: ServerFault,
    503: Throttled,
    504: ServerFault,
}
_FIRST_SERVER_STATUS = 500
_NOT_FOUND = 404
_NOT_IMPLEMENTED = 501

_REFUSED_CODES = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch"})
_TLS_CODES = frozenset(
    {
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_CIPHER,
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_ISSUER_ERROR,
        pycurl.E_USE_SSL_FAILED,
    }
)


class ErrorBody(NamedTuple):
    """The fields of S3's error document; empty where it has none."""

    code: str = ""
    message: str = ""
    region: str = ""
    request_id: str = ""


def parse_error_body(body: bytes) -> ErrorBody:
    """The fields that can be found, in any bytes: error pages of proxies are no XML."""
    from html import unescape  # nearly nobody needs its tables

    fields = {}
    for name in ("Code", "Message", "Region", "RequestId"):
        found = re.search(rb"<%s>([^<]{0,2000})</%s>" % (name.encode(), name.encode()), body)
        fields[name] = unescape(found[1].decode(errors="replace")) if found else ""
    return ErrorBody(fields["Code"], fields["Message"], fields["Region"], fields["RequestId"])


def region_named(headers: Mapping[str, str], body: bytes) -> str:
    """The region that a reply says the bucket is in, empty when it says none."""
    return headers.get("x-amz-bucket-region", "") or parse_error_body(body).region


def means_bad_credentials(error: StoreError) -> bool:
    """Whether other credentials might be taken where these were not."""
    return isinstance(error, CredentialsExpired) or error.code in _REFUSED_CODES


def error_of_reply(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    key: str,
    listing: bool = False,
    bucket: str = "",
    verb: str = "GET",
) -> StoreError:
    """What a reply that is not a success means.

    Args:
        status: the HTTP status.
        headers: names in lower case.
        body: as much of it as was kept.
        key: what was asked for: a key, or the prefix of a listing.
        listing: whether a listing was asked for; there is no "no such key" then.
        bucket: that was asked, for messages of listings, where a prefix alone says too little.
        verb: the method of HTTP, where it was no listing.
    """
    told = parse_error_body(body)
    kind, hint = _rule_of(status, told, listing=listing)
    if hint.startswith(_READ_HINT) and verb in _POLICY_HINTS:
        hint = _POLICY_HINTS[verb]
    words = " ".join(word for word in (str(status), told.code) if word)
    listed = f"s3://{bucket}/{key}" if bucket else key
    what = f"LIST {listed!r}" if listing else f"{verb} {key!r}"
    message = f"{what}: {words}: {told.message}" if told.message else f"{what}: {words}"
    region = headers.get("x-amz-bucket-region", "") or told.region
    if hint == _REGION_HINT and region:
        hint = f"the bucket is in region {region}: --region {region}"
    return kind(
        message,
        key=key,
        status=status,
        code=told.code,
        request_id=headers.get("x-amz-request-id", "") or told.request_id,
        hint=hint,
    )


def _rule_of(status: int, told: ErrorBody, *, listing: bool) -> _Rule:
    if told.code.startswith("KMS.") or "kms:" in told.message:
        return AccessDenied, _KMS_HINT
    if told.code in _BY_CODE:
        return _BY_CODE[told.code]
    if status == _NOT_FOUND and listing:
        return NoSuchBucket, _BUCKET_HINT
    if "form of Server Side Encryption" in told.message:
        return AccessDenied, _CUSTOMER_KEY_HINT
    kind = _BY_STATUS.get(status)
    if kind is AccessDenied:
        return kind, f"{_LIST_HINT if listing else _READ_HINT}; {_PAYER_HINT}"
    if kind is None and status >= _FIRST_SERVER_STATUS and status != _NOT_IMPLEMENTED:
        kind = ServerFault
    if kind is None and status in {301, 302, 308}:
        return UnexpectedReply, _REGION_HINT
    return kind or UnexpectedReply, ""


def error_of_curl(failure: CurlFailure, *, endpoint: str, key: str, got: int) -> StoreError:
    """What a failure of libcurl means.

    Args:
        failure: what libcurl said.
        endpoint: the address that was asked, for the message.
        key: what was asked for.
        got: bytes of the body that had come.
    """
    code, text, connected = failure
    text = text or f"libcurl error {code}"
    if code == pycurl.E_PARTIAL_FILE or (got and code == pycurl.E_RECV_ERROR):
        return BadBody(f"the reply to {key!r} ended after {got} bytes: {text}", key=key)
    if code in _TLS_CODES:
        message = f"TLS with {endpoint} failed: {text}"
        return Unreachable(message, key=key, hint=_TLS_HINT)
    if code in {pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY}:
        message = f"no such host ({endpoint}): {text}"
        return Unreachable(message, key=key, hint=_ENDPOINT_HINT)
    if code == pycurl.E_OPERATION_TIMEDOUT and connected:
        return StoreTimeout(f"{endpoint} made no progress with {key!r}: {text}", key=key)
    if code in _UNREACHABLE_CODES:
        message = f"no connection to {endpoint}: {text}"
        return Unreachable(message, key=key, hint=_ENDPOINT_HINT)
    return UnexpectedReply(
        f"{endpoint} does not answer as HTTP says: {text}", key=key, hint=_ENDPOINT_HINT
    )


_E_PROXY = 97
"""libcurl's CURLE_PROXY, which pycurl does not name."""

_UNREACHABLE_CODES = frozenset(
    {
        pycurl.E_COULDNT_CONNECT,
        pycurl.E_OPERATION_TIMEDOUT,
        pycurl.E_GOT_NOTHING,
        pycurl.E_SEND_ERROR,
        pycurl.E_SEND_FAIL_REWIND,
        pycurl.E_RECV_ERROR,
        _E_PROXY,
        pycurl.E_INTERFACE_FAILED,
    }
)
