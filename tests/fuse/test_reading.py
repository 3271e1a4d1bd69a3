"""docs/semantics.md, "Reading": one version for each open file, and what a read costs on the wire."""

import errno
import itertools
import mmap
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.buckets import Bucket, s3_client
from tests.support.mounts import Mount, mounted
from tests.support.proxy import ProxyServer
from tests.support.servers import Server
from tests.support.wire import Request

pytestmark = pytest.mark.fuse

KIB = 1024
MIB = 1024 * 1024
PAGE = 4096


@dataclass(slots=True)
class Site:
    """A mount that believes its listings for an hour, the bucket behind it, and the wire between them."""

    bucket: Bucket
    proxy: ProxyServer
    mount: Mount
    command: Callable[..., object]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def put(self, body: bytes, **options: object) -> tuple[str, Path]:
        """A new object in a directory of its own: its key and its path."""
        key = f"case-{next(self.numbers)}/file"
        self.bucket.put(key, body, **options)
        return key, self.mount.path / key

    def ranges(self, key: str) -> list[tuple[int, int]]:
        """The bytes that GETs asked for since the last reset, half-open; an object as a whole is (0, -1)."""
        return [span_of(request) for request in self.gets(key)]

    def gets(self, key: str) -> list[Request]:
        """The GETs of one object since the last reset."""
        return [request for request in self.proxy.requests if request.path.endswith("/" + key)]


def span_of(request: Request) -> tuple[int, int]:
    first, _, last = request.range.removeprefix("bytes=").partition("-")
    return (int(first), int(last) + 1) if last else (0, -1)


@pytest.fixture(scope="module")
def site(moto: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("reading")
    with ExitStack() as stack:
        client = stack.enter_context(closing(s3_client(moto)))
        client.create_bucket(Bucket="reading")
        bucket = Bucket("reading", moto.url, client, moto.environment)
        proxy = stack.enter_context(ProxyServer(moto.url))
        numbers = itertools.count(1)

        @contextmanager
        def command(*options: str, expects: Sequence[str] = ()) -> Iterator[Mount]:
            number = next(numbers)
            fixed = ("--endpoint-url", proxy.url, "--cache-dir", str(folder / "cache"))
            fixed += ("--metadata-ttl", "1h", "--negative-ttl", "0s")
            mountpoint = folder / f"mount-{number}"
            with mounted(
                "reading", mountpoint, *fixed, *options, env=moto.environment, expects=expects
            ) as mount:
                yield mount

        mount = stack.enter_context(command(expects=["ESTALE", "ENODATA"]))
        yield Site(bucket, proxy, mount, command)


@pytest.fixture(autouse=True)
def _from_zero(site: Site) -> Iterator[None]:
    site.proxy.reset()
    yield
    site.proxy.heal()


@contextmanager
def opened(path: Path, flags: int = 0) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def direct(descriptor: int, offset: int, size: int) -> bytes:
    """Read past the kernel's pages, of a file opened with O_DIRECT."""
    with mmap.mmap(-1, size) as aligned:
        count = os.preadv(descriptor, [aligned], offset)
        return aligned[:count]


def await_true(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


# One version


def test_an_open_small_file_is_the_version_that_was_opened(site: Site) -> None:
    """An open file is one version: every byte read through it comes from the version that was there when it was
    opened."""
    old = noise(300 * KIB, 1)
    key, path = site.put(old)
    with opened(path) as descriptor:
        assert await_true(lambda: os.getxattr(path, "user.s3mount.cached") == b"%d" % len(old))
        site.bucket.put(key, noise(100 * KIB, 2))
        assert os.pread(descriptor, 1 * MIB, 0) == old
        assert os.fstat(descriptor).st_size == len(old)
    assert len(site.gets(key)) == 1


def test_an_open_large_file_is_never_a_mix(site: Site) -> None:
    """An open file is one version: every byte read through it comes from the version that was there when it was
    opened."""
    old, new = b"1" * (4 * MIB), b"2" * (4 * MIB)
    key, path = site.put(old)
    seen, errors = set(), []
    offsets = random.Random(3).sample(range(0, 4 * MIB, 64 * KIB), 64)
    with opened(path, os.O_DIRECT) as descriptor:
        for number, offset in enumerate(offsets):
            if number == 12:
                site.bucket.put(key, new)
            try:
                seen |= set(direct(descriptor, offset, 64 * KIB))
            except OSError as error:
                errors.append(error.errno)
    assert seen == {ord("1")}
    assert len(errors) > 30
    assert set(errors) == {errno.ESTALE}
    assert path.read_bytes() == new


def test_a_change_leaves_what_is_cached_and_fails_the_rest(site: Site) -> None:
    """When the object changes under an open file, what is cached stays readable and the rest fails with ESTALE."""
    old = noise(6 * MIB, 1)
    key, path = site.put(old)
    with opened(path, os.O_DIRECT) as descriptor:
        assert direct(descriptor, 0, 64 * KIB) == old[: 64 * KIB]
        site.bucket.put(key, noise(6 * MIB, 2))
        with pytest.raises(OSError, match="Stale") as caught:
            direct(descriptor, 5 * MIB, 64 * KIB)
        assert caught.value.errno == errno.ESTALE
        assert direct(descriptor, 0, 64 * KIB) == old[: 64 * KIB]


def test_a_deleted_object_leaves_what_is_cached_and_fails_the_rest(site: Site) -> None:
    """When the object changes under an open file, what is cached stays readable and the rest fails with ESTALE."""
    old = noise(6 * MIB)
    key, path = site.put(old)
    with opened(path, os.O_DIRECT) as descriptor:
        assert direct(descriptor, 0, 64 * KIB) == old[: 64 * KIB]
        site.bucket.delete(key)
        with pytest.raises(OSError, match="Stale"):
            direct(descriptor, 5 * MIB, 64 * KIB)
        assert direct(descriptor, 0, 64 * KIB) == old[: 64 * KIB]
    with pytest.raises(FileNotFoundError):
        path.read_bytes()


def test_a_change_that_a_read_notices_shows_at_the_next_open(site: Site) -> None:
    """When a change is noticed, the next open has the new version at once, whatever the TTL."""
    key, path = site.put(noise(6 * MIB, 1))
    new = noise(3 * MIB, 2)
    with opened(path) as descriptor:
        site.bucket.put(key, new)
        with pytest.raises(OSError, match="Stale"):
            os.pread(descriptor, PAGE, 5 * MIB)
        with opened(path) as another:
            assert os.fstat(another).st_size == len(new)
            assert os.pread(another, PAGE, 2 * MIB) == new[2 * MIB :][:PAGE]
        assert os.fstat(descriptor).st_size == 6 * MIB
    assert path.stat().st_size == len(new)


def test_a_change_that_an_open_notices_is_not_even_an_error(site: Site) -> None:
    """When a change is noticed, the next open has the new version at once, whatever the TTL."""
    key, path = site.put(b"old")
    assert path.stat().st_size == 3
    site.bucket.put(key, b"much newer")
    assert path.stat().st_size == 3  # the listing is believed for an hour
    assert path.read_bytes() == b"much newer"
    assert path.stat().st_size == 10


def test_a_change_is_no_error_for_those_who_open_together(site: Site) -> None:
    """When a change is noticed, the next open has the new version at once, whatever the TTL."""
    key, path = site.put(b"old")
    assert path.stat().st_size == 3
    site.bucket.put(key, b"much newer")
    site.proxy.fault(f"GET .*{key}", 1, delay=0.3)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: path.read_bytes(), range(4))) == {b"much newer"}


def test_an_object_deleted_since_it_was_listed_is_not_there(site: Site) -> None:
    """When a change is noticed, the next open has the new version at once, whatever the TTL."""
    key, path = site.put(b"old")
    assert path.exists()
    site.bucket.delete(key)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            path.read_bytes()


# What a read costs


@pytest.mark.parametrize("size", [1, 1000, 1 * MIB])
def test_a_small_object_is_one_get(site: Site, size: int) -> None:
    """An object of up to 1 MiB is fetched with one GET."""
    body = noise(size)
    key, path = site.put(body)
    assert path.read_bytes() == body
    assert site.ranges(key) == [(0, -1)]
    assert site.proxy.counts["bytes_down"] < size + 8 * KIB


def test_an_empty_object_costs_no_get(site: Site) -> None:
    """An object of up to 1 MiB is fetched with one GET."""
    key, path = site.put(b"")
    assert path.read_bytes() == b""
    assert site.gets(key) == []


def test_the_first_byte_of_a_large_object_is_one_short_get(site: Site) -> None:
    """The first byte of a large object costs one GET of at most 512 KiB."""
    key, path = site.put(noise(9 * MIB))
    with opened(path) as descriptor:
        os.pread(descriptor, 1, 0)
        time.sleep(0.1)
        ((start, stop),) = site.ranges(key)
    assert start == 0
    assert stop <= 512 * KIB


def test_a_sequential_read_fetches_each_byte_once_in_many_ranges(site: Site) -> None:
    """A sequential reader is read ahead for, in many parallel ranges, at most `--read-ahead` bytes."""
    body = noise(24 * MIB)
    key, path = site.put(body)
    assert path.read_bytes() == body
    spans = sorted(site.ranges(key))
    assert spans[0][0] == 0
    assert spans[-1][1] == len(body)
    assert all(left[1] == right[0] for left, right in itertools.pairwise(spans))
    assert len(spans) >= 8


def test_ranges_ahead_are_asked_for_while_the_reader_waits(site: Site) -> None:
    """A sequential reader is read ahead for, in many parallel ranges, at most `--read-ahead` bytes."""
    key, path = site.put(noise(24 * MIB))
    site.proxy.fault(
        lambda request: request.path.endswith(key) and span_of(request)[0] >= 4 * MIB, delay=1.5
    )
    reader = threading.Thread(target=path.read_bytes)
    reader.start()
    try:
        held = 4 * MIB
        assert await_true(lambda: len([s for s in site.ranges(key) if s[0] > held]) >= 4, 1.2)
        assert reader.is_alive()
    finally:
        reader.join()


def test_the_reader_is_not_run_away_from(site: Site) -> None:
    """A sequential reader is read ahead for, in many parallel ranges, at most `--read-ahead` bytes."""
    body = noise(32 * MIB)
    key, _ = site.put(body)
    with site.command("--read-ahead", "4MiB") as mount, opened(mount.path / key) as descriptor:
        for offset in range(0, 12 * MIB, MIB):
            assert os.pread(descriptor, MIB, offset) == body[offset : offset + MIB]
        time.sleep(0.2)
        farthest = max(stop for _, stop in site.ranges(key))
    kernel = 2 * MIB  # reads ahead by itself, for the same reader
    assert 12 * MIB < farthest <= 12 * MIB + kernel + 4 * MIB


def test_reading_ahead_can_be_turned_off(site: Site) -> None:
    """A sequential reader is read ahead for, in many parallel ranges, at most `--read-ahead` bytes."""
    key, _ = site.put(noise(8 * MIB))
    with site.command("--read-ahead", "0") as mount:
        with opened(mount.path / key, os.O_DIRECT) as descriptor:
            for offset in range(0, 3 * MIB, 256 * KIB):
                direct(descriptor, offset, 256 * KIB)
        assert max(stop for _, stop in site.ranges(key)) == 3 * MIB


def test_random_reads_fetch_their_pages_only(site: Site) -> None:
    """A random reader gets what it asks for and nothing around it."""
    body = noise(24 * MIB)
    key, path = site.put(body)
    pages = random.Random(7).sample(range(1 * MIB // PAGE, 24 * MIB // PAGE, 3), 60)
    with opened(path) as descriptor:
        for page in pages:
            assert os.pread(descriptor, PAGE, page * PAGE) == body[page * PAGE :][:PAGE]
    _, *spans = site.ranges(key)
    assert sorted(spans) == sorted((page * PAGE, (page + 1) * PAGE) for page in pages)


def test_the_tail_of_a_large_object_costs_what_it_weighs(site: Site) -> None:
    """A random reader gets what it asks for and nothing around it."""
    key, path = site.put(noise(24 * MIB))
    with opened(path) as descriptor:
        assert len(os.pread(descriptor, 64 * KIB, 24 * MIB - 22)) == 22
    assert len(site.gets(key)) == 2
    assert site.proxy.counts["bytes_down"] < 512 * KIB + 64 * KIB + 16 * KIB


def test_threads_that_read_the_same_share_each_request(site: Site) -> None:
    """Readers of the same bytes share one request."""
    body = noise(8 * MIB)
    key, path = site.put(body)

    def read_all(_: int) -> bool:
        with opened(path, os.O_DIRECT) as descriptor:
            pieces = [direct(descriptor, offset, MIB) for offset in range(0, len(body), MIB)]
        return b"".join(pieces) == body

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read_all, range(8)))
    spans = sorted(site.ranges(key))
    assert spans[-1][1] == len(body)
    assert all(left[1] == right[0] for left, right in itertools.pairwise(spans))


def test_threads_that_open_the_same_small_file_share_its_get(site: Site) -> None:
    """Readers of the same bytes share one request."""
    body = noise(700 * KIB)
    key, path = site.put(body)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: path.read_bytes(), range(16))) == {body}
    assert site.ranges(key) == [(0, -1)]


def test_within_the_ttl_cached_bytes_are_free(site: Site) -> None:
    """Bytes that are cached and a listing that is fresh cost no request at all."""
    body = noise(5 * MIB)
    _, path = site.put(body)
    path.read_bytes()
    site.proxy.reset()
    with opened(path, os.O_DIRECT) as descriptor:
        pieces = [direct(descriptor, offset, MIB) for offset in range(0, len(body), MIB)]
    assert b"".join(pieces) == body
    assert path.stat().st_size == len(body)
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    assert site.proxy.total == 0


# Archived objects


def test_an_archived_object_shows_and_refuses_at_once(site: Site) -> None:
    """An archived object is visible; opening it fails at once with ENODATA."""
    key, path = site.put(b"frozen", StorageClass="GLACIER")
    assert path.stat().st_size == 6
    assert os.getxattr(path, "user.s3.storage-class") == b"GLACIER"
    site.proxy.reset()
    began = time.monotonic()
    with pytest.raises(OSError, match="No data available") as caught:
        path.read_bytes()
    assert caught.value.errno == errno.ENODATA
    assert time.monotonic() - began < 0.5
    assert site.proxy.total == 1
    (line,) = [line for line in site.mount.log.splitlines() if f"open of '{key}'" in line]
    assert "InvalidObjectState" in line
    assert "restore the object first" in line


def test_a_restored_object_reads(site: Site) -> None:
    """A restored one reads."""
    key, path = site.put(b"thawed", StorageClass="GLACIER")
    with pytest.raises(OSError, match="No data available"):
        path.read_bytes()
    site.bucket.client.restore_object(Bucket=site.bucket.name, Key=key, RestoreRequest={"Days": 1})
    assert path.read_bytes() == b"thawed"
