"""Bytes in pieces to a file."""

import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.store.pieces import PIECES_MAX, STRETCH, write_at

SIZES = st.lists(
    st.one_of(st.integers(0, 100), st.integers(0, 3 * STRETCH), st.just(STRETCH)), max_size=8
)
BYTES = os.urandom(24 * STRETCH + 1)


def cut(sizes):
    """Pieces of these sizes; no two places of the whole are alike."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(BYTES[at : at + size])
        at += size
    return pieces


def written(pieces, start):
    """What a new file has behind ``start``."""
    with tempfile.TemporaryFile() as file:
        write_at(file.fileno(), pieces, start)
        return os.pread(file.fileno(), len(BYTES) + 1, start)


@given(SIZES, st.integers(0, 3 * STRETCH))
def test_every_byte_is_written_where_it_belongs(sizes, start):
    assert written(cut(sizes), start) == BYTES[: sum(sizes)]


def test_more_pieces_than_the_kernel_takes_at_once():
    pieces = [b"%04d" % number for number in range(3 * PIECES_MAX)]
    assert written(pieces, 4) == b"".join(pieces)


class Calls:
    """``os.pwritev``, which writes no more than it is told to, as a disk does that gets full."""

    def __init__(self, most):
        self.most = most
        self.made = []
        self.real = os.pwritev

    def __call__(self, descriptor, views, start):
        some = b"".join(views)[: self.most]
        self.made.append((start, len(some)))
        return self.real(descriptor, [some], start)


@given(SIZES, st.integers(0, 2 * STRETCH), st.integers(1, 2 * STRETCH).map(lambda n: n * 4))
def test_what_a_short_write_left_over_is_written_next(sizes, start, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwritev", Calls(max(most, 500)))
        assert written(cut(sizes), start) == BYTES[: sum(sizes)]


def test_no_call_takes_more_than_a_stretch(monkeypatch):
    calls = Calls(1 << 30)
    monkeypatch.setattr(os, "pwritev", calls)
    assert written([BYTES[: 5 * STRETCH]], 1000) == BYTES[: 5 * STRETCH]
    assert calls.made[0] == (1000, STRETCH - 1000)
    assert all(start % STRETCH == 0 and size <= STRETCH for start, size in calls.made[1:])


def test_a_disk_that_refuses_is_told():
    with open("/dev/full", "wb") as full, pytest.raises(OSError, match="No space"):
        write_at(full.fileno(), [b"x"], 0)
