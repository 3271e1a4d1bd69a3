"""Listings from disk: as young as was asked for, of this store, and the store where there is none."""

import os
from contextlib import closing

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from s3mount.store.interface import Get, ListPage
from s3mount.store.listing_files import file_name, listings_directory
from s3mount.store.memory import MemoryStore
from s3mount.store.remembering import RememberingStore, record_listing
from s3mount.store.stored_listings import DAY
from tests.unit.store.builders import Told, fetch, page_of, whole

KEYS = ["a", "d/a", "d/b/1", "d/b/2", "d/c", "e"]


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def inner():
    store = MemoryStore()
    for key in KEYS:
        store.put(key, key.encode())
    return store


@pytest.fixture
def store(inner, tmp_path, clock):
    with closing(RememberingStore(inner, tmp_path, clock)) as store:
        yield store


def record(tmp_path, inner, prefix="", listed_at=1_000_000.0, keys=None, identity=None):
    writer = record_listing(tmp_path, identity or inner.identity, prefix, listed_at)
    found = page_of(inner, ListPage(prefix)).objects
    writer.add([meta for meta in found if keys is None or meta.key in keys])
    writer.commit()
    inner.counters._totals.clear()


def lists(inner):
    totals = inner.counters.totals()
    return totals.get("requests.list", 0), totals.get("listing.from_disk", 0)


def test_a_listing_below_what_was_recorded_makes_no_request(store, inner, tmp_path, clock):
    record(tmp_path, inner)
    clock.now += 7
    for prefix in ("", "d/", "d/b/", "d/b", "x/"):
        there = page_of(inner, ListPage(prefix, "/"))
        inner.counters._totals.clear()
        page = page_of(store, ListPage(prefix, "/", max_age=60))
        assert page == there._replace(age=7.0)
        assert lists(inner) == (0, 1)


@pytest.mark.parametrize(
    ("later", "max_age", "is_used"),
    [(59.9, 60, True), (60, 60, False), (1, 0, False), (0, 60, False), (-5, 60, False)],
)
def test_how_old_it_may_be_is_for_who_asks(store, inner, tmp_path, clock, later, max_age, is_used):
    record(tmp_path, inner)
    clock.now += later
    page_of(store, ListPage("d/", "/", max_age=max_age))
    assert lists(inner) == ((0, 1) if is_used else (1, 0))


def test_only_what_covers_the_prefix_of_the_same_store_is_used(store, inner, tmp_path, clock):
    record(tmp_path, inner, "d/b/")
    record(tmp_path, inner, identity="memory:other")
    clock.now += 1
    page_of(store, ListPage("d/", "/", max_age=60))
    assert lists(inner) == (1, 0)
    page_of(store, ListPage("d/b/1", "/", max_age=60))
    assert lists(inner) == (1, 1)


def test_the_newest_of_several_is_used(store, inner, tmp_path, clock):
    record(tmp_path, inner, "", clock.now, keys=["d/a"])
    record(tmp_path, inner, "d/", clock.now + 1)
    clock.now += 2
    assert len(page_of(store, ListPage("d/", max_age=60)).objects) == 4
    record(tmp_path, inner, "", clock.now, keys=["d/c"])
    clock.now += 2
    assert [meta.key for meta in page_of(store, ListPage("d/", max_age=60)).objects] == ["d/c"]


def test_a_listing_that_is_written_again_is_seen_at_once(store, inner, tmp_path, clock):
    record(tmp_path, inner, keys=["a"])
    clock.now += 0.1
    assert len(page_of(store, ListPage(max_age=60, prefix="")).objects) == 1
    record(tmp_path, inner, listed_at=clock.now)
    clock.now += 0.1
    assert len(page_of(store, ListPage(max_age=60, prefix="")).objects) == len(KEYS)


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from("abc/-"), min_size=1, max_size=4).map("".join),
    st.sets(st.lists(st.sampled_from("abc/-"), min_size=1, max_size=4).map("".join), max_size=12),
    st.integers(1, 4),
    st.integers(0, 5),
    st.booleans(),
)
def test_a_listing_goes_on_at_the_store_where_the_file_is_gone(
    tmp_path_factory, prefix, keys, max_keys, cut, is_removed
):
    folder, clock, inner = tmp_path_factory.mktemp("cache"), Clock(), MemoryStore()
    for key in keys:
        inner.put(key)
    asked = prefix if prefix.endswith("/") else ""
    wanted = page_of(inner, ListPage(asked, "/"))
    record(folder, inner)
    clock.now += 1
    found, token = [], None
    with closing(RememberingStore(inner, folder, clock)) as store:
        for number in range(len(keys) + 2):
            if number == cut:
                if is_removed:
                    (listings_directory(folder) / file_name(inner.identity, "")).unlink()
                clock.now += 100
            request = ListPage(asked, "/", token, max_keys=max_keys, max_age=60)
            page = page_of(store, request)
            found += [*(meta.key for meta in page.objects), *page.prefixes]
            token = page.next_token
            if token is None:
                break
    assert token is None
    assert sorted(found) == sorted([*(meta.key for meta in wanted.objects), *wanted.prefixes])


def test_old_files_are_removed_by_who_comes_by(store, inner, tmp_path, clock):
    record(tmp_path, inner, "d/", clock.now)
    record(tmp_path, inner, "e/", clock.now)
    path = listings_directory(tmp_path) / file_name(inner.identity, "d/")
    os.utime(path, (clock.now, clock.now))
    other = listings_directory(tmp_path) / file_name(inner.identity, "e/")
    clock.now += DAY + 1
    os.utime(other, (clock.now, clock.now))
    page_of(store, ListPage("x/", max_age=60))
    assert not path.exists()
    assert other.exists()


@pytest.mark.expects_log("a stored listing is dropped")
@pytest.mark.parametrize("body", [b"", b"junk" * 1000])
def test_a_damaged_file_is_dropped_and_the_store_asked(store, inner, tmp_path, clock, body):
    record(tmp_path, inner)
    path = listings_directory(tmp_path) / file_name(inner.identity, "")
    path.write_bytes(body)
    clock.now += 1
    assert len(page_of(store, ListPage("", max_age=60)).objects) == len(KEYS)
    assert lists(inner) == (1, 0)
    assert not path.exists()


@pytest.mark.expects_log("a stored listing is dropped")
def test_a_file_under_the_name_of_another_is_dropped(store, inner, tmp_path, clock):
    record(tmp_path, inner, "d/b/")
    folder = listings_directory(tmp_path)
    (folder / file_name(inner.identity, "d/b/")).rename(folder / file_name(inner.identity, ""))
    clock.now += 1
    assert len(page_of(store, ListPage("", max_age=60)).objects) == len(KEYS)


def test_bytes_come_from_the_store(store, inner):
    meta = inner.put("f", b"body")
    assert fetch(store, whole(meta)) == b"body"
    assert fetch(store, Get("f", "", 0, 2)) == b"bo"


def test_what_is_cancelled_is_not_told(store, inner, tmp_path, clock):
    record(tmp_path, inner)
    clock.now += 1
    told, other = Told(), Told()
    store.submit(ListPage("", max_age=60), told)
    store.submit(ListPage("", max_age=60), other)
    store.cancel(told)
    store.poll(0)
    store.poll(0)
    assert (told.pages, told.is_done, other.is_done) == ([], False, True)

    class Leaving(Told):
        def page(self, page):
            super().page(page)
            store.cancel(self)

    leaving = Leaving()
    store.submit(ListPage("", max_age=60), leaving)
    store.poll(0)
    store.poll(0)
    assert len(leaving.pages) == 1
    assert not leaving.is_done
