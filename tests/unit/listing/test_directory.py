"""A directory that grows page by page shows what the whole set of keys shows, and never claims too early."""

import random
from concurrent.futures import Future
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from s3mount.listing.directory import KEPT_EXAMPLES, Directory, Oddities
from s3mount.store.interface import ListPage, ObjectMeta, Page
from s3mount.store.memory import MemoryStore
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Urgency
from tests.model.reference import Shown, names_below, twins_below, unspellable_below
from tests.unit.listing.builders import key_sets, meta_of, pages_of, shuffled_pages

prefixes = st.sampled_from(["", "a/", "a/a/", "/", "é/"])


def shown(directory, start=0, stop=None):
    entries = [
        directory.at(index) for index in range(start, len(directory) if stop is None else stop)
    ]
    found = [(entry.name, Shown(entry.key, entry.is_directory)) for entry in entries if entry]
    assert len(dict(found)) == len(found), "a name is shown twice"
    return dict(found)


def candidates(keys, prefix):
    """Names that are there, and those that nearly are."""
    names = set(names_below(keys, prefix)) | {
        b"a",
        b"b",
        b"a.s3object",
        b"-",
        b"zz",
        b"a-",
        b".s3object",
    }
    return names | {name + b".s3object" for name in names} | {name + b"-" for name in names}


def told(entry):
    return entry and Shown(entry.key, entry.is_directory)


@given(key_sets, prefixes)
@example(["a", "a-1", "a-2", "a/x"], "")
@example(["a", "a.s3object", "a/x"], "")
@example(["a", "a.s3object.s3object", "a.s3object/x", "a/x"], "")
def test_a_directory_shows_what_its_keys_show_at_every_page_size(keys, prefix):
    expected = names_below(keys, prefix)
    for size in range(1, len(keys) + 1):
        directory = Directory(prefix)
        for page in pages_of(keys, prefix, size):
            directory.append(page)
        assert shown(directory) == expected
        assert directory.is_complete
        for name in candidates(keys, prefix):
            assert told(directory.find(name)) == expected.get(name)
        assert set(directory.unspellable.examples) == unspellable_below(keys, prefix)
        assert set(directory.twins.examples) == twins_below(keys, prefix)
        assert directory.twins.count == len(twins_below(keys, prefix))


@given(key_sets, prefixes)
@example(["a", "a-1", "a-2", "a-3", "a/x"], "")
@example(["a", "a-", "a-b", "a-b-1", "a-b-2", "a-b/x", "a/x"], "")
@example(["a", "a.t", "a/x"], "")
def test_a_directory_that_is_partly_listed_claims_nothing_wrong(keys, prefix):
    expected = names_below(keys, prefix)
    for size in range(1, len(keys) + 1):
        directory = Directory(prefix)
        seen = {}
        reached = 0
        for page in pages_of(keys, prefix, size):
            directory.append(page)
            for name in candidates(keys, prefix):
                if directory.is_known(name):
                    assert told(directory.find(name)) == expected.get(name), (name, size)
            # A reader that takes at once whatever may be shown gets the same as one that waits.
            assert directory.settled() >= reached
            seen |= shown(directory, reached, directory.settled())
            reached = directory.settled()
        assert seen == expected
        assert reached == len(directory)


@given(key_sets, prefixes)
def test_most_of_what_is_listed_may_be_shown_at_once(keys, prefix):
    """Only an object whose directory may still come holds the others back."""
    for size in range(1, len(keys) + 1):
        directory = Directory(prefix)
        for page in pages_of(keys, prefix, size):
            directory.append(page)
            labels = [
                entry.key[len(prefix) :].encode("utf-8", "surrogateescape")
                for entry in every(directory)
            ]
            held_back = labels[directory.settled() :]
            if held_back:
                last = max([*labels, reached_by(page, prefix)])
                assert last.startswith(held_back[0])
                assert held_back[0] + b"/" > last


def every(directory):
    return [directory._entry(index, b"") for index in range(len(directory))]


def reached_by(page, prefix):
    keys = [*(meta.key for meta in page.objects), *page.prefixes]
    return max((key[len(prefix) :].encode("utf-8", "surrogateescape") for key in keys), default=b"")


@given(key_sets, prefixes, st.randoms(use_true_random=False))
def test_stores_that_list_in_no_order_show_the_same(keys, prefix, shuffler):
    expected = names_below(keys, prefix)
    for size in range(1, len(keys) + 1):
        directory = Directory(prefix)
        for page in shuffled_pages(keys, prefix, size, shuffler):
            directory.append(page)
        assert shown(directory) == expected
        assert directory.settled() == len(directory)
        for name in candidates(keys, prefix):
            assert told(directory.find(name)) == expected.get(name)
        assert directory.twins.count == len(twins_below(keys, prefix))


@given(key_sets)
def test_what_a_store_says_twice_is_shown_once(keys):
    directory = Directory("")
    pages = list(pages_of(keys, "", 3))
    for page in pages:
        directory.append(page._replace(next_token="more"))
        directory.append(page)
    assert shown(directory) == names_below(keys, "")


def test_attributes_survive():
    metas = [
        ObjectMeta("d/a", 2**40, "0123456789abcdef0123456789abcdef", 1_700_000_000_123_456_789),
        ObjectMeta("d/b", 0, "0123456789abcdef0123456789abcdef-12", -1, "GLACIER", True),
        ObjectMeta("d/c", 1, "0123456789ABCDEF0123456789ABCDEF", 5, "STANDARD_IA"),
        ObjectMeta("d/d", 1, "", 5),
        ObjectMeta("d/e", 1, "0123456789abcdef 0123456789abcde", 5),
        ObjectMeta("d/f", 1, "zz" * 16, 5, "GLACIER"),
    ]
    directory = Directory("d/")
    directory.append(Page(metas, [], None))
    assert [directory.at(index).meta for index in range(6)] == metas
    assert [directory.find(meta.key[2:].encode()).meta for meta in metas] == metas


def test_the_weight_grows_with_what_is_kept():
    directory = Directory("")
    weights = [directory.weight]
    for number in range(3):
        directory.append(Page([meta_of(f"{number}{'x' * 100}", number)], [], "more"))
        weights.append(directory.weight)
    assert all(later - earlier > 100 for earlier, later in pairwise(weights))


def test_oddities_are_counted_and_the_first_are_named():
    oddities = Oddities()
    for number in range(100):
        oddities.note(str(number))
    other = Oddities()
    other.note("other")
    other.include(oddities)
    assert (oddities.count, other.count) == (100, 101)
    assert oddities.examples == [str(number) for number in range(KEPT_EXAMPLES)]
    assert other.examples == ["other", *oddities.examples[:-1]]


@pytest.mark.parametrize("seed", range(5))
def test_over_a_store_and_an_engine(seed):
    """The same with real requests: the pages of a store in memory."""
    dice = random.Random(seed)
    parts = ["a", "b", "-", "/", ".s3object", "é"]
    keys = {"".join(dice.choices(parts, k=dice.randrange(1, 6))) for _ in range(60)}
    store = MemoryStore()
    for key in keys:
        store.put(key)
    with Engine(store) as engine:
        for prefix in ("", "a/", "é/"):
            for size in (1, 2, 3, 7, 1000):
                assert shown(listed(engine, prefix, size)) == names_below(keys, prefix)


def listed(engine, prefix, size):
    directory, token = Directory(prefix), None
    while not directory.is_complete:
        page: Future = Future()
        engine.list(ListPage(prefix, "/", token, max_keys=size), page.set_result, Urgency.NEEDED)
        directory.append(page.result(5))
        token = page.result().next_token
    return directory
