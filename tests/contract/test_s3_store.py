"""S3Store against moto, against `rclone serve s3`, and against a server that answers wrongly on purpose."""

import contextlib
import errno
import hashlib
import http.client
import ipaddress
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto.server import ThreadedMotoServer

from s3mount import errors
from s3mount.store import streams
from s3mount.store.interface import Get, ListPage, StoreSettings
from s3mount.store.probe import probe
from s3mount.store.s3 import S3Store
from tests.support.parcels import all_as_parcels

pytestmark = pytest.mark.s3

BODY = bytes(range(256)) * 4096
ETAG = hashlib.md5(BODY).hexdigest()
NASTY_KEYS = [
    "a+b c",
    "ünï",
    "a//b",
    "/lead",
    "p/../y",
    "./q",
    "%41",
    "dir/",
    "a?b#c&d=e",
    "~'()*!",
]


class Receiver:
    """Keeps what it is told, and holds the store to the order that it promises."""

    drains = False
    """Whether it takes bytes out of pipes."""

    def __init__(self):
        self.heads, self.chunks, self.pages, self.over, self.error = [], [], [], False, None
        self.drained = 0

    def head(self, head):
        assert not self.over
        assert not self.chunks
        self.heads.append(head)
        return self.drain if self.drains else None

    def data(self, chunk):
        assert not self.over
        assert self.heads
        self.chunks.append(bytes(chunk))

    def drain(self, pipe, count):
        assert pipe.held == count
        self.drained += count
        body = b""
        while pipe.held:
            body += pipe.read(count)
        self.data(body)

    def page(self, page):
        assert not self.over
        self.pages.append(page)

    def done(self, error):
        assert not self.over
        self.over, self.error = True, error

    @property
    def body(self):
        return b"".join(self.chunks)


def drive(store, *receivers, limit=10.0):
    deadline = time.monotonic() + limit
    while not all(receiver.over for receiver in receivers):
        assert time.monotonic() < deadline, "the store hangs"
        store.poll(0.5)


def ask(store, request, *, limit=10.0):
    receiver = Receiver()
    store.submit(request, receiver)
    drive(store, receiver, limit=limit)
    return receiver


def get_whole(store, key, etag, size):
    receiver = ask(store, Get(key, etag, 0, size, whole=True))
    assert receiver.error is None, receiver.error
    return receiver


@pytest.fixture(autouse=True, params=["libcurl", "streams", "pipes", "parcels"])
def road(request, monkeypatch):
    """Small replies come through libcurl, large ones over connections that we read, or let flow into a pipe, and whole
    objects as parcels: the same holds of all."""
    is_ours = request.param != "libcurl"
    monkeypatch.setattr(streams, "LEAST", 1 if is_ours else 1 << 62)
    monkeypatch.setattr(Receiver, "drains", request.param == "pipes")
    if request.param == "parcels":
        all_as_parcels(monkeypatch)
    return "streams" if is_ours else "libcurl"


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRETTEST")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")


@pytest.fixture
def open_store():
    stores = []

    def open_one(url, bucket="bucket", **fields):
        fields = {"connect_timeout": 2.0, "stall_timeout": 2.0, **fields}
        stores.append(S3Store(bucket, StoreSettings(endpoint_url=url, **fields)))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


# ---- moto


@pytest.fixture(scope="module")
def moto_url():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def bucket(moto_url):
    client = boto3.client(
        "s3",
        endpoint_url=moto_url,
        region_name="us-east-1",
        aws_access_key_id="AKIDTEST",
        aws_secret_access_key="SECRETTEST",
    )
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="body", Body=BODY)
    client.put_object(Bucket="bucket", Key="empty", Body=b"")
    client.put_object(Bucket="bucket", Key="cold", Body=b"x", StorageClass="DEEP_ARCHIVE")
    for key in NASTY_KEYS:
        client.put_object(Bucket="bucket", Key=f"nasty/{key}", Body=key.encode())
    yield client
    client.close()


@pytest.fixture
def store(open_store, moto_url, bucket):
    return open_store(moto_url)


def test_read_whole(store):
    receiver = get_whole(store, "body", ETAG, len(BODY))
    assert receiver.body == BODY
    assert (receiver.heads[0].etag, receiver.heads[0].size) == (ETAG, len(BODY))
    totals = store.counters.totals()
    assert totals["requests.get"] == 1
    assert totals["bytes.received"] == len(BODY)
    assert totals["connections.opened"] >= 1


def test_read_a_part(store):
    receiver = ask(store, Get("body", ETAG, 1000, 70_000))
    assert receiver.error is None
    assert receiver.body == BODY[1000:70_000]
    assert receiver.heads[0].size == len(BODY)


def test_read_an_empty_object(store):
    etag = hashlib.md5(b"").hexdigest()
    receiver = get_whole(store, "empty", etag, 0)
    assert receiver.body == b""
    assert receiver.heads[0].size == 0


def test_a_first_look_takes_any_version_and_what_there_is(store):
    receiver = ask(store, Get("body", "", 0, len(BODY) * 2))
    assert receiver.error is None
    assert receiver.body == BODY
    assert receiver.heads[0].etag == ETAG


def test_many_at_once_over_few_connections(open_store, moto_url, bucket):
    store = open_store(moto_url, connections=3)
    receivers = []
    for start in range(0, 50_000, 1000):
        receivers.append(Receiver())
        store.submit(Get("body", ETAG, start, start + 1000), receivers[-1])
    drive(store, *receivers)
    assert all(receiver.error is None for receiver in receivers)
    assert b"".join(receiver.body for receiver in receivers) == BODY[:50_000]


def test_list(store):
    receiver = ask(store, ListPage("", delimiter="/"))
    assert receiver.error is None
    (page,) = receiver.pages
    metas = {item.key: item for item in page.objects}
    assert set(metas) == {"body", "cold", "empty"}
    assert (metas["body"].size, metas["body"].etag) == (len(BODY), ETAG)
    assert metas["cold"].archived
    assert abs(metas["body"].mtime_ns / 1e9 - time.time_ns() / 1e9) < 600
    assert page.prefixes == ["nasty/"]
    assert page.next_token is None
    assert store.counters.totals()["requests.list"] == 1


def test_list_in_pages_and_read_nasty_keys(store):
    metas, token = [], None
    while True:
        receiver = ask(store, ListPage("nasty/", token=token, max_keys=3))
        assert receiver.error is None
        metas += receiver.pages[0].objects
        token = receiver.pages[0].next_token
        if token is None:
            break
    assert {item.key for item in metas} == {f"nasty/{key}" for key in NASTY_KEYS}
    after = ask(store, ListPage("nasty/", start_after=metas[3].key)).pages[0].objects
    assert list(after) == metas[4:]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (Get("none", "", 0, 1), errors.NotFound),
        (Get("body", "0" * 32, 0, 5), errors.ObjectChanged),
        (Get("cold", hashlib.md5(b"x").hexdigest(), 0, 1), errors.ObjectArchived),
        (Get("body\udfff", "", 0, 1), errors.NotFound),
    ],
)
def test_refusals(store, request_, error):
    receiver = ask(store, request_)
    assert type(receiver.error) is error
    assert receiver.error.key == request_.key
    assert not receiver.heads


def test_no_such_bucket(open_store, moto_url, bucket):
    receiver = ask(open_store(moto_url, "no-such-bucket"), ListPage(""))
    assert type(receiver.error) is errors.NoSuchBucket
    assert "s3://no-such-bucket/" in receiver.error.message


def test_cancel_is_silent(store):
    kept, dropped, queued = Receiver(), Receiver(), Receiver()
    for receiver in (kept, dropped, queued):
        store.submit(Get("body", ETAG, 0, len(BODY), whole=True), receiver)
    store.cancel(queued)
    store.poll(0.01)
    store.cancel(dropped)
    store.cancel(Receiver())
    seen = len(dropped.chunks)
    drive(store, kept)
    assert kept.body == BODY
    assert not dropped.over
    assert len(dropped.chunks) == seen
    assert not queued.heads


def test_submit_and_cancel_from_a_receiver(store):
    class Chain(Receiver):
        def data(self, chunk):
            super().data(chunk)
            store.cancel(other)

        def done(self, error):
            super().done(error)
            store.submit(Get("body", ETAG, 5, 9), following)

    chain, other, following = Chain(), Receiver(), Receiver()
    store.submit(Get("body", ETAG, 0, 5), chain)
    store.submit(Get("none", "", 0, 5), other)
    drive(store, chain, following)
    assert following.body == BODY[5:9]


def test_a_receiver_that_cancels_itself(store):
    class Shy(Receiver):
        def data(self, chunk):
            super().data(chunk)
            store.cancel(self)

    shy, follower = Shy(), Receiver()
    store.submit(Get("body", ETAG, 0, len(BODY), whole=True), shy)
    for _ in range(50):
        store.poll(0.05)
        if shy.chunks:
            break
    store.submit(Get("body", ETAG, 5, 9), follower)
    drive(store, follower)
    assert len(shy.chunks) == 1
    assert not shy.over


@pytest.mark.parametrize("where", ["head", "data"])
def test_what_a_receiver_raises_ends_its_request(store, where):
    def fail(*_):
        raise RuntimeError("disk is full")

    receiver = Receiver()
    setattr(receiver, where, fail)
    store.submit(Get("body", ETAG, 0, len(BODY), whole=True), receiver)
    drive(store, receiver)
    assert type(receiver.error) is errors.UnexpectedReply
    assert "disk is full" in receiver.error.message
    assert isinstance(receiver.error.__cause__, RuntimeError)
    assert get_whole(store, "body", ETAG, len(BODY)).body == BODY


def test_what_done_raises_leaves_poll(store):
    receiver = Receiver()

    def fail(error):
        raise RuntimeError("engine bug")

    receiver.done = fail
    store.submit(Get("body", ETAG, 0, 5), receiver)
    with pytest.raises(RuntimeError, match="engine bug"):
        drive(store, receiver)
    assert get_whole(store, "body", ETAG, len(BODY)).body == BODY


def test_an_interrupt_in_a_receiver_leaves_poll(store):
    receiver = Receiver()

    def interrupt(chunk):
        raise KeyboardInterrupt

    receiver.data = interrupt
    store.submit(Get("body", ETAG, 0, 5), receiver)
    with pytest.raises(KeyboardInterrupt):
        drive(store, receiver)
    assert receiver.over


def test_wake_ends_a_wait(store):
    threading.Timer(0.1, store.wake).start()
    begun = time.monotonic()
    store.poll(10.0)
    assert time.monotonic() - begun < 5
    store.close()
    store.wake()
    store.close()


def test_polling_with_nothing_to_do_waits(store):
    get_whole(store, "body", ETAG, len(BODY))
    begun, used = time.monotonic(), time.process_time()
    while time.monotonic() < begun + 0.5:
        store.poll(0.5)
    assert time.process_time() - used < 0.2


def test_missing_credentials_are_told_to_requests(open_store, moto_url, bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    receiver = ask(open_store(moto_url), Get("body", ETAG, 0, 5))
    assert type(receiver.error) is errors.CredentialsMissing
    assert ask(open_store(moto_url, no_sign_request=True), ListPage("")).error is None


def test_probe(moto_url, bucket):
    found = probe("bucket", "", StoreSettings(endpoint_url=moto_url))
    assert found.endpoint_url == f"{moto_url}/bucket"
    assert found.region == "us-east-1"
    assert found.credential_source == "environment variables"
    assert not found.is_empty
    assert probe("bucket", "none/", StoreSettings(endpoint_url=moto_url)).is_empty
    with pytest.raises(errors.NoSuchBucket):
        probe("no-such-bucket", "", StoreSettings(endpoint_url=moto_url))


# ---- rclone serve s3: real signatures, Range answered with 200, If-Match ignored, bare ETags


@pytest.fixture(scope="module")
def rclone_url(tmp_path_factory):
    root = tmp_path_factory.mktemp("rclone")
    (root / "bucket" / "a b").mkdir(parents=True)
    (root / "bucket" / "body").write_bytes(BODY)
    (root / "bucket" / "a b" / "ü+%.txt").write_bytes(b"hello")
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    binary = Path(sys.executable).with_name("rclone")
    command = [binary, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", "/dev/null"]
    command += ["--auth-key", "AKIDTEST,SECRETTEST", str(root)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def wait_for_port(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("rclone does not listen")


def test_rclone_takes_our_signatures(open_store, rclone_url):
    store = open_store(rclone_url)
    page = ask(store, ListPage("")).pages[0]
    metas = {item.key: item for item in page.objects}
    assert set(metas) == {"body", "a b/ü+%.txt"}
    for key, content in [("body", BODY), ("a b/ü+%.txt", b"hello")]:
        assert get_whole(store, key, metas[key].etag, metas[key].size).body == content
    part = ask(store, Get("body", ETAG, 70_000, 70_100))
    assert part.error is None
    assert part.body == BODY[70_000:70_100]


def test_rclone_ignores_if_match_and_we_do_not(open_store, rclone_url):
    receiver = ask(open_store(rclone_url), Get("body", "0" * 32, 0, 5))
    assert type(receiver.error) is errors.ObjectChanged
    assert not receiver.heads


def test_rclone_refuses_a_wrong_secret(rclone_url, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(errors.AccessDenied, match="403"):
        probe("bucket", "", StoreSettings(endpoint_url=rclone_url))


# ---- a server that sends what it is told to


TLS_HELLO = b"\x16"


class RawServer:
    """Answers each request with what ``reply(request_text)`` says: bytes, or a function that gets the socket."""

    def __init__(self, reply, tls=None):
        self.requests = []
        self._tls = tls
        self._reply = reply
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._sockets.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        if self._tls:
            # The handshake comes when something owns the socket that it may fail on.
            connection = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
            self._sockets.append(connection)
        with contextlib.suppress(OSError), connection:
            if self._tls:
                connection.do_handshake()
            while True:
                text = b""
                while not text.endswith(b"\r\n\r\n") and not text.startswith(TLS_HELLO):
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    text += piece
                self.requests.append(text.decode("latin-1"))
                answer = self._reply(self.requests[-1])
                if callable(answer):
                    answer(connection)
                    return
                connection.sendall(answer)

    def close(self):
        self._listener.close()
        for connection in self._sockets:
            connection.close()


@pytest.fixture
def serve():
    servers = []

    def start(reply, tls=None):
        servers.append(RawServer(reply if callable(reply) else lambda _: reply, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def reply(status, body=b"", **headers):
    headers = {"content-length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    reason = http.client.responses.get(status, "?")
    return f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode() + body


def error_body(code, extra=""):
    return f"<Error><Code>{code}</Code><Message>m</Message>{extra}</Error>".encode()


LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(206, b"x" * 10, etag='"e"', content_range="bytes 0-9/20")[:-3], errors.BadBody),
        (reply(206, b"x" * 9, etag='"e"', content_range="bytes 0-9/20"), errors.BadBody),
        (reply(206, b"x" * 10, etag='"f"', content_range="bytes 0-9/20"), errors.ObjectChanged),
        (reply(206, b"x" * 10, etag='"e"', content_range="bytes 5-14/20"), errors.UnexpectedReply),
        (reply(206, b"x" * 10, etag='"e"'), errors.UnexpectedReply),
        (reply(204), errors.UnexpectedReply),
        (reply(302, location="http://127.0.0.1:1/"), errors.UnexpectedReply),
        (reply(503, error_body("SlowDown")), errors.Throttled),
        (reply(403, error_body("ExpiredToken")), errors.CredentialsExpired),
        (reply(500, b"<html>" + b"x" * 300_000), errors.ServerFault),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", errors.UnexpectedReply),
        (b"", errors.Unreachable),
    ],
)
def test_wrong_replies(open_store, serve, answer, error):
    def send_and_end(connection):
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    server = serve(lambda _: send_and_end)
    receiver = ask(open_store(server.url), Get("k", "e", 0, 10))
    assert type(receiver.error) is error, receiver.error
    assert receiver.error.key == "k"


def test_chunked_replies_are_counted(open_store, serve):
    head = b'HTTP/1.1 206 OK\r\nETag: "e"\r\nContent-Range: bytes 0-9/20\r\n'
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    bodies = {"good": b"a\r\n0123456789\r\n0\r\n\r\n", "short": b"5\r\n01234\r\n0\r\n\r\n"}
    bodies["long"] = b"b\r\n0123456789a\r\n0\r\n\r\n"
    server = serve(lambda text: head + bodies[text.split(" ")[1].rpartition("/")[2]])
    store = open_store(server.url)
    assert ask(store, Get("good", "e", 0, 10)).body == b"0123456789"
    for key in ("short", "long"):
        assert type(ask(store, Get(key, "e", 0, 10)).error) is errors.BadBody


def test_a_server_without_ranges(open_store, serve):
    server = serve(reply(200, BODY, etag='"e"'))
    store = open_store(server.url)
    first = ask(store, Get("k", "e", 0, 1000))
    assert first.error is None
    assert first.body == BODY[:1000]
    assert first.heads[0].size == len(BODY)
    assert type(ask(store, Get("k", "e", 1000, 2000)).error) is errors.UnexpectedReply
    assert ask(store, Get("k", "e", 0, len(BODY))).body == BODY


def test_a_reset_in_the_body(open_store, serve):
    def reset(connection):
        connection.sendall(reply(206, b"x" * 10, etag='"e"', content_range="bytes 0-9/20")[:-3])
        time.sleep(0.05)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    receiver = ask(open_store(serve(lambda _: reset).url), Get("k", "e", 0, 10))
    assert type(receiver.error) is errors.BadBody


@pytest.mark.parametrize(
    "begin", [b"", b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 10\r\n\r\nxx']
)
def test_a_stall(open_store, serve, begin):
    def stall(connection):
        connection.sendall(begin)
        connection.recv(1)

    store = open_store(serve(lambda _: stall).url, stall_timeout=1.0)
    begun = time.monotonic()
    receiver = ask(store, Get("k", "e", 0, 10, whole=True))
    assert type(receiver.error) is errors.StoreTimeout
    assert time.monotonic() - begun < 6


def test_queueing_for_a_connection_is_no_timeout(open_store, serve):
    def slow(_):
        time.sleep(0.6)
        return reply(200, b"x", etag='"e"')

    store = open_store(serve(slow).url, connections=1, connect_timeout=1.0)
    receivers = [Receiver() for _ in range(4)]
    for receiver in receivers:
        store.submit(Get("k", "e", 0, 1, whole=True), receiver)
    drive(store, *receivers)
    assert [receiver.error for receiver in receivers] == [None] * 4
    assert store.counters.totals()["connections.opened"] == 1


def test_an_idle_connection_that_the_server_ends_is_replaced(open_store, serve):
    def once(connection):
        connection.sendall(reply(200, b"x", etag='"e"'))

    store = open_store(serve(lambda _: once).url)
    for _ in range(3):
        assert get_whole(store, "k", "e", 1).body == b"x"
        used = time.process_time()
        store.poll(0.1)
        store.poll(0.1)
        assert time.process_time() - used < 0.1
    assert store.counters.totals()["connections.opened"] == 3


# ---- what only connections that we read have to get right, and what both have to


def opened(store):
    return store.counters.totals()["connections.opened"]


def test_a_connection_is_used_again(open_store, serve):
    store = open_store(serve(reply(200, BODY, etag='"e"')).url)
    for _ in range(3):
        assert get_whole(store, "k", "e", len(BODY)).body == BODY
    assert opened(store) == 1


def test_a_connection_that_dies_under_a_request_is_replaced_without_a_word(open_store, serve):
    """The server ends it when the second request is there: nobody could know before."""
    count = iter(range(10))

    def answer(_):
        return (lambda connection: None) if next(count) == 1 else reply(200, BODY, etag='"e"')

    server = serve(answer)
    store = open_store(server.url)
    for _ in range(2):
        assert get_whole(store, "k", "e", len(BODY)).body == BODY
    assert len(server.requests) == 3
    assert opened(store) == 2


def test_a_server_that_says_close_is_taken_at_its_word(open_store, serve):
    store = open_store(serve(reply(200, BODY, etag='"e"', connection="close")).url)
    for _ in range(2):
        assert get_whole(store, "k", "e", len(BODY)).body == BODY
    assert opened(store) == 2


def test_a_reply_in_small_pieces_after_interim_ones(open_store, serve):
    whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    whole += reply(200, b"0123456789", etag='"e"')

    def drip(connection):
        for number in range(len(whole)):
            connection.sendall(whole[number : number + 1])
            time.sleep(0.0005)
        connection.recv(1)

    server = serve(lambda _: drip)
    assert get_whole(open_store(server.url), "k", "e", 10).body == b"0123456789"


def test_bytes_behind_a_reply_are_not_the_next_one(open_store, serve):
    """A reply that is longer than it says is cut, and its connection is of no use any more."""
    wrong = reply(200, b"0123456789", etag='"e"') + reply(200, b"xxxxxxxxxx", etag='"e"')
    store = open_store(serve(wrong).url)
    for _ in range(2):
        assert get_whole(store, "k", "e", 10).body == b"0123456789"
    assert opened(store) == 2


def test_a_chunked_server_is_asked_twice_once(open_store, serve, road):
    head = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nTransfer-Encoding: chunked\r\n\r\n'
    server = serve(head + b"a\r\n0123456789\r\n0\r\n\r\n")
    store = open_store(server.url)
    for _ in range(3):
        assert get_whole(store, "k", "e", 10).body == b"0123456789"
    assert len(server.requests) == (4 if road == "streams" else 3)


def test_an_odd_refusal_does_not_change_the_road(open_store, serve, road):
    """A proxy's page without a length says nothing of the server's replies."""
    head = b"HTTP/1.1 503 Slow\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    server = serve(lambda text: head if "/odd " in text else reply(200, BODY, etag='"e"'))
    store = open_store(server.url)
    assert type(ask(store, Get("odd", "e", 0, 10)).error) is errors.Throttled
    assert len(server.requests) == (2 if road == "streams" else 1)
    for _ in range(2):
        get_whole(store, "k", "e", len(BODY))
    receiver = ask(store, Get("odd", "e", 0, 10))
    assert type(receiver.error) is errors.Throttled
    assert len(server.requests) == (6 if road == "streams" else 4)


def test_pieces_are_long_where_the_server_is_fast(open_store, serve, road):
    store = open_store(serve(reply(200, BODY * 16, etag='"e"')).url)
    receiver = get_whole(store, "k", "e", len(BODY) * 16)
    assert receiver.body == BODY * 16
    longest = max(map(len, receiver.chunks))
    if Receiver.drains:
        return
    assert longest > 64 * 1024 if road == "streams" else longest <= 16 * 1024


def test_bytes_come_in_pipes_to_those_who_drain_them(open_store, serve, road):
    small, large = (reply(200, body, etag='"e"') for body in (BODY[:10], BODY))
    server = serve(lambda text: small if "/small " in text else large)
    store = open_store(server.url)
    for _ in range(2):
        receiver = get_whole(store, "k", "e", len(BODY))
        assert get_whole(store, "small", "e", 10).body == BODY[:10]
        assert receiver.body == BODY
        if road == "streams" and Receiver.drains:
            assert receiver.drained > len(BODY) - 64 * 1024
        else:
            assert not receiver.drained
    assert opened(store) == 1


def test_where_nothing_is_gathered_bytes_come_as_they_do(open_store, serve, monkeypatch):
    monkeypatch.setattr(socket, "SO_RCVLOWAT", 1 << 20)  # no such option
    store = open_store(serve(reply(200, BODY, etag='"e"')).url)
    for _ in range(2):
        assert get_whole(store, "k", "e", len(BODY)).body == BODY


def test_what_comes_slowly_is_no_stall(open_store, serve):
    answer = reply(200, BODY[:400_000], etag='"e"')

    def drip(connection):
        for at in range(0, len(answer), 100_000):
            connection.sendall(answer[at : at + 100_000])
            time.sleep(1.2)

    store = open_store(serve(lambda _: drip).url)
    assert get_whole(store, "k", "e", 400_000).body == BODY[:400_000]


def test_where_there_is_no_splice_bytes_come_in_pieces(open_store, serve, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "splice", refuse)
    store = open_store(serve(reply(200, BODY, etag='"e"')).url)
    for _ in range(2):
        receiver = get_whole(store, "k", "e", len(BODY))
        assert receiver.body == BODY
        assert not receiver.drained


def test_what_is_left_in_a_pipe_is_in_nobody_s_way(open_store, serve, monkeypatch):
    store = open_store(serve(reply(200, BODY, etag='"e"')).url, connections=1)
    with monkeypatch.context() as patched:
        patched.setattr(Receiver, "drain", lambda self, pipe, count: None)
        ask(store, Get("k", "e", 0, len(BODY), whole=True))
    assert get_whole(store, "k", "e", len(BODY)).body == BODY


def test_a_drain_that_fails_ends_its_request_only(open_store, serve, monkeypatch, road):
    def fail(*_):
        raise RuntimeError("no room")

    store = open_store(serve(reply(200, BODY, etag='"e"')).url, connections=1)
    with monkeypatch.context() as patched:
        patched.setattr(Receiver, "drain", fail)
        receiver = ask(store, Get("k", "e", 0, len(BODY), whole=True))
        assert (receiver.error is None) == (road == "libcurl" or not Receiver.drains)
    assert get_whole(store, "k", "e", len(BODY)).body == BODY


def test_an_error_of_a_receiver_is_not_taken_for_silence_of_the_server(open_store, serve):
    class Blocked(Receiver):
        def data(self, chunk):
            raise BlockingIOError(errno.EAGAIN, "not now")

    store = open_store(serve(reply(200, BODY, etag='"e"')).url, connections=1)
    receiver = Blocked()
    store.submit(Get("k", "e", 0, len(BODY), whole=True), receiver)
    drive(store, receiver, limit=1.5)  # sooner than a stall
    assert receiver.error is not None
    assert get_whole(store, "k", "e", len(BODY)).body == BODY


def test_of_a_body_that_is_too_long_nothing_comes_in_pipes(open_store, serve):
    store = open_store(serve(reply(200, BODY, etag='"e"')).url)
    receiver = ask(store, Get("k", "e", 0, 300_000))
    assert receiver.body == BODY[:300_000]
    assert not receiver.drained


def test_a_cancelled_reply_costs_its_connection_only(open_store, serve):
    answer = reply(200, BODY, etag='"e"')
    may_end = threading.Event()

    def halting(connection):
        connection.sendall(answer[: len(answer) // 2])
        may_end.wait(10)
        connection.sendall(answer[len(answer) // 2 :])

    server = serve(lambda text: halting if "/halting " in text else answer)
    store = open_store(server.url, connections=1)
    dropped, kept = Receiver(), Receiver()
    store.submit(Get("halting", "e", 0, len(BODY), whole=True), dropped)
    while not dropped.chunks:
        store.poll(0.05)
    store.submit(Get("k", "e", 0, len(BODY), whole=True), kept)
    store.cancel(dropped)
    may_end.set()
    seen = len(dropped.chunks)
    drive(store, kept)
    assert kept.body == BODY
    assert len(dropped.chunks) == seen
    assert not dropped.over


def test_what_is_sent_is_the_same_on_both_roads(open_store, serve, monkeypatch):
    server = serve(reply(200, b"x", etag='"e"'))
    store = open_store(server.url, no_sign_request=True)
    for large in (1, 1 << 62):
        monkeypatch.setattr(streams, "LEAST", large)
        get_whole(store, "/a//../ü+%\udcff", "e", 1)
    first, second = (set(text.lower().split("\r\n")) for text in server.requests)
    assert {line.replace(": ", ":") for line in first} == {
        line.replace(": ", ":") for line in second
    }
    assert opened(store) == 2


@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
def test_a_proxy_is_libcurl_s_business(open_store, serve, monkeypatch, name):
    server = serve(reply(200, b"x", etag='"e"'))
    monkeypatch.setenv(name, server.url)
    monkeypatch.setenv("no_proxy", "example.com")
    get_whole(open_store("http://store.invalid"), "k", "e", 1)
    assert server.requests[0].startswith("GET http://store.invalid/bucket/k HTTP/1.1")


def test_a_name_that_nobody_knows(open_store):
    receiver = ask(open_store("http://store.invalid"), Get("k", "e", 0, 10))
    assert type(receiver.error) is errors.Unreachable


def test_nobody_listens(open_store):
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    receiver = ask(open_store(url), Get("k", "e", 0, 10))
    assert type(receiver.error) is errors.Unreachable
    assert url in receiver.error.message
    with pytest.raises(errors.Unreachable):
        probe("bucket", "", StoreSettings(endpoint_url=url))


def test_tls_to_a_server_without_tls(open_store, serve):
    server = serve(reply(200))
    receiver = ask(open_store(server.url.replace("http", "https")), Get("k", "e", 0, 10))
    assert type(receiver.error) is errors.Unreachable
    assert "TLS" in receiver.error.message


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    encoding = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(encoding)
    )
    return path


def test_tls_with_the_right_and_the_wrong_authority(open_store, serve, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = serve(reply(200, BODY, etag='"e"'), context)
    store = open_store(server.url, ca_bundle=str(certificate))
    for _ in range(2):
        assert get_whole(store, "k", "e", len(BODY)).body == BODY
    assert store.counters.totals()["connections.opened"] == 1
    receiver = ask(open_store(server.url), Get("k", "e", 0, 10))
    assert type(receiver.error) is errors.Unreachable
    assert "--ca-bundle" in receiver.error.hint


def test_a_tls_handshake_that_stalls_is_no_connection(open_store, serve):
    server = serve(lambda _: lambda connection: connection.recv(1))
    store = open_store(server.url.replace("http", "https"), connect_timeout=0.5)
    receiver = ask(store, Get("k", "e", 0, 10))
    assert type(receiver.error) is errors.Unreachable


def test_a_probe_has_a_limit(serve):
    server = serve(lambda _: lambda connection: connection.recv(1))
    with pytest.raises(errors.StoreTimeout, match="did not answer"):
        probe("bucket", "", StoreSettings(endpoint_url=server.url), limit=0.3)


def test_what_is_sent(open_store, serve):
    server = serve(reply(200, b"x", etag='"e"'))
    store = open_store(server.url, requester_pays=True)
    get_whole(store, "/a//../ü+%\udcff", "e", 1)
    line, _, rest = server.requests[0].partition("\r\n")
    assert line == "GET /bucket//a//../%C3%BC%2B%25%FF HTTP/1.1"
    rest = rest.lower()
    assert 'if-match:"e"' in rest
    assert "x-amz-request-payer:requester" in rest
    assert "x-amz-checksum-mode:enabled" in rest
    assert "range:" not in rest.replace("x-amz", "")
    assert "us-east-1/s3/aws4_request" in rest


def test_unsigned_requests(open_store, serve):
    server = serve(reply(200, b"x", etag='"e"'))
    get_whole(open_store(server.url, no_sign_request=True), "k", "e", 1)
    assert "authorization" not in server.requests[0].lower()


def test_a_wrong_region_is_followed_once_and_kept(open_store, serve):
    def answer(text):
        if "/eu-west-9/s3/" in text:
            return reply(200, b"x", etag='"e"')
        malformed = error_body("AuthorizationHeaderMalformed", "<Region>eu-west-9</Region>")
        return reply(400, malformed)

    server = serve(answer)
    store = open_store(server.url)
    receivers = [Receiver() for _ in range(4)]
    for receiver in receivers:
        store.submit(Get("k", "e", 0, 1, whole=True), receiver)
    drive(store, *receivers)
    assert [receiver.error for receiver in receivers] == [None] * 4
    identity = store.identity
    sent = len(server.requests)
    get_whole(store, "k", "e", 1)
    assert len(server.requests) == sent + 1
    assert store.endpoint.region == "eu-west-9"
    assert store.identity == identity


def test_regions_that_send_us_round_in_circles(open_store, serve):
    def answer(text):
        there = "eu-west-1" if "/us-east-1/s3/" in text else "us-east-1"
        return reply(301, error_body("PermanentRedirect"), x_amz_bucket_region=there)

    server = serve(answer)
    receiver = ask(open_store(server.url), ListPage(""))
    assert type(receiver.error) is errors.UnexpectedReply
    assert "--region" in receiver.error.hint
    assert len(server.requests) == 2


def test_a_server_that_refuses_the_restore_status_header(open_store, serve):
    def answer(text):
        if "optional-object-attributes" in text.lower():
            return reply(501, error_body("NotImplemented"))
        return reply(200, LISTING)

    server = serve(answer)
    store = open_store(server.url)
    for _ in range(2):
        assert ask(store, ListPage("")).error is None
    assert len(server.requests) == 3
    assert store.counters.totals()["requests.list"] == 3


def test_a_listing_that_is_wrong_without_the_header_too(open_store, serve):
    server = serve(reply(400, error_body("InvalidArgument")))
    store = open_store(server.url)
    assert type(ask(store, ListPage("")).error) is errors.UnexpectedReply
    assert len(server.requests) == 2


def test_refused_credentials_are_renewed(open_store, serve, monkeypatch):
    def answer(text):
        if "Credential=NEW/" in text:
            return reply(200, b"x", etag='"e"')
        return reply(400, error_body("ExpiredToken"))

    store = open_store(serve(answer).url)
    assert type(ask(store, Get("k", "e", 0, 1)).error) is errors.CredentialsExpired
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEW")
    monkeypatch.setattr(store.credentials, "_reload_at", 0.0)
    store.renew()
    get_whole(store, "k", "e", 1)


def test_close_ends_requests_without_a_call(open_store, serve):
    server = serve(lambda _: lambda connection: connection.recv(1))
    store = open_store(server.url)
    receiver = Receiver()
    store.submit(Get("k", "e", 0, 1), receiver)
    store.poll(0.1)
    store.close()
    assert not receiver.over
