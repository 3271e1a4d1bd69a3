"""Holes: bytes in the middle of a file are given back to the disk, and the file stays as long as it is.

A call that Python's ``os`` does not have. Plain functions: any thread may call them.
"""

import ctypes
import functools
import os
from collections.abc import Callable

from s3mount.cache.trailer import BLOCK

KEEP_SIZE = 1
PUNCH_HOLE = 2
"""Of Linux's ``fallocate``."""


def punch(fd: int, start: int, stop: int) -> bool:
    """Make bytes ``start`` to ``stop`` a hole; False where the file system has none."""
    if stop == os.fstat(fd).st_size:
        stop += -stop % BLOCK  # the last block is given back only as a whole
    return _fallocate()(fd, KEEP_SIZE | PUNCH_HOLE, start, stop - start) == 0


@functools.cache
def _fallocate() -> Callable[[int, int, int, int], int]:
    library = ctypes.CDLL(None)
    # Where offsets of 32 bits are still known, the long ones have a name of their own.
    call = getattr(library, "fallocate64", None) or library.fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return call
