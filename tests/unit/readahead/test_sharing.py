"""Several readers share what may be ahead: max-min fair, and never more than there is."""

import hypothesis.strategies as st
from hypothesis import given

from s3mount.readahead.sharing import IDLE, Sharing, fair_level

wants = st.lists(st.integers(0, 1000), min_size=1, max_size=20)


@given(wants, st.integers(0, 5000))
def test_the_level_is_max_min_fair(each, total):
    level = fair_level(each, total)
    given = [min(want, level) for want in each]
    assert sum(given) <= total
    if sum(each) <= total:
        assert given == each
    else:
        # Nobody could have one more without a loss of somebody who has less.
        unsatisfied = [got for got, want in zip(given, each, strict=True) if got < want]
        assert set(unsatisfied) == {level}
        assert total - sum(given) < len(unsatisfied)


def test_who_wants_little_leaves_the_rest_to_others():
    assert fair_level([1, 100, 100], 101) == 50
    assert fair_level([100], 30) == 30
    assert fair_level([], 30) == 30


@given(
    st.integers(0, 2000),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 1000), st.floats(0, 1)), max_size=60),
)
def test_all_together_never_hold_more_than_there_is(total, asks):
    sharing, held = Sharing(total), dict.fromkeys(range(8), 0)
    for number, (reader, want, used) in enumerate(asks):
        # It has read some of what it held, and asks for all that it is granted.
        held[reader] = int(held[reader] * used)
        granted = sharing.grant(reader, wants=want, holds=held[reader], now=number / 1000)
        assert granted <= want
        held[reader] = max(held[reader], granted)
        assert sum(held.values()) <= total


def test_readers_that_all_want_all_come_to_equal_shares():
    sharing, held = Sharing(800), dict.fromkeys(range(8), 0)
    for turn in range(100):
        for reader, holds in held.items():
            # Each reads a tenth of what it has before it asks again.
            left = holds * 9 // 10
            granted = sharing.grant(reader, wants=640, holds=left, now=turn / 1000)
            held[reader] = max(left, granted)
    assert all(90 <= holds <= 110 for holds in held.values())


def test_who_asks_no_more_counts_no_more():
    sharing = Sharing(100)
    sharing.grant("stopped", wants=100, holds=100, now=0.0)
    assert sharing.grant("other", wants=100, holds=0, now=1.0) == 0
    assert sharing.grant("other", wants=100, holds=0, now=1.0 + IDLE) == 100


def test_who_leaves_makes_room_at_once():
    sharing = Sharing(100)
    sharing.grant("one", wants=100, holds=0, now=0.0)
    sharing.leave("one")
    sharing.leave("one")
    assert sharing.grant("other", wants=100, holds=0, now=0.0) == 100
