"""FUSE mounts without a daemon: a connection that nobody serves is stuck, a closed one is dead."""

import ctypes
import os
from contextlib import contextmanager, suppress

libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def unserved(path, source="s3://bucket"):
    """Mount ``path`` with a connection that nobody serves; yields the descriptor: close it for a dead one."""
    fd = os.open("/dev/fuse", os.O_RDWR)
    words = f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
    made = libc.mount(source.encode(), os.fsencode(path), b"fuse.s3mount", 1, words)
    assert made == 0, os.strerror(ctypes.get_errno())
    try:
        yield fd
    finally:
        with suppress(OSError):
            os.close(fd)
        libc.umount2(os.fsencode(path), 2)


@contextmanager
def dead(path, source="s3://bucket"):
    """A mount whose daemon is gone."""
    with unserved(path, source) as fd:
        os.close(fd)
        yield
