"""Windows on lines of every kind, played through on paper."""

import math

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, assume, given, settings

from s3mount.readahead.depth import SAMPLE_MOST, Depths, Stream
from s3mount.readahead.pace import CUSHION, MARGIN
from s3mount.readahead.window import FIRST_WINDOW, GAIN, MIB, PART_MAX, PART_MIN, Window
from tests.unit.readahead.link import Line, Reader, simulated, speed

LIMIT = 64 * MIB
TOTAL = 128 * MIB
PLAYED = settings(
    # The same lines each time, and no search for a smaller one: each is played for a while.
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    deadline=None,
)
PARTS = (PART_MIN, MIB, 2 * MIB, 4 * MIB, PART_MAX)


def tens(least, most):
    """Numbers of any magnitude between two."""
    return st.floats(math.log10(least), math.log10(most)).map(lambda power: 10**power)


def is_within_reach(line):
    """Whether half the connections fill the line, with a quarter of the limit on its way."""
    return any(
        line.total * (line.latency + part / line.rate)
        <= min(LIMIT / 4, line.connections / 2 * part)
        for part in PARTS
    )


@settings(PLAYED, max_examples=40)
@given(tens(0.0002, 0.2), tens(1e6, 1e9), tens(2e6, 1e9))
def test_one_reader_fills_the_line(latency, rate, total):
    line = Line(latency, min(rate, total), total)
    assume(is_within_reach(line))
    reader = Reader(Window(384 * MIB, LIMIT), MIB)
    run = simulated(line, [reader], limit=LIMIT, total=TOTAL)
    assert speed(reader, 192 * MIB) >= 0.9 * line.total
    assert run.most_ahead <= LIMIT


@pytest.mark.parametrize("latency", [0.0002, 0.03, 0.2])
def test_a_reader_that_takes_little_has_little_ahead(latency):
    pace = 1e6
    reader = Reader(Window(64 * MIB, LIMIT), 128 * 1024, speed=pace)
    run = simulated(Line(latency, 50e6, 500e6), [reader])
    part = max(PART_MIN, min(PART_MAX, 4 * latency * 50e6))
    needed = pace * max(CUSHION, MARGIN * (latency + part / 50e6))
    assert reader.window.depth.ahead <= max(FIRST_WINDOW, 1.2 * needed)
    # Until the first sample its window grows with what it reads.
    assert run.most_ahead <= GAIN * pace * SAMPLE_MOST + MIB
    assert speed(reader, 32 * MIB) >= 0.95 * pace


@settings(PLAYED, max_examples=25)
@given(
    tens(0.0002, 0.2),
    tens(2e6, 5e8),
    tens(1e5, 1e9),
    st.integers(MIB, 100 * MIB),
)
def test_a_reader_that_stops_has_wasted_no_more_than_it_read(latency, rate, pace, until):
    reader = Reader(Window(1024 * MIB, LIMIT), MIB, speed=pace, until=until)
    simulated(Line(latency, rate, 4 * rate), [reader])
    wasted = reader.window.asked_to - reader.position
    assert wasted <= min(LIMIT, max(FIRST_WINDOW, GAIN * reader.position))


@settings(PLAYED, max_examples=15)
@given(st.integers(2, 12), tens(0.0002, 0.1), tens(5e6, 2e8), tens(2e7, 1e9))
def test_readers_beside_each_other_end_together_and_stay_within_the_total(
    count, latency, rate, total
):
    readers = [Reader(Window(64 * MIB, LIMIT), MIB) for _ in range(count)]
    run = simulated(Line(latency, min(rate, total), total), readers, limit=LIMIT, total=TOTAL)
    # The last part of each is one connection's, and connections differ: by three to one here.
    ends = sorted(reader.ended for reader in readers)
    assert ends[0] >= 0.5 * ends[-1]
    # Each opens with a window before anybody asks for its share.
    assert run.most_ahead <= TOTAL + count * 4 * MIB


def test_a_slow_reader_leaves_its_share_to_a_fast_one():
    line = Line(0.03, 50e6, 400e6)
    slow = Reader(Window(64 * MIB, LIMIT), 128 * 1024, speed=2e6, until=4 * MIB)
    fast = Reader(Window(1024 * MIB, LIMIT), MIB)
    simulated(line, [slow, fast], limit=LIMIT, total=LIMIT)
    assert speed(fast, 512 * MIB) >= 0.85 * line.total


def test_a_new_reader_on_a_known_line_is_not_deeper_than_the_line_asks_for():
    depths = Depths(LIMIT, TOTAL)
    simulated(Line(0.001, 10e6, 20e6), [Reader(Window(256 * MIB, LIMIT), MIB)])
    run = simulated(Line(0.001, 10e6, 20e6), [Reader(Window(64 * MIB, LIMIT), MIB)])
    depths.pace = run.depths.pace
    window = Window(1024 * MIB, LIMIT)
    window.opened()
    for start in range(0, 100 * MIB, MIB):
        window.read(start, start + MIB)
    assert depths.of(Stream(), window, 100.0).ahead <= 20 * MIB


def test_a_jump_gives_the_share_back():
    depths = Depths(LIMIT, LIMIT)
    window, stream = Window(1024 * MIB, LIMIT), Stream()
    window.opened()
    for start in range(0, 100 * MIB, MIB):
        window.read(start, start + MIB)
    assert depths.of(stream, window, 0.0).ahead == LIMIT
    other = Stream()
    assert depths.of(other, window, 0.0).ahead == 0
    depths.jumped(stream)
    assert depths.of(other, window, 0.0).ahead == LIMIT
