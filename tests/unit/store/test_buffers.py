"""Memory that begins with a page."""

import ctypes
import mmap
import os

import pytest

from s3mount.store.buffers import SMALL, page_aligned, read_at


@pytest.mark.parametrize("size", [1, 4096, 5000, 1 << 20])
def test_memory_begins_with_a_page(size):
    view = page_aligned(size)
    assert len(view) == size
    assert ctypes.addressof(ctypes.c_char.from_buffer(view)) % mmap.PAGESIZE == 0


def test_memory_is_not_shared_with_a_fork():
    view = page_aligned(4096)
    view[0] = 1
    child = os.fork()
    if not child:
        view[0] = 2
        os._exit(0)
    os.waitpid(child, 0)
    assert view[0] == 1


@pytest.mark.parametrize("size", [1, SMALL, SMALL + 1, 100_000, 300_000])
@pytest.mark.parametrize("offset", [0, 7, 199_999, 200_000])
def test_what_is_read_is_what_pread_gives(tmp_path, size, offset):
    (tmp_path / "file").write_bytes(os.urandom(200_000))
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    assert read_at(fd, size, offset) == os.pread(fd, size, offset)
    os.close(fd)


def test_what_was_read_stays_as_it_is(tmp_path):
    (tmp_path / "file").write_bytes(b"a" * 100_000 + b"b" * 100_000)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    first = read_at(fd, 100_000, 0)
    assert read_at(fd, 100_000, 100_000) == b"b" * 100_000
    assert first == b"a" * 100_000
    os.close(fd)
