"""How far to read ahead in one open file: a plain state machine, no clock, no I/O.

It knows which offsets were read and which were asked for. A reader that goes on where it stopped gets a window that
doubles; one that jumps gets what it asks for and nothing more, until it goes on again.
"""

from dataclasses import dataclass
from typing import NamedTuple

KIB = 1024
MIB = 1024 * 1024

WHOLE = 1 * MIB
"""An object up to this size is fetched with one GET when it is opened: a second round trip costs more than 1 MiB."""
FIRST = 512 * KIB
"""What opening a larger object fetches: headers and indexes fit, and a reader that only wants the end wastes little."""
FIRST_WINDOW = 1 * MIB
"""The least window of a reader that began at the start of the file: most that do read on."""
GAIN = 2
"""The window is this many times what was read without a jump, so a reader that stops wastes no more than that."""
PARTS = 8
"""GETs that a window is split into: one connection to S3 carries 50 to 90 MB/s, eight fill most links."""
PART_MIN = 512 * KIB
PART_MAX = 8 * MIB
"""Bytes in one GET of the window. Larger ones cost fewer requests; 8 MiB is what S3's own clients use."""
SLACK = 2 * MIB
"""How far from the expected offset a read still counts as sequential: the kernel sends the reads of its own
read-ahead, up to 1 MiB each, in parallel and in any order."""


class Span(NamedTuple):
    """Bytes ``start`` to ``stop``, exclusive."""

    start: int
    stop: int


class Plan(NamedTuple):
    """What to fetch for one read.

    Attributes:
        needed: what the reader waits for.
        ahead: what it will probably read next, in the order of wanting.
        is_jump: the reader left its path, so what was fetched ahead of it is not wanted any more.
    """

    needed: Span
    ahead: tuple[Span, ...] = ()
    is_jump: bool = False


def first_span(size: int) -> Span:
    """What opening an object of ``size`` bytes fetches."""
    return Span(0, size if size <= WHOLE else FIRST)


@dataclass(slots=True)
class Window:
    """The read-ahead of one open file.

    Args:
        size: of the object, bytes.
        limit: bytes ahead of the reader at the most; 0 turns reading ahead off.
    """

    size: int
    limit: int
    begun_at: int = 0
    expected: int = 0
    ahead: int = 0
    asked_to: int = 0

    def opened(self) -> Span:
        """The span to fetch at open; the window counts it as asked for."""
        span = first_span(self.size)
        self.asked_to = span.stop
        return span

    def read(self, start: int, stop: int) -> Plan:
        """Take note of a read of ``start`` to ``stop`` (within the object) and say what to fetch."""
        if not self._is_sequential(start, stop):
            self.begun_at, self.expected, self.ahead, self.asked_to = start, stop, 0, stop
            return Plan(Span(start, stop), is_jump=True)
        if stop > self.expected:
            self.expected = stop
            self.ahead = self._grown(start)
        return Plan(Span(start, stop), tuple(self._parts()))

    def _is_sequential(self, start: int, stop: int) -> bool:
        if start == self.expected:
            return True
        # A small read near by is a jump unless a window is open: a database that hops within 2 MiB reads at random.
        return self.ahead > 0 and self.expected - SLACK <= start and stop <= self.asked_to + SLACK

    def _grown(self, start: int) -> int:
        if start == self.begun_at:
            return 0  # one read says nothing of reading on
        floor = FIRST_WINDOW if self.begun_at == 0 else 0
        return min(self.limit, max(floor, GAIN * (self.expected - self.begun_at)))

    def _parts(self) -> list[Span]:
        """The parts between what was asked for and the far side of the window."""
        goal = min(self.size, self.expected + self.ahead)
        # Powers of two: parts end at multiples of their size, and so a larger part begins where a smaller one ended
        # without a sliver in between.
        part = max(PART_MIN, min(PART_MAX, _power_of_two(self.ahead // PARTS)))
        begin = max(self.asked_to, self.expected)
        parts = []
        # Short of a whole part it is better to wait than to ask for a sliver, but for the object's own tail.
        while begin < goal and (goal - begin >= part or goal == self.size):
            end = min(goal, (begin // part + 1) * part)
            parts.append(Span(begin, end))
            begin = end
        if parts:
            self.asked_to = begin
        return parts


def _power_of_two(amount: int) -> int:
    """The largest power of two up to ``amount``, 0 for 0."""
    return 1 << (amount.bit_length() - 1) if amount else 0
