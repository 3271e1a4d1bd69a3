"""Prefixes into the cache: what is fetched, what is not, and every ending; over a store in memory."""

import random
import threading
from collections import Counter

import pytest

from s3mount.bulk import warm
from s3mount.bulk.arriving import split
from s3mount.bulk.keeping import in_snapshot, pinned
from s3mount.bulk.ledger import Ledger
from s3mount.bulk.outcome import Ending
from s3mount.bulk.selection import Selection
from s3mount.bulk.warm import PART, prefetch_objects
from s3mount.cache.cache import ByteRange, Cache, Limits, ObjectId
from s3mount.errors import (
    AccessDenied,
    CacheFull,
    ConfigError,
    NotFound,
    ObjectArchived,
    ObjectChanged,
    Throttled,
)
from s3mount.metrics import Counters as Counts
from s3mount.store.interface import Get, ListPage
from s3mount.store.memory import MemoryStore
from s3mount.store.remembering import RememberingStore, record_listing
from tests.support.faulty_store import FaultyStore
from tests.unit.bulk.sessions import SerialPages, session_over
from tests.unit.cache.builders import now

SMALL = 5000
EVERYTHING = Selection()


def body_of(key, size):
    return random.Random(key).randbytes(size)


@pytest.fixture
def store():
    return FaultyStore(MemoryStore())


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


def put(store, key, size=SMALL, **options):
    return store.inner.put(key, body_of(key, size), **options)


def run(store, root, prefix="", selection=EVERYTHING, *, limits=None, max_bandwidth=0, **options):
    """All outcomes of a run."""
    more = {} if limits is None else {"limits": limits}
    options.setdefault("jobs", 16)
    with session_over(store, root, max_bandwidth=max_bandwidth, **more) as session:
        batches = prefetch_objects(session, prefix, selection, **options)
        return [outcome for batch in batches for outcome in batch]


def endings(outcomes):
    return Counter(outcome.ending for outcome in outcomes)


def cached(session, meta):
    held = session.cache.open_object(ObjectId("memory:memory", meta.key, meta.etag, meta.size))
    try:
        data = held.read(0, meta.size)
        return None if data is None else bytes(data)
    finally:
        held.close()


def test_what_was_fetched_is_in_the_cache_and_is_not_fetched_again(store, root):
    metas = [put(store, f"d/{number}", 100 * number) for number in range(50)]
    outcomes = run(store, root, "d/")
    assert endings(outcomes) == {Ending.FETCHED: 49, Ending.PRESENT: 1}
    assert sorted(outcome.meta for outcome in outcomes) == sorted(metas)
    assert sum(outcome.fetched for outcome in outcomes) == sum(meta.size for meta in metas)
    assert all(outcome.seconds > 0 for outcome in outcomes if outcome.ending is Ending.FETCHED)
    with session_over(store, root) as session:
        assert all(cached(session, meta) == body_of(meta.key, meta.size) for meta in metas)
    gets = len(store.gets())
    assert endings(run(store, root, "d/")) == {Ending.PRESENT: 50}
    assert len(store.gets()) == gets == 49


def test_another_version_is_fetched(store, root):
    put(store, "k")
    run(store, root)
    store.inner.put("k", b"new")
    (outcome,) = run(store, root)
    assert (outcome.ending, outcome.fetched) == (Ending.FETCHED, 3)


def test_a_large_object_comes_in_parts_of_which_none_is_fetched_twice(store, root):
    size = 5 * PART // 2
    meta = put(store, "big", size)
    with session_over(store, root) as session:
        oid = ObjectId("memory:memory", meta.key, meta.etag, meta.size)
        held = session.cache.open_object(oid)
        fill = held.begin_fill(PART, PART + 1000)
        fill.write(body_of("big", size)[PART : PART + 1000])
        fill.finish()
        held.close()
    (outcome,) = run(store, root)
    assert (outcome.ending, outcome.fetched) == (Ending.FETCHED, size - 1000)
    asked = sorted((get.start, get.stop) for get in store.gets())
    assert asked == [(0, PART), (PART + 1000, 2 * PART), (2 * PART, size)]
    with session_over(store, root) as session:
        assert cached(session, meta) == body_of("big", size)
    assert endings(run(store, root)) == {Ending.PRESENT: 1}


@pytest.mark.parametrize("rest", [1000, PART])
@pytest.mark.parametrize("comes", [True, False])
def test_bytes_that_somebody_else_is_writing_are_waited_for(store, root, rest, comes):
    size = PART + rest
    body = body_of("big", size)
    meta = put(store, "big", size)
    other = Cache(root, Limits(1 << 30, 0, 1 << 24), counters=Counts())
    held = other.open_object(ObjectId("memory:memory", meta.key, meta.etag, size))
    if rest < PART:  # then the gap comes in one GET
        fill = held.begin_fill(PART, size)
        fill.write(body[PART:])
        fill.finish()
    theirs = held.begin_fill(1000, PART // 2)
    theirs.write(body[1000:400_000])

    def end():
        if comes:
            theirs.write(body[400_000 : PART // 2])
            theirs.finish()
        else:
            theirs.fail(Throttled("no"))

    ending = threading.Timer(0.5, end)
    ending.start()
    (outcome,) = run(store, root)
    ending.join()
    assert (outcome.ending, outcome.error) == (Ending.FETCHED, None)
    assert held.missing(0, size) == []
    assert bytes(held.read(0, size)) == body
    kept = [(each.start, each.stop) for each in held._place.extents]
    assert kept[:3] == [(0, 1000), (1000, PART // 2), (PART // 2, PART)]
    held.close()
    other.close()


def test_parts_are_cut_where_multiples_of_their_size_are():
    gaps = [ByteRange(0, 5), ByteRange(7, 25), ByteRange(30, 40)]
    assert list(split(gaps, 10)) == [(0, 5), (7, 10), (10, 20), (20, 25), (30, 40)]


def test_parts_under_way_are_bounded(store, root, monkeypatch):
    monkeypatch.setattr(warm, "PART", 1000)
    for number in range(3):
        put(store, f"{number}", 20_000)
    store.hold()
    with session_over(store, root, jobs=8) as session:
        batches = prefetch_objects(session, "", EVERYTHING, jobs=8, pages=Ready(session, store))
        assert next(batches) == []
        assert len(store.gets()) == 8
        store.let_go()
        outcomes = [outcome for batch in batches for outcome in batch]
    assert endings(outcomes) == {Ending.FETCHED: 3}
    assert len(store.gets()) == 60


class Ready(SerialPages):
    """A listing that is there at once."""

    def __init__(self, session, store):
        super().__init__(session.engine)
        self.metas = [store.inner._objects[key].meta for key in sorted(store.inner._objects)]

    def start(self, deliver, finished):
        deliver(self.metas)
        finished(None)

    def release(self):
        """It was the only page."""


def test_small_parts_under_a_limit_of_bandwidth(store, root, monkeypatch):
    monkeypatch.setattr(warm, "LIMITED_PART", 1000)
    put(store, "k", 2500)
    assert endings(run(store, root, max_bandwidth=1e9)) == {Ending.FETCHED: 1}
    assert [(get.start, get.stop) for get in store.gets()] == [
        (0, 1000),
        (1000, 2000),
        (2000, 2500),
    ]


def test_only_the_beginning(store, root):
    put(store, "long", 3000)
    put(store, "short", 500)
    ledger = Ledger()
    outcomes = run(store, root, head_bytes=1000, ledger=ledger)
    assert endings(outcomes) == {Ending.FETCHED: 2}
    assert sorted(outcome.fetched for outcome in outcomes) == [500, 1000]
    assert (ledger.objects, ledger.size) == (2, 1500)
    assert endings(run(store, root, head_bytes=1000)) == {Ending.PRESENT: 2}
    assert endings(run(store, root, head_bytes=1001)) == {Ending.FETCHED: 1, Ending.PRESENT: 1}


def test_markers_of_directories_are_skipped_and_what_is_not_wanted(store, root):
    put(store, "d/", 0)
    put(store, "d/a.log")
    put(store, "d/a.txt")
    put(store, "d/empty", 0)
    ledger = Ledger()
    outcomes = run(store, root, "d/", Selection(exclude=["*.txt"]), ledger=ledger)
    assert sorted(outcome.meta.key for outcome in outcomes) == ["d/a.log", "d/empty"]
    assert (ledger.listed, ledger.objects, ledger.size) == (4, 2, SMALL)
    assert ledger.is_listed


def test_a_single_object_by_its_key(store, root):
    put(store, "d/a")
    put(store, "d/ab")
    assert [outcome.meta.key for outcome in run(store, root, "d/a/")] == ["d/a"]
    put(store, "d/a/below")
    assert [outcome.meta.key for outcome in run(store, root, "d/a/")] == ["d/a/below"]
    ledger = Ledger()
    assert run(store, root, "nothing/", ledger=ledger) == []
    assert (ledger.listed, ledger.is_listed) == (0, True)


def test_archived_objects_fail_with_a_reason_unless_they_are_here(store, root):
    put(store, "cold", storage_class="GLACIER")
    (outcome,) = run(store, root)
    assert isinstance(outcome.error, ObjectArchived)
    assert outcome.error.hint
    assert store.gets() == []
    store.inner.restore("cold")
    assert endings(run(store, root)) == {Ending.FETCHED: 1}
    put(store, "cold", storage_class="GLACIER")
    assert endings(run(store, root)) == {Ending.PRESENT: 1}


@pytest.mark.parametrize("error", [AccessDenied("no"), NotFound("gone"), ObjectChanged("new")])
@pytest.mark.parametrize("size", [SMALL, 3 * PART])
def test_what_fails_is_told_and_the_rest_goes_on(store, root, error, size):
    put(store, "bad", size)
    put(store, "good")
    store.fail(error, matches=lambda r: isinstance(r, Get) and r.key == "bad", times=3)
    outcomes = {outcome.meta.key: outcome for outcome in run(store, root)}
    assert outcomes["good"].ending is Ending.FETCHED
    assert outcomes["bad"].ending is Ending.FAILED
    assert outcomes["bad"].error is error
    if not isinstance(error, AccessDenied):
        assert "run the same command again" in error.hint
    store.faults.clear()
    assert endings(run(store, root)) == {Ending.FETCHED: 1, Ending.PRESENT: 1}


def test_what_passes_is_tried_again(store, root):
    put(store, "k")
    store.fail(Throttled("slow down"), matches=lambda r: isinstance(r, Get), times=2)
    assert endings(run(store, root)) == {Ending.FETCHED: 1}


def test_a_dry_run_fetches_nothing_and_counts_what_is_missing(store, root):
    put(store, "a", 1000)
    run(store, root)
    put(store, "b", 3000)
    put(store, "cold", 70, storage_class="GLACIER")
    gets = len(store.gets())
    ledger = Ledger()
    outcomes = run(store, root, dry_run=True, ledger=ledger)
    assert endings(outcomes) == {Ending.PRESENT: 1, Ending.LISTED: 2}
    assert (ledger.objects, ledger.size, ledger.missing) == (3, 4070, 3070)
    assert ledger.fits
    assert len(store.gets()) == gets


def test_what_cannot_fit_is_refused_before_it_is_all_fetched(store, root):
    limits = Limits(8 << 20, 0, 1 << 24)
    for number in range(400):
        put(store, f"{number}", 100_000)
    ledger = Ledger()
    with pytest.raises(CacheFull) as caught:
        run(store, root, limits=limits, ledger=ledger)
    assert "does not fit" in caught.value.message
    assert "--cache-size" in caught.value.hint
    assert not ledger.fits
    ledger = Ledger()
    assert endings(run(store, root, limits=limits, ledger=ledger, dry_run=True))[Ending.LISTED]
    assert not ledger.fits
    # A part of it that fits is taken, though the cache is full of other things.
    for beginning in "123":
        chosen = Selection(include=[f"{beginning}[0-4]"])
        assert endings(run(store, root, "", chosen, limits=limits)) == {Ending.FETCHED: 5}


def test_old_objects_make_room_while_new_ones_come(store, root):
    limits = Limits(8 << 20, 0, 1 << 24)
    for number in range(60):
        put(store, f"old/{number}", 100_000)
        put(store, f"new/{number}", 100_000)
    run(store, root, "old/", limits=limits)
    assert endings(run(store, root, "new/", limits=limits)) == {Ending.FETCHED: 60}
    assert endings(run(store, root, "new/", limits=limits)) == {Ending.PRESENT: 60}


def test_where_there_is_no_room_in_the_end_objects_fail_and_soon_none_is_asked_for(
    store, root, monkeypatch
):
    monkeypatch.setattr(warm, "PAUSE", 0.01)
    monkeypatch.setattr(warm, "TRIES_WHEN_FULL", 2)
    for number in range(30):
        put(store, f"{number:02}", 100_000)
    limits = Limits(8 << 20, 0, 1 << 24)
    with session_over(store, root, limits=limits, jobs=2) as session:
        ledger = Ledger()
        session.cache._shared.space.reserve = lambda amount: False
        batches = prefetch_objects(session, "", EVERYTHING, jobs=2, ledger=ledger)
        outcomes = [outcome for batch in batches for outcome in batch]
    assert endings(outcomes) == {Ending.FAILED: 30}
    assert all(isinstance(outcome.error, CacheFull) for outcome in outcomes)
    assert all(outcome.error.hint for outcome in outcomes)
    tried = {get.key for get in store.gets()}
    assert warm.HOPELESS <= len(tried) < 12
    assert len(store.gets()) <= len(tried) * warm.TRIES_WHEN_FULL


def test_a_repeated_run_of_what_is_pinned_fits(store, root):
    limits = Limits(8 << 20, 0, 1 << 24)
    for number in range(50):
        put(store, f"{number}", 100_000)
    for expected in (Ending.FETCHED, Ending.PRESENT):
        with session_over(store, root, limits=limits) as session:
            batches = prefetch_objects(session, "", EVERYTHING, jobs=8)
            kept = pinned(batches, session.cache, session.store.identity, "name")
            assert endings([each for batch in kept for each in batch]) == {expected: 50}
            (info,) = session.cache.pins()
            assert (info.name, info.objects) == ("name", 50)


def test_a_pin_that_cannot_be_called_so_is_refused_before_anything_is_fetched(store, root):
    put(store, "k")
    with session_over(store, root) as session:
        batches = prefetch_objects(session, "", EVERYTHING, jobs=8)
        with pytest.raises(ConfigError):
            list(pinned(batches, session.cache, session.store.identity, "a/b"))
    assert store.requests == []


class Written:
    """A snapshot as far as a run knows it."""

    def __init__(self):
        self.objects = []
        self.end = ""

    def add(self, objects):
        self.objects += objects

    def commit(self):
        self.end = "committed"

    def abandon(self):
        self.end = self.end or "abandoned"


@pytest.mark.parametrize("goes_wrong", [False, True])
def test_a_snapshot_appears_when_everything_is_there(store, root, goes_wrong):
    metas = [put(store, f"{number}") for number in range(5)]
    if goes_wrong:
        store.fail(AccessDenied("no"), matches=lambda r: isinstance(r, Get))
    snapshot = Written()
    with session_over(store, root) as session:
        batches = prefetch_objects(session, "", EVERYTHING, jobs=8)
        list(in_snapshot(batches, lambda key: snapshot))
    if goes_wrong:
        assert snapshot.end in {"", "abandoned"}
    else:
        assert snapshot.end == "committed"
        assert sorted(snapshot.objects) == [(meta, "") for meta in metas]


def test_a_snapshot_of_a_run_that_was_left_is_forgotten_and_there_is_none_of_nothing(store, root):
    begun = []

    def begin(key):
        begun.append(Written())
        return begun[-1]

    with session_over(store, root) as session:
        list(in_snapshot(prefetch_objects(session, "", EVERYTHING, jobs=8), begin))
        assert not begun
        put(store, "k")
        batches = in_snapshot(prefetch_objects(session, "", EVERYTHING, jobs=8), begin)
        while not begun:
            next(batches)
        batches.close()
    assert [each.end for each in begun] == ["abandoned"]


@pytest.mark.parametrize("size", [SMALL, PART + 5])
def test_a_check_finds_what_is_damaged_and_fetches_it_again(store, root, size):
    meta = put(store, "k", size)
    run(store, root)
    (file, *_) = (path for path in (root / "v2/objects").rglob("*") if path.is_file())
    with file.open("r+b") as changed:
        changed.write(b"damaged")
    assert endings(run(store, root)) == {Ending.PRESENT: 1}
    (outcome,) = run(store, root, check=True)
    assert outcome.ending is Ending.FETCHED
    assert 0 < outcome.fetched <= size
    assert endings(run(store, root, check=True)) == {Ending.PRESENT: 1}
    with session_over(store, root) as session:
        assert cached(session, meta) == body_of("k", size)


def remembered(store, root, prefix):
    """What mounts list below a prefix without a request; None when they would ask."""
    asked = len(store.lists())
    remembering = RememberingStore(store, root, now)
    heard = Heard()
    remembering.submit(ListPage(prefix, max_age=60.0), heard)
    while not heard.is_over:
        remembering.poll(0.1)
    return heard.keys if len(store.lists()) == asked else None


class Heard:
    is_over = False

    def page(self, page):
        self.keys = [meta.key for meta in page.objects]

    def done(self, error):
        self.is_over = True


def test_the_whole_listing_is_kept_for_mounts_also_of_what_is_not_wanted(store, root):
    for key in ("d/a.log", "d/b.txt", "d/sub/", "d/sub/c.txt"):
        put(store, key, 0 if key.endswith("/") else SMALL)
    run(store, root, "d/", Selection(include=["*.log"]))
    assert remembered(store, root, "d/") == ["d/a.log", "d/b.txt", "d/sub/", "d/sub/c.txt"]
    assert remembered(store, root, "d/sub/") == ["d/sub/", "d/sub/c.txt"]
    assert remembered(store, root, "") is None


def test_half_a_listing_is_not_kept_nor_that_of_a_dry_run(store, root):
    for number in range(3000):
        store.inner.put(f"d/{number:04}")
    run(store, root, "d/", dry_run=True)
    assert remembered(store, root, "d/") is None
    store.fail(AccessDenied("no"), matches=lambda r: isinstance(r, ListPage) and bool(r.token))
    store.fail(
        AccessDenied("no"), matches=lambda r: isinstance(r, ListPage) and bool(r.start_after)
    )
    with pytest.raises(AccessDenied):
        run(store, root, "d/")
    store.faults.clear()
    assert remembered(store, root, "d/") is None
    with session_over(store, root) as session:
        batches = prefetch_objects(session, "d/", EVERYTHING, jobs=1)
        next(batches)
        batches.close()
    # It may have been listed to its end by then.
    assert remembered(store, root, "d/") in (None, store.inner.keys()[:1000])


def test_a_listing_that_cannot_be_kept_does_not_stop_the_run(store, root, monkeypatch):
    put(store, "k")

    def refuse(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(warm, "record_listing", refuse)
    assert endings(run(store, root)) == {Ending.FETCHED: 1}
    assert record_listing is not refuse


def test_a_run_that_was_left_goes_on_where_it_stopped(store, root):
    for number in range(40):
        put(store, f"{number:02}")
    with session_over(store, root, jobs=2) as session:
        batches = prefetch_objects(session, "", EVERYTHING, jobs=2)
        done = 0
        while not done:
            done += len(next(batches))
        batches.close()
    before = len(store.gets())
    again = run(store, root)
    assert endings(again)[Ending.PRESENT] >= done
    assert len(store.gets()) - before == endings(again)[Ending.FETCHED]
    assert endings(run(store, root)) == {Ending.PRESENT: 40}
