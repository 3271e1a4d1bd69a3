"""HTTP for a hub and the storage that it names: connections, proxies, and tries.

Proxies are those of the environment (``HTTPS_PROXY``, ``NO_PROXY``). Safe for use from several threads.
"""

import logging
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import urllib3

from s3mount import __version__
from s3mount.artifact.hub_wire import TRIES, Pause, is_success, may_pass, seconds_to_wait, shown
from s3mount.artifact.parallel import Stopped, until
from s3mount.errors import Unreachable

log = logging.getLogger(__name__)

CHUNK = 1 << 20
CONNECT_SECONDS = 15.0
READ_SECONDS = 60.0
"""Without a byte, after which a request has failed."""
REDIRECTS = 5
ERROR_BODY = 2048
"""Bytes of a refusal that are read, for messages."""


class Reply(NamedTuple):
    """The end of a request.

    Attributes:
        status: of the last try.
        headers: with names in small letters.
        body: of a reply that nobody took: its beginning.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Body:
    """What is sent; it may be iterated again, for another try or where a redirect leads.

    Args:
        size: bytes.
        read: gives the bytes.
    """

    def __init__(self, size: int, read: Callable[[], Iterable[bytes]]) -> None:
        self.size = size
        self._read = read

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._read())


class Incoming(NamedTuple):
    """A successful reply whose body is about to come.

    Attributes:
        headers: with names in small letters.
        chunks: the bytes; where they break off this raises, and the request is made again.
    """

    headers: Mapping[str, str]
    chunks: Iterator[bytes]


Take = Callable[[Incoming], None]


class Web:
    """Sends requests.

    Args:
        connections: kept open to each host at the most.
        sleep: waits so many seconds between tries; None to wait until ``is_over`` at the most.

    Attributes:
        is_over: while it is set, requests end with `Stopped` as soon as they can.
    """

    def __init__(self, connections: int, sleep: Callable[[float], object] | None = None) -> None:
        self.is_over = threading.Event()
        self._connections = connections
        self._sleep = sleep or self.is_over.wait
        self._managers: dict[str, urllib3.PoolManager] = {}

    def close(self) -> None:
        """Close all connections."""
        for manager in self._managers.values():
            manager.clear()

    def request(
        self,
        method: str,
        url: str,
        *,
        pause: Pause,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        take: Take | None = None,
    ) -> Reply:
        """Send a request until it succeeds, is refused for good, or was tried `TRIES` times.

        Args:
            method: of HTTP.
            url: with its query.
            pause: between tries.
            headers: beside those that every request has.
            body: to send.
            take: given the body of a successful reply, once for every try that got so far.

        Raises:
            Unreachable: there was no whole reply to the last try.
            Stopped: ``is_over`` is set.
        """
        problem = ""
        for failures in count(1):
            reply, problem = Reply(0, {}, b""), ""
            try:
                reply = self._try(method, url, headers or {}, body, take)
            except urllib3.exceptions.HTTPError as error:
                # The whole text has the signed URL in it.
                problem = str(getattr(error, "reason", None) or error) or type(error).__name__
            log.debug("%s %s: try %d: %s", method, shown(url), failures, problem or reply.status)
            if not problem and (failures == TRIES or not may_pass(reply.status)):
                return reply
            if failures == TRIES:
                break
            self._wait(failures, pause, reply)
        raise Unreachable(f"{shown(url)}: {problem}", hint="check the network and the address")

    def _wait(self, failures: int, pause: Pause, reply: Reply) -> None:
        retry_after = reply.headers.get("retry-after", "")
        now = datetime.now(UTC)
        self._sleep(seconds_to_wait(failures, pause, reply.status, retry_after, now))
        if self.is_over.is_set():
            raise Stopped

    def _try(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        take: Take | None,
    ) -> Reply:
        own = {"user-agent": f"s3mount/{__version__}", "accept-encoding": "identity"}
        if body is not None:
            own["content-length"] = str(body.size)
        response = self._manager(url).request(
            method,
            url,
            body=body if body is not None and body.size else None,
            headers={**own, **headers},
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            retries=urllib3.Retry(
                total=None, connect=0, read=0, status=0, other=0, redirect=REDIRECTS
            ),
        )
        with closing(response):
            told = {name.lower(): value for name, value in response.headers.items()}
            if take is not None and is_success(response.status):
                chunks = response.stream(CHUNK, decode_content=False)
                take(Incoming(told, until(self.is_over, chunks)))
                return Reply(response.status, told, b"")
            # A reply that is read to its end leaves its connection for the next request.
            kept = response.read(None if is_success(response.status) else ERROR_BODY)
            return Reply(response.status, told, kept)

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = _proxy_of(url)
        if proxy not in self._managers:
            self._managers[proxy] = self._made(proxy)
        return self._managers[proxy]

    def _made(self, proxy: str) -> urllib3.PoolManager:
        if not proxy:
            return urllib3.PoolManager(maxsize=self._connections)
        parts = urlsplit(proxy)
        headers = None
        if parts.username is not None:
            who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers = urllib3.make_headers(proxy_basic_auth=who)
        return urllib3.ProxyManager(proxy, maxsize=self._connections, proxy_headers=headers)


def _proxy_of(url: str) -> str:
    """The proxy that the environment names for a URL; empty for none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if urllib.request.proxy_bypass(host):
        return ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"
