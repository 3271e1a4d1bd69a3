"""A walk over directories is served by a flat listing, which is never far ahead of it."""

import time

import pytest

from s3mount.errors import AccessDenied
from s3mount.fs.flat_walks import FlatWalks
from s3mount.listing.catalog import Catalog
from s3mount.listing.flat import FIRST_AHEAD, LATE, MOST_AHEAD, reach
from s3mount.listing.shelf import ShelfSettings
from s3mount.store.interface import ListPage
from s3mount.store.memory import MemoryStore
from s3mount.transfer.engine import Engine, EngineSettings
from tests.support.faulty_store import FaultyStore

PATIENCE = 10.0


def settles(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return condition()


@pytest.fixture
def store():
    return FaultyStore(MemoryStore())


@pytest.fixture
def engine(store):
    with Engine(store, EngineSettings(64)) as engine:
        yield engine


@pytest.fixture
def catalog(engine):
    return Catalog(engine, ShelfSettings(60.0, 10.0), clock=lambda: 1000.0)


def fill(store, directories, files):
    names = [f"t/d{number:04d}/" for number in range(directories)]
    for name in names:
        for number in range(files):
            store.inner.put(f"{name}f{number:03d}")
    return names


def names_of(directory):
    return [directory.at(index).name for index in range(len(directory))]


def test_a_walker_finds_every_directory_there_with_few_lists(store, catalog):
    names = fill(store, 2000, 5)
    flat = catalog.list_flat("t/", "")
    for name in names:
        flat.passed(name, is_known=True)
        assert settles(lambda name=name: catalog.peek(name) is not None)
        assert names_of(catalog.peek(name)) == [b"f%03d" % number for number in range(5)]
    assert settles(lambda: flat.is_over)
    assert not flat.is_given_up
    assert names_of(catalog.peek("t/"))[:2] == [b"d0000", b"d0001"]
    assert len(store.lists()) < 25  # ten pages and the guesses between them


def test_who_does_not_go_on_is_listed_little(store, catalog):
    names = fill(store, 2000, 10)
    flat = catalog.list_flat("t/", "")
    assert settles(lambda: catalog.peek(names[200]) is not None)
    flat.passed(names[5], is_known=True)
    time.sleep(0.2)  # nothing more comes
    assert len(store.lists()) <= 2 * FIRST_AHEAD
    assert catalog.peek(names[-1]) is None
    assert not flat.is_over


def test_the_reach_grows_with_the_walk_and_has_an_end():
    assert [reach(pages) for pages in (0, 4, 10, 1000)] == [
        FIRST_AHEAD,
        FIRST_AHEAD,
        10,
        MOST_AHEAD,
    ]


def test_who_looks_only_at_the_surface_is_not_listed_for(store, catalog):
    names = fill(store, 40, 1000)
    flat = catalog.list_flat("t/", "")
    assert settles(lambda: store.lists() and catalog.peek(names[0]) is not None)
    store.hold()
    for name in names[-LATE - 2 :]:
        flat.passed(name, is_known=False)
    assert flat.is_given_up
    store.let_go()


def test_it_begins_where_the_walker_is(store, catalog):
    names = fill(store, 300, 3)
    flat = catalog.list_flat("t/", names[200].removesuffix("/"))
    assert settles(lambda: flat.is_over)
    assert catalog.peek(names[199]) is None
    assert catalog.peek(names[200]) is not None
    assert catalog.peek("t/") is None
    assert not flat.covers(names[199])
    assert flat.covers(names[200])


def test_what_is_known_already_stays_and_what_was_forgotten_is_not_believed(store, catalog):
    names = fill(store, 3, 3)
    catalog.lookup(names[0], b"f000").result(PATIENCE)
    known = catalog.peek(names[0])
    store.hold()
    flat = catalog.list_flat("t/", "")
    assert settles(lambda: len(store.held) > 0)
    store.let_go()
    assert settles(lambda: flat.is_over)
    assert catalog.peek(names[0]) is known
    catalog.forget(names[1])
    assert catalog.peek(names[1]) is None
    assert catalog.peek(names[2]) is not None


def test_an_error_leaves_the_directories_to_be_listed_by_themselves(store, catalog):
    names = fill(store, 3, 3)
    store.fail(AccessDenied("no"), times=1)
    flat = catalog.list_flat("t/", "")
    assert settles(lambda: flat.is_over)
    assert flat.is_given_up
    assert not flat.covers(names[0])
    assert catalog.lookup(names[0], b"f000").result(PATIENCE).entry is not None


def test_nothing_is_listed_ahead_where_nothing_is_believed(engine):
    assert Catalog(engine, ShelfSettings(0.0, 0.0)).list_flat("", "") is None


def test_a_walk_that_was_of_no_use_is_not_tried_again(store, catalog):
    names = fill(store, 30, 3)
    flat = FlatWalks(catalog)
    assert not flat.has(names[3])
    assert flat.begin("t/", names[3])
    assert flat.has(names[3])
    (walk,) = flat._flat
    assert settles(lambda: walk.is_over)
    assert flat.has(names[20])
    catalog.forget("t/")
    assert not flat.has(names[21])  # too old by now
    store.fail(AccessDenied("no"), times=1)
    assert flat.begin("t/", names[22])
    assert settles(lambda: not flat.has(names[22]))
    assert not flat.begin("t/", names[23])


def test_a_walk_higher_up_takes_the_place_of_those_below(store, catalog):
    fill(store, 30, 3)
    flat = FlatWalks(catalog)
    assert flat.begin("t/d0001/", "t/d0001/x/")
    assert flat.begin("t/", "t/d0002/")
    assert not flat.has("t/d0001/x/")
    assert flat.has("t/d0003/")
    asked = {request.prefix for request in store.lists() if isinstance(request, ListPage)}
    assert asked <= {"t/", "t/d0001/"}
