"""When a failed request is made again."""

import hypothesis.strategies as st
from hypothesis import given

from s3mount.errors import AccessDenied, ServerFault, Throttled
from s3mount.transfer.retry import THROTTLED_FIRST, RetryPolicy, next_delay

POLICY = RetryPolicy(first=0.05, ceiling=2.0, patience=20.0)


def test_what_cannot_pass_is_not_tried_again():
    assert next_delay(POLICY, AccessDenied("no"), attempt=1, idle=0.0, draw=0.5) is None


@given(st.integers(1, 10_000), st.floats(0, 19.9), st.floats(0, 1))
def test_a_delay_is_below_its_ceiling_and_ends_within_the_patience(attempt, idle, draw):
    delay = next_delay(POLICY, ServerFault("no"), attempt=attempt, idle=idle, draw=draw)
    if delay is not None:
        assert 0.0 <= delay <= POLICY.ceiling
        assert idle + delay < POLICY.patience


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_patience_ends(attempt, draw):
    assert next_delay(POLICY, ServerFault("no"), attempt=attempt, idle=20.0, draw=draw) is None


def test_the_ceiling_doubles():
    delays = [
        next_delay(POLICY, ServerFault("no"), attempt=attempt, idle=0.0, draw=1.0)
        for attempt in range(1, 9)
    ]
    assert delays == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_a_throttling_store_is_given_more_time():
    delay = next_delay(POLICY, Throttled("slow"), attempt=1, idle=0.0, draw=1.0)
    assert delay == THROTTLED_FIRST
