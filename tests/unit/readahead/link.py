"""A line to a store on paper: latency, a rate for each connection, a rate for all, and readers in sequence."""

import random
from dataclasses import dataclass, field

from s3mount.readahead.depth import Depths, Stream
from s3mount.readahead.pace import Trip
from s3mount.readahead.window import MIB, PART_MIN, Window

EPSILON = 1e-9


@dataclass(frozen=True)
class Line:
    """Seconds, and bytes per second."""

    latency: float
    rate: float
    total: float
    connections: int = 56

    def best(self):
        """Bytes per second at the most."""
        return min(self.total, self.rate * self.connections)


@dataclass(eq=False)
class Flow:
    """One GET."""

    start: int
    stop: int
    sent: float = 0.0
    first: float = 0.0
    received: float = 0.0
    beside: int = 0
    weight: float = 1.0


@dataclass(eq=False)
class Reader:
    """Reads one object in sequence; ``speed`` is bytes per second that it takes at the most."""

    window: Window
    length: int
    speed: float = float("inf")
    until: int = 1 << 62
    stream: Stream = field(default_factory=Stream)
    position: int = 0
    ready_at: float = 0.0
    review_at: int = PART_MIN
    asked: bool = False
    flows: list[Flow] = field(default_factory=list)
    marks: list[tuple[float, int]] = field(default_factory=list)
    ended: float = 0.0

    def stop(self):
        return min(self.window.size, self.position + self.length)

    def is_over(self):
        return self.position >= min(self.window.size, self.until)

    def missing(self):
        """Bytes of the next read that have still to come, by flow."""
        return [
            (flow, min(self.stop(), flow.stop) - flow.start - flow.received)
            for flow in self.flows
            if flow.start < self.stop() and flow.start + flow.received < min(self.stop(), flow.stop)
        ]

    def ahead(self):
        return max(0, self.window.asked_to - self.window.expected)


class Simulation:
    """Runs readers until all are over."""

    def __init__(self, line, depths, readers):
        self.line, self.depths, self.readers = line, depths, readers
        self.now = 0.0
        self.dice = random.Random(0)
        self.waiting: list[Flow] = []
        self.running: list[Flow] = []
        self.most_ahead = 0
        for reader in readers:
            self._ask(reader, [reader.window.opened()])

    def run(self):
        while not all(reader.is_over() for reader in self.readers):
            for reader in self.readers:
                while not reader.is_over() and self._step(reader):
                    pass
            self.most_ahead = max(self.most_ahead, sum(reader.ahead() for reader in self.readers))
            self._launch()
            self._pass_time()
        return self

    def _ask(self, reader, spans, *, needed=False):
        for span in spans:
            # No two connections are equally fast.
            flow = Flow(span.start, span.stop, weight=self.dice.uniform(0.5, 1.5))
            reader.flows.append(flow)
            self.waiting.insert(0 if needed else len(self.waiting), flow)

    def _step(self, reader):
        """Let a reader read if it can; whether it did."""
        if self.now < reader.ready_at - EPSILON:
            return False
        if not reader.asked:
            self._plan(reader)
        if reader.missing():
            return False
        count = reader.stop() - reader.position
        reader.position = reader.stop()
        reader.asked = False
        reader.ready_at = self.now + count / reader.speed
        reader.marks.append((self.now, reader.position))
        reader.flows = [flow for flow in reader.flows if flow.stop > reader.position]
        if reader.is_over():
            self.depths.closed(reader.stream)
            reader.ended = self.now
        return not reader.is_over()

    def _plan(self, reader):
        window, covered = reader.window, reader.window.asked_to
        plan = window.read(reader.position, reader.stop())
        assert not plan.is_jump
        if plan.needed.stop > covered:
            self._ask(
                reader, [plan.needed._replace(start=max(covered, plan.needed.start))], needed=True
            )
        self._ask(reader, plan.ahead)
        reader.asked = True
        if plan.ahead or window.expected >= reader.review_at:
            reader.review_at = window.expected + PART_MIN
            window.depth = self.depths.of(reader.stream, window, self.now)

    def _launch(self):
        while self.waiting and len(self.running) < self.line.connections:
            flow = self.waiting.pop(0)
            flow.sent, flow.first = self.now, self.now + self.line.latency
            self.running.append(flow)
            flow.beside = len(self.running)

    def _pass_time(self):
        flowing = [flow for flow in self.running if flow.first <= self.now + EPSILON]
        weights = sum(flow.weight for flow in flowing)
        speeds = {
            flow: min(self.line.rate, self.line.total * flow.weight / weights) for flow in flowing
        }
        steps = [flow.first - self.now for flow in self.running if flow.first > self.now + EPSILON]
        steps += [(flow.stop - flow.start - flow.received) / speeds[flow] for flow in flowing]
        for reader in self.readers:
            if reader.is_over():
                continue
            if reader.ready_at > self.now + EPSILON:
                steps.append(reader.ready_at - self.now)
            else:
                steps += [
                    count / speeds[flow] for flow, count in reader.missing() if flow in speeds
                ]
        step = max(EPSILON, min(steps, default=0.0))
        self.now += step
        for flow in flowing:
            flow.received = min(flow.stop - flow.start, flow.received + speeds[flow] * step + 1e-3)
            if flow.received >= flow.stop - flow.start - 1:
                flow.received = flow.stop - flow.start
                size, beside = flow.stop - flow.start, max(flow.beside, len(self.running))
                self.depths.pace.note(Trip(flow.sent, flow.first, self.now, size, beside))
                self.running.remove(flow)


def simulated(line, readers, *, limit=64 * MIB, total=128 * MIB):
    """Run readers on a line."""
    return Simulation(line, Depths(limit, total), readers).run()


def speed(reader, begin):
    """Bytes per second from the position ``begin`` on."""
    since, first = next(mark for mark in reader.marks if mark[1] >= begin)
    until, last = reader.marks[-1]
    return (last - first) / max(EPSILON, until - since)
