"""Many uploads over a store in memory that fails on demand, and over a directory."""

import itertools
import os
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from s3mount.bulk import sending, uploading
from s3mount.bulk.content_types import UNKNOWN, content_type_of
from s3mount.bulk.errands import AHEAD
from s3mount.bulk.sending import CopyOf, Upload
from s3mount.errors import (
    AccessDenied,
    AlreadyExists,
    NotFound,
    ServerFault,
    SourceChanged,
    UnexpectedReply,
)
from s3mount.store.directory import DirectoryStore
from s3mount.store.interface import ListPage
from s3mount.store.listing_files import listings_directory
from s3mount.store.memory import MemoryStore
from s3mount.store.remembering import record_listing
from s3mount.store.stored_listings import StoredListings
from s3mount.store.writing import AbortUpload, CompleteUpload, CreateUpload, Put, PutPart
from tests.support.faulty_store import FaultyStore
from tests.unit.bulk.sessions import session_over
from tests.unit.cache.builders import now

MIB = 1024 * 1024


@pytest.fixture
def store():
    return FaultyStore(MemoryStore("bucket"))


@pytest.fixture
def session(store, tmp_path):
    cache = tmp_path / "cache"
    with session_over(store, cache, jobs=4) as session:
        yield session


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(uploading, "PART", 5 * MIB)


def flat(batches):
    return [each for batch in batches for each in batch]


def sent(session, *uploads):
    return {each.upload.key: each for each in flat(sending.send(session, uploads))}


def of_kind(store, kind):
    return [request for request in store.requests if isinstance(request, kind)]


def large_file(tmp_path, size=12 * MIB + 3):
    path = tmp_path / "large"
    path.write_bytes(os.urandom(MIB) * (size // MIB) + os.urandom(size % MIB))
    return path


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_every_upload_has_one_outcome(session, store, tmp_path):
    for number in range(300):
        (tmp_path / str(number)).write_bytes(b"%d" % number)
    uploads = [Upload(tmp_path / str(number), f"d/{number}") for number in range(300)]
    outcomes = sent(session, *uploads)
    assert {key: each.upload for key, each in outcomes.items()} == {u.key: u for u in uploads}
    assert all(each.error is None for each in outcomes.values())
    for key, each in outcomes.items():
        assert store.inner.stored(key).body == each.upload.path.read_bytes()
        assert each.meta == store.inner.stored(key).meta


def test_uploads_are_asked_for_as_they_are_sent(session, store):
    asked = itertools.count()
    uploads = (Upload(b"x", f"k{next(asked)}") for _ in range(100_000))
    store.hold()
    with closing(sending.send(session, uploads, jobs=4)) as batches:
        assert next(batches) == []
        assert next(asked) <= 4 * AHEAD + 1
        store.let_go()
        assert next(batches) != []
    assert next(asked) < 10_000
    assert len(store.inner.keys()) < 10_000


def test_one_that_fails_fails_alone(session, store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    store.fail(AccessDenied("no"), matches=lambda request: request.key == "refused")
    store.inner.put("there", b"old")
    outcomes = sent(
        session,
        Upload(b"x", "refused"),
        Upload(tmp_path / "missing", "missing"),
        Upload(tmp_path, "directory"),
        Upload(tmp_path / "pipe", "pipe"),
        Upload(b"new", "there", if_absent=True),
        Upload(b"x", "badly described", metadata=(("a b", "c"),)),
        Upload(b"x", "fine"),
    )
    errors = {key: type(each.error) for key, each in outcomes.items()}
    assert errors["refused"] is AccessDenied
    assert errors["missing"] is FileNotFoundError
    assert errors["directory"] is IsADirectoryError
    assert errors["pipe"] is OSError
    assert errors["there"] is AlreadyExists
    assert errors["fine"] is type(None)
    assert all((each.meta is None) == (each.error is not None) for each in outcomes.values())
    assert store.inner.stored("there").body == b"old"


@pytest.mark.usefixtures("small_parts")
def test_a_large_file_is_put_together(session, store, tmp_path):
    path = large_file(tmp_path)
    outcomes = sent(session, Upload(path, "k.log", metadata=(("a", "b"),)), Upload(b"x", "small"))
    assert outcomes["k.log"].error is None
    stored = store.inner.stored("k.log")
    assert stored.body == path.read_bytes()
    assert (stored.content_type, stored.metadata) == ("text/plain", (("a", "b"),))
    assert outcomes["k.log"].meta == stored.meta
    assert len(of_kind(store, PutPart)) == 3
    assert store.inner.writer.uploads == {}


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("kind", [CreateUpload, PutPart, CompleteUpload])
def test_an_upload_that_fails_is_aborted(session, store, tmp_path, kind):
    path = large_file(tmp_path)
    store.fail(AccessDenied("no"), matches=lambda request: isinstance(request, kind))
    outcomes = sent(session, Upload(path, "k"), Upload(b"x", "small"))
    assert isinstance(outcomes["k"].error, AccessDenied)
    assert outcomes["small"].error is None
    assert store.inner.keys() == ["small"]
    assert store.inner.writer.uploads == {}
    assert len(of_kind(store, AbortUpload)) == (kind is not CreateUpload)


@pytest.mark.usefixtures("small_parts")
def test_an_abort_that_fails_does_not_hide_why(session, store, tmp_path):
    path = large_file(tmp_path)
    store.fail(AccessDenied("no parts"), matches=lambda request: isinstance(request, PutPart))
    store.fail(NotFound("no abort"), matches=lambda request: isinstance(request, AbortUpload))
    outcomes = sent(session, Upload(path, "k"))
    assert str(outcomes["k"].error) == "no parts"


@pytest.mark.usefixtures("small_parts")
def test_a_file_that_grows_meanwhile_is_no_mix(session, store, tmp_path):
    path = large_file(tmp_path)

    def grow(request):
        if isinstance(request, PutPart) and request.number == 2:
            with path.open("ab") as file:
                file.write(b"more")
        return False

    store.fail(ServerFault("never"), matches=grow)
    outcomes = sent(session, Upload(path, "k"))
    assert isinstance(outcomes["k"].error, SourceChanged)
    assert store.inner.keys() == []
    assert store.inner.writer.uploads == {}


def test_a_small_file_that_changes_while_it_is_read(session, tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"before")
    read = os.read

    def change(descriptor, size):
        data = read(descriptor, size)
        path.write_bytes(b"after!")
        os.utime(path, ns=(1, 1))
        return data

    monkeypatch.setattr(uploading.os, "read", change)
    outcomes = sent(session, Upload(path, "k"))
    assert isinstance(outcomes["k"].error, SourceChanged)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("kind", [CreateUpload, PutPart, CompleteUpload])
def test_breaking_off_aborts(session, store, tmp_path, kind):
    path = large_file(tmp_path)
    passed = []

    def reached(request):
        if isinstance(request, kind) and not passed:
            passed.append(request)
            store.hold()
        return False

    store.fail(ServerFault("never"), matches=reached)
    batches = sending.send(session, [Upload(path, "k")] + [Upload(b"x", f"{n}") for n in range(9)])
    while not passed:
        next(batches)
    # What was begun is answered late; who breaks off waits for it.
    timer = threading.Timer(0.1, store.let_go)
    timer.start()
    batches.close()
    timer.join()
    assert store.inner.writer.uploads == {}
    # An end that was on its way may still come to pass.
    assert kind is CompleteUpload or store.inner.stored("k") is None


def test_breaking_off_sends_no_more(session, store):
    store.hold()
    with closing(sending.send(session, (Upload(b"x", f"{n}") for n in range(1000)))) as batches:
        assert next(batches) == []
        until(lambda: len(store.requests) >= 4)
    store.let_go()
    assert store.inner.keys() == []


def test_uploads_that_raise_end_the_run(session, store):
    def uploads():
        yield Upload(b"x", "k")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        flat(sending.send(session, uploads()))
    assert len(of_kind(store, Put)) <= 1


def test_nothing_to_do(session, store):
    assert flat(sending.send(session, [])) == []
    assert flat(sending.remove(session, [])) == []
    assert flat(sending.copy(session, [])) == []
    assert store.requests == []


def test_looking(session, store):
    meta = store.inner.put("k", b"body", content_type="text/x", metadata=(("a", "b"),))
    facts = sending.look(session, "k")
    assert (facts.size, facts.etag, facts.mtime_ns) == (4, meta.etag, meta.mtime_ns)
    assert (facts.content_type, facts.metadata) == ("text/x", (("a", "b"),))
    with pytest.raises(NotFound):
        sending.look(session, "nowhere")


def test_removing(session, store):
    for number in range(20):
        store.inner.put(f"k{number}")
    store.fail(AccessDenied("no"), matches=lambda request: request.key == "k7")
    keys = [f"k{number}" for number in range(20)] + ["never was"]
    outcomes = {each.key: each.error for each in flat(sending.remove(session, keys))}
    assert set(outcomes) == set(keys)
    assert [key for key, error in outcomes.items() if error] == ["k7"]
    assert store.inner.keys() == ["k7"]


def test_copying(session, store, monkeypatch):
    monkeypatch.setattr(uploading, "PUT_MOST", 5 * MIB)
    monkeypatch.setattr(uploading, "COPY_PART", 5 * MIB)
    small = store.inner.put("small", b"x", content_type="text/x")
    body = os.urandom(MIB) * 11
    large = store.inner.put("large", body, content_type="text/y", metadata=(("a", "b"),))
    copies = [
        CopyOf("small", "a", 1, small.etag),
        CopyOf("large", "b", len(body), large.etag),
        CopyOf("large", "c", len(body)),
        CopyOf("nowhere", "d", 1),
        CopyOf("nowhere", "e", len(body), "etag"),
    ]
    outcomes = {each.copy.key: each for each in flat(sending.copy(session, copies))}
    assert store.inner.stored("a").content_type == "text/x"
    stored = store.inner.stored("b")
    assert (stored.body, stored.content_type, stored.metadata) == (body, "text/y", (("a", "b"),))
    assert outcomes["b"].meta == stored.meta
    assert isinstance(outcomes["c"].error, UnexpectedReply)
    assert isinstance(outcomes["d"].error, NotFound)
    assert isinstance(outcomes["e"].error, NotFound)
    assert store.inner.writer.uploads == {}


@pytest.mark.usefixtures("small_parts")
def test_a_directory_takes_it_all(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    path = large_file(tmp_path)
    with session_over(DirectoryStore(root), tmp_path / "cache") as session:
        outcomes = sent(
            session,
            Upload(path, "d/large", metadata=(("mode", "755"),)),
            Upload(b"x", "d/e/small"),
            Upload(b"x", "../out"),
        )
        assert outcomes["d/large"].error is None
        assert isinstance(outcomes["../out"].error, UnexpectedReply)
        assert sending.look(session, "d/large").metadata == (("mode", "755"),)
        assert (root / "d/large").read_bytes() == path.read_bytes()
        flat(sending.remove(session, ["d/e/small"]))
    assert sorted(str(each.relative_to(root)) for each in root.rglob("*")) == ["d", "d/large"]


# ---- listings on disk


@pytest.mark.parametrize("way", ["send", "remove", "copy"])
def test_a_listing_on_disk_does_not_hide_what_was_written(session, store, way):
    meta = store.inner.put("d/old", b"x")
    for prefix in ("", "d/", "other/"):
        record_listing(session.cache_dir, store.identity, prefix, now() - 1).commit()
    mount = StoredListings(listings_directory(session.cache_dir), store.identity, now)

    def listed(prefix):
        return mount.page(ListPage(prefix, max_age=60.0))

    assert listed("d/").objects == []
    if way == "send":
        sent(session, Upload(b"x", "d/new"))
    elif way == "remove":
        flat(sending.remove(session, ["d/old"]))
    else:
        flat(sending.copy(session, [CopyOf("d/old", "d/new", meta.size)]))
    assert listed("d/") is None
    assert listed("") is None
    assert listed("other/") is not None
    mount.close()


# ---- content types


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", "text/plain"),
        ("d.x/a.JSON", "application/json"),
        ("a.tar.gz", "application/gzip"),
        ("a.log.zst", "application/zstd"),
        ("a.tar.xz", "application/x-xz"),
        ("a.html", "text/html"),
        ("Makefile", UNKNOWN),
        (".bashrc", UNKNOWN),
        ("d.txt/a", UNKNOWN),
        ("a.", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_content_types(name, expected):
    assert content_type_of(name) == expected


def test_a_path_is_a_path(session, tmp_path):
    (tmp_path / "target").write_bytes(b"content")
    (tmp_path / "link").symlink_to("target")
    outcomes = sent(session, Upload(Path(tmp_path / "link"), "k"))
    assert outcomes["k"].meta.size == 7
