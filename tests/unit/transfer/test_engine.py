"""The engine over a store in memory that fails on demand."""

import threading
import time
from concurrent.futures import Future
from queue import SimpleQueue

import pytest

from s3mount.errors import (
    AccessDenied,
    CredentialsExpired,
    NotFound,
    ObjectChanged,
    ServerFault,
    StoreError,
    UnexpectedReply,
    Unreachable,
)
from s3mount.store.interface import Get, Head, ListPage, Page
from s3mount.store.memory import MemoryStore
from s3mount.transfer.engine import Engine, EngineSettings
from s3mount.transfer.flight import Cancelled, Urgency
from s3mount.transfer.queue import Shares
from s3mount.transfer.retry import RetryPolicy
from tests.support.faulty_store import Fault, FaultyStore

QUICK = EngineSettings(connections=8, retry=RetryPolicy(first=0.001, ceiling=0.002, patience=5.0))
BODY = bytes(range(256)) * 4096  # 1 MiB: several chunks


class Collected:
    """A sink that keeps everything and says when it is over."""

    def __init__(self):
        self.heads: list[Head] = []
        self.body = bytearray()
        self.over: Future[bytes] = Future()
        self.threads: set[str] = set()

    def head(self, head):
        self.heads.append(head)
        self.threads.add(threading.current_thread().name)

    def write(self, chunk):
        self.body += chunk

    def finish(self):
        self.over.set_result(bytes(self.body))

    def fail(self, error):
        self.over.set_exception(error)


@pytest.fixture
def store():
    memory = MemoryStore()
    memory.put("k", BODY)
    return FaultyStore(memory)


@pytest.fixture
def engine(store):
    with Engine(store, QUICK) as engine:
        yield engine


def whole(store, key="k"):
    meta = store.inner._objects[key].meta
    return Get(key, meta.etag, 0, meta.size, whole=True)


def fetch(engine, request, urgency=Urgency.NEEDED):
    sink = Collected()
    engine.get(request, sink, urgency)
    return sink


def test_bytes_arrive_whole_and_on_the_engines_thread(engine, store):
    sink = fetch(engine, whole(store))
    assert sink.over.result(5) == BODY
    assert len(sink.heads) == 1
    assert sink.threads == {"s3mount-engine"}


def test_a_broken_transfer_goes_on_where_it_stopped(engine, store):
    store.fail(Unreachable("reset"), after=300_000)
    store.fail(ServerFault("500"), after=100_000)
    sink = fetch(engine, whole(store))
    assert sink.over.result(5) == BODY
    assert len(sink.heads) == 1
    assert [get.start for get in store.gets()] == [0, 300_000, 400_000]
    assert {get.etag for get in store.gets()} == {whole(store).etag}


def test_a_version_asked_for_without_etag_is_pinned_by_the_first_reply(engine, store):
    store.fail(Unreachable("reset"), after=300_000)
    sink = fetch(engine, Get("k", "", 0, len(BODY)))
    assert sink.over.result(5) == BODY
    assert store.gets()[1].etag == sink.heads[0].etag


def test_an_object_that_changes_between_two_tries_is_never_mixed(engine, store):
    def change(second_try):
        store.inner.put("k", b"other" * 300_000)
        return False

    store.fail(Unreachable("reset"), after=300_000)
    store.fail(None, matches=change)
    sink = fetch(engine, whole(store))
    with pytest.raises(ObjectChanged):
        sink.over.result(5)
    assert BODY.startswith(bytes(sink.body))


@pytest.mark.parametrize("error", [NotFound("gone"), AccessDenied("no")])
def test_what_cannot_pass_fails_at_once(engine, store, error):
    store.fail(error)
    with pytest.raises(type(error)):
        fetch(engine, whole(store)).over.result(5)
    assert len(store.requests) == 1
    assert engine.counters.incidents()[0].key == "k"


def test_patience_ends(store):
    settings = EngineSettings(8, RetryPolicy(first=0.01, ceiling=0.02, patience=0.2))
    store.fail(ServerFault("500"), times=1000)
    with Engine(store, settings) as engine, pytest.raises(ServerFault):
        fetch(engine, whole(store)).over.result(5)
    assert engine.counters.totals()["requests.retried"] >= 5


def test_progress_renews_the_patience(store):
    settings = EngineSettings(8, RetryPolicy(first=0.05, ceiling=0.05, patience=0.3))
    for _ in range(30):
        store.fail(ServerFault("500"), after=30_000)
    with Engine(store, settings) as engine:
        assert fetch(engine, whole(store)).over.result(10) == BODY


def test_expired_credentials_are_renewed(store):
    renewed = threading.Event()
    store.fail(CredentialsExpired("old"))
    with Engine(store, QUICK, on_expired=renewed.set) as engine:
        assert fetch(engine, whole(store)).over.result(5) == BODY
    assert renewed.is_set()


def test_a_listing_is_delivered_once(engine, store):
    pages: Future = Future()
    store.fail(ServerFault("500"))
    engine.list(ListPage(""), pages.set_result, Urgency.NEEDED)
    assert [meta.key for meta in pages.result(5).objects] == ["k"]


def test_a_listing_that_fails_delivers_its_error(engine, store):
    pages: Future = Future()
    store.fail(AccessDenied("no"))
    engine.list(ListPage(""), pages.set_result, Urgency.NEEDED)
    assert isinstance(pages.result(5), AccessDenied)


def test_a_cancelled_flight_ends_and_is_not_sent(engine, store):
    store.hold()
    kept, dropped = Collected(), Collected()
    engine.get(whole(store), kept, Urgency.SOON)
    engine.cancel(engine.get(whole(store), dropped, Urgency.SOON))
    with pytest.raises(Cancelled):
        dropped.over.result(5)
    store.let_go()
    assert kept.over.result(5) == BODY
    assert not dropped.body


def test_leaving_the_engine_ends_what_is_under_way(store):
    store.hold()
    with Engine(store, QUICK) as engine:
        sink = fetch(engine, whole(store))
    with pytest.raises(Cancelled):
        sink.over.result(0)


@pytest.mark.expects_log("whoever wanted 'k' could not take it")
def test_a_sink_that_fails_does_not_stop_the_engine(engine, store):
    class Bad(Collected):
        def finish(self):
            self.over.set_result(b"")
            raise RuntimeError("a defect")

    fetch_bad = Bad()
    engine.get(whole(store), fetch_bad, Urgency.NEEDED)
    fetch_bad.over.result(5)
    assert fetch(engine, whole(store)).over.result(5) == BODY


def test_who_cannot_take_a_page_is_told_why(engine):
    told: SimpleQueue[Page | StoreError] = SimpleQueue()

    def deliver(answer):
        told.put(answer)
        if told.qsize() == 1:
            raise RuntimeError("a defect")

    engine.list(ListPage(""), deliver, Urgency.NEEDED)
    assert isinstance(told.get(timeout=5), Page)
    with pytest.raises(UnexpectedReply, match="a defect"):
        raise told.get(timeout=5)


def test_needed_overtakes_a_bulk_of_warm(store):
    done: list[str] = []
    for number in range(50):
        store.inner.put(f"warm{number}", b"x")
    store.hold()

    class Noting(Collected):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def finish(self):
            done.append(self.name)
            super().finish()

    with Engine(store, EngineSettings(connections=2)) as engine:
        bulk = [Noting("warm") for _ in range(50)]
        for number, sink in enumerate(bulk):
            engine.get(whole(store, f"warm{number}"), sink, Urgency.WARM)
        reader = Noting("needed")
        engine.get(whole(store), reader, Urgency.NEEDED)
        store.let_go()
        for sink in [*bulk, reader]:
            sink.over.result(5)
    assert done.index("needed") <= 2


def settles(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_bulk_makes_way_while_a_reader_of_another_engine_waits(store):
    """Two engines, as a mount and a bulk command have them, and the signal between them."""
    for number in range(200):
        store.inner.put(f"warm{number}", b"x")
    waited = 0.0

    def note():
        nonlocal waited
        waited = time.monotonic()

    others = MemoryStore()  # a store belongs to one thread
    others.put("k", BODY)
    far = FaultyStore(others)
    bulk_settings = EngineSettings(connections=64, shares=Shares(64, 64, 32))
    with (
        Engine(store, bulk_settings, gives_way=lambda: time.monotonic() - waited < 0.2) as bulk,
        Engine(far, QUICK, on_needed=note) as mount,
    ):
        store.hold()
        far.hold()
        bulk_sinks = [
            fetch(bulk, whole(store, f"warm{number}"), Urgency.WARM) for number in range(200)
        ]
        assert settles(lambda: bulk._queue.running_by[Urgency.WARM] == 32)
        reader = fetch(mount, whole(far))
        assert settles(lambda: waited > 0)
        # What runs goes on; nothing follows it until 2 of 32 are left.
        finish_held(store, bulk, 31)
        assert settles(lambda: bulk._queue.running_by[Urgency.WARM] == 2)
        time.sleep(0.3)  # the reader waits all the while
        assert bulk._queue.running_by[Urgency.WARM] == 2
        far.let_go()
        assert reader.over.result(5) == BODY
        assert settles(lambda: bulk._queue.running_by[Urgency.WARM] == 32)
        store.let_go()
        for sink in bulk_sinks:
            assert sink.over.result(5) == b"x"


def finish_held(store, engine, count):
    """Let some of the requests pass that a store holds back; the others stay."""

    def some():
        passed, store.held = store.held[:count], store.held[count:]
        for request, receiver in passed:
            store.inner.submit(request, receiver)

    engine.call(some)


def test_errors_tell_whether_to_try_again():
    assert not StoreError("?").retryable
    assert Unreachable("?").retryable


@pytest.mark.expects_log("could not be sent")
def test_a_store_that_cannot_even_be_asked_fails_that_request_alone(store):
    def refuse(_):
        raise RuntimeError("bug")

    store.faults.append(Fault(None, matches=refuse))
    with Engine(store, QUICK) as engine:
        with pytest.raises(UnexpectedReply, match="could not be asked for"):
            fetch(engine, whole(store)).over.result(5)
        store.faults.clear()
        assert fetch(engine, whole(store)).over.result(5) == BODY
