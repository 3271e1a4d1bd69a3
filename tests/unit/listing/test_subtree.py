"""A flat listing, cut into directories, tells what a LIST of each directory tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import UnexpectedReply
from s3mount.listing import subtree
from s3mount.listing.subtree import Subtree
from s3mount.store.interface import ListPage, ObjectMeta, Page
from s3mount.store.paging import byte_order, fold_page

KEYS = st.sets(st.text(alphabet="ab/é\U0001f600\udcff-", min_size=1, max_size=8), max_size=40)
PREFIXES = st.sampled_from(["", "a/", "a/b/", "/", "b//"])


def meta_of(key):
    return ObjectMeta(key, len(key), f"etag-{key!r}", 1)


def listed(keys, prefix, delimiter="", after=""):
    ordered = sorted(keys, key=byte_order)
    request = ListPage(prefix, delimiter, start_after=after, max_keys=10**6)
    return fold_page(ordered, request, meta_of)


def directories_below(keys, prefix):
    """Every directory that has a key, the prefix included."""
    found = {prefix} if any(key.startswith(prefix) for key in keys) else set()
    for key in keys:
        if key.startswith(prefix):
            slashes = (at for at, letter in enumerate(key) if letter == "/" and at >= len(prefix))
            found.update(key[: at + 1] for at in slashes)
    return found


def cut(keys, prefix, cuts, after=""):
    """All that is found of a listing in pages of these sizes."""
    objects = list(listed(keys, prefix, after=after).objects)
    tree, found, number = Subtree(prefix, after), [], 0
    while objects:
        size = cuts[number % len(cuts)]
        found += tree.take(Page(objects[:size], [], "more"), float(number))
        objects = objects[size:]
        number += 1
    return found + tree.end()


@given(KEYS, PREFIXES, st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_every_directory_is_told_once_and_as_its_own_list_tells_it(keys, prefix, cuts):
    found = cut(keys, prefix, cuts)
    told = {each.prefix: each.page for each in found}
    assert len(told) == len(found)
    assert set(told) == directories_below(keys, prefix)
    for directory, page in told.items():
        asked = listed(keys, directory, "/")
        assert (list(page.objects), list(page.prefixes)) == (
            list(asked.objects),
            list(asked.prefixes),
        )
        assert page.next_token is None


@given(KEYS, PREFIXES, KEYS)
def test_what_begins_before_the_listing_is_not_told(keys, prefix, others):
    for after in sorted(key for key in others if key.startswith(prefix)):
        told = {each.prefix: each.page for each in cut(keys, prefix, [3], after)}
        for directory, page in told.items():
            asked = listed(keys, directory, "/")
            assert list(page.objects) == list(asked.objects)
            assert list(page.prefixes) == list(asked.prefixes)
        behind = {d for d in directories_below(keys, prefix) if byte_order(d) > byte_order(after)}
        assert set(told) == behind


def test_a_directory_is_as_old_as_the_oldest_page_it_is_in():
    tree = Subtree("")
    pages = [["a/1", "a/2"], ["a/3", "b/1"], ["c/1"]]
    found = []
    for number, keys in enumerate(pages):
        found += tree.take(Page([meta_of(key) for key in keys], [], "t"), float(9 - number))
    found += tree.end()
    assert {each.prefix: each.told_at for each in found} == {
        "a/": 8.0,
        "b/": 7.0,
        "c/": 7.0,
        "": 7.0,
    }


def test_a_directory_is_told_as_soon_as_it_is_over():
    tree = Subtree("")
    assert tree.take(Page([meta_of("a/1"), meta_of("a/x/1")], [], "t"), 1.0) == []
    found = tree.take(Page([meta_of("b/1")], [], "t"), 1.0)
    assert [each.prefix for each in found] == ["a/x/", "a/"]
    assert tree.reached == b"b/1"


def test_a_long_directory_is_left_out_and_those_below_it_are_not(monkeypatch):
    monkeypatch.setattr(subtree, "MOST_NAMES", 20)
    keys = [f"d/{number:03d}" for number in range(50)] + ["d/sub/1", "e/1"]
    assert {each.prefix for each in cut(keys, "", [7])} == {"d/sub/", "e/", ""}


def test_pages_out_of_order_are_refused():
    tree = Subtree("")
    tree.take(Page([meta_of("b")], [], "t"), 1.0)
    with pytest.raises(UnexpectedReply, match="order"):
        tree.take(Page([meta_of("a")], [], "t"), 1.0)
