"""Files behind a directory, in the order in which a program comes to them that reads a tree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.fs.following import above, files_behind
from s3mount.listing.catalog import Catalog
from s3mount.listing.shelf import ShelfSettings
from s3mount.store.memory import MemoryStore
from s3mount.store.paging import byte_order
from s3mount.transfer.engine import Engine

PATIENCE = 10.0
NAMES = st.sampled_from(["a", "b", "c-", "d.e", "é"])
KEYS = st.sets(st.lists(NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=25)


@pytest.fixture(scope="module")
def engine():
    with Engine(MemoryStore()) as engine:
        yield engine


def known(engine, keys, prefixes):
    """A catalog that knows these directories of a bucket."""
    before = engine.store.keys()
    for key in before:
        engine.store.delete(key)
    for key in keys:
        engine.store.put(key)
    catalog = Catalog(engine, ShelfSettings(60.0, 60.0), clock=lambda: 1000.0)
    for prefix in prefixes:
        listing = catalog.open_listing(prefix)
        pending = catalog.ensure(listing, 1000)
        if pending is not None:
            pending.result(PATIENCE)
    return catalog


def directories(keys):
    return {""} | {key[: at + 1] for key in keys for at, each in enumerate(key) if each == "/"}


@settings(deadline=None)
@given(KEYS)
def test_they_come_in_the_order_of_the_keys(engine, keys):
    # A key that is a directory as well is shown under another name, behind what a program reads here.
    keys = {key for key in keys if key + "/" not in directories(keys)}
    catalog = known(engine, keys, directories(keys))
    for prefix in directories(keys) - {""}:
        found = list(files_behind(catalog, prefix, ""))
        behind = [key for key in keys if byte_order(key) > byte_order(prefix)]
        wanted = sorted((key for key in behind if not key.startswith(prefix)), key=byte_order)
        assert [each.entry.key for each in found] == wanted
        assert all(each.entry.key.rpartition("/")[0] == each.prefix[:-1] for each in found)


def test_they_end_where_nothing_is_known(engine):
    keys = ["a/1", "b/1", "c/1", "d/1"]
    catalog = known(engine, keys, ["", "a/", "b/", "d/"])
    assert [each.entry.key for each in files_behind(catalog, "a/", "")] == ["b/1"]


def test_they_end_with_the_root(engine):
    keys = ["m/a/1", "m/b/1", "n/1"]
    catalog = known(engine, keys, ["m/", "m/a/", "m/b/"])
    assert [each.entry.key for each in files_behind(catalog, "m/a/", "m/")] == ["m/b/1"]
    assert list(files_behind(catalog, "m/", "m/")) == []


@pytest.mark.parametrize(("prefix", "outer"), [("a/", ""), ("a/b/", "a/"), ("a//", "a/"), ("", "")])
def test_above(prefix, outer):
    assert above(prefix) == outer
