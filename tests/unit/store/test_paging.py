"""Pages of a listing, at every page size, against what S3's documentation says in one line each."""

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from s3mount.store.interface import ListPage, ObjectMeta
from s3mount.store.paging import byte_order, fold_page

PIECES = ["a", "b", "/", "-", ".", "é", "\udc80", "\udcff", "\U0001f600", "\uffff"]
key_lists = st.lists(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join), max_size=12, unique=True
).map(lambda keys: sorted(keys, key=byte_order))
prefixes = st.lists(st.sampled_from(PIECES), max_size=3).map("".join)
delimiters = st.sampled_from(["", "/", "-", "a"])


def meta_of(key):
    return ObjectMeta(key, 0, "e", 0)


def expected(keys, prefix, delimiter):
    """Every entry of a listing in order: keys, and what is before the first delimiter behind the prefix, once."""
    found = {}
    for key in keys:
        if key.startswith(prefix):
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                found[prefix + rest[: rest.index(delimiter) + len(delimiter)]] = "prefix"
            else:
                found[key] = "object"
    return [(name, found[name]) for name in sorted(found, key=byte_order)]


def pages(keys, prefix, delimiter, max_keys, start_after=""):
    token = None
    for _ in range(len(keys) + 2):
        page = fold_page(keys, ListPage(prefix, delimiter, token, start_after, max_keys), meta_of)
        yield page
        token = page.next_token
        if token is None:
            return
    raise AssertionError("the listing does not end")


def entries(page):
    found = [(meta.key, "object") for meta in page.objects]
    found += [(prefix, "prefix") for prefix in page.prefixes]
    return sorted(found, key=lambda entry: byte_order(entry[0]))


@given(key_lists, prefixes, delimiters)
@example(["a", "a-", "a/", "a/a", "a/b", "a0"], "", "/")
@example(["a/", "a/b"], "a/", "/")
@example(["a-", "a-b"], "a-", "-")
def test_every_key_comes_once_whatever_the_page_size(keys, prefix, delimiter):
    wanted = expected(keys, prefix, delimiter)
    for max_keys in range(1, len(keys) + 2):
        found = list(pages(keys, prefix, delimiter, max_keys))
        assert [entry for page in found for entry in entries(page)] == wanted
        assert all(len(entries(page)) == max_keys for page in found[:-1])
        assert len(found) == max(1, -(-len(wanted) // max_keys))


@given(key_lists, prefixes, prefixes)
def test_a_listing_may_begin_behind_a_key(keys, prefix, start_after):
    wanted = [
        (key, kind)
        for key, kind in expected(keys, prefix, "")
        if not start_after or byte_order(key) > byte_order(start_after)
    ]
    for max_keys in range(1, len(keys) + 2):
        found = pages(keys, prefix, "", max_keys, start_after)
        assert [entry for page in found for entry in entries(page)] == wanted


@given(key_lists, delimiters, st.sets(st.integers(0, 11)))
def test_objects_that_vanish_are_left_out(keys, delimiter, gone):
    vanished = {key for number, key in enumerate(keys) if number in gone}

    def meta(key):
        return None if key in vanished else meta_of(key)

    for max_keys in range(1, len(keys) + 2):
        token, found = None, []
        for _ in range(len(keys) + 2):
            page = fold_page(keys, ListPage("", delimiter, token, "", max_keys), meta)
            found += entries(page)
            token = page.next_token
            if token is None:
                break
        assert token is None
        assert found == [
            entry
            for entry in expected(keys, "", delimiter)
            if entry[0] not in vanished or entry[1] == "prefix"
        ]


def test_keys_before_the_continuation_may_be_left_out():
    keys = ["a", "b/c", "b/d", "e"]
    request = ListPage("", "/", "b/", "", 1)
    assert fold_page(keys, request, meta_of) == fold_page(["e"], request, meta_of)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [("a-", "a/"), ("a/", "a0"), ("\uffff", "\U0001f600"), ("z", "é"), ("é", "\udcff")],
)
def test_the_order_is_that_of_bytes(earlier, later):
    assert byte_order(earlier) < byte_order(later)
