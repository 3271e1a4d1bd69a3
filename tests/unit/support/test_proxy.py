"""The proxy that other tests rely on: what it counts, how it delays, what it breaks."""

import contextlib
import http.client
import http.server
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.proxy import ProxyProcess, ProxyServer
from tests.support.wire import ChunkedBody

BODY = bytes(range(256)) * 4096  # 1 MiB


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path.startswith("/bucket/chunked"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(BODY), 100_000):
                piece = BODY[start : start + 100_000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()

    def do_PUT(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        answer = str(len(sent)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: object) -> None:
        pass


class QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """Broken connections are what these tests are about."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with QuietServer(("127.0.0.1", 0), Upstream) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(upstream: str) -> Iterator[ProxyServer]:
    with ProxyServer(upstream) as server:
        yield server


@contextlib.contextmanager
def connection(url: str, timeout: float = 5.0) -> Iterator[http.client.HTTPConnection]:
    with contextlib.closing(
        http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
    ) as it:
        yield it


def ask(
    client: http.client.HTTPConnection, method: str = "GET", path: str = "/bucket/key", **options
) -> tuple[int, bytes]:
    client.request(method, path, **options)
    with client.getresponse() as reply:
        return reply.status, reply.read()


def test_requests_are_counted_by_kind_over_one_connection(proxy: ProxyServer) -> None:
    with connection(proxy.url) as client:
        assert ask(client) == (200, BODY)
        assert ask(client, headers={"Range": "bytes=0-9"})[0] == 200
        assert ask(client, "HEAD") == (200, b"")
        assert ask(client, path="/bucket?list-type=2&prefix=a%2F")[0] == 200
        assert ask(client, path="/bucket/chunked") == (200, BODY)
        assert ask(client, "PUT", body=b"x" * 300_000) == (200, b"300000")
        assert ask(client, path="/bucket?location")[0] == 200
        assert proxy.connections == 1
    kinds = {"get": 2, "ranged_get": 1, "head": 1, "list": 1, "put": 1, "other": 1}
    assert {kind: proxy.counts[kind] for kind in kinds} == kinds
    assert proxy.counts["bytes_down"] == 5 * len(BODY) + len("300000")
    assert proxy.total == 7
    assert proxy.requests[1].range == "bytes=0-9"
    assert proxy.requests[3].line == "GET /bucket?list-type=2&prefix=a%2F"
    proxy.reset()
    assert proxy.total == 0
    assert proxy.requests == []


def test_delay_is_paid_per_request_and_once_per_connection(upstream: str) -> None:
    with ProxyServer(upstream, delay=0.05) as proxy, connection(proxy.url) as client:
        seconds = []
        for _ in range(2):
            begin = time.perf_counter()
            ask(client, "HEAD")
            seconds.append(time.perf_counter() - begin)
    assert seconds[0] >= 0.1
    assert 0.05 <= seconds[1] < 0.1


def test_a_status_is_answered_without_the_server_and_keeps_the_connection(
    proxy: ProxyServer,
) -> None:
    rule = proxy.fault("put", times=2, status=503)
    with connection(proxy.url) as client:
        for _ in range(2):
            status, body = ask(client, "PUT", body=b"x" * 10)
            assert status == 503
            assert b"<Code>SlowDown</Code>" in body
        assert ask(client, "PUT", body=b"x" * 10) == (200, b"10")
        assert proxy.connections == 1
    assert rule.hits == 2


@pytest.mark.parametrize("path", ["/bucket/key", "/bucket/chunked"])
def test_a_truncated_body_ends_early(proxy: ProxyServer, path: str) -> None:
    proxy.fault(path, truncate_after=1000)
    with connection(proxy.url) as client, pytest.raises(http.client.IncompleteRead):
        ask(client, path=path)
    with connection(proxy.url) as client:
        assert ask(client, path=path) == (200, BODY)


def test_a_reset_is_a_reset(proxy: ProxyServer) -> None:
    proxy.fault(reset_after=0)
    with connection(proxy.url) as client, pytest.raises(ConnectionResetError):
        ask(client)


def test_a_stall_sends_nothing_more(proxy: ProxyServer) -> None:
    proxy.fault("get", stall_after=1000)
    with connection(proxy.url, timeout=0.2) as client, pytest.raises(TimeoutError):
        ask(client)


def test_a_hang_never_answers(proxy: ProxyServer) -> None:
    proxy.fault(lambda request: request.method == "HEAD", hang=True)
    with connection(proxy.url, timeout=0.2) as client, pytest.raises(TimeoutError):
        ask(client, "HEAD")
    assert proxy.counts["head"] == 1


@pytest.mark.parametrize("path", ["/bucket/key", "/bucket/chunked"])
@pytest.mark.parametrize("offset", [0, 123_456])
def test_one_byte_is_corrupted(proxy: ProxyServer, path: str, offset: int) -> None:
    proxy.fault(path, corrupt_at=offset)
    with connection(proxy.url) as client:
        _, body = ask(client, path=path)
    assert body[offset] == BODY[offset] ^ 0xFF
    assert body[:offset] + body[offset + 1 :] == BODY[:offset] + BODY[offset + 1 :]


def test_an_extra_delay_and_healing(proxy: ProxyServer) -> None:
    proxy.fault(times=None, delay=0.1)
    with connection(proxy.url) as client:
        begin = time.perf_counter()
        ask(client, "HEAD")
        assert time.perf_counter() - begin >= 0.1
        proxy.heal()
        begin = time.perf_counter()
        ask(client, "HEAD")
        assert time.perf_counter() - begin < 0.1


def test_a_server_that_is_not_there_closes_the_connection() -> None:
    with (
        ProxyServer("http://127.0.0.1:1") as proxy,
        connection(proxy.url) as client,
        pytest.raises(http.client.RemoteDisconnected),
    ):
        ask(client)


def test_the_process_counts_too(upstream: str) -> None:
    with ProxyProcess(upstream) as proxy, connection(proxy.url) as client:
        ask(client)
        assert proxy.counts["get"] == 1
        proxy.reset()
        assert proxy.counts["get"] == 0


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_chunks_may_be_torn_anywhere(step: int) -> None:
    wire = b"5;name=value\r\nhello\r\n3\r\nyou\r\n0\r\nTrailer: x\r\n\r\nHTTP/1.1"
    body = ChunkedBody()
    payload = b""
    position = 0
    while not body.done:
        piece = wire[position : position + step]
        taken, spans = body.feed(piece)
        payload += b"".join(piece[start:stop] for start, stop in spans)
        position += taken
    assert payload == b"helloyou"
    assert wire[position:] == b"HTTP/1.1"
