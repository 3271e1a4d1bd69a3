"""How far to read ahead: every plan of every reader, whatever it reads."""

import random

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from s3mount.readahead.window import (
    FIRST,
    FIRST_WINDOW,
    GAIN,
    HEAD,
    KIB,
    MIB,
    PART_MAX,
    PART_MIN,
    SLACK,
    TAIL,
    WHOLE,
    Depth,
    Span,
    Window,
    first_span,
    is_worth_ending,
)

sizes = st.one_of(
    st.integers(0, 4 * MIB),
    st.integers(0, 200 * MIB),
    st.sampled_from([0, 1, WHOLE - 1, WHOLE, WHOLE + 1, FIRST, 100 * MIB, 2**40]),
)
limits = st.one_of(st.integers(0, 256 * MIB), st.sampled_from([0, 1, PART_MIN, MIB, 128 * MIB]))
lengths = st.one_of(
    st.integers(1, 8 * MIB), st.sampled_from([4 * KIB, 32 * KIB, 128 * KIB, 1 * MIB, PART_MIN])
)
REQUESTS = 40


class Asked:
    """What was asked for so far: like a cache, it never asks for the same byte twice."""

    def __init__(self, size):
        self.size = size
        self.window = None
        self.covered: list[tuple[int, int]] = []
        self.total = 0

    def ask(self, span):
        """Add a span; how many bytes of it were new."""
        assert 0 <= span.start <= span.stop <= self.size
        new = span.stop - span.start
        kept = []
        start, stop = span
        for known in self.covered:
            if known[1] < start or stop < known[0]:
                kept.append(known)
                continue
            new -= max(0, min(known[1], span.stop) - max(known[0], span.start))
            start, stop = min(start, known[0]), max(stop, known[1])
        self.covered = [*kept, (start, stop)]
        self.total += new
        return new


def check(plan, window, start, stop, *, may_be_footer=False):
    """What must be true of every plan."""
    footer = Span(window.size - TAIL, window.size)
    assert plan.needed == Span(start, stop) or (
        may_be_footer and plan.needed == footer and plan.is_jump and start >= footer.start
    )
    position = None
    for part in plan.ahead:
        assert start <= part.start < part.stop <= window.size
        assert part.stop <= window.expected + window.limit
        assert part.stop - part.start <= PART_MAX
        assert position is None or part.start == position
        assert part.start >= stop
        position = part.stop
    if position is not None:
        assert position == window.asked_to


@given(sizes)
def test_opening_asks_for_a_small_object_whole_and_for_the_head_of_a_large_one(size):
    assert first_span(size) == (Span(0, size) if size <= MIB else Span(0, 512 * KIB))


@given(sizes, limits, st.lists(lengths, min_size=1, max_size=REQUESTS))
@example(10 * MIB, 128 * MIB, [4 * KIB] * 40)
@example(100 * MIB, 128 * MIB, [128 * KIB] * 40)
@example(2**40, 256 * MIB, [8 * MIB] * 40)
def test_sequential_reading_asks_for_every_byte_once(size, limit, requests):
    window, asked = Window(size, limit), Asked(size)
    opened = window.opened()
    assert asked.ask(opened) == opened.stop
    position = 0
    for length in requests:
        stop = min(size, position + length)
        if position == stop:
            break
        plan = window.read(position, stop)
        check(plan, window, position, stop)
        assert not plan.is_jump
        asked.ask(plan.needed)
        for part in plan.ahead:
            assert asked.ask(part) == part.stop - part.start, "asked for twice"
        position = stop
        # What a reader that stops here leaves unread.
        assert asked.total - position <= GAIN * position + FIRST_WINDOW
        assert asked.total - position <= max(limit, WHOLE)
    assert len(asked.covered) == 1
    assert asked.covered[0][0] == 0
    if position == size:
        assert asked.total == size


@given(
    st.integers(2, 64).map(lambda count: count * MIB), st.sampled_from([64 * KIB, 128 * KIB, MIB])
)
def test_a_whole_file_is_read_with_few_waits(size, length):
    """After the first megabyte nearly everything was asked for before it was needed."""
    window, asked = Window(size, 128 * MIB), Asked(size)
    asked.ask(window.opened())
    waits = 0
    for start in range(0, size, length):
        plan = window.read(start, start + length)
        waits += bool(asked.ask(plan.needed))
        for part in plan.ahead:
            asked.ask(part)
    assert waits <= 2
    assert asked.total == size


@given(sizes.filter(lambda size: size > MIB), limits, st.randoms(use_true_random=False))
def test_a_random_reader_causes_nothing_ahead(size, limit, dice):
    window = Window(size, limit)
    window.opened()
    behind = 0
    for _ in range(REQUESTS):
        start = dice.randrange(size)
        stop = min(size, start + dice.choice([1, 4 * KIB, 128 * KIB, MIB]))
        if start == behind:
            continue
        is_first = not window.has_jumped
        plan = window.read(start, stop)
        check(plan, window, start, stop, may_be_footer=is_first)
        assert (plan.ahead, plan.is_jump) == ((), True)
        behind = stop


@given(sizes.filter(bool), limits, st.lists(st.tuples(st.floats(0, 1), lengths), max_size=REQUESTS))
def test_every_plan_of_any_reader_is_within_the_object_and_the_limit(size, limit, reads):
    window = Window(size, limit)
    window.opened()
    for place, length in reads:
        # Some reads go on where the last one stopped.
        start = min(size - 1, int(place * size) if place < 0.5 else window.expected)
        stop = min(size, start + length)
        is_first = not window.has_jumped
        check(window.read(start, stop), window, start, stop, may_be_footer=is_first)


@given(
    st.integers(2, 30).map(lambda count: count * MIB),
    st.randoms(use_true_random=False),
    st.sampled_from([32 * KIB, 128 * KIB, 256 * KIB]),
)
def test_reads_that_the_kernel_reorders_are_still_sequential(size, dice, length):
    window, asked = Window(size, 128 * MIB), Asked(size)
    asked.ask(window.opened())
    for start in (0, length):
        plan = window.read(start, start + length)
        for part in plan.ahead:
            asked.ask(part)
    assert window.ahead
    # The kernel sends up to 1 MiB at once, in any order.
    for begin in range(2 * length, size, MIB):
        group = list(range(begin, min(size, begin + MIB), length))
        dice.shuffle(group)
        for start in group:
            stop = min(size, start + length)
            plan = window.read(start, stop)
            assert not plan.is_jump
            asked.ask(plan.needed)
            for part in plan.ahead:
                assert asked.ask(part) == part.stop - part.start
                assert part.stop <= window.expected + window.limit
    assert asked.total == size
    assert asked.covered == [(0, size)]


def test_a_limit_of_nothing_reads_nothing_ahead():
    window = Window(100 * MIB, 0)
    window.opened()
    for start in range(0, 50 * MIB, MIB):
        assert window.read(start, start + MIB).ahead == ()


def open_window(size=1000 * MIB, limit=128 * MIB, read=64 * MIB):
    window = Window(size, limit)
    window.opened()
    for start in range(0, read, MIB):
        window.read(start, start + MIB)
    return window


def test_a_window_grows_with_what_was_read_up_to_the_limit():
    window = Window(1000 * MIB, 128 * MIB)
    window.opened()
    grown = []
    for start in range(0, 100 * MIB, MIB):
        window.read(start, start + MIB)
        grown.append(window.ahead)
    assert grown[:4] == [0, 4 * MIB, 6 * MIB, 8 * MIB]
    assert grown == sorted(grown)
    assert grown[-1] == 128 * MIB


def test_a_jump_closes_the_window_and_going_on_opens_it_again():
    window = open_window()
    plan = window.read(500 * MIB, 500 * MIB + 4 * KIB)
    assert plan == (Span(500 * MIB, 500 * MIB + 4 * KIB), (), True)
    assert window.ahead == 0
    start = 500 * MIB + 4 * KIB
    first = window.read(start, start + MIB)
    assert not first.is_jump
    assert window.ahead == GAIN * (MIB + 4 * KIB)
    assert first.ahead[0].start == start + MIB


def test_a_small_sequential_run_amid_random_reads_wastes_little():
    window, asked = Window(1000 * MIB, 128 * MIB), Asked(1000 * MIB)
    asked.ask(window.opened())
    dice = random.Random(0)
    read = 0
    for _ in range(200):
        start = dice.randrange(10 * MIB, 900 * MIB)
        for step in range(2):
            plan = window.read(start + step * 8 * KIB, start + (step + 1) * 8 * KIB)
            read += asked.ask(plan.needed)
            for part in plan.ahead:
                asked.ask(part)
    assert asked.total - FIRST <= read * (1 + GAIN)


@pytest.mark.parametrize("offset", [-SLACK - 1, SLACK + 1])
def test_what_is_too_far_from_the_window_is_a_jump(offset):
    window = open_window()
    start = window.expected + offset if offset < 0 else window.asked_to + offset - 4 * KIB
    assert window.read(start, start + 4 * KIB).is_jump


def test_reading_again_from_the_start_is_a_jump():
    window = open_window()
    assert window.read(0, 4 * KIB).is_jump


def test_the_last_part_reaches_the_end_however_small_it_is():
    window = Window(10 * MIB + 1, 128 * MIB)
    window.opened()
    parts = [
        part for start in range(0, 10 * MIB, MIB) for part in window.read(start, start + MIB).ahead
    ]
    assert parts[-1].stop == 10 * MIB + 1


@pytest.mark.parametrize("length", [32 * KIB, 100_000, 128 * KIB, 256 * KIB, MIB, 3 * MIB])
def test_parts_are_large_enough_and_many_enough(length):
    window = Window(2000 * MIB, 128 * MIB)
    window.opened()
    parts = [
        part
        for start in range(0, 1000 * MIB, length)
        for part in window.read(start, start + length).ahead
    ]
    # The first part of a plan may begin in the middle, behind a reader who has overtaken the window.
    assert all(part.stop - part.start >= PART_MIN for part in parts if not part.start % PART_MIN)
    assert sum(part.stop - part.start < PART_MIN for part in parts) <= 3
    assert parts[-1].stop - parts[-1].start == PART_MAX
    assert len(parts) < 200


@given(sizes.filter(lambda size: size > WHOLE), st.integers(1, TAIL))
def test_the_first_jump_to_the_end_brings_a_block_of_it_and_later_ones_do_not(size, back):
    window = Window(size, 128 * MIB)
    window.opened()
    assert window.read(size - back, size) == (Span(size - TAIL, size), (), True)
    assert window.read(0, 1).is_jump
    assert window.read(size - back, size).needed == Span(size - back, size)
    off = Window(size, 0)
    off.opened()
    assert off.read(size - back, size).needed == Span(size - back, size)


def test_who_hops_from_header_to_header_does_not_read_in_sequence():
    window = Window(100 * MIB, 128 * MIB)
    window.opened()
    for start in range(0, 90 * MIB, MIB // 2):
        for page in range(2):
            begin = start + page * 4 * KIB
            assert window.read(begin, begin + 4 * KIB).ahead == ()


def test_a_header_alone_opens_no_window():
    window = Window(100 * MIB, 128 * MIB)
    window.opened()
    for start in range(0, HEAD - 4 * KIB, 4 * KIB):
        assert window.read(start, start + 4 * KIB).ahead == ()
    assert window.read(HEAD - 4 * KIB, HEAD).ahead == (Span(FIRST, 2 * FIRST),)


@given(
    limits,
    st.lists(
        st.tuples(lengths, st.integers(0, 128 * MIB), st.sampled_from([0, PART_MIN, PART_MAX])),
        min_size=1,
        max_size=REQUESTS,
    ),
)
def test_whatever_the_depth_every_byte_is_asked_for_once_and_none_beyond_it(limit, reads):
    size = 300 * MIB
    window, asked = Window(size, limit), Asked(size)
    asked.ask(window.opened())
    position = 0
    for length, ahead, part in reads:
        stop = min(size, position + length)
        before = window.asked_to
        window.depth = Depth(ahead, part)
        plan = window.read(position, stop)
        check(plan, window, position, stop)
        asked.ask(plan.needed)
        for span in plan.ahead:
            assert asked.ask(span) == span.stop - span.start, "asked for twice"
            assert span.stop - span.start <= max(PART_MIN, part or PART_MAX)
        assert window.asked_to <= max(before, stop + min(ahead, limit))
        assert asked.total - stop <= max(WHOLE, GAIN * stop + FIRST_WINDOW)
        position = stop
        if position == size:
            break


@given(st.integers(0, 8 * MIB), st.integers(1, 8 * MIB))
def test_what_is_ended_early_has_cost_less_than_what_it_saves(received, asked):
    if is_worth_ending(received, asked):
        assert received < asked - received
    else:
        assert asked - received <= received
