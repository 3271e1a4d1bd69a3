"""Long directories that a reader goes through: several LISTs at once give what one after the other gives."""

import time

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from s3mount.errors import AccessDenied, UnexpectedReply, Unreachable
from s3mount.listing.catalog import Catalog
from s3mount.listing.ranges import Ranges
from s3mount.listing.rest import LEAST_AHEAD, MOST_AHEAD, PARALLEL, Rest, reach
from s3mount.listing.shelf import ShelfSettings
from s3mount.store.interface import ObjectMeta
from s3mount.store.memory import MemoryStore
from s3mount.store.remembering import RememberingStore, record_listing
from s3mount.transfer.engine import Engine, EngineSettings
from s3mount.transfer.retry import RetryPolicy
from tests.support.faulty_store import FaultyStore
from tests.unit.listing.builders import key_sets

NO_RETRY = EngineSettings(64, RetryPolicy(first=1.0, ceiling=1.0, patience=0.0))
PATIENCE = 5
SHORT = 10


class ShortPages(FaultyStore):
    """Gives few entries a page, as a server may; remembers how many requests were under way at once."""

    size = SHORT
    most = 0

    def submit(self, request, receiver):
        super().submit(request._replace(max_keys=min(request.max_keys, self.size)), receiver)
        self.most = max(self.most, len(self.held))


class Ground:
    """A store, and a catalog whose clock stands still."""

    def __init__(self, engine, store, parallel=PARALLEL):
        self.now = 1000.0
        self.engine = engine
        self.store = store
        self.catalog = Catalog(
            engine, ShelfSettings(60.0, 10.0), parallel=parallel, clock=lambda: self.now
        )

    def read(self, listing, count=10**9):
        """The names of the first entries, in steps like those of a reader."""
        seen = 0
        while seen < count and not (
            listing.directory.is_complete and seen == len(listing.directory)
        ):
            pending = self.catalog.ensure(listing, seen + 1)
            if pending is not None:
                pending.result(PATIENCE)
            seen = min(listing.directory.settled(), seen + 3)
        entries = [listing.directory.at(index) for index in range(seen)]
        return [entry.name for entry in entries if entry]

    def quiet(self):
        while not self.engine._queue.is_empty() or self.engine._inbox:
            time.sleep(0.001)


@pytest.fixture
def store():
    return ShortPages(MemoryStore())


@pytest.fixture
def ground(store):
    with Engine(store, NO_RETRY) as engine:
        yield Ground(engine, store)


def fill(store, count, prefix="d/"):
    names = [f"n{number:05}" for number in range(count)]
    for name in names:
        store.inner.put(prefix + name)
    return [name.encode() for name in names]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(key_sets, max_size=3),
    st.integers(0, 150),
    st.integers(1, 5),
    st.sampled_from(["n", "n/", "a.s3object", "-/"]),
)
def test_the_names_are_those_of_one_page_after_the_other(parts, count, size, stem):
    keys = {f"{stem}{number}" for number in range(count)} | {key for part in parts for key in part}
    found = {}
    for parallel in (1, PARALLEL):
        store = ShortPages(MemoryStore())
        store.size = size
        for key in keys:
            store.inner.put(key)
        with Engine(store, NO_RETRY) as engine:
            ground = Ground(engine, store, parallel)
            listing = ground.catalog.open_listing("")
            names = ground.read(listing)
            odd = [oddities.count for oddities in ground.catalog.oddities()]
            found[parallel] = (names, odd, listing.ends[-1])
            ground.quiet()
            pages = -(-len(listing.directory) // size)
            if parallel > 1:
                # Keys without a path make pages that no entry stands for.
                assert len(store.lists()) <= 2 * (pages + odd[0]) + 2 + PARALLEL / 4
    assert found[1] == found[PARALLEL]


def test_many_pages_are_under_way_at_once_and_few_requests_are_wasted(ground, store):
    names = fill(store, 100 * SHORT)
    listing = ground.catalog.open_listing("d/")
    ground.read(listing, 5 * SHORT)
    rounds = 0
    while not listing.directory.is_complete:
        # The reader has all that is there, and waits.
        store.hold()
        pending = ground.catalog.ensure(listing, len(listing.directory) + 1)
        time.sleep(0.005)
        store.let_go()
        if pending is not None:
            pending.result(PATIENCE)
        ground.quiet()
        rounds += 1
    assert ground.read(listing) == names
    assert rounds < 100 / 3
    assert len(store.lists()) < 150


def test_three_pages_are_three_requests(ground, store):
    names = fill(store, 3 * SHORT)
    assert ground.read(ground.catalog.open_listing("d/")) == names
    assert len(store.lists()) == 3


@pytest.mark.parametrize("read", [2, 5, 20])
def test_a_reader_that_stops_is_not_listed_for(ground, store, read):
    fill(store, 500 * SHORT)
    listing = ground.catalog.open_listing("d/")
    ground.read(listing, read * SHORT)
    for _ in range(2):
        ground.catalog.ensure(listing, read * SHORT)
        ground.quiet()
    come = listing.pages_read()
    assert len(listing.ends) <= come + reach(come) + 1
    assert len(listing.directory) <= (read + reach(come) + 1) * SHORT
    # Guesses that found nothing are the rest.
    assert len(store.lists()) <= 2 * (come + reach(come)) + 1 + PARALLEL / 4
    asked = len(store.lists())
    ground.catalog.ensure(listing, read * SHORT)
    ground.quiet()
    assert len(store.lists()) == asked


def test_how_far_ahead_grows_with_the_reader():
    assert [reach(read) for read in (1, LEAST_AHEAD, 20, 1000)] == [
        LEAST_AHEAD,
        LEAST_AHEAD,
        20,
        MOST_AHEAD,
    ]


def test_lookups_alone_list_page_after_page(ground, store):
    fill(store, 60 * SHORT)
    for number in range(0, 60 * SHORT, 7):
        assert ground.catalog.lookup("d/", b"n%05d" % number).result(PATIENCE).entry
        ground.quiet()
    assert not any(request.start_after for request in store.lists())


@pytest.mark.parametrize("error", [Unreachable("gone"), AccessDenied("no")])
def test_after_an_error_the_reader_goes_on(ground, store, error):
    names = fill(store, 60 * SHORT)
    listing = ground.catalog.open_listing("d/")
    ground.read(listing, 6 * SHORT)
    ground.quiet()
    store.fail(error, times=2)
    with pytest.raises(type(error)):
        ground.read(listing)
    store.faults.clear()
    assert ground.read(listing) == names
    assert (ground.catalog.peek("d/") is listing.directory) is error.retryable
    assert ground.read(ground.catalog.open_listing("d/")) == names


def test_a_listing_that_was_forgotten_goes_on_for_its_reader(ground, store):
    names = fill(store, 40 * SHORT)
    listing = ground.catalog.open_listing("d/")
    ground.read(listing, 6 * SHORT)
    ground.catalog.forget("d/")
    assert ground.read(listing) == names
    assert ground.catalog.peek("d/") is None


class LateDisorder(ShortPages):
    """Turns pages round from a key on."""

    def submit(self, request, receiver):
        super().submit(request, _Turning(receiver))


class _Turning:
    def __init__(self, inner):
        self.inner = inner
        self.done = inner.done

    def page(self, page):
        if page.objects and page.objects[-1].key > "d/n00200":
            page = page._replace(objects=page.objects[::-1])
        self.inner.page(page)


def test_a_store_that_loses_its_order_is_listed_page_after_page_from_then_on():
    store = LateDisorder(MemoryStore())
    names = fill(store, 60 * SHORT)
    with Engine(store, NO_RETRY) as engine:
        ground = Ground(engine, store)
        with pytest.raises(UnexpectedReply):
            ground.read(ground.catalog.open_listing("d/"))
        ground.quiet()
        asked = len(store.lists())
        assert sorted(ground.read(ground.catalog.open_listing("d/"))) == names
        assert len(store.lists()) - asked == 60


def test_a_page_that_waited_is_as_old_as_it_is(ground, store):
    fill(store, 60 * SHORT)
    ranges = Ranges("d/", delimiter="/", max_keys=SHORT, parallel=PARALLEL, window=LEAST_AHEAD)
    ranges.resume([f"d/n{number:05}" for number in range(20, 30)], "d/n00029", 3)
    rest = Rest(ground.engine, ranges, 1000.0)
    replies = []
    rest.deliver = lambda ask, page: replies.append((ask, page))
    assert rest.send(4, 0, 0.0) > 1
    ground.quiet()
    (first, page), *later = replies
    for ask, reply in later:
        assert rest.take(ask, reply, 1010.0) == []
    ages = [each.age for each in rest.take(first, page, 1030.0)]
    assert ages == [0.0] or set(ages[1:]) == {20.0}


@pytest.mark.parametrize("is_expiring", [False, True])
def test_pages_from_disk(tmp_path, is_expiring):
    inner = ShortPages(MemoryStore())
    inner.size = 1000
    names = fill(inner, 20_000)
    clock = [1000.0]
    store = RememberingStore(inner, tmp_path, lambda: clock[0])
    writer = record_listing(tmp_path, store.identity, "", 990.0)
    writer.add([ObjectMeta("d/" + name.decode(), 0, "", 0) for name in names])
    writer.commit()
    with Engine(store, NO_RETRY) as engine:
        ground = Ground(engine, inner)
        listing = ground.catalog.open_listing("d/")
        ground.read(listing, 3500 if is_expiring else 10**9)
        ground.quiet()
        if is_expiring:
            clock[0] = 1055.0
            ground.now = 1055.0
        assert ground.read(listing) == names
        assert bool(inner.lists()) is is_expiring
        # No page is younger than what told of the gap in front of it.
        assert max(listing.times) == pytest.approx(990.0)
