"""Several walks over one directory, and openings near each other: what is got ready, and what it may cost."""

import random

import hypothesis.strategies as st
from hypothesis import given

from s3mount.readahead.siblings import SKIP, Walk
from s3mount.readahead.visits import GAIN, HEADS, MOST_BYTES, REACH, START, STRAYS, Visits

LENGTH = 1000
SIZE = 1000


def visit(visits, index, length=LENGTH, size=SIZE):
    """An opening, everything around it got ready; what that was."""
    walk = visits.walk_of(index)
    ordered = list(walk.visit(index, length))
    if not walk.is_on:
        for near in visits.nearby.around(index, length):
            visits.nearby.ordered(near, size)
            ordered.append(near)
    return ordered


def test_readers_side_by_side_walk_each_for_itself():
    visits = Visits()
    shares = [range(start, start + 100) for start in range(0, 800, 100)]
    waits, ready = 0, set()
    for steps in zip(*shares, strict=True):
        for index in steps:
            waits += index not in ready
            ready.update(visit(visits, index))
    assert waits <= 3 * len(shares)


def test_a_walk_is_joined_where_it_is_nearest():
    visits = Visits()
    for index in (0, 1, 100, 101):
        visit(visits, index)
    assert min(visit(visits, 102)) > 102
    assert min(visit(visits, 2)) in range(3, 100)


def test_what_belongs_together_is_got_ready_in_no_order():
    order = list(range(120))
    random.Random(1).shuffle(order)
    visits, ready, waits = Visits(), set(), 0
    for index in order:
        waits += index not in ready
        ready.update(visit(visits, index, length=120))
    assert waits < 40


@given(st.lists(st.integers(0, LENGTH - 1), max_size=60, unique=True))
def test_who_never_comes_back_costs_a_few_entries(indexes):
    far_apart = [index * 10 * REACH for index in indexes]
    visits = Visits()
    ordered = [near for index in far_apart for near in visit(visits, index, LENGTH * 10 * REACH)]
    assert len(ordered) <= START


@given(st.lists(st.integers(0, 99), max_size=200))
def test_what_is_got_ready_near_others_is_bounded_by_what_was_of_use(indexes):
    visits, opened, ordered = Visits(), set(), []
    for index in indexes:
        visits.walk_of(index)
        opened.add(index)
        for near in visits.nearby.around(index, 100):
            assert near not in opened
            visits.nearby.ordered(near, SIZE)
            ordered.append(near)
    assert len(ordered) == len(set(ordered))
    assert len(ordered) <= START + GAIN * len(opened & set(ordered))


def test_the_bytes_that_nobody_has_opened_are_bounded():
    visits = Visits()
    for index in range(0, 60, 20):
        visits.walk_of(index)
    visits.nearby.credit = 1000
    for near in visits.nearby.around(30, LENGTH):
        visits.nearby.ordered(near, MOST_BYTES // 4)
    assert sum(visits.nearby.waiting.values()) == MOST_BYTES


def test_one_opening_says_nothing():
    visits = Visits()
    assert [visit(visits, index) for index in (0, 500)][: STRAYS - 1] == [[]]


def test_old_walks_are_forgotten():
    visits = Visits()
    for number in range(2 * HEADS):
        visit(visits, number * 3 * SKIP)
    walk = visits.walk_of(1)
    assert walk.last is None


def test_a_directory_within_a_walk_begins_with_one():
    assert list(Visits(Walk.within_a_walk()).walk_of(0).visit(0, LENGTH))[:3] == [1, 2, 3]
