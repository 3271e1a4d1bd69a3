"""What is pinned stays, whatever is lost; and what is no longer pinned goes."""

import json
import os
import sqlite3
import threading

import pytest

from s3mount.cache import admin, pin_file, pins, schema
from s3mount.cache.cache import Limits, PinInfo
from s3mount.cache.index import Index
from s3mount.cache.layout import Layout
from s3mount.errors import CacheError, ConfigError
from tests.unit.cache.builders import make_oid, now, put

MIB = 1 << 20
TIGHT = Limits(MIB, 0, MIB)
PINNED = make_oid("pinned", 50_000)


def press(cache, name="k", count=50):
    """Fill far more than the cache can hold."""
    for number in range(count):
        put(cache, make_oid(f"{name}{number}", 50_000))
        if number % 4 == 0:
            cache.maintain(now() + number)


def is_here(cache, oid):
    held = cache.open_object(oid)
    here = held.cached_bytes() == oid.size
    held.close()
    return here


def lose_index(root):
    for path in (root / "v2").glob("index.*"):
        path.unlink()


@pytest.mark.parametrize("first", ["the pin", "the bytes"])
def test_pinned_objects_are_not_evicted(make_cache, first):
    cache = make_cache(TIGHT)
    if first == "the pin":
        assert cache.pin("keep", [PINNED]) == 1
    put(cache, PINNED)
    cache.maintain(now())
    if first == "the bytes":
        assert cache.pin("keep", [PINNED]) == 1
    press(cache)
    assert is_here(cache, PINNED)
    assert cache.pins() == [PinInfo("keep", 1, 53_248, 53_248)]
    assert cache.unpin("keep") == 1
    press(cache, "l")
    assert not is_here(cache, PINNED)
    assert cache.pins() == []


def test_an_object_stays_while_any_pin_holds_it(make_cache):
    cache = make_cache(TIGHT)
    put(cache, PINNED)
    cache.pin("one", [PINNED])
    cache.pin("other", [PINNED])
    cache.maintain(now())
    assert cache.unpin("one") == 1
    press(cache)
    assert is_here(cache, PINNED)


def test_pins_survive_a_lost_index_and_hold_before_anything_is_evicted(make_cache, root):
    first = make_cache(TIGHT)
    put(first, PINNED)
    first.pin("keep", [PINNED])
    first.close()
    lose_index(root)
    cache = make_cache(TIGHT)
    cache.maintain(now())  # sweeps, so that there is something to evict
    press(cache)
    assert is_here(cache, PINNED)
    assert cache.pins() == [PinInfo("keep", 1, 53_248, 53_248)]


def test_an_index_of_another_version_is_made_anew(make_cache, root):
    first = make_cache(TIGHT)
    put(first, PINNED)
    first.pin("keep", [PINNED])
    first.maintain(now())
    first.close()
    with sqlite3.connect(root / "v2/index.sqlite") as db:
        db.execute("DROP TABLE pins")
        db.execute("CREATE TABLE stranger (x)")
        db.execute("INSERT INTO sessions VALUES ('lives-on', 5)")
        db.execute("PRAGMA user_version = 1")
    db.close()
    cache = make_cache(TIGHT)
    cache.maintain(now())
    cache.maintain(now() + 31)
    assert cache.usage().objects == 1
    assert cache.pins() == [PinInfo("keep", 1, 53_248, 53_248)]
    with sqlite3.connect(root / "v2/index.sqlite") as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        assert schema.is_current(db)
    db.close()
    assert "stranger" not in tables


def test_pins_are_added_to_and_what_is_there_is_left_out(cache, root):
    oids = [make_oid(f"k{number}", 100) for number in range(2500)]
    assert cache.pin("many", iter(oids[:2000])) == 2000
    size = (root / "v1/pins/many").stat().st_size
    assert cache.pin("many", oids[:1500]) == 0
    assert (root / "v1/pins/many").stat().st_size == size
    assert cache.pin("many", oids) == 500
    assert cache.pins() == [PinInfo("many", 2500, 0, 2500 * 4096)]
    assert cache.unpin("many") == 2500
    assert not (root / "v1/pins/many").exists()


def test_keys_of_any_bytes_are_pinned(make_cache, root):
    oid = make_oid(b"a\nb\xff\xe2\x82\xac".decode("utf-8", "surrogateescape"), 5000)
    cache = make_cache()
    put(cache, oid)
    cache.pin("odd", [oid])
    cache.close()
    lose_index(root)
    again = make_cache()
    again.maintain(now())
    assert again.pins() == [PinInfo("odd", 1, 8192, 8192)]


def layout_and_index(root):
    layout = Layout(root)
    return layout, Index(layout)


@pytest.mark.parametrize("torn", [b'["s","k', b"\0" * 200_000])
def test_a_line_that_a_crash_left_half_written_is_written_over(cache, root, torn):
    cache.pin("keep", [make_oid("a", 100)])
    path = root / "v1/pins/keep"
    with path.open("ab") as file:
        file.write(torn)
    assert cache.pins()[0].objects == 1
    cache.pin("keep", [make_oid("b", 100)])
    assert cache.pins()[0].objects == 2
    assert path.read_bytes().count(b"\n") == 3
    assert torn not in path.read_bytes()


def test_lines_that_are_no_object_are_passed_over(cache, root):
    cache.pin("keep", [make_oid("a", 100)])
    with (root / "v1/pins/keep").open("ab") as file:
        file.write(b'{"a": 1}\n\x00\x00\n[1, 2, 3, 4]\n["s", "k", "e"]\n')
    cache.pin("keep", [make_oid("b", 100)])
    assert cache.pins()[0].objects == 2


def test_a_file_that_lost_its_end_is_read_anew(cache, root):
    cache.pin("keep", [make_oid("a", 100)])
    path = root / "v1/pins/keep"
    size = path.stat().st_size
    cache.pin("keep", [make_oid("b", 100)])
    os.truncate(path, size)
    cache.pin("keep", [make_oid("c", 100), make_oid("d", 100)])
    assert cache.pins()[0].objects == 3


def test_another_pin_of_the_same_name_is_another_pin(make_cache, root):
    cache = make_cache()
    cache.pin("keep", [make_oid("a", 100), make_oid("b", 100)])
    layout, index = layout_and_index(root)
    pin_file.remove(layout, "keep")  # and a crash before the index heard of it
    pin_file.append(layout, "keep", [make_oid("c", 100)] * 3)
    pins.catch_up(layout, index)
    assert [info.objects for info in cache.pins()] == [1]
    pin_file.remove(layout, "keep")
    assert cache.pins() == []
    index.close()


def test_a_file_whose_maker_died_is_no_pin_and_can_become_one(cache, root):
    (root / "v1/pins/keep").write_bytes(b"s3mou")
    assert cache.pins() == []
    cache.pin("keep", [make_oid("a", 100)])
    assert cache.pins()[0].objects == 1


def test_a_line_that_is_being_written_is_read_when_it_is_whole(cache, root):
    cache.pin("keep", [make_oid("a", 100)])
    layout, index = layout_and_index(root)
    path = root / "v1/pins/keep"
    whole = path.read_bytes() + json.dumps(["s", "é" * 40, "e", 1]).encode() + b"\n"
    known = pin_file.state(layout, "keep")._replace(size=len(whole))
    path.write_bytes(whole[:-20])
    batches = pin_file.read(layout, "keep", known, 0, 1)
    assert [len(oids) for oids, _ in [next(batches)]] == [1]
    assert list(batches) == []
    batches = pin_file.read(layout, "keep", known, 0, 100)
    (_, end), *_ = [next(batches)]
    path.write_bytes(whole)  # the rest of the line comes between two looks
    assert list(batches) == []
    (oids, _), *rest = pin_file.read(layout, "keep", known, end, 100)
    assert ([oid.key for oid in oids], rest) == (["é" * 40], [])
    index.close()


def test_processes_and_threads_add_to_one_pin(make_cache):
    caches = [make_cache(), make_cache()]
    oids = [make_oid(f"k{number}", 100) for number in range(3000)]
    threads = [
        threading.Thread(target=cache.pin, args=("one", oids[start::2]))
        for start, cache in enumerate(caches)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert caches[0].pins()[0].objects == 3000


def test_a_busy_index_does_not_lose_a_pin(make_cache, root):
    cache = make_cache(TIGHT)
    put(cache, PINNED)
    cache.maintain(now())
    blocker = sqlite3.connect(root / "v2/index.sqlite", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    assert cache.pin("keep", [PINNED]) == 1
    blocker.execute("ROLLBACK")
    blocker.close()
    press(cache)
    assert is_here(cache, PINNED)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "a b", "x" * 101, "é"])
def test_names_that_are_no_file_names_are_refused(cache, name):
    with pytest.raises(ConfigError) as refusal:
        cache.pin(name, [PINNED])
    assert refusal.value.hint
    with pytest.raises(ConfigError):
        cache.unpin(name)


def test_a_pin_that_is_not_there_is_an_error(cache):
    with pytest.raises(CacheError, match="no pin 'nightly'"):
        cache.unpin("nightly")


def test_a_pin_that_cannot_be_written_is_an_error(cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CacheError, match="No space left"):
            cache.pin("keep", [PINNED])
    assert cache.pin("keep", [PINNED]) == 1


# What the command line does.


@pytest.fixture
def stocked(cache):
    for key in ("a/1", "a/2", "b/1"):
        put(cache, make_oid(key, 10_000))
    cache.maintain(1000.0)
    return cache


STORE = "http://endpoint/bucket"


def test_what_is_cached_below_a_prefix_is_pinned(stocked, root):
    assert admin.pin(root, "a", STORE, "a/") == (2, 24_576, 24_576, 2)
    assert admin.pin(root, "a", STORE, "") == (3, 36_864, 36_864, 1)
    assert admin.all_pins(root) == [PinInfo("a", 3, 36_864, 36_864)]
    assert admin.info(root).pinned == 36_864
    assert admin.unpin(root, "a") == 3
    assert admin.info(root).pinned == 0


def test_what_is_cached_is_found_when_the_index_was_lost(stocked, root):
    stocked.close()
    lose_index(root)
    assert admin.pin(root, "a", STORE, "a/").objects == 2


def test_what_a_mount_has_not_counted_yet_is_found(stocked, root):
    put(stocked, make_oid("a/3", 10_000))
    assert admin.pin(root, "a", STORE, "a/") == (3, 36_864, 36_864, 3)
    stocked.maintain(1001.0)
    assert admin.info(root).pinned == 36_864


@pytest.mark.parametrize(("store", "prefix"), [(STORE, "c/"), ("http://other/bucket", "a/")])
def test_a_pin_of_nothing_is_an_error(stocked, root, store, prefix):
    with pytest.raises(CacheError) as error:
        admin.pin(root, "nothing", store, prefix)
    assert "prefetch" in error.value.hint
    assert admin.all_pins(root) == []


def test_prune_and_clear_leave_what_is_pinned_and_say_so(stocked, root):
    admin.pin(root, "a", STORE, "a/")
    by_age = admin.prune(root, older_than=2000.0)
    assert (by_age.objects, by_age.pinned) == (1, 2)
    put(stocked, make_oid("b/1", 10_000))
    stocked.maintain(now())
    by_size = admin.prune(root, to_bytes=0)
    assert (by_size.objects, by_size.pinned) == (1, 2)
    assert admin.prune(root, to_bytes=1 << 30).pinned == 0
    put(stocked, make_oid("b/1", 10_000))
    stocked.maintain(now())
    cleared = admin.clear(root)
    assert (cleared.objects, cleared.pinned) == (1, 2)
    assert admin.clear(root, pinned_too=True).objects == 2
    assert admin.all_pins(root) == [PinInfo("a", 2, 0, 24_576)]
    put(stocked, make_oid("a/1", 10_000))
    stocked.maintain(now())
    assert admin.clear(root).pinned == 1
