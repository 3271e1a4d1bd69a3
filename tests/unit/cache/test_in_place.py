"""Large objects lie in one file: who writes where, what is given back, and what nobody ever sees."""

import fcntl
import itertools
import os
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3mount.cache import admin, at_rest, data_file, reclaim
from s3mount.cache import fill as fill_module
from s3mount.cache.cache import ByteRange, Limits
from s3mount.cache.layout import parse_extent_name
from s3mount.cache.trailer import CELL
from s3mount.cache.verify import verify
from s3mount.errors import BadBody, CacheFull, ServerFault
from s3mount.store.interface import Head
from tests.unit.cache.builders import ROOMY, body_of, disk_bytes, fill, make_oid, now, put

SIZE = 5 * CELL + 777
LARGE = make_oid("large", SIZE)


def directory_of(root):
    (path,) = (path for path in (root / "v2/objects").glob("*/*") if path.is_dir())
    return path


def spans_in(directory):
    spans = filter(None, map(parse_extent_name, os.listdir(directory)))
    return sorted(spans)


def is_hole(path, start, stop):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.lseek(fd, start, os.SEEK_DATA) >= stop
    except OSError:
        return True
    finally:
        os.close(fd)


def begin(held, start, stop, told=None):
    arriving = held.begin_fill(start, stop, told)
    arriving.head(Head(held.oid.etag, held.oid.size))
    return arriving


def finish(arriving, oid):
    arriving.write(body_of(oid)[arriving.pos : arriving.stop])
    arriving.finish()


def test_bytes_lie_at_their_own_offsets_in_a_file_of_their_own_length(cache, root):
    held = cache.open_object(LARGE)
    fill(held, CELL, 3 * CELL)
    directory = directory_of(root)
    assert sorted(os.listdir(directory)) == ["10000-30000", "data"]
    raw = (directory / "data").read_bytes()
    assert len(raw) == SIZE
    assert raw[CELL : 3 * CELL] == body_of(LARGE)[CELL : 3 * CELL]
    assert (directory / "data").stat().st_blocks * 512 == 2 * CELL
    assert (directory / "10000-30000").stat().st_size < 400
    held.close()


@pytest.mark.parametrize("size", [0, 7, SIZE + 10_000])
def test_a_file_of_another_length_is_put_right(make_cache, root, size):
    first = make_cache()
    held = first.open_object(LARGE)
    fill(held, 0, CELL)
    held.close()
    os.truncate(directory_of(root) / "data", size)
    held = first.open_object(LARGE)
    assert (directory_of(root) / "data").stat().st_size == SIZE
    assert (held.read(0, CELL) is None) == (size < CELL)
    held.close()


def test_a_file_that_grows_under_us_is_put_right_before_more_is_written(cache, root):
    held = cache.open_object(LARGE)
    fill(held, 0, CELL)
    os.truncate(directory_of(root) / "data", SIZE + 1)
    fill(held, CELL, SIZE)
    assert (directory_of(root) / "data").stat().st_size == SIZE
    assert bytes(held.read(0, SIZE)) == body_of(LARGE)
    held.close()


@pytest.mark.parametrize("length", [3 * CELL - 1, 400_000])
def test_a_fill_that_fails_leaves_a_hole(cache, root, length):
    held = cache.open_object(LARGE)
    fill(held, 0, CELL)
    cache.maintain(now())
    before = disk_bytes(root)
    told = []
    arriving = begin(held, CELL, SIZE, told.append)
    arriving.write(body_of(LARGE)[CELL : CELL + 262_144])
    assert not is_hole(directory_of(root) / "data", CELL, SIZE)
    if length > SIZE:
        arriving.write(bytes(length))
    else:
        arriving.finish()
    assert isinstance(told[0], BadBody)
    assert is_hole(directory_of(root) / "data", CELL, SIZE)
    assert disk_bytes(root) == before
    assert held.missing(0, SIZE) == [ByteRange(CELL, SIZE)]
    cache.maintain(now())
    assert admin.info(root).used == before + 4096
    fill(held, CELL, SIZE)
    assert bytes(held.read(0, SIZE)) == body_of(LARGE)
    held.close()


def test_a_reader_of_a_fill_that_fails_meanwhile_gets_nothing(cache, monkeypatch):
    held = cache.open_object(LARGE)
    arriving = begin(held, CELL, SIZE)
    arriving.write(body_of(LARGE)[CELL : CELL + 262_144])
    read = fill_module.read_fully

    def late(*args):
        arriving.fail(ServerFault("no"))
        return read(*args)

    monkeypatch.setattr(fill_module, "read_fully", late)
    assert held.read(CELL, CELL + 100) is None
    held.close()


def test_a_reader_of_a_fill_whose_extent_is_discarded_meanwhile_gets_nothing(cache, monkeypatch):
    held = cache.open_object(LARGE)
    fill(held, 0, CELL)
    arriving = begin(held, CELL, SIZE)
    arriving.write(body_of(LARGE)[CELL : CELL + 262_144])
    read = fill_module.read_fully

    def late(*args):
        finish(arriving, LARGE)
        held.on_disk.discard(held._place.extents.at(CELL), fill_module.Damaged("elsewhere"))
        return read(*args)

    monkeypatch.setattr(fill_module, "read_fully", late)
    assert held.read(CELL, CELL + 100) is None
    held.close()


def test_a_reader_of_an_extent_that_is_discarded_meanwhile_gets_nothing(cache, monkeypatch):
    held = cache.open_object(LARGE)
    fill(held, 0, CELL)
    assert held.read(0, CELL) is not None
    (extent,) = held._place.extents
    read = os.preadv

    def late(*args):
        held.on_disk.discard(extent, fill_module.Damaged("elsewhere"))
        return read(*args)

    monkeypatch.setattr(os, "preadv", late)
    assert held.read(0, 100) is None
    held.close()


@pytest.fixture
def small_steps(monkeypatch):
    """A fill writes what it has, however little."""
    monkeypatch.setattr(fill_module, "GATHER", 1000)


def test_what_one_cache_writes_another_does_not(small_steps, make_cache, root):
    one, other = make_cache(), make_cache()
    mine, theirs = one.open_object(LARGE), other.open_object(LARGE)
    told = []
    first = begin(theirs, 0, 2 * CELL)
    first.write(body_of(LARGE)[: CELL + 5000])
    second = begin(mine, CELL, 3 * CELL, told.append)
    finish(second, LARGE)
    # What nobody else writes is there; the rest waits in memory, readable.
    assert spans_in(directory_of(root)) == [(2 * CELL, 3 * CELL)]
    assert bytes(mine.read(CELL, 3 * CELL)) == body_of(LARGE)[CELL : 3 * CELL]
    assert mine.missing(CELL, 3 * CELL) == []
    one.maintain(now())
    assert (told, one.usage().memory) == ([], 2 * CELL)
    twin = begin(mine, 0, CELL // 2)  # nobody wants to know of it
    finish(twin, LARGE)
    assert mine.missing(0, CELL // 2) == []
    finish(first, LARGE)
    one.maintain(now())
    assert (told, one.usage().memory) == ([None], CELL // 2)
    assert spans_in(directory_of(root)) == [(0, 2 * CELL), (2 * CELL, 3 * CELL)]
    assert bytes(mine.read(0, 3 * CELL)) == body_of(LARGE)[: 3 * CELL]
    mine.close()
    theirs.close()
    for each in (one, other):
        each.maintain(now())
    assert one.usage().used == disk_bytes(root) + 4096
    assert verify(root, repair=False).bad == []


def test_what_another_fails_to_write_is_written_by_who_waited(make_cache, root):
    one, other = make_cache(), make_cache()
    mine, theirs = one.open_object(LARGE), other.open_object(LARGE)
    told = []
    first = begin(theirs, 0, SIZE - 1)
    first.write(bytes(4 * CELL))  # nobody must ever see these
    second = begin(mine, CELL, 3 * CELL, told.append)
    finish(second, LARGE)
    assert told == []
    first.fail(ServerFault("gone"))
    one.maintain(now())
    assert told == [None]
    assert spans_in(directory_of(root)) == [(CELL, 3 * CELL)]
    assert is_hole(directory_of(root) / "data", 0, CELL)
    assert bytes(theirs.read(CELL, 3 * CELL) or b"") in {b"", body_of(LARGE)[CELL : 3 * CELL]}
    mine.close()
    theirs.close()


def test_who_waits_for_another_gives_up_some_day(make_cache, monkeypatch):
    monkeypatch.setattr(fill_module, "PATIENCE", 0.0)
    one, other = make_cache(), make_cache()
    mine, theirs = one.open_object(LARGE), other.open_object(LARGE)
    told = []
    first = begin(theirs, 0, SIZE - 1)
    first.write(body_of(LARGE)[: 4 * CELL])
    finish(begin(mine, CELL, 3 * CELL, told.append), LARGE)
    one.maintain(now())
    assert isinstance(told[0], CacheFull)
    assert bytes(mine.read(CELL, 3 * CELL)) == body_of(LARGE)[CELL : 3 * CELL]
    first.fail(ServerFault("gone"))
    mine.close()
    theirs.close()


def test_what_was_committed_is_never_written_again(cache, root):
    held = cache.open_object(LARGE)
    fill(held, CELL, 2 * CELL)
    told = []
    arriving = begin(held, 0, SIZE, told.append)
    arriving.write(body_of(LARGE)[: 3 * CELL])
    before = (directory_of(root) / "data").read_bytes()
    assert before[2 * CELL :] == bytes(SIZE - 2 * CELL)  # the fill is in memory
    finish(arriving, LARGE)
    assert told == [None]
    assert spans_in(directory_of(root)) == [(0, CELL), (CELL, 2 * CELL), (2 * CELL, SIZE)]
    assert cache.usage().memory == 0
    held.close()


def test_a_whole_body_joins_a_directory_that_came_meanwhile(make_cache, root):
    one, other = make_cache(), make_cache()
    mine, theirs = one.open_object(LARGE), other.open_object(LARGE)
    told = []
    whole = begin(mine, 0, SIZE, told.append)
    whole.write(body_of(LARGE)[: 4 * CELL + 5])
    fill(theirs, CELL, 2 * CELL)
    finish(whole, LARGE)
    assert told == [None]
    assert spans_in(directory_of(root)) == [(0, CELL), (CELL, 2 * CELL), (2 * CELL, SIZE)]
    assert bytes(mine.read(0, SIZE)) == body_of(LARGE)
    mine.close()
    theirs.close()
    for each in (one, other):
        each.maintain(now())
        each.maintain(now() + 1)
    assert one.usage().used == disk_bytes(root) + 4096


BOUND = st.integers(0, SIZE // 1000).map(lambda number: number * 1000)


def assert_right(path, body):
    """What is committed is right, and committed once."""
    spans = spans_in(path)
    assert all(one.stop <= two.start for one, two in itertools.pairwise(spans))
    raw = (path / "data").read_bytes()
    assert len(raw) == len(body)
    assert all(raw[slice(*span)] == body[slice(*span)] for span in spans)


def move(step, arriving, body):
    if step == "feed":
        arriving.write(body[arriving.pos : min(arriving.stop, arriving.pos + 70_000)])
        return
    if step == "end":
        arriving.write(body[arriving.pos : arriving.stop])
        arriving.finish()
    else:
        arriving.write(bytes(min(70_000, arriving.stop - arriving.pos)))
        arriving.fail(ServerFault("no"))


STEPS = st.lists(
    st.tuples(st.sampled_from(["begin", "feed", "end", "fail", "maintain"]), BOUND, BOUND),
    max_size=25,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS, seed=st.integers(0, 1 << 40))
def test_no_order_of_fills_shows_a_hole_or_overwrites(small_steps, make_cache, root, steps, seed):
    oid = make_oid(f"k{seed}", SIZE)
    body = body_of(oid)
    caches = make_cache(), make_cache()
    held = [cache.open_object(oid) for cache in caches]
    follow(steps, caches, held, root / "v2/objects" / oid.digest()[:2] / oid.digest())
    for cache in (*caches, *caches):
        cache.maintain(now())
    for one in held:
        for gap in one.missing(0, SIZE):
            fill(one, *gap)
        assert bytes(one.read(0, SIZE)) == body
        one.close()
    for cache in caches:
        cache.maintain(now())
        cache.close()
    assert verify(root, repair=False).bad == []


def follow(steps, caches, held, path):
    body = body_of(held[0].oid)
    under_way = []
    for number, (step, a, b) in enumerate(steps):
        start, stop = sorted((a, b))
        mine = held[number % 2]
        if step == "begin" and start < stop:
            under_way.append(begin(mine, start, stop))
        elif step == "maintain":
            caches[number % 2].maintain(now())
        elif under_way and step in {"feed", "end", "fail"}:
            arriving = under_way[a % len(under_way)]
            move(step, arriving, body)
            if step != "feed":
                under_way.remove(arriving)
        if path.is_dir():
            assert_right(path, body)
        for one in held:
            found = one.read(start, stop)
            assert found is None or bytes(found) == body[start:stop]
    for arriving in under_way:
        move("end", arriving, body)


def test_damage_is_not_mended_under_others_who_read(make_cache, root):
    one, other = make_cache(), make_cache()
    mine, theirs = one.open_object(LARGE), other.open_object(LARGE)
    fill(mine, 0, 2 * CELL)
    assert theirs.missing(0, 2 * CELL) == []
    assert theirs.read(0, 100) is not None
    with (directory_of(root) / "data").open("r+b") as file:
        file.seek(CELL + 9)
        file.write(b"damage")
    assert mine.read(CELL, 2 * CELL) is None
    told = []
    finish(begin(mine, 0, 2 * CELL, told.append), LARGE)
    assert isinstance(told[0], CacheFull)  # it cannot be written, and is readable here
    assert bytes(mine.read(0, 2 * CELL)) == body_of(LARGE)[: 2 * CELL]
    assert bytes(theirs.read(0, CELL)) == body_of(LARGE)[:CELL]
    assert theirs.read(CELL, 2 * CELL) is None
    theirs.close()
    mine.close()
    again = one.open_object(LARGE)
    assert again.read(CELL, 2 * CELL) is None
    fill(again, 0, 2 * CELL)
    again.close()
    assert spans_in(directory_of(root)) == [(0, 2 * CELL)]
    assert verify(root, repair=False).bad == []


def test_damage_is_mended_by_who_is_alone(make_cache, root):
    one = make_cache()
    held = one.open_object(LARGE)
    fill(held, 0, 2 * CELL)
    with (directory_of(root) / "data").open("r+b") as file:
        file.write(b"damage")
    one.maintain(now())
    before = disk_bytes(root)
    assert held.read(0, CELL) is None
    assert is_hole(directory_of(root) / "data", 0, SIZE)
    one.maintain(now())
    assert one.usage().used == disk_bytes(root) + 4096
    fill(held, 0, 2 * CELL)
    one.maintain(now())
    assert disk_bytes(root) == before
    assert one.usage().used == before + 4096
    held.close()


def test_a_disk_that_makes_no_holes_gets_its_room_back_with_the_object(
    make_cache, root, monkeypatch
):
    monkeypatch.setattr(data_file, "punch", lambda *_: False)
    monkeypatch.setattr("s3mount.cache.punching.punch", lambda *_: False)
    cache = make_cache()
    held = cache.open_object(LARGE)
    fill(held, 0, 1000)
    arriving = begin(held, CELL, SIZE)
    arriving.write(body_of(LARGE)[CELL : CELL + 262_144])
    arriving.fail(ServerFault("no"))
    fill(held, CELL, 2 * CELL)  # what is left over is written over
    assert bytes(held.read(CELL, 2 * CELL)) == body_of(LARGE)[CELL : 2 * CELL]
    held.close()
    cache.maintain(now())
    admin.prune(root)
    assert admin.info(root).used == disk_bytes(root) + 4096
    admin.clear(root)
    assert (admin.info(root).used, disk_bytes(root)) == (0, 0)


def test_part_of_an_object_is_evicted_from_its_end(make_cache, root, monkeypatch):
    monkeypatch.setattr("s3mount.cache.evict.PIECEWISE", 1)
    cache = make_cache()
    held = cache.open_object(LARGE)
    for start in range(0, SIZE, CELL):
        fill(held, start, min(SIZE, start + CELL))
    assert held.backing() is not None
    held.close()
    cache.maintain(now())
    before = disk_bytes(root)
    assert admin.info(root).used == before + 4096
    report = admin.prune(root, to_bytes=before - CELL)
    assert CELL <= report.freed == before - disk_bytes(root)
    assert admin.info(root).used == disk_bytes(root) + 4096
    held = cache.open_object(LARGE)
    (gap,) = held.missing(0, SIZE)
    assert gap.stop == SIZE
    assert is_hole(directory_of(root) / "data", *gap)
    assert bytes(held.read(0, gap.start)) == body_of(LARGE)[: gap.start]
    assert held.backing() is None
    held.close()


def test_verify_finds_damaged_bytes_and_takes_them_away(make_cache, root):
    cache = make_cache()
    held = cache.open_object(LARGE)
    fill(held, 0, CELL)
    fill(held, CELL, 3 * CELL)
    held.close()
    cache.maintain(now())
    directory = directory_of(root)
    with (directory / "data").open("r+b") as file:
        file.seek(2 * CELL)
        file.write(b"damage")
    (directory / "stranger").write_bytes(b"?")
    found = verify(root, repair=True)
    assert sorted(bad.path for bad in found.bad) == [
        str(directory / "10000-30000"),
        str(directory / "stranger"),
    ]
    assert (found.removed, found.checked) == (2, CELL)
    assert sorted(os.listdir(directory)) == ["0-10000", "data"]
    assert is_hole(directory / "data", CELL, SIZE)
    assert admin.info(root).used == disk_bytes(root) + 4096
    assert verify(root, repair=False).bad == []


def test_what_is_evicted_while_it_is_verified_is_not_bad(cache, root, monkeypatch):
    held = cache.open_object(LARGE)
    fill(held, 0, CELL)
    held.close()
    directory = directory_of(root)
    check = os.preadv

    def late(*args):
        with reclaim.alone(str(directory)):
            at_rest.take(str(directory), at_rest.contents(str(directory)).trailers)
        monkeypatch.undo()
        return check(*args)

    monkeypatch.setattr(os, "preadv", late)
    report = verify(root, repair=False)
    assert (report.extents, report.bad) == (0, [])


def test_a_disk_that_turned_read_only_is_still_read(make_cache, tmp_path):
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(where)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    bound = tmp_path / "bound"
    bound.mkdir()
    try:
        cache = make_cache(ROOMY, root=where / "cache")
        held = cache.open_object(LARGE)
        fill(held, 0, CELL)
        fill(held, CELL, SIZE)
        held.close()
        subprocess.run(["mount", "--bind", str(where), str(bound)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(bound)], check=True)
        cache._shared.layout.objects = str(bound / "cache/v2/objects")
        held = cache.open_object(LARGE)
        assert bytes(held.read(0, SIZE)) == body_of(LARGE)
        assert held.backing() is not None
        held.close()
    finally:
        subprocess.run(["umount", "-l", str(bound)], check=False)
        subprocess.run(["umount", "-l", str(where)], check=True)


def test_former_objects_are_removed_and_never_read(make_cache, root):
    make_cache().close()
    old = root / "v1"
    digest = LARGE.digest()
    (old / "objects" / digest[:2] / digest).mkdir(parents=True)
    (old / "objects" / digest[:2] / digest / "0-10000").write_bytes(bytes(CELL + 200))
    (old / "objects" / "00").mkdir()
    (old / "objects" / "00" / ("0" * 40)).write_bytes(b"whole")
    for name in ("tmp", "sessions", "listings"):
        (old / name).mkdir()
    (old / "tmp" / "1-a.1").write_bytes(b"left")
    (old / "sessions" / "1-a").write_bytes(b"")
    for name in ("demand", "index.sqlite", "index.sqlite-wal"):
        (old / name).write_bytes(b"old")
    cache = make_cache()
    held = cache.open_object(LARGE)
    assert held.missing(0, SIZE) == [ByteRange(0, SIZE)]
    held.close()
    with (old / "sessions" / "1-a").open() as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        cache.maintain(now())
        assert (old / "objects" / "00").exists()  # its process lives
    for later in (0, 31, 62):
        cache.maintain(now() + later)
    assert sorted(os.listdir(old)) == ["listings", "pins"]


def test_prune_removes_former_objects(make_cache, root):
    make_cache().close()
    (root / "v1/objects/00").mkdir(parents=True)
    (root / "v1/objects/00" / ("0" * 40)).write_bytes(b"whole")
    assert admin.prune(root).orphans == 1
    assert os.listdir(root / "v1") == ["pins"]


def test_small_room_does_not_stop_a_large_object(make_cache):
    cache = make_cache(Limits(4 * CELL, 0, 1 << 20))
    held = cache.open_object(LARGE)
    for start in range(0, SIZE, CELL):
        fill(held, start, min(SIZE, start + CELL))
    assert bytes(held.read(0, SIZE)) == body_of(LARGE)
    assert 0 < held.cached_bytes() < 4 * CELL
    held.close()
    put(cache, make_oid("small", 100))
