"""Bytes in pieces to a file."""

import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.store.pieces import (
    DEAR,
    FOR_A_WHILE,
    FOR_LONG,
    LONG,
    PIECES_MAX,
    SHORT,
    Strides,
    write_at,
)

SIZES = st.lists(
    st.one_of(st.integers(0, 100), st.integers(0, 3 * SHORT), st.just(SHORT)), max_size=8
)
STARTS = st.integers(0, 3 * SHORT)
BYTES = os.urandom(24 * SHORT + 1)


class Always(Strides):
    """Calls of one length, whatever they cost."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def next(self):
        return self.most


MOST = pytest.mark.parametrize("most", [SHORT, LONG])


def cut(sizes):
    """Pieces of these sizes; no two places of the whole are alike."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(BYTES[at : at + size])
        at += size
    return pieces


def written(pieces, start, most=LONG):
    """What a new file has behind ``start``."""
    with tempfile.TemporaryFile() as file:
        write_at(file.fileno(), pieces, start, Always(most))
        return os.pread(file.fileno(), len(BYTES) + 1, start)


@MOST
@given(sizes=SIZES, start=STARTS)
def test_every_byte_is_written_where_it_belongs(most, sizes, start):
    assert written(cut(sizes), start, most) == BYTES[: sum(sizes)]


def test_more_pieces_than_the_kernel_takes_at_once():
    pieces = [b"%04d" % number for number in range(3 * PIECES_MAX)]
    assert written(pieces, 4) == b"".join(pieces)


class Disk:
    """Calls that write no more than so many bytes, as those do that meet the end of the disk."""

    def __init__(self, patch, takes):
        self.takes = takes
        self.sizes = []
        self._real = os.pwrite
        patch.setattr(os, "pwritev", lambda fd, views, at: self.write(fd, b"".join(views), at))
        patch.setattr(os, "pwrite", self.write)

    def write(self, descriptor, body, start):
        self.sizes.append(len(body))
        return self._real(descriptor, body[: self.takes], start)


@MOST
@given(sizes=SIZES, start=STARTS, takes=st.integers(500, 2 * SHORT))
def test_what_a_short_write_left_over_is_written_next(most, sizes, start, takes):
    with pytest.MonkeyPatch.context() as patch:
        Disk(patch, takes)
        assert written(cut(sizes), start, most) == BYTES[: sum(sizes)]


@MOST
@given(sizes=SIZES)
def test_no_call_takes_twice_as_much_as_it_may(most, sizes):
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, 1 << 30)
        written(cut(sizes), 0, most)
    assert sum(disk.sizes) == sum(sizes)
    assert all(most <= size < 2 * most for size in disk.sizes[:-1])
    assert all(size < 2 * most for size in disk.sizes)


def test_a_disk_that_refuses_is_told():
    with open("/dev/full", "wb") as full, pytest.raises(OSError, match="No space"):
        write_at(full.fileno(), [b"x"], 0)


@given(st.lists(st.tuples(st.integers(1, LONG), st.floats(0, DEAR)), max_size=40))
def test_calls_are_long_while_none_is_dear(calls):
    strides = Strides()
    for size, cost in calls:
        strides.note(size, size * cost)
        assert strides.next() == LONG


def dear(strides):
    strides.note(LONG, 10 * LONG * DEAR)


def spell(strides, cost):
    """Calls that are short for a while, at so much a byte."""
    for _ in range(FOR_A_WHILE // SHORT):
        assert strides.next() == SHORT
        strides.note(SHORT, SHORT * cost)
    assert strides.next() == LONG


def test_a_long_call_is_tried_again_after_a_while():
    strides = Strides()
    for _ in range(3):
        dear(strides)
        spell(strides, 4 * DEAR)


def test_where_short_calls_are_as_dear_they_are_long_for_longer():
    strides = Strides()
    dear(strides)
    spell(strides, 8 * DEAR)
    for _ in range(FOR_LONG // LONG):
        assert strides.next() == LONG
        dear(strides)
    spell(strides, 8 * DEAR)


def test_bytes_that_tell_nothing_are_not_held_against_short_calls():
    """A call of a few bytes costs what a call costs."""
    strides = Strides()
    dear(strides)
    for _ in range(FOR_A_WHILE // 1024):
        strides.note(1024, 1.0)
    assert strides.next() == LONG
    dear(strides)
    assert strides.next() == SHORT


def test_what_a_long_call_costs_is_measured(monkeypatch):
    """A clock that moves on by a second a look: all is dear."""
    clock = iter(range(1000))
    monkeypatch.setattr("s3mount.store.pieces.time.thread_time", lambda: next(clock))
    strides = Strides()
    with tempfile.TemporaryFile() as file:
        write_at(file.fileno(), [BYTES[: LONG // 2 - 1]], 0, strides)
        assert strides.next() == LONG
        write_at(file.fileno(), [BYTES[: LONG // 2]], 0, strides)
        assert strides.next() == SHORT
