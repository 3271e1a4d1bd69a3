"""Writes through the engine: what is tried again, and what is looked at when a reply was lost."""

import hashlib
from concurrent.futures import Future

import pytest

from s3mount.errors import (
    AccessDenied,
    AlreadyExists,
    NotFound,
    ServerFault,
    SourceChanged,
    StoreTimeout,
    Unreachable,
)
from s3mount.store.bodies import Bytes
from s3mount.store.interface import key_of
from s3mount.store.memory import MemoryStore
from s3mount.store.writing import (
    CompleteUpload,
    Copy,
    CreateUpload,
    Delete,
    Facts,
    Look,
    Part,
    Put,
    PutPart,
)
from s3mount.transfer.engine import Engine, EngineSettings
from s3mount.transfer.flight import Cancelled, Urgency
from s3mount.transfer.retry import RetryPolicy
from s3mount.transfer.writes import WATCHED, WriteFlight, is_ours
from tests.support.faulty_store import FaultyStore

QUICK = EngineSettings(connections=8, retry=RetryPolicy(first=0.001, ceiling=0.002, patience=5.0))
LOST = 1
"""Bytes after which a fault takes the reply of a write that was done."""


@pytest.fixture
def store():
    return FaultyStore(MemoryStore())


@pytest.fixture
def engine(store):
    with Engine(store, QUICK) as engine:
        yield engine


def answer(engine, request):
    over = Future()
    engine.send(request, over.set_result, Urgency.WARM)
    told = over.result(30)
    if isinstance(told, Exception):
        raise told
    return told


def kinds(store):
    return [type(request).__name__ for request in store.requests]


def test_a_write_is_made_again_until_it_succeeds(engine, store):
    store.fail(ServerFault("busy"), times=3)
    written = answer(engine, Put("k", Bytes(b"body")))
    assert written.etag == hashlib.md5(b"body").hexdigest()
    assert kinds(store) == ["Put"] * 4
    assert engine.counters.totals()["requests.retried"] == 3


def test_what_cannot_pass_is_told_at_once(engine, store):
    store.fail(AccessDenied("no"))
    with pytest.raises(AccessDenied):
        answer(engine, Put("k", Bytes(b"body")))
    with pytest.raises(NotFound):
        answer(engine, Look("k"))
    assert kinds(store) == ["Put", "Look"]


@pytest.mark.parametrize("error", [StoreTimeout("slow"), Unreachable("cut"), ServerFault("?")])
def test_an_object_whose_reply_was_lost_is_known_again(engine, store, error):
    store.fail(error, after=LOST)
    written = answer(engine, Put("k", Bytes(b"body"), if_absent=True))
    assert written.etag == hashlib.md5(b"body").hexdigest()
    assert kinds(store) == ["Put", "Put", "Look"]


def test_the_look_is_made_again_too(engine, store):
    store.fail(Unreachable("cut"), after=LOST)
    store.fail(ServerFault("busy"), times=2, matches=lambda request: isinstance(request, Look))
    assert answer(engine, Put("k", Bytes(b"body"), if_absent=True)).etag
    assert kinds(store) == ["Put", "Put", "Look", "Look", "Look"]


def test_anothers_object_is_not_taken_for_ours(engine, store):
    store.fail(Unreachable("cut"))
    store.inner.put("k", b"theirs")
    with pytest.raises(AlreadyExists):
        answer(engine, Put("k", Bytes(b"ours!!"), if_absent=True))
    assert kinds(store) == ["Put", "Put", "Look"]


def test_without_a_lost_reply_nothing_is_looked_at(engine, store):
    store.inner.put("k", b"body")
    store.fail(ServerFault("the server said so", status=409))
    with pytest.raises(AlreadyExists):
        answer(engine, Put("k", Bytes(b"body"), if_absent=True))
    assert kinds(store) == ["Put", "Put"]


def test_an_object_that_vanished_meanwhile(engine, store):
    store.fail(Unreachable("cut"), after=LOST)
    store.fail(NotFound("gone"), matches=lambda request: isinstance(request, Look))
    with pytest.raises(AlreadyExists):
        answer(engine, Put("k", Bytes(b"body"), if_absent=True))


@pytest.mark.parametrize("if_absent", [False, True])
def test_the_end_of_an_upload_whose_reply_was_lost(engine, store, if_absent):
    upload = answer(engine, CreateUpload("k")).upload_id
    parts = tuple(
        Part(number, answer(engine, PutPart("k", upload, number, 0, Bytes(b"x" * number))).etag)
        for number in (1, 2)
    )
    store.fail(StoreTimeout("slow"), after=LOST)
    written = answer(engine, CompleteUpload("k", upload, parts, 3, if_absent))
    assert written.etag.endswith("-2")
    assert kinds(store)[-3:] == ["CompleteUpload", "CompleteUpload", "Look"]


def test_the_end_of_an_upload_that_nobody_knows(engine):
    with pytest.raises(NotFound):
        answer(engine, CompleteUpload("k", "unknown", (), 3))


def test_a_copy_whose_reply_was_lost(engine, store):
    etag = store.inner.put("source", b"body").etag
    store.fail(StoreTimeout("slow"), after=LOST)
    assert answer(engine, Copy("", "source", "k", etag, if_absent=True)).etag == etag


def test_a_cancelled_write_says_so(engine, store):
    store.hold()
    over = Future()
    flight = engine.send(Put("k", Bytes(b"x")), over.set_result, Urgency.WARM)
    engine.cancel(flight)
    assert isinstance(over.result(30), Cancelled)
    assert store.inner.keys() == []


def test_names_for_the_log(engine, store):
    store.inner.put("k", b"x")
    assert answer(engine, Delete("k")).key == "k"
    assert key_of(Delete("k")) == "k"
    flight = WriteFlight(Delete("k"), Urgency.WARM, on_end=print, deliver=print)
    assert (flight.kind, flight.key) == ("delete", "k")


# ---- decisions


FACTS = Facts("k", 4, hashlib.md5(b"body").hexdigest(), 0)
PUT = Put("k", Bytes(b"body"), if_absent=True)


@pytest.mark.parametrize(
    ("write", "facts", "expected"),
    [
        (PUT, FACTS, True),
        (PUT, FACTS._replace(size=5), False),
        (PUT, FACTS._replace(etag="0" * 32), False),
        (PUT, FACTS._replace(etag="opaque", crc32="aviRvA=="), False),
        (PUT, FACTS._replace(etag="opaque"), False),
        (CompleteUpload("k", "u", (Part(1, "opaque"),), 4), FACTS, False),
        (Copy("", "s", "k", FACTS.etag), FACTS, True),
        (Copy("", "s", "k"), FACTS._replace(etag=""), False),
        (Delete("k"), FACTS, False),
    ],
)
def test_what_counts_as_ours(write, facts, expected):
    assert is_ours(write, facts) is expected


def test_a_checksum_that_the_store_keeps_is_enough():
    from s3mount.store.bodies import digests_of

    crc32 = digests_of(PUT.body, crc32=True).crc32
    assert is_ours(PUT, FACTS._replace(etag="opaque", crc32=crc32))


class Vanished:
    size = 4

    def open(self):
        raise SourceChanged("changed")


def test_a_body_that_cannot_be_read_again_is_told(engine, store):
    store.fail(Unreachable("cut"))
    store.inner.put("k", b"body")
    request = PUT._replace(body=Vanished())
    with pytest.raises(SourceChanged):
        answer(engine, request)


def test_time_in_which_bytes_are_sent_is_not_counted_as_waiting(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("s3mount.transfer.writes.time.monotonic", lambda: clock[0])
    flight = WriteFlight(
        Put("k", Bytes(bytes(WATCHED + 1))), Urgency.WARM, on_end=print, deliver=print
    )
    reader = flight.next_request().body.open()
    assert flight.last_progress == 100.0
    clock[0] = 160.0
    assert len(reader.read(10)) == 10
    reader.close()
    clock[0] = 165.0
    assert not flight.note_progress(clock[0])
    assert clock[0] - flight.last_progress == 5.0
    flight.next_request()
    clock[0] = 170.0
    flight.note_progress(clock[0])
    assert clock[0] - flight.last_progress == 10.0
