"""A walk over real engines and stores: everything once, no farther ahead than allowed, and an end in every case."""

import threading
import time
from collections import Counter
from queue import SimpleQueue

import pytest

from s3mount.errors import AccessDenied, ServerFault, UnexpectedReply
from s3mount.listing.walk import FlatWalk, PageWalk, pages_now, walk_now
from s3mount.store.interface import ListPage, StoreSettings
from s3mount.store.memory import MemoryStore
from s3mount.store.s3 import S3Store
from s3mount.transfer.engine import Engine, EngineSettings
from s3mount.transfer.retry import RetryPolicy
from tests.support.faulty_store import FaultyStore

QUICK = EngineSettings(connections=64, retry=RetryPolicy(first=0.001, ceiling=0.002, patience=5.0))
KEYS = [f"logs/day-{day:02d}/part-{part:03d}" for day in range(8) for part in range(100)]


@pytest.fixture
def store():
    memory = MemoryStore()
    for key in KEYS:
        memory.put(key)
    return FaultyStore(memory)


@pytest.fixture
def engine(store):
    with Engine(store, QUICK) as engine:
        yield engine


class Taker:
    """Takes pages on the engine's thread and releases them when it is told to."""

    def __init__(self, engine, walk):
        self.engine = engine
        self.walk = walk
        self.pages = []
        self.ends = []
        self.is_over = threading.Event()
        engine.call(lambda: walk.start(self.pages.append, self._finished))

    def _finished(self, error):
        self.ends.append(error)
        self.is_over.set()

    def settle(self):
        """Wait until the engine has nothing to do."""
        seen = -1
        while seen != len(self.pages):
            seen = len(self.pages)
            self.on_engine(lambda: None)
            time.sleep(0.02)

    def on_engine(self, word):
        done = threading.Event()
        self.engine.call(lambda: (word(), done.set()))
        assert done.wait(5)


def keys_of(pages):
    return [meta.key for page in pages for meta in page]


@pytest.mark.parametrize("parallel", [1, 2, 32])
def test_all_objects_come_once(engine, parallel):
    found = keys_of(walk_now(engine, "", parallel=parallel, max_keys=10))
    assert Counter(found) == Counter(KEYS)
    assert keys_of(walk_now(engine, "", parallel=parallel, max_keys=10, ordered=True)) == KEYS


def test_one_page_is_one_request(engine, store):
    assert keys_of(walk_now(engine, "logs/day-03/")) == KEYS[300:400]
    assert len(store.requests) == 1


def test_nothing_there_is_an_end_and_no_page(engine):
    assert list(walk_now(engine, "none/")) == []


def test_common_prefixes_come_once(engine):
    pages = list(pages_now(engine, "logs/", delimiter="/", max_keys=1))
    prefixes = sorted(prefix for page in pages for prefix in page.prefixes)
    assert prefixes == [f"logs/day-{day:02d}/" for day in range(8)]


@pytest.mark.parametrize("ordered", [False, True])
def test_no_more_pages_than_allowed_are_ahead(engine, store, ordered):
    walk = FlatWalk(engine, "", ahead=5, max_keys=10, ordered=ordered)
    taker = Taker(engine, walk)
    taker.settle()
    assert len(taker.pages) <= 5
    while not taker.is_over.is_set():
        before = len(taker.pages)
        assert before
        taker.on_engine(walk.release)
        taker.settle()
        assert len(taker.pages) <= before + 5
    assert sorted(keys_of(taker.pages)) == KEYS
    assert taker.ends == [None]


def test_pages_may_be_released_as_they_are_delivered(engine):
    walk = PageWalk(engine, "", ahead=2, max_keys=10, ordered=True)
    pages, over = [], SimpleQueue()

    def deliver(page):
        pages.append(page.objects)
        walk.release()

    engine.call(lambda: walk.start(deliver, over.put))
    assert over.get(timeout=10) is None
    assert keys_of(pages) == KEYS


def test_a_stopped_walk_says_no_more(engine, store):
    walk = FlatWalk(engine, "", ahead=8, max_keys=10)
    taker = Taker(engine, walk)
    taker.settle()
    store.hold()
    taker.on_engine(walk.release)
    taker.on_engine(walk.stop)
    store.let_go()
    before, requests = len(taker.pages), len(store.requests)
    taker.settle()
    taker.on_engine(walk.release)
    assert (len(taker.pages), len(store.requests), taker.ends) == (before, requests, [])


def test_who_leaves_early_ends_the_walk(engine, store):
    pages = walk_now(engine, "", ahead=8, max_keys=10)
    next(pages)
    pages.close()
    time.sleep(0.05)
    asked = len(store.requests)
    time.sleep(0.05)
    assert len(store.requests) == asked <= 20


def test_an_error_ends_the_walk_once(engine, store):
    store.fail(AccessDenied("no"), matches=lambda request: request.start_after)
    taker = Taker(engine, FlatWalk(engine, "", max_keys=10))
    assert taker.is_over.wait(5)
    taker.settle()
    (error,) = taker.ends
    assert isinstance(error, AccessDenied)
    store.fail(AccessDenied("no"))
    with pytest.raises(AccessDenied):
        list(walk_now(engine, ""))


def test_what_can_pass_is_tried_again(engine, store):
    store.fail(ServerFault("busy"), times=20)
    assert sorted(keys_of(walk_now(engine, "", max_keys=10))) == KEYS


class AlwaysFromTheBeginning(FaultyStore):
    """Ignores where a listing shall begin."""

    def submit(self, request, receiver):
        if isinstance(request, ListPage) and request.start_after:
            self.requests.append(request)
            self.inner.submit(ListPage(request.prefix, max_keys=request.max_keys), receiver)
        else:
            super().submit(request, receiver)


def test_a_store_that_ignores_where_to_begin_is_listed_by_tokens(store):
    ignorant = AlwaysFromTheBeginning(store.inner)
    with Engine(ignorant, QUICK) as engine:
        assert sorted(keys_of(walk_now(engine, "", max_keys=10))) == KEYS
    assert any(request.start_after for request in ignorant.requests)
    assert len(ignorant.requests) < 2 * len(KEYS) / 10


class Reversed(FaultyStore):
    """Turns the pages round from the second one on."""

    def submit(self, request, receiver):
        super().submit(request, _Turning(receiver) if request.token else receiver)


class _Turning:
    def __init__(self, inner):
        self.inner = inner
        self.done = inner.done

    def page(self, page):
        self.inner.page(page._replace(objects=page.objects[::-1]))


def test_order_that_is_lost_is_no_silent_loss(store):
    with Engine(Reversed(store.inner), QUICK) as engine:
        try:
            found = keys_of(walk_now(engine, "", max_keys=10))
        except UnexpectedReply:
            return
    assert sorted(found) == KEYS


@pytest.mark.s3
@pytest.mark.parametrize("ordered", [False, True])
def test_moto_begins_where_it_is_told(bucket, ordered):
    keys = sorted([f"d{n % 7}/{n:03d} +é" for n in range(150)] + ["e", "f/\u00e9", "f/z"])
    for key in keys:
        bucket.put(key)
    with Engine(S3Store(bucket.name, StoreSettings(bucket.endpoint)), QUICK) as engine:
        found = keys_of(walk_now(engine, "", max_keys=7, ordered=ordered))
        assert (found if ordered else sorted(found)) == sorted(keys, key=str.encode)
        folded = list(pages_now(engine, "", delimiter="/", max_keys=2))
    assert sorted(prefix for page in folded for prefix in page.prefixes) == [
        *(f"d{n}/" for n in range(7)),
        "f/",
    ]


@pytest.mark.s3
def test_rclone_lists_everything(rclone_bucket):
    keys = sorted([f"d{n % 7}/{n:03d}" for n in range(150)] + ["e", "d1-x", "f/z"])
    for key in keys:
        rclone_bucket.put(key)
    with Engine(
        S3Store(rclone_bucket.name, StoreSettings(rclone_bucket.endpoint)), QUICK
    ) as engine:
        for max_keys in (7, 50, 1000):
            assert sorted(keys_of(walk_now(engine, "", max_keys=max_keys))) == keys
