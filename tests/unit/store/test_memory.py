"""The store in memory: what a bucket means, for every test that stands on it."""

import threading
import time
import zlib

import hypothesis.strategies as st
import pytest
from hypothesis import given

from s3mount.errors import NotFound, ObjectArchived, ObjectChanged
from s3mount.store.interface import Get, ListPage
from s3mount.store.memory import CHUNK, MemoryStore
from s3mount.store.paging import byte_order
from tests.unit.store.builders import Told, ask, fetch, names, page_of, walk, whole

PIECES = ["a", "b", "/", "-", "é", "\udc80", "\udcff"]
keys = st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join)


@pytest.fixture
def store():
    return MemoryStore()


@given(st.lists(keys, unique=True, max_size=10), st.lists(keys, max_size=5), keys)
def test_listings_have_what_was_put_and_not_what_was_deleted(put, deleted, prefix):
    store = MemoryStore()
    for key in put:
        store.put(key)
    for key in deleted:
        store.delete(key)
    left = sorted(set(put) - set(deleted), key=byte_order)
    assert store.keys() == left
    for max_keys in (1, 2, 1000):
        assert names(walk(store, max_keys=max_keys)) == left
        below = [key for key in left if key.startswith(prefix)]
        assert names(walk(store, prefix, max_keys=max_keys)) == below
        after = [key for key in left if byte_order(key) > byte_order(prefix)]
        assert names(walk(store, start_after=prefix, max_keys=max_keys)) == after


def test_a_change_has_another_etag_and_a_later_time(store):
    first, second = store.put("k", b"one"), store.put("k", b"two")
    assert first.etag != second.etag
    assert first.mtime_ns < second.mtime_ns
    assert page_of(store, ListPage("")).objects == [second]
    assert fetch(store, whole(second)) == b"two"
    with pytest.raises(ObjectChanged):
        fetch(store, whole(first))


def test_the_checksum_is_of_whole_objects_only(store):
    meta = store.put("k", b"body")
    assert ask(store, whole(meta)).heads[0].crc32 == zlib.crc32(b"body")
    assert ask(store, Get("k", meta.etag, 0, 2)).heads[0].crc32 is None


def test_an_archived_object_is_refused_until_it_is_restored(store):
    meta = store.put("k", b"body", storage_class="GLACIER")
    assert meta.archived
    with pytest.raises(ObjectArchived):
        fetch(store, whole(meta))
    store.restore("k")
    assert not page_of(store, ListPage("")).objects[0].archived
    assert fetch(store, whole(meta)) == b"body"


def test_a_request_can_be_cancelled_before_and_while_it_is_answered(store):
    meta = store.put("k", bytes(3 * CHUNK))
    before = Told()
    store.submit(whole(meta), before)
    store.cancel(before)
    store.poll(0)
    assert before == Told()

    class Leaving(Told):
        def data(self, chunk):
            super().data(chunk)
            store.cancel(self)

    while_sent = Leaving()
    store.submit(whole(meta), while_sent)
    store.poll(0)
    assert len(while_sent.body) == CHUNK
    assert not while_sent.is_done


def test_a_poll_that_waits_is_woken(store):
    timer = threading.Timer(0.02, store.wake)
    timer.start()
    began = time.monotonic()
    store.poll(10)
    assert time.monotonic() - began < 5
    timer.join()


def test_closing_forgets_requests_without_a_call(store):
    told = Told()
    store.submit(ListPage(""), told)
    store.close()
    store.poll(0)
    assert told == Told()


def test_requests_and_bytes_are_counted(store):
    meta = store.put("k", bytes(CHUNK + 1))
    fetch(store, whole(meta))
    page_of(store, ListPage(""))
    with pytest.raises(NotFound):
        fetch(store, Get("nothing", "", 0, 1))
    assert store.counters.totals() == {
        "requests.get": 2,
        "requests.list": 1,
        "bytes.received": CHUNK + 1,
    }
