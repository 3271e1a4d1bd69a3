"""Small objects through the engine: straight, as flights where they must, stopped, and within the budgets."""

import threading
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import AccessDenied, ServerFault, StoreError, Unreachable
from s3mount.store.interface import Get, Head, ParcelStore, get_of
from s3mount.store.memory import MemoryStore
from s3mount.transfer.engine import Engine, EngineSettings
from s3mount.transfer.flight import Cancelled, Flight, Urgency
from s3mount.transfer.queue import MAKING_WAY, RequestQueue, Shares
from s3mount.transfer.retry import RetryPolicy
from tests.support.faulty_store import FaultyStore

RETRY = RetryPolicy(first=0.001, ceiling=0.002, patience=5.0)


class ParcelMemory(FaultyStore):
    """A store in memory that brings parcels, of which each that a fault matches needs a receiver after all."""

    def serve(self, counter):
        self.counter, self.parcels, self.most, self.is_shut = counter, {}, 0, False
        self.fetched = []

    def fetch(self, parcels):
        taken = [each for each in parcels if not each.key.startswith("refused")]
        self.parcels.update((id(each), each) for each in taken)
        self.fetched += taken
        self.most = max(self.most, len(self.parcels))
        return [each for each in parcels if each not in taken]

    def recall(self, parcel):
        self.parcels.pop(id(parcel), None)

    def poll(self, timeout):
        if self.parcels and not self.is_shut:
            parcel = self.parcels.pop(next(iter(self.parcels)))
            request = get_of(parcel)
            if any(fault.matches(request) for fault in self.faults):
                self.submit(request, self.counter.receiver_for(parcel))
            else:
                body = self.inner._objects[parcel.key].body
                self.counter.arrived(parcel, Head(parcel.etag, parcel.size), bytes(body))
            timeout = 0.0
        super().poll(timeout)


class Small:
    """A sink of a small object."""

    def __init__(self, key, etag, size, act=lambda: None):
        self.key, self.etag, self.size = key, etag, size
        self.over: Future[bytes] = Future()
        self.act, self.chunks, self.straight = act, [], False

    def arrived(self, head, body):
        self.straight = True
        self.act()
        self.over.set_result(body)

    def head(self, head):
        assert head.etag == self.etag

    def write(self, chunk):
        self.chunks.append(bytes(chunk))

    def finish(self):
        self.over.set_result(b"".join(self.chunks))

    def fail(self, error):
        self.over.set_exception(error)


@pytest.fixture
def store():
    memory = MemoryStore()
    for number in range(40):
        memory.put(f"k{number}", b"%d" % number)
    memory.put("refused", b"r")
    return ParcelMemory(memory)


def small(store, key, act=lambda: None):
    meta = store.inner._objects[key].meta
    return Small(key, meta.etag, meta.size, act)


def fetch(engine, sinks):
    engine.call(lambda: [engine.get_small(each) for each in sinks])


def settings(connections=8, **more):
    return EngineSettings(connections, RETRY, Shares(connections, connections, connections), **more)


def is_even(engine):
    """Whether nothing is counted as under way."""
    told: Future[tuple[int, list[int]]] = Future()
    engine.call(lambda: told.set_result((engine._queue.running, engine._queue.running_by)))
    return told.result(5) == (0, [0, 0, 0])


def test_small_objects_come_straight_and_no_more_at_once_than_may(store):
    assert isinstance(store, ParcelStore)
    with Engine(store, settings(3)) as engine:
        sinks = [small(store, f"k{number}") for number in range(40)]
        fetch(engine, sinks)
        assert [each.over.result(5) for each in sinks] == [b"%d" % number for number in range(40)]
        assert is_even(engine)
    assert all(each.straight for each in sinks)
    assert store.most == 3
    assert not store.requests


@pytest.mark.parametrize("key", ["k7", "refused"])
def test_what_goes_wrong_is_a_flight_with_all_its_rules(store, key):
    store.fail(ServerFault("500"), times=2, matches=lambda request: request.key == key)
    with Engine(store, settings()) as engine:
        sink, other = small(store, key), small(store, "k8")
        fetch(engine, [sink, other])
        assert sink.over.result(5) == bytes(store.inner._objects[key].body)
        assert other.over.result(5) == b"8"
        assert engine.counters.totals()["requests.retried"] == 2
        assert is_even(engine)
    assert not sink.straight
    assert [get.etag for get in store.gets()] == [sink.etag] * 3


def test_what_cannot_pass_fails_once(store):
    store.fail(AccessDenied("no"), matches=lambda request: request.key == "k1")
    with Engine(store, settings()) as engine:
        sink = small(store, "k1")
        fetch(engine, [sink])
        with pytest.raises(AccessDenied):
            sink.over.result(5)
        assert is_even(engine)
    assert len(store.gets()) == 1


def test_a_store_that_knows_no_parcels_is_asked_as_ever():
    plain = FaultyStore(MemoryStore())
    plain.inner.put("k", b"body")
    plain.fail(Unreachable("reset"), after=2)
    with Engine(plain, settings()) as engine:
        sink = small(plain, "k")
        fetch(engine, [sink])
        assert sink.over.result(5) == b"body"
    assert [get.start for get in plain.gets()] == [0, 2]


def test_under_a_limit_of_bandwidth_all_are_charged_as_flights(store):
    with Engine(store, settings(max_bandwidth=1e9)) as engine:
        sink = small(store, "k1")
        fetch(engine, [sink])
        assert sink.over.result(5) == b"1"
    assert [get.key for get in store.gets()] == ["k1"]


def test_they_make_way_for_readers_elsewhere(store):
    with Engine(store, settings(32), gives_way=lambda: True) as engine:
        sinks = [small(store, f"k{number}") for number in range(40)]
        fetch(engine, sinks)
        assert all(each.over.result(5) for each in sinks)
    assert store.most == 32 // MAKING_WAY


def test_a_flight_that_waits_goes_before_parcels(store):
    with Engine(store, settings(1)) as engine:
        store.is_shut = True
        sinks = [small(store, f"k{number}") for number in range(3)]
        fetch(engine, sinks)
        engine.call(lambda: None)
        needed = small(store, "k9")
        before = Future()
        needed.finish = lambda: before.set_result(len(store.fetched))
        engine.get(get_of(needed), needed, Urgency.NEEDED)
        engine.call(lambda: setattr(store, "is_shut", False))
        assert before.result(5) <= 1
        assert [each.over.result(5) for each in sinks] == [b"0", b"1", b"2"]


def test_cancelled_ones_are_told_wherever_they_are(store):
    store.fail(None, matches=lambda request: request.key == "k0")
    with Engine(store, settings(2)) as engine:
        sinks = [small(store, f"k{number}") for number in range(5)]
        shut = threading.Event()

        def begin():
            engine.get_small(sinks[0])  # a flight that is never answered
            engine.call(shut.set)

        engine.call(begin)
        assert shut.wait(5)
        while not store.gets():
            pass
        engine.call(lambda: setattr(store, "is_shut", True))
        fetch(engine, sinks[1:])
        engine.call(lambda: engine.call(lambda: engine.cancel_small(sinks[:4])))
        for sink in sinks[:4]:
            with pytest.raises(Cancelled):
                sink.over.result(5)
        engine.call(lambda: setattr(store, "is_shut", False))
        assert sinks[4].over.result(5) == b"4"
        assert is_even(engine)


def test_the_end_of_the_engine_fails_what_is_left(store):
    with Engine(store, settings(1)) as engine:
        engine.call(lambda: setattr(store, "is_shut", True))
        sinks = [small(store, f"k{number}") for number in range(3)]
        fetch(engine, sinks)
    for sink in sinks:
        with pytest.raises(Cancelled):
            sink.over.result(5)


def test_what_a_sink_raises_is_its_own_error(store):
    def act():
        raise OSError("no room")

    with Engine(store, settings()) as engine:
        sinks = [small(store, "k1", act), small(store, "k2")]
        fetch(engine, sinks)
        with pytest.raises(StoreError, match="no room"):
            sinks[0].over.result(5)
        assert sinks[1].over.result(5) == b"2"
        assert is_even(engine)


STEPS = st.lists(st.sampled_from(["flight", "parcels", "take", "end", "adopt"]), max_size=60)


@given(st.integers(2, 40), STEPS, st.booleans())
def test_parcels_never_pass_the_share_and_never_a_flight_that_waits(connections, steps, makes_way):
    shares = Shares.of(connections)
    queue = RequestQueue(shares)
    parcels, flights = 0, []
    for step in steps:
        if step == "flight":
            queue.add(_flight())
        elif step == "take":
            taken = queue.take(0.0, makes_way=makes_way)
            flights += [taken] if taken else []
        elif step == "end" and parcels:
            queue.end_warm()
            parcels -= 1
        elif step == "adopt" and parcels:
            queue.end_warm()
            parcels -= 1
            flights.append(_flight())
            queue.add_running(flights[-1])
        elif step == "parcels":
            room = queue.room_for_warm(makes_way=makes_way)
            assert not room or not any(map(queue.may_wait, Urgency))
            queue.begin_warm(room)
            parcels += room
            if room:
                assert queue.running <= shares.warm
            if room and makes_way:
                assert queue.running_by[Urgency.WARM] <= max(1, shares.warm // MAKING_WAY)
        assert queue.running == parcels + len(flights)


def _flight():
    return Flight(Get("k", "e", 0, 1, whole=True), Urgency.WARM, on_end=lambda *_: None)
