"""What fits, what is here, and what is still right: questions asked before anything is fetched."""

import math
import os
import time

import pytest

from s3mount.cache.cache import ByteRange, Limits, cost_on_disk
from s3mount.cache.demand import GRAIN_NS, Demand
from s3mount.cache.layout import Layout
from s3mount.cache.trailer import CELL
from tests.unit.cache.builders import body_of, disk_bytes, fill, make_oid, now, put

MIB = 1 << 20
SIZE = 5 * CELL + 777


@pytest.mark.parametrize("size", [0, 1, 4000, 4096, 100_000, MIB, MIB + 5])
@pytest.mark.parametrize("part", [0, CELL, 10 * CELL])
def test_the_cost_is_known_before_an_object_is_fetched(cache, root, size, part):
    oid = make_oid("a/key/of/some/length", size)
    held = cache.open_object(oid)
    for start in range(0, size, part or size or 1):
        fill(held, start, min(size, start + (part or size)))
    held.close()
    extents = -(-size // (part or size)) if size else 0
    expected = cost_on_disk(size, part)
    directory = 4096 if extents > 1 else 0  # which is not seen in disk_bytes
    assert 0 <= expected - directory - disk_bytes(root) <= 4096 * extents


def test_room_is_what_is_left_when_all_goes_that_may(make_cache):
    cache = make_cache(Limits(10 * MIB, 0, MIB))
    whole = cache.room()
    assert 8 * MIB < whole < 10 * MIB
    put(cache, make_oid("a", MIB))
    put(cache, make_oid("b", MIB))
    cache.maintain(now())
    assert cache.room() == whole
    cache.pin("keep", [make_oid("a", MIB)])
    assert cache.room() == whole - cost_on_disk(MIB)


def test_room_believes_the_pins_while_the_index_is_new(make_cache, root):
    limits = Limits(10 * MIB, 0, MIB)
    first = make_cache(limits)
    put(first, make_oid("a", MIB))
    first.pin("keep", [make_oid("a", MIB)])
    first.maintain(now())
    room = first.room()
    first.close()
    for path in (root / "v2").glob("index.*"):
        path.unlink()
    assert make_cache(limits).room() == room


def test_a_selection_that_fits_is_kept_whole(make_cache):
    cache = make_cache(Limits(4 * MIB, 0, MIB))
    for number in range(30):
        put(cache, make_oid(f"old{number}", 100_000))
        cache.maintain(now() - 1000 + number)
    room = cache.room()
    oids = [make_oid(f"new{number}", 100_000) for number in range(room // cost_on_disk(100_000))]
    for oid in oids:
        put(cache, oid)
        cache.maintain(now())
    assert len(oids) > 25
    assert all(map(cache.is_whole, oids))


def test_room_is_never_negative(make_cache):
    assert make_cache(Limits(MIB, 1 << 60, MIB)).room() == 0


def test_whole_is_what_has_every_byte(cache):
    small, large, empty = make_oid("s", 5000), make_oid("l", SIZE), make_oid("e", 0)
    assert not cache.is_whole(small)
    assert cache.is_whole(empty)
    put(cache, small)
    assert cache.is_whole(small)
    assert not cache.is_whole(small._replace(etag="other"))
    held = cache.open_object(large)
    fill(held, 0, 2 * CELL)
    assert not cache.is_whole(large)
    fill(held, CELL, SIZE)
    assert cache.is_whole(large)
    held.close()


def test_a_file_of_another_length_is_not_whole(cache, root):
    put(cache, make_oid("s", 5000))
    held = cache.open_object(make_oid("l", SIZE))
    fill(held, 0, CELL)
    fill(held, CELL, SIZE)
    held.close()
    for path in (path for path in (root / "v2/objects").rglob("*") if path.is_file()):
        os.truncate(path, path.stat().st_size - 1)
    assert not cache.is_whole(make_oid("s", 5000))
    assert not cache.is_whole(make_oid("l", SIZE))


def test_asking_is_a_use_and_is_cheap(cache):
    oid = make_oid("s", 5000)
    put(cache, oid)
    cache.maintain(1000.0)
    asked = 2000
    best = math.inf
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(asked):
            cache.is_whole(oid)
        best = min(best, (time.perf_counter() - started) / asked)
    assert best < 100e-6  # measured: 10; a busy machine is slower
    cache.maintain(2000.0)
    (row,) = cache._index.oldest(1)
    assert row.used_at == pytest.approx(2000.0, abs=1e-3)


def flip(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def test_a_check_finds_damage_in_what_was_proved_before(cache, root):
    oid = make_oid(size=SIZE)
    held = cache.open_object(oid)
    fill(held, 0, 2 * CELL)
    fill(held, 2 * CELL, SIZE)
    assert held.read(0, SIZE) is not None
    assert held.check() == 0
    (path,) = (root / "v2/objects").rglob("0-20000")
    flip(path.with_name("data"), CELL + 5)
    assert held.check() == 2 * CELL
    assert not path.exists()
    assert held.missing(0, SIZE) == [ByteRange(0, 2 * CELL)]
    fill(held, 0, 2 * CELL)
    assert held.check() == 0
    assert bytes(held.read(0, SIZE)) == body_of(oid)
    held.close()


@pytest.mark.parametrize("damage", [lambda p: flip(p, 3), lambda p: os.truncate(p, 9), os.unlink])
def test_a_check_of_a_whole_file(make_cache, root, damage):
    oid = make_oid(size=SIZE)
    first = make_cache()
    put(first, oid)
    first.close()
    (path,) = (path for path in (root / "v2/objects").glob("*/*") if path.is_file())
    held = make_cache().open_object(oid)
    damage(path)
    assert held.check() == (0 if damage is os.unlink else SIZE)  # an open file outlives its name
    held.close()


def test_demand_is_heard_by_others(make_cache, root):
    one, other = make_cache(), make_cache()
    assert other.demand.seconds_since() == math.inf
    assert not other.demand.is_recent()
    one.demand.note()
    assert 0 <= other.demand.seconds_since() < 5
    assert (root / "v2/demand").stat().st_mode & 0o077 == 0


def clock_at(monkeypatch, ns):
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: ns)


def test_demand_is_written_now_and_then_and_grows_old(cache, monkeypatch):
    demand = cache.demand
    clock_at(monkeypatch, 10**12)
    demand.note()
    clock_at(monkeypatch, 10**12 + GRAIN_NS - 1)
    demand.note()
    assert demand.seconds_since() == (GRAIN_NS - 1) / 1e9
    clock_at(monkeypatch, 10**12 + GRAIN_NS)
    demand.note()
    assert demand.seconds_since() == 0
    clock_at(monkeypatch, 10**12 + GRAIN_NS + 10**9)
    assert demand.seconds_since() == 1.0
    assert not demand.is_recent()
    clock_at(monkeypatch, 10**9)  # the machine was started again
    assert demand.seconds_since() == math.inf


def test_demand_without_room_for_its_file_is_heard_by_nobody_else(root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    layout = Layout(root)
    layout.prepare()
    monkeypatch.setattr(os, "posix_fallocate", full)
    one, other = Demand(layout), Demand(layout)
    one.note()
    assert one.is_recent()
    assert not other.is_recent()
