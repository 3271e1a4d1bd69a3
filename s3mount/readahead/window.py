"""How far to read ahead in one open file: a plain state machine, no clock, no I/O.

It knows which offsets were read and which were asked for. A reader that goes on where it stopped gets a window that
doubles, as far as the line has a use for it (`readahead/depth.py`); one that jumps gets what it asks for and nothing
more, until it goes on again. Only the first jump may go to the end of the file for a footer, and gets a block of it.
"""

from dataclasses import dataclass
from typing import NamedTuple

KIB = 1024
MIB = 1024 * 1024

WHOLE = 1 * MIB
"""An object up to this size is fetched with one GET when it is opened: a second round trip costs more than 1 MiB."""
FIRST = 512 * KIB
"""What opening a larger object fetches: headers and indexes fit, and a reader that only wants the end wastes little."""
HEAD = 128 * KIB
"""What a reader takes from the start of a file before it counts as one that reads on: headers are mostly smaller."""
TAIL = 64 * KIB
"""What a reader gets that goes to the end first: what a footer speaks of stands right before it."""
FIRST_WINDOW = 1 * MIB
"""The least window of a reader that began at the start of the file: most that do read on."""
GAIN = 2
"""The window is this many times what was read without a jump, so a reader that stops wastes no more than that."""
PARTS = 8
"""GETs that a window is split into while nothing is known of the line: one connection to S3 carries 50 to 90 MB/s,
eight fill most links."""
PART_MIN = 512 * KIB
PART_MAX = 8 * MIB
"""Bytes in one GET of the window. Larger ones cost fewer requests; 8 MiB is what S3's own clients use."""
SLACK = 2 * MIB
"""How far from the expected offset a read still counts as sequential, at the most: the kernel sends the reads of its
own read-ahead, up to 1 MiB each, in parallel and in any order."""
REORDERED = 32
"""Reads that may be sent at once: a read may come from so many of its own length away, or from within the window. What
hops farther, from one header to the next, does not read in sequence."""


class Span(NamedTuple):
    """Bytes ``start`` to ``stop``, exclusive."""

    start: int
    stop: int


class Depth(NamedTuple):
    """How much of a window has a use.

    Attributes:
        ahead: bytes ahead of the reader at the most.
        part: bytes in one GET, a power of two; 0 where nothing is known.
    """

    ahead: int
    part: int = 0


class Plan(NamedTuple):
    """What to fetch for one read.

    Attributes:
        needed: what the reader waits for, and what one request brings with it.
        ahead: what it will probably read next, in the order of wanting.
        is_jump: the reader left its path, so what was fetched ahead of it is not wanted any more.
    """

    needed: Span
    ahead: tuple[Span, ...] = ()
    is_jump: bool = False


def first_span(size: int, first: int = FIRST) -> Span:
    """What opening an object fetches.

    Args:
        size: of the object, bytes.
        first: bytes of one that is not fetched whole.
    """
    return Span(0, size if size <= WHOLE else first)


def is_worth_ending(received: int, asked: int) -> bool:
    """Whether a GET that nobody waits for is better broken off than let come.

    To break it off loses what has come, and a connection; to let it come costs the rest. Who does what is cheaper at
    the moment never loses more than twice what the wiser choice had cost.

    Args:
        received: bytes that have come.
        asked: bytes that it is to bring.
    """
    return 2 * received < asked


@dataclass(slots=True)
class Window:
    """The read-ahead of one open file.

    Args:
        size: of the object, bytes.
        limit: bytes ahead of the reader at the most; 0 turns reading ahead off.

    Attributes:
        begun_at: where the reader began to read without a jump.
        expected: where it is thought to go on.
        taken: bytes that it has read since then, those that it read again included.
        ahead: bytes ahead that its reading so far deserves; 0 while it is not sequential.
        asked_to: where ends what was asked for.
        depth: how much of ``ahead`` has a use, None for all.
        has_jumped: it has left its path at least once.
        head: how far from the start it had read when it jumped for the first time.
    """

    size: int
    limit: int
    begun_at: int = 0
    expected: int = 0
    taken: int = 0
    ahead: int = 0
    asked_to: int = 0
    depth: Depth | None = None
    has_jumped: bool = False
    head: int = 0

    def opened(self, first: int = FIRST) -> Span:
        """The span to fetch at open; the window counts it as asked for.

        Args:
            first: bytes of an object that is not fetched whole.
        """
        span = first_span(self.size, first)
        self.asked_to = span.stop
        return span

    def read(self, start: int, stop: int) -> Plan:
        """Take note of a read of ``start`` to ``stop`` (within the object) and say what to fetch."""
        if not self._is_sequential(start, stop):
            needed = self._with_footer(start, stop)
            if not self.has_jumped:
                self.has_jumped, self.head = True, self.expected
            self.begun_at, self.expected, self.ahead, self.asked_to = start, stop, 0, needed.stop
            self.taken = stop - start
            return Plan(needed, is_jump=True)
        self.taken += stop - start
        if stop > self.expected:
            self.expected = stop
            self.ahead = self._grown(start)
        return Plan(Span(start, stop), tuple(self._parts()))

    def _is_sequential(self, start: int, stop: int) -> bool:
        if start == self.expected:
            return True
        # A small read near by is a jump unless a window is open: a database that hops within 2 MiB reads at random.
        slack = min(SLACK, max(self.ahead, REORDERED * (stop - start)))
        is_near = (
            self.expected - slack <= start and stop <= max(self.asked_to, self.expected) + slack
        )
        return self.ahead > 0 and is_near

    def _with_footer(self, start: int, stop: int) -> Span:
        tail = self.size - TAIL
        may_be_footer = self.limit > 0 and self.size > WHOLE and start >= tail
        if self.has_jumped or not may_be_footer:
            return Span(start, stop)
        return Span(tail, self.size)

    def _grown(self, start: int) -> int:
        if start == self.begun_at:
            return 0  # one read says nothing of reading on
        # Not the distance alone: who leaves most of it out would get many times what it reads.
        run = min(self.taken, self.expected - self.begun_at)
        floor = FIRST_WINDOW if self.begun_at == 0 and run >= HEAD else 0
        return min(self.limit, max(floor, GAIN * run))

    def _parts(self) -> list[Span]:
        """The parts between what was asked for and the far side of the window."""
        ahead = min(self.ahead, self.depth.ahead) if self.depth else self.ahead
        goal = min(self.size, self.expected + ahead)
        part = self._part(ahead)
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

    def _part(self, ahead: int) -> int:
        # Powers of two: parts end at multiples of their size, and so a larger part begins where a smaller one ended
        # without a sliver in between.
        usual = _power_of_two(ahead // PARTS)
        if self.depth and self.depth.part:
            # Where one connection fills the line few parts do, but a window that only opens has none to spare.
            usual = min(self.depth.part, 2 * usual)
        return max(PART_MIN, min(PART_MAX, usual))


def _power_of_two(amount: int) -> int:
    """The largest power of two up to ``amount``, 0 for 0."""
    return 1 << (amount.bit_length() - 1) if amount else 0
