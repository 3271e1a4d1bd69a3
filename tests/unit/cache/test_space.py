"""Limits hold, leases protect, and a full disk never costs a reader its bytes."""

import os
import subprocess
import time

import pytest

from s3mount.cache import admin, place
from s3mount.cache import cache as cache_module
from s3mount.cache.cache import ByteRange, Limits
from s3mount.cache.trailer import CELL
from s3mount.errors import CacheError
from s3mount.store.interface import Head
from tests.unit.cache.builders import ROOMY, body_of, disk_bytes, fill, make_oid, now, put

MIB = 1 << 20


def test_limit_is_never_exceeded(make_cache, root):
    limits = Limits(2 * MIB, 0, MIB)
    cache = make_cache(limits)
    most = 0
    for number in range(150):
        size = (number * 7919) % 90_000 + 1
        put(cache, make_oid(f"k{number}", size))
        most = max(most, disk_bytes(root))
        if number % 5 == 0:
            cache.maintain(now() + number)
    assert MIB < most <= limits.max_bytes + 64 * 1024  # and a few directories of shards
    assert cache.usage().used + cache.usage().reserved <= limits.max_bytes
    recent = cache.open_object(make_oid("k149", (149 * 7919) % 90_000 + 1))
    assert recent.cached_bytes()
    recent.close()
    old = cache.open_object(make_oid("k1", 7920))
    assert old.read(0, 10) is None
    old.close()


def test_what_is_counted_at_once_is_evicted_in_the_order_of_its_use(make_cache, root):
    cache = make_cache(Limits(4 * MIB, 0, MIB))
    oids = [make_oid(f"k{number}", 100_000) for number in range(12)]
    for oid in oids:
        put(cache, oid)
    again = cache.open_object(oids[0])
    assert again.read(0, 10) is not None
    again.close()
    cache.maintain(now())  # all of them in one batch
    admin.prune(root, to_bytes=1_000_000)
    kept = [cache.is_whole(oid) for oid in oids]
    assert kept[0]
    assert kept[1:] == sorted(kept[1:])
    assert 1 < sum(kept) < 12


def test_full_cache_streams_through_memory(make_cache):
    cache = make_cache(Limits(MIB, 0, 64 * MIB))
    oid = make_oid(size=3 * MIB)
    held = cache.open_object(oid)
    fill(held, 0, oid.size)
    assert held.cached_bytes() == 0
    assert bytes(held.read(0, oid.size)) == body_of(oid)
    assert held.missing(0, oid.size) == []
    assert cache.usage().memory == oid.size
    held.close()
    assert cache.usage().memory == 0


def test_everything_leased_then_streams(make_cache):
    cache = make_cache(Limits(MIB, 0, 64 * MIB))
    held = []
    for number in range(30):
        held.append(cache.open_object(make_oid(f"k{number}", 100_000)))
        fill(held[-1], 0, 100_000)
        cache.maintain(now())
    assert 0 < sum(one.cached_bytes() > 0 for one in held) < 30
    for one in held:
        assert bytes(one.read(0, 100_000)) == body_of(one.oid)
        one.close()


def test_memory_drops_the_oldest_and_never_what_is_awaited(make_cache):
    cache = make_cache(Limits(0, 0, 250_000))
    held = cache.open_object(make_oid(size=MIB))
    told = []
    arriving = held.begin_fill(0, 100_000)
    held.when_ready(0, 100_000, told.append)
    arriving.write(body_of(held.oid)[:100_000])
    arriving.finish()
    for start in range(100_000, 600_000, 100_000):
        fill(held, start, start + 100_000)
    assert told == [None]
    assert held.missing(0, 600_000) == [ByteRange(100_000, 500_000)]
    assert bytes(held.read(0, 100_000)) == body_of(held.oid)[:100_000]
    fill(held, 700_000, 800_000)
    assert held.missing(0, 100_000) == [ByteRange(0, 100_000)]
    assert cache.usage().memory <= 250_000 + 100_000
    held.close()


def test_leased_objects_survive_eviction_pressure(make_cache):
    cache = make_cache(Limits(MIB, 0, MIB))
    precious = cache.open_object(make_oid("precious", 50_000))
    fill(precious, 0, 50_000)
    large = cache.open_object(make_oid("large", 10 * CELL))
    fill(large, CELL, 2 * CELL)
    for number in range(80):
        put(cache, make_oid(f"k{number}", 50_000))
        cache.maintain(now() + number)
    assert precious.cached_bytes() == 50_000
    precious.close()
    large.close()
    again = make_cache(Limits(MIB, 0, MIB)).open_object(make_oid("precious", 50_000))
    assert bytes(again.read(0, 50_000)) == body_of(again.oid)
    again.close()


def test_large_objects_lose_their_end_first(make_cache, monkeypatch):
    monkeypatch.setattr("s3mount.cache.evict.PIECEWISE", 200_000)
    cache = make_cache(Limits(MIB, 0, MIB))
    oid = make_oid(size=MIB)
    held = cache.open_object(oid)
    for start in range(0, 800_000, 100_000):
        fill(held, start, start + 100_000)
    held.close()
    cache.maintain(now())
    for number in range(3):
        put(cache, make_oid(f"k{number}", 100_000))
        cache.maintain(now() + number)
    held = cache.open_object(oid)
    (gap,) = held.missing(0, 800_000)
    assert gap.stop == 800_000
    assert 100_000 <= gap.start < 800_000
    held.close()


@pytest.mark.parametrize("code", [28, 122, 5])
def test_disk_that_refuses_in_the_middle(cache, monkeypatch, code, root):
    held = cache.open_object(make_oid(size=2 * MIB))
    body = body_of(held.oid)
    write, calls = os.pwritev, []

    def refuse(*args):
        calls.append(args)
        if len(calls) > 2:
            raise OSError(code, os.strerror(code))
        return write(*args)

    monkeypatch.setattr(os, "pwritev", refuse)
    arriving = held.begin_fill(0, 2 * MIB)
    for at in range(0, 2 * MIB, 100_000):
        arriving.write(body[at : at + 100_000])
        assert bytes(held.read(0, min(2 * MIB, at + 100_000))) == body[: at + 100_000]
    arriving.finish()
    assert bytes(held.read(0, 2 * MIB)) == body
    assert held.cached_bytes() == 0
    held.close()
    assert os.listdir(root / "v2/tmp") == []


@pytest.fixture
def tiny_disk(tmp_path):
    where = tmp_path / "tiny"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(where)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_real_full_disk(make_cache, tiny_disk):
    cache = make_cache(Limits(1 << 30, 0, 64 * MIB), root=tiny_disk / "cache")
    cache._shared.space.pressure = lambda totals: cache_module.Space.pressure(
        cache._shared.space, totals
    )._replace(free=1 << 30)
    held = [cache.open_object(make_oid(f"k{number}", 300_000)) for number in range(40)]
    for one in held:
        fill(one, 0, 300_000)
        cache.maintain(now())
    assert 0 < sum(one.cached_bytes() > 0 for one in held) < 40
    for one in held:
        assert bytes(one.read(0, 300_000)) == body_of(one.oid)
        one.close()


def test_free_space_floor_is_kept(make_cache, tiny_disk):
    cache = make_cache(Limits(1 << 30, 4 * MIB, 64 * MIB), root=tiny_disk / "cache")
    for number in range(150):
        put(cache, make_oid(f"k{number}", 50_000))
        cache.maintain(now() + number)
        free = os.statvfs(tiny_disk).f_bavail * os.statvfs(tiny_disk).f_frsize
        assert free >= 3 * MIB  # the index itself is not reserved
    assert 20 < cache.usage().objects < 80


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_directory_that_others_can_write_is_refused(make_cache, root, mode):
    root.mkdir()
    root.chmod(mode)
    with pytest.raises(CacheError) as refusal:
        make_cache()
    assert "chmod 700" in refusal.value.hint


def test_inner_directories_open_to_others_are_refused(make_cache, root):
    make_cache().close()
    (root / "v2/objects").chmod(0o755)
    with pytest.raises(CacheError):
        make_cache()


def test_directory_of_somebody_else_is_refused(make_cache, root):
    root.mkdir()
    os.chown(root, 12345, -1)
    with pytest.raises(CacheError, match="12345"):
        make_cache()


def test_file_and_link_in_the_place_of_a_directory_are_refused(make_cache, root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError):
        make_cache(root=tmp_path / "file")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    root.mkdir(mode=0o700)
    (root / "v1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheError):
        make_cache()


def test_opening_a_large_cache_looks_at_none_of_it(make_cache, root, monkeypatch):
    make_cache().close()
    for shard in ("00", "7f", "ff"):
        (root / "v2/objects" / shard).mkdir()
        for number in range(100):  # the ways to look at more are forbidden
            os.mknod(root / "v2/objects" / shard / f"{shard}{number:038x}", 0o600)

    def forbidden(*_):
        raise AssertionError("opening must not read directories")

    for name in ("scandir", "listdir", "walk"):
        monkeypatch.setattr(os, name, forbidden)
    cache = make_cache()
    started = time.perf_counter()
    held = cache.open_object(make_oid())
    held.close()
    assert time.perf_counter() - started < 0.1
    monkeypatch.undo()


@pytest.mark.parametrize("wreck", [b"not a database at all" * 100, b"", None])
def test_lost_index_is_rebuilt(make_cache, root, wreck):
    first = make_cache()
    for number in range(20):
        put(first, make_oid(f"k{number}", 30_000))
    large = first.open_object(make_oid("large", 10 * CELL))
    fill(large, 0, CELL)
    fill(large, 5 * CELL, 6 * CELL)
    large.close()
    first.maintain(now())
    before = first.usage()
    first.close()
    for path in (root / "v2").glob("index.*"):
        path.unlink()
    if wreck is not None:
        (root / "v2/index.sqlite").write_bytes(wreck)
    second = make_cache()
    for later in (0, 31, 62):
        second.maintain(now() + later)
    assert (second.usage().objects, second.usage().used) == (before.objects, before.used)
    put(second, make_oid("new", 1000))
    held = second.open_object(make_oid("new", 1000))
    assert held.cached_bytes() == 1000
    held.close()


def test_index_that_breaks_while_open_is_rebuilt(make_cache, root):
    cache = make_cache()
    other = make_cache()
    put(cache, make_oid("one", 30_000))
    cache.maintain(now())
    other.maintain(now())
    for path in (root / "v2").glob("index.*"):
        path.unlink()
    for later in (0, 31, 62):
        cache.maintain(now() + later)
        other.maintain(now() + later)
    put(other, make_oid("two", 30_000))
    other.maintain(now() + 63)
    assert cache.usage().objects == 2


def test_full_budget_of_tries_ends(cache, monkeypatch):
    monkeypatch.setattr(place.Place, "_load", lambda self: False)
    held = cache.open_object(make_oid(size=2 * CELL))
    fill(held, 0, CELL)
    assert held.cached_bytes() == 0
    assert bytes(held.read(0, CELL)) == body_of(held.oid)[:CELL]
    held.close()


def test_head_of_a_fill_is_optional(cache):
    held = cache.open_object(make_oid(size=100))
    arriving = held.begin_fill(0, 100)
    arriving.head(Head("etag", 100))
    arriving.write(body_of(held.oid))
    arriving.finish()
    assert held.cached_bytes() == 100
    held.close()
    assert ROOMY.max_bytes > 100
