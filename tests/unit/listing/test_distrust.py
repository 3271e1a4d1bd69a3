"""Since when a listing is not believed: for a directory, for all below one, and never later than was said."""

import hypothesis.strategies as st
from hypothesis import given

from s3mount.listing.distrust import NEVER, Distrust

prefixes = st.lists(st.sampled_from(["a/", "b/", "a"]), max_size=3).map(
    lambda parts: "".join(part if part.endswith("/") else part + "/" for part in parts)
)


@given(st.lists(st.tuples(prefixes, st.booleans()), max_size=20), prefixes)
def test_it_knows_the_latest_moment(notes, asked):
    distrust, latest = Distrust(), NEVER
    for moment, (prefix, is_tree) in enumerate(notes):
        (distrust.note_below if is_tree else distrust.note)(prefix, float(moment))
        if asked == prefix or (is_tree and asked.startswith(prefix)):
            latest = float(moment)
    assert distrust.since(asked) == latest


@given(st.lists(st.tuples(prefixes, st.booleans()), max_size=40), prefixes, st.integers(1, 4))
def test_what_is_forgotten_is_never_believed_again(notes, asked, kept):
    small, large = Distrust(kept), Distrust()
    for moment, (prefix, is_tree) in enumerate(notes):
        for distrust in (small, large):
            (distrust.note_below if is_tree else distrust.note)(prefix, float(moment))
    assert small.since(asked) >= large.since(asked)
