"""What is read is what was filled, from wherever it comes; damaged bytes are never served."""

import contextlib
import os
import random
import stat
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3mount.cache.cache import ByteRange
from s3mount.cache.trailer import CELL, isal_zlib
from s3mount.errors import BadBody, ServerFault
from s3mount.store.interface import Head
from tests.unit.cache.builders import body_of, fill, make_oid, put

SIZE = 5 * CELL + 777
BOUND = st.integers(0, SIZE)


@pytest.fixture
def tmp_path(tmp_path_factory):
    """On a disk: reads that may or may not wait for it are tested here."""
    return tmp_path_factory.mktemp("cache")


def files_of(root):
    return sorted(path for path in (root / "v2/objects").rglob("*") if path.is_file())


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_random_fills_read_back(cache, data):
    oid = make_oid(f"k{data.draw(st.integers(0, 1 << 40))}", SIZE)
    body = body_of(oid)
    held = cache.open_object(oid)
    for _ in range(data.draw(st.integers(1, 6))):
        start, stop = sorted((data.draw(BOUND), data.draw(BOUND)))
        if start < stop:
            fill(held, start, stop, chunk=data.draw(st.sampled_from([999, 16384, 400_000])))
        a, b = sorted((data.draw(BOUND), data.draw(BOUND)))
        found = held.read(a, b)
        gaps = held.missing(a, b)
        assert (found is None) == bool(gaps)
        assert found is None or bytes(found) == body[a:b]
        if data.draw(st.booleans()):
            held.close()
            held = cache.open_object(oid)
    missing = sum(gap.stop - gap.start for gap in held.missing(0, SIZE))
    assert held.cached_bytes() == SIZE - missing
    held.close()


def test_small_object_is_one_file_and_large_a_directory(cache, root):
    put(cache, make_oid("small", 4096))
    assert [path.parent.parent.name for path in files_of(root)] == ["objects"]
    held = cache.open_object(make_oid("large", SIZE))
    fill(held, 0, CELL)
    assert any(path.name == "0-10000" for path in files_of(root))
    held.close()


def test_everything_is_private(cache, root):
    put(cache, make_oid("small", 4096))
    cache.maintain(1e9)
    for path in root.rglob("*"):
        if path.name != "index.sqlite-shm":
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


@pytest.mark.parametrize("size", [1, 4096, 300_000, SIZE])
def test_cache_survives_remount(make_cache, size):
    first = make_cache()
    put(first, make_oid(size=size))
    first.close()
    held = make_cache().open_object(make_oid(size=size))
    assert bytes(held.read(0, size)) == body_of(held.oid)
    found = held.read_if_in_memory(0, size)
    assert found is None or bytes(found) == body_of(held.oid)
    held.close()


def test_other_etag_is_another_object(cache):
    put(cache, make_oid(etag="one", size=10))
    held = cache.open_object(make_oid(etag="two", size=10))
    assert held.read(0, 10) is None
    assert held.missing(2, 10) == [ByteRange(2, 10)]
    held.close()


def test_empty_object_and_empty_range(cache):
    held = cache.open_object(make_oid(size=0))
    assert held.read(0, 0) == b""
    fill(held, 0, 0)
    assert held.missing(0, 0) == []
    held.close()


def truncate(raw):
    return raw[: len(raw) // 2]


def zero_tail(raw):
    return raw[:-600] + bytes(600)


def zero_all(raw):
    return bytes(len(raw))


def flip(raw):
    return raw[:100] + bytes([raw[100] ^ 4]) + raw[101:]


def lose_footer(raw):
    return raw[:-28]


def grow(raw):
    return raw + b"x"


DAMAGE = [truncate, zero_tail, zero_all, flip, lose_footer, grow, lambda raw: b""]


def flip_in_part(raw):
    return raw[: CELL + 100] + bytes([raw[CELL + 100] ^ 4]) + raw[CELL + 101 :]


CASES = [
    *(((0, 2000), "", damage) for damage in DAMAGE),
    *(((0, SIZE), "", damage) for damage in DAMAGE),
    *(((CELL, 3 * CELL), "10000-30000", damage) for damage in DAMAGE),
    *(
        ((CELL, 3 * CELL), "data", damage)
        for damage in (truncate, zero_all, flip_in_part, lambda raw: b"")
    ),
]


@pytest.mark.parametrize(("span", "name", "damage"), CASES)
def test_damaged_extent_is_missing_and_is_filled_again(make_cache, root, span, name, damage):
    oid = make_oid(size=2000 if span[1] == 2000 else SIZE)
    first = make_cache()
    held = first.open_object(oid)
    fill(held, *span)
    held.close()
    first.close()
    (path,) = (path for path in files_of(root) if name in ("", path.name))
    path.write_bytes(damage(path.read_bytes()))
    second = make_cache()
    held = second.open_object(oid)
    assert held.read(*span) is None
    assert held.missing(*span) == [ByteRange(*span)]
    fill(held, *span)
    assert bytes(held.read(*span)) == body_of(oid)[slice(*span)]
    held.close()


def test_another_extents_file_is_not_believed(cache, root):
    put(cache, make_oid("a", 3000))
    put(cache, make_oid("b", 3000))
    one, other = files_of(root)
    one.write_bytes(other.read_bytes())
    for key in "ab":
        held = cache.open_object(make_oid(key, 3000))
        found = held.read(0, 3000)
        assert found is None or bytes(found) == body_of(held.oid)
        held.close()
    assert len(files_of(root)) == 1


def test_extent_that_vanishes_is_missing(cache, root):
    oid = make_oid(size=SIZE)
    put_in_parts = cache.open_object(oid)
    fill(put_in_parts, 0, CELL)
    fill(put_in_parts, CELL, 2 * CELL)
    put_in_parts.close()
    held = cache.open_object(oid)
    next(path for path in files_of(root) if path.name == "0-10000").unlink()
    assert held.read(0, 2 * CELL) is None
    assert held.missing(0, 2 * CELL) == [ByteRange(0, CELL)]
    held.close()


def test_trailer_that_was_replaced_is_not_believed(cache, root):
    held = cache.open_object(make_oid(size=SIZE))
    fill(held, 0, CELL)
    path = next(path for path in files_of(root) if path.name == "0-10000")
    (root / "other").write_bytes(path.read_bytes())
    (root / "other").rename(path)
    assert held.read(0, CELL) is None
    held.close()


def test_bytes_that_were_replaced_are_not_taken_for_the_proved_ones(cache, root):
    held = cache.open_object(make_oid(size=SIZE))
    fill(held, 0, CELL)
    assert held.read(0, CELL) is not None
    path = next(path for path in files_of(root) if path.name == "data")
    (root / "other").write_bytes(bytes(path.stat().st_size))
    (root / "other").rename(path)
    assert bytes(held.read(0, CELL)) == body_of(held.oid)[:CELL]  # the file that was opened
    held.close()
    again = cache.open_object(held.oid)
    assert again.read(0, CELL) is None
    again.close()


def test_disk_that_cannot_read_makes_a_range_missing(cache, monkeypatch):
    oid = make_oid(size=SIZE)
    put(cache, oid)
    held = cache.open_object(oid)

    def broken(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", broken)
        assert held.read(0, 100) is None
    assert held.missing(0, 100) == [ByteRange(0, 100)]
    held.close()


@pytest.mark.parametrize("size", [5000, SIZE])
def test_bytes_are_readable_while_they_arrive(cache, size):
    held = cache.open_object(make_oid(size=size))
    body = body_of(held.oid)
    arriving = held.begin_fill(0, size)
    arriving.head(Head("etag", size))
    assert held.missing(0, size) == []
    for at in range(0, size, 1000):
        arriving.write(body[at : at + 1000])
        there = min(size, at + 1000)
        low = max(0, at - 300_000)
        assert bytes(held.read(low, there)) == body[low:there]
        assert there == size or held.read(low, there + 1) is None
    arriving.finish()
    assert bytes(held.read(0, size)) == body
    held.close()


def test_waiters_are_told_when_their_range_is_there(cache):
    held = cache.open_object(make_oid(size=SIZE))
    body = body_of(held.oid)
    told = []
    first, second = held.begin_fill(0, 1000), held.begin_fill(1000, 2000)
    held.when_ready(500, 1500, lambda error: told.append(("both", error)))
    held.when_ready(0, 10, lambda error: told.append(("begin", error)))
    held.when_ready(0, 20, lambda error: told.append(("left", error))).cancel()
    held.when_ready(1500, 2500, lambda error: told.append(("gap", error)))
    assert told == [("gap", None)]
    first.write(body[:700])
    assert told[1:] == [("begin", None)]
    first.write(body[700:1000])
    second.write(body[1000:1400])
    assert len(told) == 2
    second.write(body[1400:1500])
    assert told[2:] == [("both", None)]
    held.when_ready(1400, 2000, lambda error: told.append(("late", error)))
    problem = ServerFault("no")
    second.fail(problem)
    assert told[3:] == [("late", problem)]
    assert held.missing(0, 2000) == [ByteRange(1000, 2000)]
    first.finish()
    held.when_ready(0, 1000, lambda error: told.append(("here", error)))
    assert told[4:] == [("here", None)]
    held.close()


@pytest.mark.parametrize("size", [5000, SIZE])
def test_wrong_checksum_commits_nothing(cache, root, size):
    held = cache.open_object(make_oid(size=size))
    told = []
    arriving = held.begin_fill(0, size)
    held.when_ready(0, size, told.append)
    arriving.head(Head("etag", size, crc32=1))
    arriving.write(body_of(held.oid))
    if size == 5000:
        assert held.read(0, 10) is None  # a small body is checked before anybody reads it
    arriving.finish()
    assert isinstance(told[0], BadBody) or size == SIZE
    assert held.missing(0, size) == [ByteRange(0, size)]
    assert files_of(root) == []
    assert os.listdir(root / "v2/tmp") == []
    fill(held, 0, size, crc32=isal_zlib.crc32(body_of(held.oid)))
    assert bytes(held.read(0, size)) == body_of(held.oid)
    held.close()


@pytest.mark.parametrize("length", [999, 1001])
def test_short_and_long_bodies_fail(cache, length):
    held = cache.open_object(make_oid(size=SIZE))
    told = []
    arriving = held.begin_fill(0, 1000)
    held.when_ready(0, 1000, told.append)
    arriving.write(bytes(length))
    arriving.finish()
    assert isinstance(told[0], BadBody)
    assert held.missing(0, 1000) == [ByteRange(0, 1000)]
    held.close()


def test_fill_goes_on_after_its_object_is_closed(cache):
    oid = make_oid(size=5000)
    held = cache.open_object(oid)
    arriving = held.begin_fill(0, 5000)
    held.close()
    arriving.write(body_of(oid))
    arriving.finish()
    held = cache.open_object(oid)
    assert bytes(held.read(0, 5000)) == body_of(oid)
    held.close()


def open_below(folder):
    links = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            links.append(os.readlink(f"/proc/self/fd/{name}"))
    return [link for link in links if link.startswith(str(folder))]


def test_open_objects_are_shared_and_leave_no_descriptor(cache, root):
    oid = make_oid(size=SIZE)
    one, other = cache.open_object(oid), cache.open_object(oid)
    assert one is other
    fill(one, 0, CELL)
    fill(one, CELL, SIZE)
    one.close()
    assert other.read(0, SIZE) is not None
    other.close()
    assert open_below(root / "v2/objects") == []
    assert cache.open_object(oid) is not other
    cache.open_object(oid).close()


def test_all_extents_are_read_through_one_file(cache, root):
    held = cache.open_object(make_oid(size=2000))
    for at in range(0, 2000, 20):
        fill(held, at, at + 20)
    for at in random.Random(1).sample(range(1980), 300):
        assert bytes(held.read(at, at + 20)) == body_of(held.oid)[at : at + 20]
    assert len(open_below(root / "v2/objects")) == 1 + 1  # and the directory
    held.close()


def test_threads_read_at_once(cache):
    held = cache.open_object(make_oid(size=SIZE))
    body = body_of(held.oid)
    for at in range(0, SIZE, 30_000):
        fill(held, at, min(SIZE, at + 30_000))
    wrong = []

    def read(seed):
        chance = random.Random(seed)
        for _ in range(300):
            at = chance.randrange(SIZE - 5000)
            if bytes(held.read(at, at + 5000) or b"") != body[at : at + 5000]:
                wrong.append(at)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    held.close()
