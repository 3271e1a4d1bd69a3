"""What finished requests tell of a line, and what follows from it for windows."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from s3mount.readahead.pace import (
    CUSHION,
    PARTS_MOST,
    SPLIT,
    TELLING,
    Pace,
    Trip,
    bytes_ahead,
    part_size,
)
from s3mount.readahead.window import FIRST_WINDOW, MIB, PART_MAX, PART_MIN

latencies = st.floats(0.0002, 0.2)
rates = st.floats(1e5, 2e9)
amounts = st.integers(0, 1 << 30)


def trip(latency, rate, amount=8 * MIB, sent=0.0, at_once=1):
    first = sent + latency
    return Trip(sent, first, first + amount / rate, amount, at_once)


@given(latencies, rates)
def test_one_request_tells_both(latency, rate):
    pace = Pace()
    assert not pace.is_known()
    pace.note(trip(latency, rate))
    assert pace.is_known()
    assert pace.latency == pytest.approx(latency, rel=1e-3)
    assert pace.rate == pytest.approx(rate, rel=0.02)


def test_a_short_request_tells_of_the_latency_only():
    pace = Pace()
    pace.note(trip(0.03, 1e9, TELLING - 1))
    assert pace.latency == pytest.approx(0.03)
    assert not pace.is_known()


def test_a_busy_moment_counts_little_and_a_better_one_at_once():
    pace = Pace()
    for number in range(10):
        pace.note(trip(0.03, 50e6, sent=number))
    pace.note(trip(0.3, 5e6, sent=11))
    assert pace.latency < 0.05
    assert pace.rate > 45e6
    pace.note(trip(0.01, 100e6, sent=20))
    assert pace.latency == pytest.approx(0.01)
    assert pace.rate == pytest.approx(100e6)


def test_a_line_that_gets_worse_is_noticed():
    pace = Pace()
    pace.note(trip(0.03, 50e6))
    for number in range(100):
        pace.note(trip(0.2, 5e6, sent=10.0 * number + 10))
    assert pace.latency > 0.19
    assert pace.rate < 6e6


def test_the_share_of_a_full_line_is_not_taken_for_what_one_connection_can_do():
    pace = Pace()
    pace.note(trip(0.03, 50e6))
    for number in range(1000):
        pace.note(trip(0.03, 50e6 / 16, sent=10.0 + number / 20, at_once=16))
    assert pace.rate == pytest.approx(50e6)


@pytest.mark.parametrize("count", [1, 2, 8, 32])
def test_all_connections_together_are_counted_once_for_the_time(count):
    pace = Pace()
    for number in range(2000):
        # Always so many at once: one begins whenever one ends.
        began = number * (8 * MIB / 10e6) / count
        pace.note(trip(0.0, 10e6, sent=began, at_once=count))
    assert pace.total == pytest.approx(count * 10e6, rel=0.3)


@given(latencies, rates, rates, rates)
def test_a_faster_reader_has_no_smaller_window(latency, rate, slow, fast):
    slow, fast = min(slow, fast), max(slow, fast)
    pace = Pace(latency, rate)
    assert FIRST_WINDOW <= bytes_ahead(pace, slow) <= bytes_ahead(pace, fast)


@given(latencies, latencies, rates, rates)
def test_a_longer_way_has_no_smaller_window(near, far, rate, reader):
    near, far = min(near, far), max(near, far)
    assert bytes_ahead(Pace(near, rate), reader) <= bytes_ahead(Pace(far, rate), reader) + 1


@given(latencies, rates, rates, rates)
def test_slower_connections_have_no_smaller_window(latency, slow, fast, reader):
    slow, fast = min(slow, fast), max(slow, fast)
    assert bytes_ahead(Pace(latency, fast), reader) <= bytes_ahead(Pace(latency, slow), reader) + 1


@given(st.floats(1e3, 2e6))
def test_a_slow_reader_on_a_fast_line_has_little(reader):
    assert bytes_ahead(Pace(0.001, 100e6), reader) <= max(FIRST_WINDOW, CUSHION * reader + 1)


@given(latencies, rates, rates, amounts)
def test_a_part_is_a_power_of_two_within_bounds(latency, rate, reader, ahead):
    part = part_size(Pace(latency, rate), reader, ahead)
    assert PART_MIN <= part <= PART_MAX
    assert part & (part - 1) == 0
    if part > PART_MIN:
        # The next smaller one may be the one that is too small.
        assert SPLIT * part <= ahead or part <= ahead // PARTS_MOST * 2


@given(latencies, rates, rates, amounts, amounts)
def test_a_deeper_window_has_no_smaller_parts(latency, rate, reader, one, other):
    pace = Pace(latency, rate)
    shallow, deep = sorted((one, other))
    assert part_size(pace, reader, shallow) <= part_size(pace, reader, deep)


def test_one_connection_that_fills_the_line_gets_large_parts_and_slow_ones_get_many():
    assert part_size(Pace(0.0005, 400e6), 400e6, 64 * MIB) == PART_MAX
    assert part_size(Pace(0.03, 2e6), 100e6, 64 * MIB) == MIB
    # Far and fast: smaller parts would only cost more requests.
    assert part_size(Pace(0.2, 200e6), 300e6, 64 * MIB) == PART_MAX
