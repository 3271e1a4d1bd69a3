"""A file that the kernel may read by itself: only of a whole object, and only while every byte is known good."""

import os
import threading

import pytest

from s3mount.cache import admin, boot, stamp
from s3mount.cache.cache import Limits
from s3mount.cache.fill import Damaged
from s3mount.cache.trailer import CELL
from s3mount.cache.verify import verify
from tests.unit.cache.builders import ROOMY, body_of, disk_bytes, fill, make_oid, now, put

SIZE = 5 * CELL + 777
LARGE = make_oid("large", SIZE)


def directory_of(root):
    (path,) = (path for path in (root / "v2/objects").glob("*/*") if path.is_dir())
    return path


def fill_in_parts(held, part=2 * CELL):
    for start in range(0, SIZE, part):
        fill(held, start, min(SIZE, start + part))


def bytes_of(backing):
    assert os.fstat(backing.fd).st_size == SIZE
    return os.pread(backing.fd, SIZE + 1, 0)


@pytest.fixture
def filled(make_cache):
    """A cache that another one has filled."""
    first = make_cache()
    held = first.open_object(LARGE)
    fill_in_parts(held)
    held.close()
    first.maintain(now())
    return make_cache()


def test_who_wrote_all_of_it_has_it_at_once(cache, root):
    held = cache.open_object(LARGE)
    assert held.backing() is None
    for start in range(0, SIZE, 2 * CELL):
        assert held.backing() is None
        fill(held, start, min(SIZE, start + 2 * CELL))
    backing = held.backing()
    assert bytes_of(backing) == body_of(LARGE)
    assert held.backing() is backing
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(backing.fd, b"x", 0)
    held.close()
    cache.maintain(now())
    assert admin.info(root).used == disk_bytes(root) + 4096


def test_who_comes_later_has_it_without_reading(filled):
    held = filled.open_object(LARGE)
    assert bytes_of(held.backing()) == body_of(LARGE)
    held.close()


def test_an_object_in_one_file_has_none(cache):
    put(cache, make_oid("small", 4096))
    held = cache.open_object(make_oid("small", 4096))
    assert held.backing() is None
    held.close()
    held = cache.open_object(make_oid("nothing", 0))
    assert held.backing() is None
    held.close()


def reboot(monkeypatch):
    monkeypatch.setattr(stamp, "boot_id", lambda: "another")


def test_after_a_boot_every_byte_is_read_first(filled, root, monkeypatch):
    reboot(monkeypatch)
    held = filled.open_object(LARGE)
    assert held.backing() is None
    old = (directory_of(root) / "proved").read_bytes()
    for at in range(0, SIZE, 10_000):
        assert held.backing() is None
        assert held.read(at, min(SIZE, at + 10_000)) is not None
    assert bytes_of(held.backing()) == body_of(LARGE)
    assert (directory_of(root) / "proved").read_bytes() != old
    held.close()
    filled.maintain(now())
    assert admin.info(root).used == disk_bytes(root) + 4096
    assert os.listdir(root / "v2/tmp") == []


def test_a_check_proves_it_as_well(filled, monkeypatch):
    reboot(monkeypatch)
    held = filled.open_object(LARGE)
    assert held.check() == 0
    assert held.backing() is not None
    held.close()


def test_without_a_boot_there_is_none(cache, root, monkeypatch):
    monkeypatch.setattr(stamp, "boot_id", lambda: "")
    held = cache.open_object(LARGE)
    fill_in_parts(held)
    assert held.read(0, SIZE) is not None
    assert held.backing() is None
    assert not (directory_of(root) / "proved").exists()
    held.close()
    assert boot.boot_id()


def touch_bytes(directory):
    with (directory / "data").open("r+b") as file:
        file.seek(CELL)
        file.write(b"damage")


def other_file(directory):
    (directory / "new").write_bytes((directory / "data").read_bytes())
    (directory / "new").rename(directory / "data")


def torn_stamp(directory):
    raw = (directory / "proved").read_bytes()
    (directory / "proved").write_bytes(raw[:-3])


def longer_stamp(directory):
    with (directory / "proved").open("ab") as file:
        file.write(b"more")


CHANGES = [
    touch_bytes,
    other_file,
    torn_stamp,
    longer_stamp,
    lambda path: os.utime(path / "data"),
    lambda path: os.truncate(path / "data", SIZE - 1),
    lambda path: os.truncate(path / "data", SIZE + 1),
    lambda path: (path / "data").chmod(0o400),
    lambda path: (path / "proved").unlink(),
    lambda path: (path / "proved").write_bytes(b""),
    lambda path: (path / "0-20000").unlink(),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_open", [True, False])
def test_what_was_changed_is_proved_again(filled, root, change, is_open):
    held = filled.open_object(LARGE)
    if not is_open:
        held.close()
    change(directory_of(root))
    if not is_open:
        held = filled.open_object(LARGE)
    assert is_open or held.backing() is None
    assert change in {other_file, CHANGES[-1]} or held.backing() is None
    held.close()
    held = filled.open_object(LARGE)
    for _ in range(2):
        held.read(0, SIZE)
        for gap in held.missing(0, SIZE):
            fill(held, *gap)
        for at in range(0, SIZE, 1000):
            held.read(at, min(SIZE, at + 1000))
    assert bytes_of(held.backing()) == body_of(LARGE)
    held.close()
    filled.maintain(now())
    admin.prune(root)
    assert admin.info(root).used == disk_bytes(root) + 4096


def test_damage_takes_the_stamp_away_first(filled, root):
    held = filled.open_object(LARGE)
    before = (directory_of(root) / "data").stat()
    with (directory_of(root) / "data").open("r+b") as file:
        file.write(b"damage")
    os.utime(directory_of(root) / "data", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert held.read(0, 100) is None
    assert not (directory_of(root) / "proved").exists()
    assert not (directory_of(root) / "0-20000").exists()
    held.close()


def test_nothing_is_taken_back_while_somebody_reads_by_himself(filled, make_cache, root):
    held = filled.open_object(LARGE)
    backing = held.backing()
    for cache in (filled, make_cache()):
        mine = cache.open_object(LARGE)
        (extent, *_) = mine._place.extents
        mine.on_disk.discard(extent, Damaged("so they say"))
        assert bytes_of(backing) == body_of(LARGE)
        wrong = mine.begin_fill(0, 2 * CELL)
        wrong.write(bytes(2 * CELL))
        wrong.finish()
        assert bytes_of(backing) == body_of(LARGE)
        mine.close()
    assert verify(root, repair=True).bad == []
    report = admin.clear(root)
    assert (report.objects, report.leased) == (0, 1)
    held.close()


def test_parts_of_two_processes_are_proved_by_reading(make_cache):
    one, other = make_cache(), make_cache()
    mine, theirs = one.open_object(LARGE), other.open_object(LARGE)
    fill(mine, 0, 2 * CELL)
    fill(theirs, 2 * CELL, SIZE)
    assert mine.missing(0, SIZE) == []
    assert (mine.backing(), theirs.backing()) == (None, None)
    assert mine.read(2 * CELL, SIZE) is not None
    assert mine.backing() is not None
    assert theirs.missing(0, SIZE) == []
    assert theirs.backing() is not None
    mine.close()
    theirs.close()


def test_a_reader_does_not_write_the_stamp(make_cache, monkeypatch):
    jobs = []
    cache = make_cache()
    held = cache.open_object(LARGE)
    fill_in_parts(held)
    held.close()
    reboot(monkeypatch)
    cache = make_cache(run=jobs.append)
    held = cache.open_object(LARGE)
    assert held.read(0, SIZE) is not None
    assert held.backing() is None
    held.close()  # what is left to do holds it
    worker = threading.Thread(target=jobs.pop())
    worker.start()
    worker.join()
    held = cache.open_object(LARGE)
    assert held.backing() is not None
    held.close()
    assert jobs == []


def test_a_full_cache_writes_no_stamp(make_cache, monkeypatch):
    cache = make_cache(ROOMY)
    held = cache.open_object(LARGE)
    fill(held, 0, 2 * CELL)
    reserve = cache._shared.space.reserve
    monkeypatch.setattr(cache._shared.space, "reserve", lambda size: size > 4096 and reserve(size))
    fill(held, 2 * CELL, SIZE)
    assert held.backing() is None
    assert bytes(held.read(0, SIZE)) == body_of(LARGE)
    monkeypatch.undo()
    held.close()
    held = cache.open_object(LARGE)
    assert held.read(0, SIZE) is not None
    assert held.backing() is not None
    held.close()


def test_asking_costs_few_calls(make_cache, monkeypatch):
    cache = make_cache(Limits(1 << 30, 0, 1 << 20))
    put(cache, make_oid("small", 4096))
    small, large = cache.open_object(make_oid("small", 4096)), cache.open_object(LARGE)
    fill_in_parts(large)
    large.backing()
    calls = []

    def counted(call):
        def step(*args, **kwargs):
            calls.append(call.__name__)
            return call(*args, **kwargs)

        return step

    for name in ("open", "fstat", "stat", "lstat", "read", "pread", "scandir", "close"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    assert small.backing() is None
    assert calls == []
    assert large.backing() is not None
    assert sorted(calls) == ["close", "fstat", "open", "read"]
    monkeypatch.undo()
    small.close()
    large.close()


def test_a_fill_that_is_over_holds_nothing_open(cache, root):
    """An object can be mended by who is alone with its file; a fill that somebody still has must not count."""
    held = cache.open_object(LARGE)
    fills = []
    for start in range(0, SIZE, 2 * CELL):
        stop = min(SIZE, start + 2 * CELL)
        fills.append(held.begin_fill(start, stop))
        fills[-1].write(body_of(LARGE)[start:stop])
        fills[-1].finish()
    held.close()
    data = str(directory_of(root) / "data")
    numbers = os.listdir("/proc/self/fd")
    links = [f"/proc/self/fd/{number}" for number in numbers]
    assert data not in [os.readlink(link) for link in links if os.path.lexists(link)]
