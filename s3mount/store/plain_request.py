"""A transfer as it is sent over a connection of our own: the few lines that libcurl would write."""

from s3mount.store.curl_handle import USER_AGENT, Transfer

_OWN_LINES = 5
"""Of a request, beside those of a transfer: four of headers and the empty one."""


def spelled(transfer: Transfer) -> tuple[str, bytes] | None:
    """Origin and request of a transfer as they are sent; None where libcurl should judge it.

    Only plain HTTP: TLS comes in records of 16 KiB, so that nothing is won.
    """
    scheme, _, rest = transfer.url.partition("://")
    host, slash, path = rest.partition("/")
    if scheme != "http" or "@" in host or transfer.method != "GET":
        return None
    text = "\r\n".join(
        (
            f"GET {slash or '/'}{path} HTTP/1.1",
            f"Host: {host.removesuffix(':80')}",
            f"User-Agent: {USER_AGENT}",
            "Accept: */*",
            *transfer.header_lines,
            "",
            "",
        )
    )
    if not text.isascii() or len(text.splitlines()) != len(transfer.header_lines) + _OWN_LINES:
        return None
    return f"{scheme}://{host}", text.encode("ascii")
