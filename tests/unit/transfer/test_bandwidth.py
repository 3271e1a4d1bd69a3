"""How fast bytes may be asked for."""

import time
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.config import MountOptions
from s3mount.errors import ServerFault
from s3mount.store.interface import Get, Head, ListPage
from s3mount.store.memory import MemoryStore
from s3mount.store.open import open_store, parse_source, settings_of
from s3mount.transfer.bandwidth import BURST, Meter, TokenBucket
from s3mount.transfer.engine import Engine, EngineSettings
from s3mount.transfer.flight import Flight, Urgency
from s3mount.transfer.retry import RetryPolicy
from tests.support.faulty_store import FaultyStore

KIB = 1024


@given(
    st.floats(1e3, 1e9),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 1 << 20)), max_size=60),
)
def test_no_stretch_brings_more_than_the_rate_the_burst_and_one_request(rate, steps):
    now, bucket, sent = 100.0, TokenBucket(rate, 100.0), []
    for idle, amount in steps:
        now += idle
        now += bucket.wait(now) * (1 + 1e-9) + 1e-9
        assert bucket.wait(now) == pytest.approx(0, abs=1e-6)
        bucket.charge(amount)
        sent.append((now, amount))
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            total = sum(amount for _, amount in sent[first:last])
            seconds = sent[last][0] - sent[first][0]
            assert total <= (rate * (seconds + BURST)) * 1.001 + max(a for _, a in sent)


def test_a_bucket_that_is_busy_gives_the_rate():
    now, bucket, total = 0.0, TokenBucket(1_000_000, 0.0), 0
    while now < 5.0:
        wait = bucket.wait(now)
        if wait:
            now += wait
        else:
            bucket.charge(100_000)
            total += 100_000
    assert total == pytest.approx(5_000_000, rel=0.05)


def flight(stop=1000):
    return Flight(Get("k", "e", 0, stop), Urgency.WARM, on_end=lambda flight, error: None)


def test_what_did_not_come_is_given_back():
    meter = Meter(1000.0, 0.0)
    one = flight()
    meter.sent(one)
    assert meter.wait(0.0) == pytest.approx(1.0)
    one.received = 400
    meter.ended(one)
    meter.ended(one)
    assert meter.wait(0.0) == pytest.approx(0.4)
    meter.sent(one)  # the rest
    assert meter.wait(0.0) == pytest.approx(1.0)
    meter.ended(flight())
    assert meter.wait(0.0) == pytest.approx(1.0)
    listing = Flight(ListPage(""), Urgency.NEEDED, on_end=lambda flight, error: None)
    meter.sent(listing)
    meter.ended(listing)
    assert meter.wait(1.0) == 0.0


class Counted:
    """A sink that counts."""

    def __init__(self):
        self.received = 0
        self.over = Future()

    def head(self, head: Head):
        """Nothing is to be prepared."""

    def write(self, chunk):
        self.received += len(chunk)

    def finish(self):
        self.over.set_result(self.received)

    def fail(self, error):
        self.over.set_exception(error)


@pytest.mark.parametrize("fault", [False, True])
def test_an_engine_keeps_to_its_limit(fault):
    memory = MemoryStore()
    meta = memory.put("k", bytes(2048 * KIB))
    store = FaultyStore(memory)
    if fault:
        store.fail(ServerFault("500"), times=5, after=10_000)
    rate, part = 2048 * KIB, 64 * KIB
    settings = EngineSettings(
        32, RetryPolicy(first=0.001, ceiling=0.002, patience=5.0), max_bandwidth=rate
    )
    sinks = []
    with Engine(store, settings) as engine:
        started = time.monotonic()
        for start in range(0, meta.size, part):
            sinks.append(Counted())
            engine.get(Get("k", meta.etag, start, start + part), sinks[-1], Urgency.WARM)
        assert sum(sink.over.result(10) for sink in sinks) == meta.size
        seconds = time.monotonic() - started
    assert seconds > 0.85 * meta.size / rate
    assert seconds < 1.15 * meta.size / rate + 0.3  # a busy machine


def test_no_limit_costs_no_time():
    memory = MemoryStore()
    meta = memory.put("k", bytes(2048 * KIB))
    with Engine(memory) as engine:
        started = time.monotonic()
        sink = Counted()
        engine.get(Get("k", meta.etag, 0, meta.size, whole=True), sink, Urgency.WARM)
        assert sink.over.result(5) == meta.size
    assert time.monotonic() - started < 0.9


@pytest.mark.s3
def test_a_limit_holds_over_a_real_connection(bucket):
    bucket.put("k", bytes(2048 * KIB))
    options = MountOptions(endpoint_url=bucket.endpoint, region="us-east-1")
    store = open_store(parse_source(bucket.name), settings_of(options))
    rate, part = 2048 * KIB, 128 * KIB
    with Engine(store, EngineSettings(16, max_bandwidth=rate)) as engine:
        started = time.monotonic()
        sinks = [Counted() for _ in range(16)]
        for number, sink in enumerate(sinks):
            request = Get("k", "", number * part, (number + 1) * part)
            engine.get(request, sink, Urgency.WARM)
        assert [sink.over.result(10) for sink in sinks] == [part] * 16
        seconds = time.monotonic() - started
    # The first part is sent at once, the last one when those before it are paid for.
    assert 0.85 < seconds < 1.15 + 0.5
