"""Walks over a directory: what is named, in which order, and when a walk ends."""

import hypothesis.strategies as st
from hypothesis import given

from s3mount.readahead.siblings import BATCH, DEPTH_MAX, SKIP, Walk

LENGTH = 1000


def test_one_opening_says_nothing():
    assert not Walk().visit(17, LENGTH)


def test_a_walk_forwards_orders_ever_more():
    walk = Walk()
    walk.visit(0, LENGTH)
    assert list(walk.visit(1, LENGTH)) == [2, 3, 4, 5]
    assert list(walk.visit(2, LENGTH)) == list(range(6, 11))
    batches = [list(walk.visit(visited, LENGTH)) for visited in range(3, 100)]
    named = [index for batch in batches for index in batch]
    assert named == list(range(11, 11 + len(named)))
    assert 99 + DEPTH_MAX - DEPTH_MAX // BATCH <= named[-1] <= 99 + DEPTH_MAX


def test_a_long_walk_orders_in_batches():
    walk = Walk()
    batches = [len(walk.visit(index, LENGTH)) for index in range(500)]
    late = [count for count in batches[100:] if count]
    assert set(late) == {DEPTH_MAX // BATCH}


def test_a_walk_backwards_is_one_too():
    walk = Walk()
    walk.visit(LENGTH - 1, LENGTH)
    assert list(walk.visit(LENGTH - 2, LENGTH)) == [997, 996, 995, 994]


def test_a_jump_ends_a_walk():
    walk = Walk()
    for index in range(10):
        walk.visit(index, LENGTH)
    assert not walk.visit(500, LENGTH)
    assert not walk.is_on
    assert list(walk.visit(501, LENGTH)) == [502, 503, 504, 505]


def test_turning_round_ends_a_walk():
    walk = Walk()
    for index in range(10):
        walk.visit(index, LENGTH)
    assert not walk.visit(8, LENGTH)


def test_a_directory_within_a_walk_is_walked_from_its_first_entry():
    assert list(Walk.within_a_walk().visit(0, LENGTH))[:3] == [1, 2, 3]


@given(st.lists(st.integers(-SKIP - 2, SKIP + 2), max_size=60), st.integers(1, 300))
def test_what_is_named_exists_lies_ahead_and_is_named_once(steps, length):
    walk, index = Walk(), 0
    named: set[int] = set()
    for step in steps:
        index = min(max(index + step, 0), length - 1)
        was_on, before = walk.is_on, walk.direction
        ahead = walk.visit(index, length)
        if not (was_on and walk.is_on and before == walk.direction):
            named.clear()
        assert len(ahead) <= DEPTH_MAX
        for neighbour in ahead:
            assert 0 <= neighbour < length
            assert (neighbour - index) * walk.direction > 0
            assert neighbour not in named
            named.add(neighbour)


@given(st.integers(2, 400), st.integers(1, SKIP))
def test_every_step_of_a_walk_was_named_before_it_came(length, step):
    walk, named = Walk(), set()
    visited = list(range(0, length, step))
    for number, index in enumerate(visited):
        if number >= 2 and step == 1:
            assert index in named
        named.update(walk.visit(index, length))
