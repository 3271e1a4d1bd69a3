"""Pipes between sockets and files."""

import errno
import os
import socket
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.store.pieces import LONG, SHORT, Strides, drain_at
from s3mount.store.pipe import NoSplice, Pipe

BYTES = os.urandom(3 * SHORT)


@pytest.fixture
def pipe():
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def ends():
    """Two sockets that are connected; the first does not block."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def refuse(monkeypatch, number, *, into_files):
    real = os.splice

    def splice(source, goal, count, **ways):
        if into_files == (ways.get("offset_dst") is not None):
            raise OSError(number, os.strerror(number))
        return real(source, goal, count, **ways)

    monkeypatch.setattr(os, "splice", splice)


@given(
    sizes=st.lists(st.integers(1, len(BYTES)), max_size=4),
    start=st.integers(0, 3 * SHORT),
    is_short=st.booleans(),
)
def test_every_byte_comes_to_its_place(sizes, start, is_short):
    strides = Strides()
    if is_short:
        strides.note(LONG, 1.0)
        assert strides.next() == SHORT
    pipe = Pipe()
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as file:
        at = start
        for size in sizes:
            theirs.sendall(BYTES[:size])
            while size:
                size -= pipe.fill(ours.fileno(), size)
                held = pipe.held
                drain_at(file.fileno(), pipe, at, strides)
                assert pipe.held == 0
                at += held
        expected = b"".join(BYTES[:size] for size in sizes)
        assert os.pread(file.fileno(), len(expected) + 1, start) == expected
    pipe.close()


def test_what_a_socket_says(pipe, ends):
    ours, theirs = ends
    with pytest.raises(BlockingIOError):
        pipe.fill(ours.fileno(), 10)
    theirs.sendall(b"0123456789")
    assert pipe.fill(ours.fileno(), 4) == 4
    assert pipe.held == 4
    assert pipe.read(3) == b"012"
    assert pipe.read(3) == b"3"
    assert pipe.read(3) == b""
    theirs.close()
    assert pipe.fill(ours.fileno(), 100) == 6
    assert pipe.read(100) == b"456789"
    assert pipe.fill(ours.fileno(), 100) == 0


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM])
def test_a_file_system_that_knows_no_splice(pipe, ends, tmp_path, monkeypatch, number):
    refuse(monkeypatch, number, into_files=True)
    ends[1].sendall(BYTES)
    with open(tmp_path / "file", "wb+") as file:
        at = 0
        while at < len(BYTES):
            held = pipe.fill(ends[0].fileno(), len(BYTES))
            drain_at(file.fileno(), pipe, at)
            at += held
        assert os.pread(file.fileno(), len(BYTES) + 1, 0) == BYTES


def test_a_kernel_that_knows_no_splice(pipe, ends, monkeypatch):
    refuse(monkeypatch, errno.EINVAL, into_files=False)
    ends[1].sendall(b"body")
    with pytest.raises(NoSplice):
        pipe.fill(ends[0].fileno(), 10)
    assert pipe.held == 0
    assert ends[0].recv(10) == b"body"


def test_a_disk_that_is_full(pipe, ends):
    ends[1].sendall(b"body")
    pipe.fill(ends[0].fileno(), 10)
    with open("/dev/full", "wb") as full, pytest.raises(OSError, match="No space left") as caught:
        drain_at(full.fileno(), pipe, 0)
    assert caught.value.errno == errno.ENOSPC


def test_a_file_that_takes_nothing(pipe, ends, tmp_path, monkeypatch):
    ends[1].sendall(b"body")
    pipe.fill(ends[0].fileno(), 10)
    monkeypatch.setattr(os, "splice", lambda *_, **__: 0)
    with open(tmp_path / "file", "wb") as file, pytest.raises(OSError, match="no byte"):
        drain_at(file.fileno(), pipe, 0)


def test_both_ends_are_given_back():
    before = os.listdir("/proc/self/fd")
    Pipe().close()
    assert os.listdir("/proc/self/fd") == before
