"""Snapshots: what they show, what they ask of the store they were made of, and what is let in from elsewhere."""

import sqlite3
import threading
import time
from contextlib import closing

import pytest

from s3mount.errors import ConfigError, NotFound, ObjectChanged, StoreError, Unreachable
from s3mount.store import late, snapshots
from s3mount.store.interface import Get, ListPage, ObjectMeta, StoreSettings
from s3mount.store.manifest import BadManifest
from s3mount.store.memory import MemoryStore
from s3mount.store.open import Source, open_snapshot_store, open_store, snapshot_facts
from s3mount.store.snapshot import SnapshotStore
from tests.support.faulty_store import FaultyStore
from tests.unit.store.builders import Told, page_of, whole

FACTS = {
    "identity": "memory:bucket",
    "prefix": "d/",
    "source": "memory://bucket/d",
    "kind": "s3",
    "place": "bucket",
    "created": "5.0",
    "endpoint_url": "",
    "region": "",
    "addressing_style": "auto",
    "no_sign_request": "",
    "requester_pays": "",
}


@pytest.fixture
def inner():
    store = MemoryStore("bucket")
    for key in ("d/a", "d/b/c"):
        store.put(key, key.encode())
    return store


def record(cache_dir, inner, name="one", versions=None, **facts):
    writer = snapshots.writer(cache_dir, name, FACTS | facts)
    metas = page_of(inner, ListPage("d/")).objects
    writer.add([(meta, (versions or {}).get(meta.key, "")) for meta in metas])
    writer.commit()
    return metas


def opened(cache_dir, open_inner, name="one"):
    return closing(SnapshotStore(snapshots.open_snapshot(cache_dir, name), open_inner))


def told_of(store, request, seconds=5.0):
    told = Told()
    store.submit(request, told)
    deadline = time.monotonic() + seconds
    while not told.is_done and time.monotonic() < deadline:
        store.poll(0.05)
    assert told.is_done
    return told


def test_names_come_from_the_file_and_the_store_is_not_opened(tmp_path, inner):
    metas = record(tmp_path, inner)
    inner.put("d/new")
    with opened(tmp_path, lambda: pytest.fail("opened")) as store:
        assert (store.identity, store.prefix) == ("memory:bucket", "d/")
        assert store.description == "snapshot:one"
        page = page_of(store, ListPage("d/", "/", max_age=60))
        assert (page.objects, page.prefixes, page.age) == ([metas[0]], ["d/b/"], 0.0)
        assert store.counters.totals() == {"listing.from_disk": 1}
        store.renew()
        store.wake()


def test_bytes_come_from_the_store_which_is_opened_once_on_another_thread(tmp_path, inner):
    metas = record(tmp_path, inner)
    threads = []

    def open_inner():
        threads.append(threading.current_thread())
        return inner

    with opened(tmp_path, open_inner) as store:
        page_of(store, ListPage("d/"))
        for meta in metas:
            assert told_of(store, whole(meta)).body == meta.key.encode()
        assert threads != [threading.current_thread()]
        assert len(threads) == 1
        totals = store.counters.totals()
        assert (totals["listing.from_disk"], totals["requests.get"]) == (1, 2)


def test_opening_holds_up_nobody_and_ends_quietly_after_the_store(tmp_path, inner):
    (meta, _) = record(tmp_path, inner)
    may_go_on, is_closed = threading.Event(), threading.Event()
    inner.close = is_closed.set

    def open_inner():
        may_go_on.wait(5)
        return inner

    with opened(tmp_path, open_inner) as store:
        told, cancelled = Told(), Told()
        store.submit(whole(meta), told)
        store.submit(whole(meta), cancelled)
        store.cancel(cancelled)
        assert page_of(store, ListPage("d/")).objects
        waker = threading.Timer(0.05, store.wake)
        waker.start()
        began = time.monotonic()
        store.poll(5)
        assert time.monotonic() - began < 4, "woken"
        waker.join()
    may_go_on.set()
    assert is_closed.wait(5)
    assert not told.is_done
    assert not cancelled.is_done


def test_a_store_that_cannot_be_opened_is_tried_again_after_a_pause(tmp_path, inner, monkeypatch):
    (meta, _) = record(tmp_path, inner)
    tries = []

    def open_inner():
        tries.append(1)
        if len(tries) == 1:
            raise ConfigError("no such profile", hint="name another")
        return inner

    with opened(tmp_path, open_inner) as store:
        for _ in range(2):
            error = told_of(store, whole(meta)).error
            assert "no such profile" in error.message
            assert error.hint == "name another"
        assert len(tries) == 1
        monkeypatch.setattr(late, "OPEN_AGAIN", 0.0)
        assert told_of(store, whole(meta)).body == b"d/a"


def test_another_store_than_the_recorded_one_is_refused(tmp_path, inner):
    (meta, _) = record(tmp_path, inner, identity="memory:other")
    with opened(tmp_path, lambda: inner) as store:
        error = told_of(store, whole(meta)).error
        assert type(error) is StoreError
        assert "memory:other" in error.message
        assert inner.counters.totals().get("requests.get", 0) == 0


class Versions(FaultyStore):
    """A store that keeps old versions: a request with an id is answered as it was."""

    def submit(self, request, receiver):
        if isinstance(request, Get) and request.version_id == "v1":
            self.inner.put(request.key, request.key.encode())
        super().submit(request, receiver)


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_version_that_is_not_the_newest_is_asked_for_by_its_id(tmp_path, inner, is_deleted):
    metas = record(tmp_path, inner, versions={"d/a": "v1"})
    for meta in metas:
        inner.delete(meta.key) if is_deleted else inner.put(meta.key, b"another")
    store_inside = Versions(inner)
    with opened(tmp_path, lambda: store_inside) as store:
        assert told_of(store, whole(metas[0])).body == b"d/a"
        error = told_of(store, whole(metas[1])).error
        assert isinstance(error, ObjectChanged)
        gets = [each for each in store_inside.requests if isinstance(each, Get)]
        assert [get.version_id for get in gets] == ["", "v1", ""]


@pytest.mark.parametrize(
    ("second", "told"), [(NotFound("gone"), ObjectChanged), (Unreachable("gone"), Unreachable)]
)
def test_an_old_version_that_cannot_be_had_is_another_version(tmp_path, inner, second, told):
    metas = record(tmp_path, inner, versions={"d/a": "v1"})
    inner.put("d/a", b"another")
    store_inside = FaultyStore(inner)
    store_inside.fail(second, matches=lambda request: getattr(request, "version_id", ""))
    with opened(tmp_path, lambda: store_inside) as store:
        assert isinstance(told_of(store, whole(metas[0])).error, told)


def test_an_unknown_name_names_those_that_exist(tmp_path, inner):
    with pytest.raises(ConfigError) as raised:
        snapshots.open_snapshot(tmp_path, "none")
    assert "--snapshot" in raised.value.hint
    record(tmp_path, inner, "b")
    record(tmp_path, inner, "a")
    assert snapshots.names(tmp_path) == ["a", "b"]
    for ask in (snapshots.open_snapshot, snapshots.remove):
        with pytest.raises(ConfigError) as raised:
            ask(tmp_path, "none")
        assert raised.value.hint == "there are: a, b"
    snapshots.remove(tmp_path, "b")
    assert snapshots.names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "a/b", "a:b", "a b", "a\n", "é", "a" * 101])
def test_what_cannot_be_a_name(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be"):
        snapshots.writer(tmp_path, name, FACTS)


def test_out_and_in_again(tmp_path, inner):
    record(tmp_path / "here", inner, versions={"d/a": "v1"})
    with (tmp_path / "file").open("wb") as file:
        snapshots.send(tmp_path / "here", "one", file)
    found = snapshots.bring_in(tmp_path / "there", tmp_path / "file", "two")
    assert found == ("two", "memory://bucket/d", "memory:bucket", 2, 8, 5.0)
    with (
        closing(snapshots.open_snapshot(tmp_path / "here", "one")) as mine,
        closing(snapshots.open_snapshot(tmp_path / "there", "two")) as theirs,
    ):
        assert mine.facts == theirs.facts
        assert list(mine.objects()) == list(theirs.objects())
        assert theirs.version_id("d/a") == "v1"
    with pytest.raises(ConfigError, match="already"):
        snapshots.bring_in(tmp_path / "there", tmp_path / "file", "two")
    snapshots.bring_in(tmp_path / "there", tmp_path / "file", "two", replace=True)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE objects SET size = -1",
        "UPDATE objects SET size = 'x'",
        "UPDATE objects SET size = 1.5",
        "UPDATE objects SET mtime_ns = NULL",
        "UPDATE objects SET etag = NULL",
        "UPDATE objects SET etag = x'ff'",
        "UPDATE objects SET etag = 'a\r\nhost: b'",
        "UPDATE objects SET version_id = 'é'",
        "UPDATE objects SET storage_class = zeroblob(10000)",
        "INSERT INTO objects VALUES (x'', 0, '', 0, '', 0, '')",
        "INSERT INTO objects VALUES ('text', 0, '', 0, '', 0, '')",
        "INSERT INTO objects VALUES (zeroblob(5000), 0, '', 0, '', 0, '')",
        "DELETE FROM facts WHERE name = 'identity'",
        "UPDATE facts SET value = 'text'",
        "UPDATE facts SET value = x'0a' WHERE name = 'place'",
        "UPDATE facts SET value = x'61' WHERE name = 'prefix'",
        "UPDATE facts SET value = x'61' WHERE name = 'kind'",
        "UPDATE facts SET value = x'61' WHERE name = 'created'",
        "CREATE TRIGGER more AFTER INSERT ON facts BEGIN DELETE FROM facts; END",
        "CREATE VIEW more AS SELECT load_extension('x')",
    ],
)
def test_nothing_insane_comes_in(tmp_path, inner, change):
    record(tmp_path / "here", inner)
    file = snapshots.path_of(tmp_path / "here", "one")
    with closing(sqlite3.connect(file)) as db:
        db.execute(change)
        db.commit()
    with pytest.raises(BadManifest):
        snapshots.bring_in(tmp_path / "there", file, "two")
    assert snapshots.names(tmp_path / "there") == []


def test_it_knows_the_way_back_to_its_store(tmp_path):
    settings = StoreSettings(endpoint_url="http://127.0.0.1:9", region="eu-west-1", profile="")
    source = Source("s3", "my-bucket", "a/")
    with closing(open_store(source, settings)) as store:
        facts = snapshot_facts(source, "a/", store, settings, 5.0)
    assert facts["source"] == "s3://my-bucket/a"
    snapshots.writer(tmp_path, "one", facts).commit()
    with closing(open_snapshot_store("one", StoreSettings(), tmp_path)) as again:
        error = told_of(again, whole(ObjectMeta("a/b", 1, "e", 0))).error
        assert isinstance(error, Unreachable), error
    with pytest.raises(ConfigError, match="only be mounted"):
        open_store(Source("snapshot", "one"), StoreSettings())


def test_a_directory_is_found_again(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_bytes(b"body")
    source = Source("file", str(tmp_path / "files"))
    with closing(open_store(source, StoreSettings())) as store:
        (meta,) = page_of(store, ListPage("")).objects
        facts = snapshot_facts(source, "", store, StoreSettings(), 5.0)
    writer = snapshots.writer(tmp_path / "cache", "one", facts)
    writer.add([(meta, "")])
    writer.commit()
    with closing(open_snapshot_store("one", StoreSettings(), tmp_path / "cache")) as again:
        assert told_of(again, whole(meta)).body == b"body"
        (tmp_path / "files" / "a").write_bytes(b"else")
        assert isinstance(told_of(again, whole(meta)).error, ObjectChanged)
