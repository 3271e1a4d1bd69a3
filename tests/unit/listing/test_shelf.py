"""What is remembered, how long it is believed, and that it stays within bounds."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from s3mount.listing.directory import Entry
from s3mount.listing.shelf import OLD_TTL, Listing, Shelf, ShelfSettings
from s3mount.store.interface import Page
from tests.unit.listing.builders import meta_of

SETTINGS = ShelfSettings(metadata_ttl=60.0, negative_ttl=10.0)


def listing_of(prefix="d/", names=("a",), *, at=0.0, is_complete=True, shelf=None):
    listing = Listing(prefix)
    metas = [meta_of(prefix + name) for name in names]
    listing.append(Page(metas, [], None if is_complete else "more"), at)
    if shelf is not None:
        shelf.keep(listing)
    return listing


def entry_of(key, number=1):
    return Entry.of_object(key.rpartition("/")[2].encode(), meta_of(key, number))


@pytest.fixture
def shelf():
    return Shelf(SETTINGS)


def test_what_is_listed_is_believed_for_its_time_and_what_is_not_for_a_shorter_one(shelf):
    listing_of(at=100.0, shelf=shelf)
    assert shelf.known("d/", b"a", 159.9).ttl == pytest.approx(0.1)
    assert shelf.known("d/", b"a", 160.0) is None
    assert shelf.known("d/", b"b", 100.0) == (None, 10.0)
    assert shelf.known("d/", b"b", 110.0) is None
    assert shelf.fresh_listing("d/", 110.0)
    assert shelf.fresh_listing("d/", 160.0) is None
    assert shelf.old("d/", b"a", 10_000.0).entry.name == b"a"
    assert shelf.old("d/", b"b", 159.9) == (None, OLD_TTL)
    assert shelf.old("d/", b"b", 160.0) is None, "an outage must not look like a deletion"


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 200))
def test_no_answer_is_older_than_its_ttl(metadata_ttl, negative_ttl, age):
    shelf = Shelf(ShelfSettings(metadata_ttl, negative_ttl))
    listing_of(shelf=shelf)
    shelf.learn("d/", b"c", entry_of("d/c"), 0.0)
    for name, limit in [
        (b"a", metadata_ttl),
        (b"b", min(metadata_ttl, negative_ttl)),
        (b"c", metadata_ttl),
    ]:
        answer = shelf.known("d/", name, age)
        assert (answer is not None) == (age < limit)
        assert answer is None or answer.ttl == pytest.approx(limit - age)


def test_a_ttl_of_nothing_believes_nothing():
    shelf = Shelf(ShelfSettings(0.0, 0.0))
    listing = listing_of(shelf=shelf)
    assert shelf.known("d/", b"a", 0.0) is None
    assert shelf.known("d/", b"b", 0.0) is None
    assert shelf.fresh_listing("d/", 0.0) is None
    assert shelf.remaining_ttl(listing, 0.0) == 0.0


def test_of_two_answers_the_newer_one_counts(shelf):
    shelf.learn("d/", b"a", None, 0.0)
    listing_of(at=1.0, shelf=shelf)
    assert shelf.known("d/", b"a", 2.0).entry.name == b"a"
    assert shelf.old("d/", b"a", 2.0).entry.name == b"a"
    shelf.learn("d/", b"a", None, 3.0)
    assert shelf.known("d/", b"a", 4.0).entry is None
    assert shelf.old("d/", b"a", 4.0).entry is None
    assert shelf.old("d/", b"a", 100.0) is None


def test_an_entry_of_a_listing_gives_way_to_what_was_learned_since(shelf):
    listing = listing_of(names=("a", "b"), at=5.0, shelf=shelf)
    older, newer = listing.directory.at(0), entry_of("d/a", 2)
    assert shelf.current("d/", older) is older
    shelf.learn("d/", b"a", newer, 4.0)
    assert shelf.current("d/", older) is older
    shelf.learn("d/", b"a", newer, 6.0)
    assert shelf.current("d/", older) is newer
    shelf.learn("d/", b"a", None, 7.0)
    assert shelf.current("d/", older) is None
    assert shelf.current("d/", listing.directory.at(1)) is not None


def test_an_outdated_name_is_asked_again_and_its_siblings_are_not(shelf):
    listing_of(names=("a", "b"), at=5.0, shelf=shelf)
    shelf.learn("d/", b"a", entry_of("d/a", 2), 6.0)
    shelf.outdate("d/", b"a", 7.0)
    assert shelf.known("d/", b"a", 8.0) is None
    assert shelf.known("d/", b"b", 8.0) is not None
    shelf.learn("d/", b"a", entry_of("d/a", 3), 8.0)
    assert shelf.known("d/", b"a", 9.0).entry.etag.endswith("3")
    listing_of(names=("a", "b"), at=10.0, shelf=shelf)
    assert shelf.known("d/", b"a", 10.0) is not None


def test_a_listing_that_came_at_the_moment_of_the_change_is_not_believed(shelf):
    listing_of(at=5.0, shelf=shelf)
    shelf.outdate("d/", b"a", 5.0)
    assert shelf.known("d/", b"a", 5.0) is None


def test_what_a_listing_has_not_come_to_is_not_known(shelf):
    listing_of(names=("a", "c"), is_complete=False, shelf=shelf)
    assert shelf.known("d/", b"a", 0.0).entry is not None
    assert shelf.known("d/", b"b", 0.0).entry is None
    assert shelf.known("d/", b"c", 0.0) is None  # `c/` may follow
    assert shelf.known("d/", b"d", 0.0) is None
    assert shelf.old_listing("d/") is None


def test_a_directory_is_long_until_a_page_holds_it_all(shelf):
    assert not shelf.is_long("d/")
    listing = listing_of(names=("a",), is_complete=False, shelf=shelf)
    assert shelf.is_long("d/")
    listing.append(Page([meta_of("d/b")], [], None), 0.0)
    shelf.keep(listing)
    assert shelf.is_long("d/")
    listing_of(names=("a", "b"), shelf=shelf)
    assert not shelf.is_long("d/")


def test_forgetting_takes_all_below_and_nothing_beside(shelf):
    for prefix in ("", "d/", "d/e/", "d-/", "e/"):
        listing_of(prefix, shelf=shelf)
        shelf.learn(prefix, b"x", None, 0.0)
    assert shelf.forget("d/", 1.0) == 2
    for prefix, is_known in {"": True, "d/": False, "d/e/": False, "d-/": True, "e/": True}.items():
        for name in (b"a", b"x"):
            assert (shelf.known(prefix, name, 1.0) is not None) == is_known
            assert (shelf.old(prefix, name, 1.0) is not None) == is_known
    assert shelf.forget("", 1.0) == 3
    assert shelf.totals() == {"directories": 0, "entries": 0}


def test_dropping_a_listing_spares_a_newer_one(shelf):
    older = listing_of(shelf=shelf)
    newer = listing_of(shelf=shelf)
    shelf.drop(older)
    assert shelf.holds(newer)
    shelf.drop(newer)
    assert not shelf.holds(newer)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 40)), max_size=30))
def test_listings_stay_within_their_bounds(kept):
    shelf = Shelf(ShelfSettings(max_bytes=20_000, max_entries=50))
    for prefix, count in kept:
        listing_of(prefix + "/", [f"{number:04}" for number in range(count)], shelf=shelf)
        assert shelf.totals()["entries"] <= 50
        held = [listing.directory.weight for listing in shelf._listings.values()]
        assert sum(held) <= 20_000


def test_a_listing_larger_than_all_memory_is_not_kept_and_pushes_nothing_out():
    shelf = Shelf(ShelfSettings(max_bytes=2000))
    small = listing_of("s/", shelf=shelf)
    large = listing_of("l/", [f"{number:04}" for number in range(100)], shelf=shelf)
    assert shelf.holds(small)
    assert not shelf.holds(large)
    assert shelf.is_long("l/") is False


def test_a_listing_that_grows_is_weighed_again():
    shelf = Shelf(ShelfSettings(max_bytes=3000))
    small = listing_of("s/", shelf=shelf)
    growing = listing_of("g/", is_complete=False, shelf=shelf)
    growing.append(Page([meta_of(f"g/b{number:03}") for number in range(27)], [], "more"), 0.0)
    shelf.keep(growing)
    assert shelf.holds(growing)
    assert not shelf.holds(small)


def test_oddities_of_all_directories_are_counted_and_go_when_they_are_gone(shelf):
    listing = Listing("d/")
    listing.append(Page([meta_of("d/a"), meta_of("d/..")], ["d/a/", "d//"], None), 0.0)
    shelf.keep(listing)
    listing_of("e/", ["."], shelf=shelf)
    unspellable, twins = shelf.oddities()
    assert (unspellable.count, twins.count) == (3, 1)
    assert sorted(unspellable.examples) == ["d/..", "d//", "e/."]
    assert twins.examples == ["d/a"]
    listing_of("d/", shelf=shelf)
    assert [found.count for found in shelf.oddities()] == [1, 0]
