"""A pipe between a socket and a file: the kernel moves pages through it that no program reads.

`os.splice` hands a socket's pages to the pipe, and copies them from there into the file's: one copy where a program
that receives and writes makes two. See decision 15.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable

SIZE = 1024 * 1024
"""Bytes: the most that Linux gives to users by itself. A pipe that stays smaller works as well, with more calls."""
_NO_SPLICE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})
"""What kernels, sandboxes and file systems say that know no splice."""


class NoSplice(Exception):
    """One of the two ends knows no splice; nothing was moved by this call."""


class Pipe:
    """Bytes on their way, for one thread.

    Attributes:
        held: bytes that are in it.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.held = 0
        with contextlib.suppress(OSError):  # this user has pipes enough
            fcntl.fcntl(self._writing, fcntl.F_SETPIPE_SZ, SIZE)

    def fill(self, descriptor: int, most: int) -> int:
        """Take what a socket has; 0 at its end.

        Args:
            descriptor: of a socket that does not block.
            most: bytes at the most, one at least.

        Raises:
            BlockingIOError: nothing is there yet, or the pipe is full.
            NoSplice: this kernel does not do that.
            OSError: the connection failed.
        """
        moved = _splice(descriptor, self._writing, most)
        self.held += moved
        return moved

    def pour(self, descriptor: int, start: int, most: int) -> int:
        """Write bytes that are held to a file; how many.

        Args:
            descriptor: of the file.
            start: offset of the first byte.
            most: bytes at the most, one at least.

        Raises:
            NoSplice: this file system does not do that.
            OSError: it refuses.
        """
        moved = _splice(self._reading, descriptor, min(most, self.held), offset_dst=start)
        if not moved:
            raise OSError(errno.EIO, "no byte of a pipe could be written")
        self.held -= moved
        return moved

    def read(self, most: int) -> bytes:
        """Take bytes out as any program would.

        Args:
            most: bytes at the most.
        """
        data = os.read(self._reading, min(most, self.held)) if self.held else b""
        self.held -= len(data)
        return data

    def close(self) -> None:
        """Give both ends back."""
        os.close(self._reading)
        os.close(self._writing)


Drain = Callable[[Pipe, int], None]
"""Takes the next bytes of a reply, so many, out of a pipe; what it leaves there is lost."""


def _splice(source: int, goal: int, most: int, offset_dst: int | None = None) -> int:
    try:
        return os.splice(source, goal, most, offset_dst=offset_dst, flags=os.SPLICE_F_NONBLOCK)
    except OSError as error:
        if error.errno in _NO_SPLICE:
            raise NoSplice from error
        raise
