"""Bytes in pieces to a file."""

import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.store import pieces as module
from s3mount.store.pieces import LONG, PIECES_MAX, SHORT, stretch, write_at

SIZES = st.lists(
    st.one_of(st.integers(0, 100), st.integers(0, 3 * SHORT), st.just(SHORT)), max_size=8
)
STARTS = st.integers(0, 3 * SHORT)
BYTES = os.urandom(24 * SHORT + 1)


@pytest.fixture(params=[SHORT, LONG], scope="module", autouse=True)
def most(request):
    """Bytes of a call, on both kinds of machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "stretch", lambda: request.param)
        yield request.param


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


@given(sizes=SIZES, start=STARTS)
def test_every_byte_is_written_where_it_belongs(sizes, start):
    assert written(cut(sizes), start) == BYTES[: sum(sizes)]


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


@given(sizes=SIZES, start=STARTS, takes=st.integers(500, 2 * SHORT))
def test_what_a_short_write_left_over_is_written_next(sizes, start, takes):
    with pytest.MonkeyPatch.context() as patch:
        Disk(patch, takes)
        assert written(cut(sizes), start) == BYTES[: sum(sizes)]


@given(sizes=SIZES)
def test_no_call_takes_twice_as_much_as_it_may(most, sizes):
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, 1 << 30)
        written(cut(sizes), 0)
    assert sum(disk.sizes) == sum(sizes)
    assert all(most <= size < 2 * most for size in disk.sizes[:-1])
    assert all(size < 2 * most for size in disk.sizes)


def test_a_disk_that_refuses_is_told():
    with open("/dev/full", "wb") as full, pytest.raises(OSError, match="No space"):
        write_at(full.fileno(), [b"x"], 0)


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ({}, LONG),
        ({"virtio0": ("0x0005\n", "0110010100")}, SHORT),
        ({"virtio0": ("0x0005\n", "0110000100")}, LONG),
        ({"virtio0": ("0x0002\n", "0110010100"), "virtio1": ("0x0005\n", "01")}, LONG),
        ({"virtio0": ("0x0002\n", "0"), "virtio1": ("0x0005\n", "0110010100")}, SHORT),
        ({"virtio0": ("0x0005\n", None)}, LONG),
    ],
)
def test_a_host_that_takes_memory_back_is_known_by_its_balloon(tmp_path, devices, expected):
    for name, (device, features) in devices.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "device").write_text(device)
        if features is not None:
            (tmp_path / name / "features").write_text(features)
    assert stretch(tmp_path) == expected
