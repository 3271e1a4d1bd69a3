"""How a read is spelled in HTTP: path, query and headers; signing and sending come after.

For writes see `write_spelling`.

Keys are percent-encoded byte for byte: a leading ``/``, ``//``, ``..``, ``+`` and bytes that are no UTF-8 name other
objects when anything is tidied up.
"""

from urllib.parse import quote

from s3mount.store.interface import Get, ListPage, Request

_KEY_SAFE = "/-_.~"
_QUERY_SAFE = "-_.~"
PAYER = ("x-amz-request-payer", "requester")
_RESTORE_STATUS = ("x-amz-optional-object-attributes", "RestoreStatus")
_CHECKSUM_MODE = ("x-amz-checksum-mode", "ENABLED")


def target_of(request: Request) -> tuple[str, str]:
    """Path below the bucket and query, both percent-encoded; the query is sorted as signing wants it.

    Raises:
        UnicodeEncodeError: a key with a surrogate that stands for no byte.
    """
    if isinstance(request, Get):
        path = path_of(request.key)
        version = quote(request.version_id, _QUERY_SAFE)
        return path, f"versionId={version}" if version else ""
    assert isinstance(request, ListPage)
    return "/", _list_query(request)


def path_of(key: str) -> str:
    """The path of an object below its bucket, percent-encoded.

    Raises:
        UnicodeEncodeError: a key with a surrogate that stands for no byte.
    """
    return "/" + quote(key.encode("utf-8", "surrogateescape"), _KEY_SAFE)


def headers_of(
    request: Request, *, requester_pays: bool, restore_status: bool
) -> list[tuple[str, str]]:
    """The headers that make the request, names in lower case."""
    headers = _get_headers(request) if isinstance(request, Get) else []
    if isinstance(request, ListPage) and restore_status:
        headers.append(_RESTORE_STATUS)
    if requester_pays:
        headers.append(PAYER)
    return headers


def _get_headers(request: Get) -> list[tuple[str, str]]:
    headers = []
    if request.etag:
        headers.append(("if-match", f'"{request.etag}"'))
    if request.whole:
        # A checksum covers the whole object, so it is of no use to a part.
        headers.append(_CHECKSUM_MODE)
    else:
        headers.append(("range", f"bytes={request.start}-{request.stop - 1}"))
    return headers


def _list_query(request: ListPage) -> str:
    fields = {
        "continuation-token": request.token or "",
        "delimiter": request.delimiter,
        "encoding-type": "url",
        "list-type": "2",
        "max-keys": str(request.max_keys),
        "prefix": request.prefix,
        "start-after": request.start_after,
    }
    return "&".join(
        f"{name}={quote(value.encode('utf-8', 'surrogateescape'), _QUERY_SAFE)}"
        for name, value in fields.items()
        if value
    )
