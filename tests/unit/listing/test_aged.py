"""Names from listings that others have made: how old an answer may be, and that it is never older than the last one."""

import pytest

from s3mount.listing.catalog import Catalog
from s3mount.listing.shelf import ShelfSettings
from s3mount.store.interface import ObjectMeta
from s3mount.store.memory import MemoryStore
from s3mount.store.remembering import RememberingStore, record_listing
from s3mount.transfer.engine import Engine

PATIENCE = 5


class Ground:
    """A bucket, a catalog, and one clock for both and for what is on disk."""

    def __init__(self, tmp_path):
        self.now = 1000.0
        self.tmp_path = tmp_path
        self.inner = MemoryStore()
        self.store = RememberingStore(self.inner, tmp_path, lambda: self.now)

    def record(self, *, age=0.0):
        """Keep what the bucket holds now, as if it had been listed some seconds ago."""
        writer = record_listing(self.tmp_path, self.inner.identity, "", self.now - age)
        writer.add([ObjectMeta(key, 0, "", 0) for key in sorted(self.inner.keys())])
        writer.commit()

    def knows(self, prefix, name):
        return self.catalog.lookup(prefix, name).result(PATIENCE).entry is not None

    def requests(self):
        return self.inner.counters.totals().get("requests.list", 0)


@pytest.fixture
def ground(tmp_path):
    ground = Ground(tmp_path)
    for key in ("a", "d/a", "d/e/a"):
        ground.inner.put(key)
    with Engine(ground.store) as engine:
        ground.catalog = Catalog(engine, ShelfSettings(60.0, 10.0), clock=lambda: ground.now)
        yield ground


def test_names_and_what_is_none_are_believed_for_their_ttl_from_the_listing_on(ground):
    ground.record()
    ground.now += 9
    assert ground.knows("d/", b"a")
    assert not ground.knows("d/", b"b")
    assert ground.requests() == 0
    ground.now += 2
    assert ground.knows("d/", b"a")
    assert ground.requests() == 0
    assert not ground.knows("d/", b"b")
    assert ground.requests() == 1
    ground.now += 55
    assert ground.knows("d/", b"a")
    assert ground.requests() == 1, "the answer of the store is younger"
    assert ground.knows("", b"a")
    assert ground.requests() == 2, "the listing is too old"


def test_what_is_listed_from_disk_holds_for_what_is_left_of_its_time(ground):
    ground.record()
    ground.now += 50
    answer = ground.catalog.lookup("d/", b"a").result(PATIENCE)
    assert answer.ttl == pytest.approx(10)
    listing = ground.catalog.open_listing("d/")
    assert ground.catalog.remaining_ttl(listing, 0) == pytest.approx(10)


def test_an_older_listing_does_not_take_the_place_of_a_younger_one(ground):
    assert ground.knows("d/", b"a")
    ground.inner.delete("d/a")
    ground.record(age=5)
    ground.inner.put("d/a")
    ground.now += 12
    assert not ground.knows("d/", b"none"), "too long ago for a name that does not exist"
    assert ground.requests() == 2
    assert ground.knows("d/", b"a")


@pytest.mark.parametrize("forgotten", ["", "d/"])
def test_what_is_forgotten_is_asked_of_the_store(ground, forgotten):
    ground.record()
    ground.now += 1
    assert ground.knows("d/e/", b"a")
    ground.catalog.forget(forgotten)
    ground.now += 1
    assert ground.knows("d/e/", b"a")
    assert ground.requests() == 1
    ground.catalog.forget(forgotten)
    ground.now += 1
    ground.record()
    ground.now += 1
    assert ground.knows("d/e/", b"a")
    assert ground.requests() == 1, "this one was made afterwards"


def test_what_was_seen_to_be_wrong_is_asked_of_the_store(ground):
    ground.record()
    ground.now += 1
    assert ground.knows("d/", b"a")
    ground.catalog.outdate("d/", b"a")
    ground.now += 1
    assert ground.knows("d/", b"a")
    assert ground.requests() == 1
    assert ground.knows("d/e/", b"a")
    assert ground.requests() == 1


def test_names_of_a_long_directory_come_from_disk_too(ground):
    for number in range(2500):
        ground.inner.put(f"d/n{number:05}")
    ground.record()
    ground.now += 5
    for name in (b"n02400", b"n00001", b"n02401", b"n02402"):
        assert ground.knows("d/", name)
    assert not ground.knows("d/", b"n99999")
    assert ground.requests() == 0
    ground.now += 8
    assert not ground.knows("d/", b"n99999")
    assert ground.requests() >= 1
