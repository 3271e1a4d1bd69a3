"""Several processes in one cache; and processes that die at any moment."""

import fcntl
import os
import random
import signal
import time
import traceback

import pytest

from s3mount.cache import admin, data_file, temporary
from s3mount.cache import fill as fill_module
from s3mount.cache.cache import ByteRange, Cache, Limits
from s3mount.cache.trailer import CELL
from s3mount.cache.verify import verify
from s3mount.errors import ServerFault
from s3mount.metrics import Counters
from s3mount.store.interface import Head
from tests.unit.cache.builders import ROOMY, body_of, disk_bytes, fill, make_oid, now, put

SMALL = make_oid("small", 5000)
LARGE = make_oid("large", 3 * CELL)
AT_ONCE = make_oid("at once", 4000)
OF_OS = (
    "open",
    "access",
    "mkdir",
    "rename",
    "link",
    "fstat",
    "stat",
    "unlink",
    "ftruncate",
    "lseek",
)
STEPS = (
    *((os, name) for name in (*OF_OS, "pwritev", "pwrite", "writev")),
    (fcntl, "fcntl"),
    (data_file, "punch"),
)


def in_child(work):
    """Run ``work`` in a process of its own; returns its id."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def wait_for(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_after(count):
    """End this process without a word just before or after its system call number ``count``."""
    calls = 0

    def deadly(call):
        def step(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == 2 * count:
                os._exit(77)
            result = call(*args, **kwargs)
            if calls == 2 * count + 1:
                os._exit(77)
            return result

        return step

    for where, name in STEPS:
        setattr(where, name, deadly(getattr(where, name)))


def fill_both(root):
    cache = Cache(root, ROOMY, counters=Counters())
    small, large = cache.open_object(SMALL), cache.open_object(LARGE)
    fill(small, 0, SMALL.size)
    fill(large, CELL, 2 * CELL)
    failing = large.begin_fill(0, CELL)
    failing.write(bytes(CELL - 1))
    failing.fail(ServerFault("no"))
    fill(large, 0, CELL)
    fill(large, 2 * CELL, LARGE.size)
    assert large.backing() is not None
    place = cache.vacancy(AT_ONCE)
    assert place is None or place.take(body_of(AT_ONCE))
    cache.maintain(now())


@pytest.mark.parametrize("nameless", [True, False])
def test_crash_at_every_step_leaves_a_right_cache(tmp_path, monkeypatch, nameless):
    if not nameless:
        monkeypatch.setattr(temporary, "makes_nameless", lambda _: False)
    ended = False
    monkeypatch.setattr(fill_module, "GATHER", 1000)
    for step in range(300):
        if ended:
            break
        root = tmp_path / str(step)

        def work(root=root, step=step):
            die_after(step)
            fill_both(root)

        ended = wait_for(in_child(work)) != 77
        cache = Cache(root, ROOMY, counters=Counters())
        for oid in (SMALL, LARGE, AT_ONCE):
            held = cache.open_object(oid)
            for start in range(0, oid.size, CELL):
                stop = min(oid.size, start + CELL)
                found = held.read(start, stop)
                assert found is None or bytes(found) == body_of(oid)[start:stop]
                if found is None:
                    fill(held, start, stop)
            assert bytes(held.read(0, oid.size)) == body_of(oid)
            assert (held.backing() is None) == (oid != LARGE)
            held.close()
        for later in range(0, 200, 40):
            cache.maintain(now() + later)
        cache.maintain(now() + 300)  # an idle grant goes back
        usage = cache.usage()
        assert (usage.objects, usage.reserved) == (3, 0)
        assert usage.used >= disk_bytes(root)
        assert os.listdir(root / "v2/tmp") == []
        cache.close()
        assert os.listdir(root / "v2/sessions") == []
        assert verify(root, repair=False).bad == []
    assert ended
    assert step > 40


def test_what_a_killed_fill_left_goes_with_its_session(tmp_path):
    root = tmp_path / "cache"
    oid = make_oid("huge", 40 * CELL)
    ready, told = os.pipe()

    def begin():
        held = Cache(root, ROOMY, counters=Counters()).open_object(oid)
        fill(held, 0, 4 * CELL)
        held.begin_fill(8 * CELL, 40 * CELL).write(bytes(20 * CELL))
        held.begin_fill(4 * CELL, 8 * CELL + 1).write(bytes(4 * CELL))
        os.write(told, b".")
        time.sleep(60)

    child = in_child(begin)
    cache = Cache(root, ROOMY, counters=Counters())
    try:
        assert os.read(ready, 1) == b"."
        held = cache.open_object(oid)
        assert held.missing(0, oid.size) == [ByteRange(4 * CELL, 40 * CELL)]
        mine = held.begin_fill(6 * CELL, 10 * CELL)
        mine.write(body_of(oid)[6 * CELL : 10 * CELL])
        mine.finish()
        assert bytes(held.read(6 * CELL, 10 * CELL)) == body_of(oid)[6 * CELL : 10 * CELL]
        assert (
            held.cached_bytes() == 6 * CELL
        )  # the child writes the rest, and keeps its second fill in memory
    finally:
        os.kill(child, signal.SIGKILL)
        wait_for(child)
        os.close(ready)
        os.close(told)
    assert disk_bytes(root) > 20 * CELL
    fill(held, 10 * CELL, 12 * CELL)  # nobody is writing there any more
    assert held.cached_bytes() == 8 * CELL
    held.close()
    for later in range(0, 200, 40):
        cache.maintain(now() + later)
    assert disk_bytes(root) <= 8 * CELL + 3 * 4096
    assert cache.usage().used == disk_bytes(root) + 4096
    cache.close()
    assert verify(root, repair=False).bad == []


def test_a_leased_object_keeps_what_is_on_its_way(tmp_path):
    cache = Cache(tmp_path / "cache", ROOMY, counters=Counters())
    held = cache.open_object(make_oid("huge", 40 * CELL))
    fill(held, 0, CELL)
    arriving = held.begin_fill(CELL, 39 * CELL)
    body = body_of(held.oid)
    arriving.write(body[CELL : 20 * CELL])
    admin.prune(tmp_path / "cache")
    arriving.write(body[20 * CELL : 39 * CELL])
    arriving.finish()
    assert bytes(held.read(0, 39 * CELL)) == body[: 39 * CELL]
    held.close()
    cache.close()


def test_leases_hold_across_processes_and_end_with_them(tmp_path):
    root = tmp_path / "cache"
    limits = Limits(1 << 20, 0, 1 << 20)
    ready, told = os.pipe()

    def hold():
        cache = Cache(root, limits, counters=Counters())
        one = cache.open_object(SMALL)
        other = cache.open_object(LARGE)
        fill(one, 0, SMALL.size)
        fill(other, 0, CELL)
        cache.maintain(now() - 1000)
        os.write(told, b".")
        time.sleep(60)

    child = in_child(hold)
    try:
        assert os.read(ready, 1) == b"."
        cache = Cache(root, limits, counters=Counters())
        for number in range(60):
            put(cache, make_oid(f"k{number}", 40_000))
            cache.maintain(now())
        assert is_cached(cache, SMALL, SMALL.size)
        assert is_cached(cache, LARGE, CELL)
    finally:
        os.kill(child, signal.SIGKILL)
        wait_for(child)
        os.close(ready)
        os.close(told)
    assert cache.usage().reserved > 0
    for number in range(80):
        put(cache, make_oid(f"l{number}", 40_000))
        cache.maintain(now() + 100 + number)
    assert not is_cached(cache, SMALL, SMALL.size)
    assert not is_cached(cache, LARGE, CELL)
    cache.maintain(now() + 300)
    cache.maintain(now() + 400)
    assert cache.usage().reserved == 0
    cache.close()


def is_cached(cache, oid, stop):
    held = cache.open_object(oid)
    found = held.read(0, stop)
    held.close()
    assert found is None or bytes(found) == body_of(oid)[:stop]
    return found is not None


def test_what_another_process_commits_is_found(make_cache):
    one, other = make_cache(), make_cache()
    mine, theirs = one.open_object(LARGE), other.open_object(LARGE)
    assert mine.missing(0, CELL) != []
    fill(theirs, 0, CELL)
    assert mine.missing(0, CELL) == []
    assert bytes(mine.read(0, CELL)) == body_of(LARGE)[:CELL]
    fill(theirs, CELL, 2 * CELL)
    assert mine.missing(0, 2 * CELL) == []
    assert mine.read(0, 2 * CELL) is not None
    fill(mine, 0, LARGE.size)
    assert theirs.missing(0, LARGE.size) == []
    mine.close()
    theirs.close()


def test_two_fills_of_one_object_are_counted_once(make_cache, root):
    one, other = make_cache(), make_cache()
    mine, theirs = one.open_object(SMALL), other.open_object(SMALL)
    first, second = mine.begin_fill(0, SMALL.size), theirs.begin_fill(0, SMALL.size)
    for arriving in (first, second):
        arriving.head(Head("etag", SMALL.size))
        arriving.write(body_of(SMALL))
        arriving.finish()
    assert bytes(theirs.read(0, SMALL.size)) == body_of(SMALL)
    mine.close()
    theirs.close()
    for cache in (one, other):
        cache.maintain(now())
    assert one.usage().used == disk_bytes(root)


def hammer(root, limits, seed, until):
    chance = random.Random(seed)
    cache = Cache(root, limits, counters=Counters())
    while time.monotonic() < until:
        oid = make_oid(f"k{chance.randrange(40)}", chance.choice([3000, 70_000, 4 * CELL]) & ~7)
        held = cache.open_object(oid)
        body = body_of(oid)
        for _ in range(3):
            start = chance.randrange(oid.size)
            stop = min(oid.size, start + chance.choice([100, CELL, oid.size]))
            for gap in held.missing(start, stop):
                fill(held, *gap)
            found = held.read(start, stop)
            if found is not None:
                assert bytes(found) == body[start:stop]
            else:
                assert held.missing(start, stop), "neither readable nor missing"
            backing = held.backing()
            assert backing is None or os.pread(backing.fd, oid.size + 1, 0) == body
            if chance.random() < 0.1:  # what nobody may ever see
                wrong = held.begin_fill(start, stop)
                wrong.write(bytes(stop - start))
                wrong.fail(ServerFault("no"))
        held.close()
        if chance.random() < 0.2:
            cache.maintain(now())
    cache.close()


@pytest.mark.parametrize("tight", [True, False])
def test_processes_share_one_cache(tmp_path, tight):
    root = tmp_path / "cache"
    limits = Limits((3 if tight else 300) << 20, 0, 1 << 20)
    until = time.monotonic() + 1
    children = [in_child(lambda s=seed: hammer(root, limits, s, until)) for seed in range(3)]
    most = 0
    while time.monotonic() < until:
        if root.exists():
            most = max(most, disk_bytes(root))
        time.sleep(0.02)
    assert [wait_for(child) for child in children] == [0, 0, 0]
    # Besides the bytes of objects: a block for each temporary name that vanished while it was counted.
    assert most <= limits.max_bytes
    report = verify(root, repair=False)
    assert report.bad == []
    assert report.extents > 10
    cache = Cache(root, limits, counters=Counters())
    assert cache.usage().used >= disk_bytes(root)
    assert cache.usage().reserved == 0
    cache.close()
