"""GETs of whole objects as they are sent: of many in one second, only key, ETag and signature differ.

They are those that `s3_request`, `signing` and `plain_request` spell together, byte for byte; the tests hold both
equal. All that stays the same is joined once.
"""

import re

from s3mount.store.curl_handle import USER_AGENT
from s3mount.store.endpoint import Endpoint
from s3mount.store.s3_request import PAYER, path_of
from s3mount.store.signing import EMPTY_PAYLOAD, AccessKey, Signer

_PLAIN_ETAG = re.compile(r"[!#-~]+").fullmatch
"""What needs no thought in a header line: no blank, no quote, no letter beyond ASCII."""
_PLAIN_KEY = re.compile(r"[A-Za-z0-9/_.~-]*").fullmatch
"""Keys that are spelled as they are."""
_NO_BLANKS = re.compile(r"[!-~]*").fullmatch


class Spelling:
    """How GETs of whole objects are spelled within one second.

    Attributes:
        endpoint: where they go.
        access: the credentials, None for requests that are not signed.
        second: since the epoch.

    Args:
        signer: of the endpoint's region.
        requester_pays: whether they say so.
    """

    __slots__ = (
        "_base",
        "_block",
        "_has_odd",
        "_host",
        "_lines",
        "_moment",
        "_start",
        "access",
        "endpoint",
        "second",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        access: AccessKey | None,
        second: int,
        signer: Signer,
        *,
        requester_pays: bool,
    ) -> None:
        self.endpoint = endpoint
        self.access = access
        self.second = second
        headers = [("x-amz-checksum-mode", "ENABLED")]
        if requester_pays:
            headers.append(PAYER)
        self._moment = None if access is None else signer.moment(second, access)
        self._block = last = ""
        if access is not None and self._moment is not None:
            headers += [
                ("x-amz-content-sha256", EMPTY_PAYLOAD),
                ("x-amz-date", self._moment.amz_date),
            ]
            if access.token:
                headers.append(("x-amz-security-token", access.token))
            headers.sort()
            names = ";".join(["host", "if-match", *[name for name, _ in headers]])
            block = "".join([f"\n{name}:{value}" for name, value in headers])
            self._block = f"{block}\n\n{names}\n{EMPTY_PAYLOAD}"
            last = f"\r\n{self._moment.authorization_head}{names}, Signature="
        self._lines = "".join([f"\r\n{name}:{value}" for name, value in headers]) + last
        self._base = f"{endpoint.path}/"
        self._host = f"\n\nhost:{endpoint.host}\nif-match:"
        host = endpoint.origin.partition("://")[2].removesuffix(":80")
        self._start = (
            f" HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nif-match:"
        )
        is_plain = all(_NO_BLANKS(value) for _, value in headers)
        self._has_odd = not (is_plain and _NO_BLANKS(endpoint.host))

    def spell(self, key: str, etag: str) -> bytes | None:
        """A request; None where it takes more thought.

        Args:
            key: of the object.
            etag: the version that is asked for.
        """
        if self._has_odd or _PLAIN_ETAG(etag) is None:
            return None
        try:
            path = self._base + (key if _PLAIN_KEY(key) else path_of(key)[1:])
        except UnicodeEncodeError:
            return None
        moment = self._moment
        if moment is None:
            return f'GET {path}{self._start}"{etag}"{self._lines}\r\n\r\n'.encode("ascii")
        signature = moment.signature_of(f'GET\n{path}{self._host}"{etag}"{self._block}')
        return f'GET {path}{self._start}"{etag}"{self._lines}{signature}\r\n\r\n'.encode("ascii")


class Speller:
    """Keeps the spelling of the second.

    Args:
        requester_pays: whether requests say so.
    """

    def __init__(self, *, requester_pays: bool) -> None:
        self._requester_pays = requester_pays
        self._known: Spelling | None = None

    def at(
        self, endpoint: Endpoint, access: AccessKey | None, second: int, signer: Signer
    ) -> Spelling:
        """How requests are spelled at a moment; see `Spelling`."""
        known = self._known
        if (
            known is None
            or known.second != second
            or known.access is not access
            or known.endpoint is not endpoint
        ):
            known = self._known = Spelling(
                endpoint, access, second, signer, requester_pays=self._requester_pays
            )
        return known
