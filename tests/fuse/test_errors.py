"""docs/semantics.md, "Errors and patience": what goes wrong, what a program sees of it, and how long it waits."""

import errno
import hashlib
import itertools
import json
import mmap
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from s3mount.fuse.errnos import ERRNOS
from tests.support.buckets import Bucket, s3_client
from tests.support.mounts import Mount, mounted
from tests.support.proxy import ProxyServer
from tests.support.servers import ACCESS_KEY, REGION, SECRET_KEY, Server, free_port

pytestmark = pytest.mark.fuse

KIB = 1024
MIB = 1024 * 1024
TIMEOUT = 2.0
"""--request-timeout of most mounts here, seconds."""
SLACK = 1.0
"""Seconds that a busy machine may add to a deadline."""
TABLE = Path(__file__).parents[2] / "docs" / "errors.md"


@dataclass(slots=True)
class Site:
    """A mount with little patience that believes no listing for long, its bucket, and the wire between them."""

    bucket: Bucket
    proxy: ProxyServer
    mount: Mount
    command: Callable[..., object]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def put(self, body: bytes) -> tuple[str, Path]:
        """A new object in a directory of its own: its key and its path."""
        key = f"case-{next(self.numbers)}/file"
        self.bucket.put(key, body)
        return key, self.mount.path / key


@pytest.fixture(scope="module")
def site(moto: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("errors")
    with ExitStack() as stack:
        client = stack.enter_context(closing(s3_client(moto)))
        client.create_bucket(Bucket="errors")
        bucket = Bucket("errors", moto.url, client, moto.environment)
        proxy = stack.enter_context(ProxyServer(moto.url))
        numbers = itertools.count(1)

        @contextmanager
        def command(
            *options: str, url: str = proxy.url, expects: Sequence[str] = ()
        ) -> Iterator[Mount]:
            number = next(numbers)
            fixed = ("--endpoint-url", url, "--cache-dir", str(folder / "cache"))
            fixed += ("--request-timeout", f"{TIMEOUT:g}s")
            with mounted(
                "errors",
                folder / f"mount-{number}",
                *fixed,
                *options,
                env=moto.environment,
                expects=expects,
            ) as mount:
                yield mount

        fleeting = ("--metadata-ttl", "0s", "--negative-ttl", "0s")
        mount = stack.enter_context(command(*fleeting, expects=["WARNING"]))
        yield Site(bucket, proxy, mount, command)


@pytest.fixture(autouse=True)
def _healed(site: Site) -> Iterator[None]:
    site.proxy.reset()
    yield
    site.proxy.heal()


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def failure_of(path: Path) -> tuple[int, float]:
    """The errno of reading a file, and how long it took."""
    began = time.monotonic()
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the caller looks at the errno
        path.read_bytes()
    return caught.value.errno or 0, time.monotonic() - began


def settles(condition: Callable[[], bool], seconds: float = 6.0) -> bool:
    """Whether a condition becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


TICKING = """
import ctypes, signal, sys
ticks = []
signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
libc = ctypes.CDLL(None, use_errno=True)
# Not by Python's own calls, which try again after EINTR.
descriptor = libc.open(sys.argv[1].encode(), 0)
assert descriptor >= 0, ctypes.get_errno()
buffer = ctypes.create_string_buffer(1 << 20)
length = libc.read(descriptor, buffer, len(buffer))
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(ticks), length)
"""


def readable(path: Path) -> bool:
    """Whether a file can be read now."""
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def report(mount: Mount) -> dict[str, object]:
    """``s3mount status --json`` of one mount."""
    command = [sys.executable, "-m", "s3mount", "status", "--json", str(mount.path)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=20)
    (answer,) = json.loads(done.stdout)["mounts"]
    return answer


# Each kind its errno


def test_the_page_has_the_table_of_the_code() -> None:
    """Each kind of error has its own errno (the table is in [errors.md](errors.md))."""
    rows = re.findall(r"^\| (\w+) \| (E\w+) \| ([^|]+) \|", TABLE.read_text(), re.MULTILINE)
    assert {name: code for name, code, _ in rows} == {
        kind.__name__: errno.errorcode[number] for kind, number in ERRNOS.items()
    }
    assert len(rows) == len(ERRNOS)
    for _, code, words in rows:
        assert os.strerror(getattr(errno, code)) == words


REFUSALS = [
    (403, "AccessDenied", errno.EACCES),
    (403, "InvalidAccessKeyId", errno.EACCES),
    (403, "InvalidObjectState", errno.ENODATA),
    (404, "NoSuchKey", errno.ENOENT),
    (404, "NoSuchBucket", errno.ENXIO),
    (400, "InvalidArgument", errno.EPROTO),
    (501, "NotImplemented", errno.EPROTO),
]


@pytest.mark.parametrize(("status", "code", "number"), REFUSALS)
def test_a_refusal_is_told_at_once(site: Site, status: int, code: str, number: int) -> None:
    """Each kind of error has its own errno (the table is in [errors.md](errors.md))."""
    key, path = site.put(b"out of reach")
    rule = site.proxy.fault(f"GET .*{key}", None, status=status, code=code)
    found, took = failure_of(path)
    assert found == number
    assert rule.hits <= 2  # twice when the refusal came before anybody waited for it
    assert took < 0.8
    site.proxy.heal()
    assert path.read_bytes() == b"out of reach"


@pytest.mark.parametrize(
    ("status", "code", "number"),
    [(403, "AccessDenied", errno.EACCES), (404, "NoSuchBucket", errno.ENXIO)],
)
def test_a_refused_listing_fails_the_directory(
    site: Site, status: int, code: str, number: int
) -> None:
    """Each kind of error has its own errno (the table is in [errors.md](errors.md))."""
    _, path = site.put(b"out of reach")
    site.proxy.fault("list", None, status=status, code=code)
    with pytest.raises(OSError, match=re.escape(str(path.parent))) as caught:
        os.listdir(path.parent)
    assert caught.value.errno == number
    assert failure_of(path)[0] == number


LASTING = [
    (503, "SlowDown", errno.EBUSY),
    (500, "InternalError", errno.EREMOTEIO),
    (403, "ExpiredToken", errno.EKEYEXPIRED),
]


def test_what_does_not_pass_is_told_after_many_tries(site: Site) -> None:
    """What can pass is tried again, with growing pauses."""
    rules, paths = [], []
    for status, code, _ in LASTING:
        key, path = site.put(b"busy")
        rules.append(site.proxy.fault(f"GET .*{key}", None, status=status, code=code))
        paths.append(path)
    with ThreadPoolExecutor(len(LASTING)) as pool:
        outcomes = list(pool.map(failure_of, paths))
    assert [found for found, _ in outcomes] == [number for _, _, number in LASTING]
    assert all(TIMEOUT / 2 < took < TIMEOUT + SLACK for _, took in outcomes)
    assert all(4 <= rule.hits <= 60 for rule in rules)


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (403, "ExpiredToken")]
)
def test_what_passes_is_never_seen(site: Site, status: int, code: str) -> None:
    """What can pass is tried again, with growing pauses."""
    key, path = site.put(b"a moment")
    listing = site.proxy.fault("list", 1, status=status, code=code)
    rule = site.proxy.fault(f"GET .*{key}", 2, status=status, code=code)
    assert path.read_bytes() == b"a moment"
    assert (listing.hits, rule.hits) == (1, 2)


# Deadlines


def test_a_silent_store_ends_in_time(site: Site) -> None:
    """No request of the kernel waits longer than `--request-timeout`."""
    key, path = site.put(noise(64 * KIB))
    site.proxy.fault(f"GET .*{key}", None, hang=True)
    found, took = failure_of(path)
    assert found == errno.ETIMEDOUT
    assert took < TIMEOUT + SLACK
    site.proxy.heal()
    assert settles(lambda: readable(path))
    assert len(path.read_bytes()) == 64 * KIB


def test_a_body_that_stands_still_ends_in_time(site: Site) -> None:
    """No request of the kernel waits longer than `--request-timeout`."""
    key, path = site.put(noise(64 * KIB))
    site.proxy.fault(f"GET .*{key}", None, stall_after=1000)
    # Past the kernel's pages: for those it asks a second time for the first page of a read-ahead that failed.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        began = time.monotonic()
        with mmap.mmap(-1, 64 * KIB) as aligned, pytest.raises(TimeoutError):
            os.preadv(descriptor, [aligned], 0)
        assert time.monotonic() - began < TIMEOUT + SLACK
    finally:
        os.close(descriptor)


def test_a_stalled_listing_ends_in_time(site: Site) -> None:
    """No request of the kernel waits longer than `--request-timeout`."""
    _, path = site.put(b"behind a listing")
    site.proxy.fault("list", None, hang=True)
    with ThreadPoolExecutor(2) as pool:
        found, took = pool.submit(failure_of, path).result()
        assert found == errno.ETIMEDOUT
        assert took < TIMEOUT + SLACK
    site.proxy.heal()
    assert settles(lambda: readable(path))
    assert path.read_bytes() == b"behind a listing"


def test_a_refused_connection_ends_in_time(site: Site) -> None:
    """No request of the kernel waits longer than `--request-timeout`."""
    key, _ = site.put(noise(2 * MIB))
    with ExitStack() as stack:
        proxy = stack.enter_context(ProxyServer(site.bucket.endpoint))
        with site.command(url=proxy.url, expects=["EHOSTUNREACH"]) as mount:
            assert (mount.path / key).stat().st_size == 2 * MIB
            stack.close()
            found, took = failure_of(mount.path / key)
            assert found == errno.EHOSTUNREACH
            assert took < TIMEOUT + SLACK


def test_a_deadline_leaves_the_other_requests_alone(site: Site) -> None:
    """No request of the kernel waits longer than `--request-timeout`."""
    stuck, stuck_path = site.put(noise(64 * KIB))
    _, path = site.put(b"fine")
    site.proxy.fault(f"GET .*{stuck}", None, hang=True)
    with ThreadPoolExecutor(4) as pool:
        hopeless = [pool.submit(failure_of, stuck_path) for _ in range(3)]
        for _ in range(20):
            assert path.read_bytes() == b"fine"
        assert {future.result()[0] for future in hopeless} == {errno.ETIMEDOUT}


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_waits_can_be_ended(site: Site, number: int) -> None:
    """A program that waits for a mount ends at Ctrl-C or `kill`."""
    key, path = site.put(noise(64 * KIB))
    rule = site.proxy.fault(f"GET .*{key}", None, hang=True)
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.DEVNULL) as reader:
        assert settles(lambda: rule.hits > 0)
        time.sleep(0.1)
        began = time.monotonic()
        reader.send_signal(number)
        assert reader.wait(TIMEOUT) == -number
        assert time.monotonic() - began < TIMEOUT / 2


def test_other_signals_are_not_felt(site: Site) -> None:
    """Signals that are not meant to end it leave its reads alone."""
    key, path = site.put(noise(64 * KIB))
    site.proxy.fault(f"GET .*{key}", None, delay=0.5)
    program = [sys.executable, "-c", TICKING, str(path)]
    done = subprocess.run(program, stdout=subprocess.PIPE, check=True, timeout=20)
    ticks, length = map(int, done.stdout.split())
    assert length == 64 * KIB
    assert ticks > 0


# The endpoint goes away and comes back


def test_what_is_known_outlives_the_endpoint(site: Site) -> None:
    """When the endpoint is gone, what is cached stays readable, by name too, and the mount recovers by itself."""
    body = noise(3 * MIB)
    key, _ = site.put(body)
    folder = os.path.dirname(key)
    site.bucket.put(f"{folder}/other", noise(2 * MIB))
    _, unseen = site.put(b"nobody looked at this")
    with ExitStack() as stack:
        proxy = stack.enter_context(ProxyServer(site.bucket.endpoint))
        options = ("--metadata-ttl", "300ms", "--negative-ttl", "300ms")
        with site.command(*options, url=proxy.url, expects=["EHOSTUNREACH"]) as mount:
            assert (mount.path / key).read_bytes() == body
            assert sorted(os.listdir(mount.path / folder)) == ["file", "other"]
            server, proxy.upstream = proxy.upstream, ("127.0.0.1", free_port())
            proxy.disconnect()
            for _ in range(2):
                time.sleep(0.4)
                assert (mount.path / key).read_bytes() == body
                assert sorted(os.listdir(mount.path / folder)) == ["file", "other"]
            assert failure_of(mount.path / folder / "other")[0] == errno.EHOSTUNREACH
            assert (
                failure_of(mount.path / unseen.relative_to(site.mount.path))[0]
                == errno.EHOSTUNREACH
            )

            proxy.upstream = server
            site.bucket.put(f"{folder}/new", b"back again")
            assert settles(lambda: "new" in os.listdir(mount.path / folder))
            assert (mount.path / folder / "new").read_bytes() == b"back again"
            assert len((mount.path / folder / "other").read_bytes()) == 2 * MIB


def test_a_read_that_began_before_goes_on_when_it_is_back(site: Site) -> None:
    """When the endpoint is gone, what is cached stays readable, by name too, and the mount recovers by itself."""
    body = noise(12 * MIB)
    _, path = site.put(body)
    with path.open("rb", buffering=0) as file:
        data = file.read(MIB)
        server, site.proxy.upstream = site.proxy.upstream, ("127.0.0.1", free_port())
        site.proxy.disconnect()
        back = threading.Timer(0.5, setattr, (site.proxy, "upstream", server))
        back.start()
        while piece := file.read(MIB):
            data += piece
        back.join()
    assert hashlib.sha256(data).digest() == hashlib.sha256(body).digest()


# Bodies


BROKEN = [
    {"truncate_after": 0},
    {"truncate_after": 100_000},
    {"reset_after": 0},
    {"reset_after": 100_000},
]


@pytest.mark.parametrize("fault", BROKEN, ids=lambda fault: "-".join(map(str, *fault.items())))
def test_a_broken_body_is_fetched_again(site: Site, fault: dict[str, int]) -> None:
    """A failed download is never a short file."""
    body = noise(200 * KIB)
    key, path = site.put(body)
    rule = site.proxy.fault(f"GET .*{key}", 1, **fault)
    assert path.read_bytes() == body
    assert rule.hits == 1


@pytest.mark.parametrize("fault", [{"truncate_after": 70_000}, {"reset_after": 70_000}])
def test_many_broken_bodies_make_a_whole_file(site: Site, fault: dict[str, int]) -> None:
    """A failed download is never a short file."""
    body = noise(5 * MIB)
    key, path = site.put(body)
    site.proxy.fault(f"GET .*{key}", 25, **fault)
    assert path.read_bytes() == body


def test_a_body_that_stays_broken_is_an_error(site: Site) -> None:
    """A failed download is never a short file."""
    key, path = site.put(noise(5 * MIB))
    site.proxy.fault(f"GET .*{key}", None, truncate_after=0)
    found, took = failure_of(path)
    assert found in {errno.EBADMSG, errno.EHOSTUNREACH}
    assert took < TIMEOUT + SLACK


def test_a_program_sees_that_a_file_broke_off(site: Site) -> None:
    """A failed download is never a short file."""
    key, path = site.put(noise(5 * MIB))
    site.proxy.fault(
        lambda request: request.path.endswith(key) and "=0-" not in request.range, None, status=403
    )
    done = subprocess.run(["cat", path], capture_output=True, check=False, timeout=20)
    assert done.returncode == 1
    assert b"Permission denied" in done.stderr
    assert 0 < len(done.stdout) < 5 * MIB


class Liar(BaseHTTPRequestHandler):
    """A store that answers one object with a body of the wrong length, in good form."""

    protocol_version = "HTTP/1.1"
    accepted = ACCESS_KEY
    body = b"x" * 1000
    sent: bytes | None = None
    checksum = ""

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization", "")
        if f"Credential={self.accepted}/" not in authorization:
            code = b"<Error><Code>ExpiredToken</Code><Message>too old</Message></Error>"
            self._answer(403, code, "application/xml")
        elif "list-type=" in self.path:
            self._answer(200, self._listing(), "application/xml")
        else:
            self._answer(200, self.body if self.sent is None else self.sent, "text/plain")

    def _listing(self) -> bytes:
        return (
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>file</Key>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>&quot;e1&quot;</ETag>"
            f"<Size>{len(self.body)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            "</ListBucketResult>"
        ).encode()

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("ETag", '"e1"')
        self.send_header("Content-Length", str(len(body)))
        if self.checksum:
            self.send_header("x-amz-checksum-crc32", self.checksum)
            self.send_header("x-amz-checksum-type", "FULL_OBJECT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Not here."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_body_of_another_length_is_an_error(tmp_path: Path, moto: Server) -> None:
    """A failed download is never a short file."""

    class WrongLength(Liar):
        """Of which every reply is a little off."""

    options = ("--cache-dir", str(tmp_path / "cache"), "--request-timeout", "1s")
    with (
        serving(WrongLength) as url,
        mounted(
            *("whatever", tmp_path / "view", "--endpoint-url", url, *options),
            env=moto.environment,
            expects=["EBADMSG"],
        ) as mount,
    ):
        for length in (0, 999, 1001):
            WrongLength.sent = b"x" * length
            assert failure_of(mount.path / "file")[0] == errno.EBADMSG


def test_a_damaged_body_is_never_served(tmp_path: Path, moto: Server) -> None:
    """A failed download is never a short file."""

    class Damaged(Liar):
        body = noise(200 * KIB)
        checksum = b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        sent = body[:-1] + bytes([body[-1] ^ 1])

    options = ("--cache-dir", str(tmp_path / "cache"), "--request-timeout", "2s")
    with (
        serving(Damaged) as url,
        mounted(
            *("whatever", tmp_path / "view", "--endpoint-url", url, *options),
            env=moto.environment,
            expects=["EBADMSG"],
        ) as mount,
    ):
        assert failure_of(mount.path / "file")[0] == errno.EBADMSG
        Damaged.sent = None
        assert (mount.path / "file").read_bytes() == Damaged.body


def test_a_body_that_was_damaged_once_is_fetched_again(tmp_path: Path, moto: Server) -> None:
    """What can pass is tried again, with growing pauses."""

    class DamagedOnce(Liar):
        checksum = b64encode(zlib.crc32(Liar.body).to_bytes(4, "big")).decode()
        sent = b"y" * 1000

        def do_GET(self) -> None:
            super().do_GET()
            if "list-type=" not in self.path:
                type(self).sent = None

    options = ("--cache-dir", str(tmp_path / "cache"), "--request-timeout", "2s")
    with (
        serving(DamagedOnce) as url,
        mounted(
            *("whatever", tmp_path / "view", "--endpoint-url", url, *options), env=moto.environment
        ) as mount,
    ):
        assert (mount.path / "file").read_bytes() == Liar.body


# Credentials


def test_renewed_credentials_are_picked_up(tmp_path: Path) -> None:
    """Renewed credentials are picked up while mounted."""

    class Strict(Liar):
        accepted = "AKIDOLD"

    credentials = tmp_path / "credentials"

    def write(access_key: str) -> None:
        text = (
            f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {SECRET_KEY}\n"
        )
        credentials.write_text(text + "aws_session_token = token\n")

    write("AKIDOLD")
    environment = {
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
    }
    options = ("--cache-dir", str(tmp_path / "cache"), "--metadata-ttl", "0s")
    with (
        serving(Strict) as url,
        mounted(
            *("whatever", tmp_path / "view", "--endpoint-url", url, *options), env=environment
        ) as mount,
    ):
        assert (mount.path / "file").stat().st_size == 1000
        Strict.accepted = "AKIDNEW"
        write("AKIDNEW")
        assert (mount.path / "file").read_bytes() == Strict.body


# Where errors are seen


def test_status_names_the_request(site: Site) -> None:
    """Each kind of error has its own errno (the table is in [errors.md](errors.md))."""
    key, path = site.put(b"out of reach")
    site.proxy.fault(f"GET .*{key}", None, status=403)
    failure_of(path)
    answer = report(site.mount)
    assert answer["requests"]["failed"] >= 1
    newest = answer["errors"][-1]
    assert newest["key"] == key
    assert newest["request_id"] in {"FAULT0001", "FAULT0002"}
    assert "403 AccessDenied" in newest["message"]
    (line,) = [line for line in site.mount.log.splitlines() if f"open of '{key}'" in line]
    assert "WARNING" in line
    assert "(EACCES)" in line
    assert "s3:GetObject" in line
