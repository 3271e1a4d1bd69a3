"""The order of requests: urgency first, shares kept, no flight lost or sent twice."""

import hypothesis.strategies as st
from hypothesis import given
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from s3mount.store.interface import Get
from s3mount.transfer.flight import Flight, Urgency
from s3mount.transfer.queue import RequestQueue, Shares


def flight(urgency: Urgency) -> Flight:
    return Flight(Get("k", "e", 0, 1), urgency, on_end=lambda flight, error: None)


@given(st.integers(1, 1000))
def test_shares_leave_a_connection_for_whoever_waits(connections):
    shares = Shares.of(connections)
    assert shares.needed == connections
    assert 1 <= shares.warm <= shares.soon <= shares.needed
    if connections > 1:
        assert shares.soon < connections


def test_needed_overtakes_soon_and_warm():
    queue = RequestQueue(Shares(9, 9, 9))
    warm, soon, needed = (flight(urgency) for urgency in reversed(Urgency))
    for added in (warm, soon, needed):
        queue.add(added)
    assert [queue.take(0.0) for _ in range(4)] == [needed, soon, warm, None]


def test_bulk_never_takes_the_last_connections():
    queue = RequestQueue(Shares.of(16))
    for _ in range(100):
        queue.add(flight(Urgency.WARM))
    while queue.take(0.0):
        pass
    assert queue.running == 12
    waited_for = flight(Urgency.NEEDED)
    queue.add(waited_for)
    assert queue.take(0.0) is waited_for


def test_a_promoted_flight_is_sent_once_and_first():
    queue = RequestQueue(Shares(9, 9, 9))
    first, second = flight(Urgency.WARM), flight(Urgency.WARM)
    queue.add(first)
    queue.add(second)
    queue.promote(second, Urgency.NEEDED)
    assert [queue.take(0.0) for _ in range(3)] == [second, first, None]


def test_a_delayed_flight_waits_for_its_time():
    queue = RequestQueue(Shares(1, 1, 1))
    failed = flight(Urgency.NEEDED)
    queue.add(failed)
    assert queue.take(0.0) is failed
    queue.delay(failed, until=5.0)
    assert queue.next_due() == 5.0
    assert queue.take(4.9) is None
    assert queue.take(5.0) is failed


class QueueModel(RuleBasedStateMachine):
    """Against a set: whatever is added comes out exactly once, and shares hold."""

    flights = Bundle("flights")

    def __init__(self):
        super().__init__()
        self.queue = RequestQueue(Shares(4, 3, 2))
        self.waiting: set[Flight] = set()
        self.running: set[Flight] = set()
        self.delayed: set[Flight] = set()
        self.now = 0.0
        self.added: list[Flight] = []  # in an order that a replay repeats

    @rule(target=flights, urgency=st.sampled_from(Urgency))
    def add(self, urgency):
        added = flight(urgency)
        self.queue.add(added)
        self.waiting.add(added)
        self.added.append(added)
        return added

    @rule(promoted=flights, urgency=st.sampled_from(Urgency))
    def promote(self, promoted, urgency):
        before = promoted.urgency
        self.queue.promote(promoted, urgency)
        assert promoted.urgency == min(before, urgency)

    @rule(removed=consumes(flights))
    def remove(self, removed):
        assert self.queue.remove(removed) == (removed in self.running)
        for places in (self.waiting, self.running, self.delayed):
            places.discard(removed)

    @rule(seconds=st.floats(0, 10))
    def take(self, seconds):
        self.now += seconds
        taken = self.queue.take(self.now)
        if taken is None:
            limits = {Urgency.NEEDED: 4, Urgency.SOON: 3, Urgency.WARM: 2}
            assert all(len(self.running) >= limits[left.urgency] for left in self.waiting)
            return
        assert taken in self.waiting | self.delayed
        # What is delayed may be due or not; what was waiting and more urgent must have gone first.
        assert all(left.urgency >= taken.urgency for left in self.waiting)
        self.waiting.discard(taken)
        self.delayed.discard(taken)
        self.running.add(taken)

    @rule(data=st.data(), seconds=st.floats(0, 5))
    def delay(self, data, seconds):
        if self.running:
            running = [added for added in self.added if added in self.running]
            failed = data.draw(st.sampled_from(running))
            self.queue.delay(failed, self.now + seconds)
            self.running.discard(failed)
            self.delayed.add(failed)

    @invariant()
    def running_is_counted(self):
        assert self.queue.running == len(self.running) <= 4
        for urgency in Urgency:
            held = sum(each.urgency is urgency for each in self.running)
            assert self.queue.running_by[urgency] == held
        assert self.queue.is_empty() == (not self.waiting | self.running | self.delayed)


@given(st.integers(1, 200), st.integers(0, 60))
def test_warm_that_makes_way_keeps_a_sixteenth(warm, needed):
    queue = RequestQueue(Shares(300, 300, warm + needed))
    for _ in range(needed):
        queue.add(flight(Urgency.NEEDED))
    for _ in range(warm):
        queue.add(flight(Urgency.WARM))
    while queue.take(0.0, makes_way=True):
        pass
    assert queue.running_by[Urgency.NEEDED] == needed
    kept = min(warm, max(1, (warm + needed) // 16)) if warm else 0
    assert queue.running_by[Urgency.WARM] == kept
    while queue.take(0.0):
        pass
    assert queue.running == warm + needed


def test_running_flights_are_counted_by_urgency_through_everything():
    queue = RequestQueue(Shares(9, 9, 9))
    one, other = flight(Urgency.WARM), flight(Urgency.WARM)
    for added in (one, other):
        queue.add(added)
    assert queue.may_wait(Urgency.WARM)
    queue.take(0.0)
    queue.take(0.0)
    assert not queue.may_wait(Urgency.WARM)
    assert queue.running_by == [0, 0, 2]
    queue.promote(one, Urgency.NEEDED)
    assert queue.running_by == [1, 0, 1]
    queue.delay(one, 1.0)
    queue.remove(other)
    assert queue.running_by == [0, 0, 0]
    queue.take(2.0)
    assert queue.running_by == [1, 0, 0]


TestQueueModel = QueueModel.TestCase
