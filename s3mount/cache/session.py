"""Which processes write to a cache, and whether they still live.

This module knows one locked file per process; it does not know what the process promised or
wrote. A `Session` belongs to one `Cache`; its lock ends with the process, however it ends.
"""

import contextlib
import fcntl
import os
from itertools import count

from s3mount.cache import temporary
from s3mount.cache.layout import Layout
from s3mount.cache.open_file import OpenFile


class Session:
    """One process that writes, as others see it.

    Args:
        layout: where the file lies.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, layout: Layout) -> None:
        self.name = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._layout = layout
        self._numbers = count()
        self._makes_nameless = temporary.makes_nameless(layout.tmp)
        self._path = layout.session(self.name)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file: OpenFile | None = OpenFile(fd)
        fcntl.flock(fd, fcntl.LOCK_EX)

    def create(self) -> tuple[int, str]:
        """A fresh file for an extent; see `temporary.create`.

        Raises:
            OSError: the disk refuses.
        """
        name = "" if self._makes_nameless else f"{self.name}.{next(self._numbers)}"
        return temporary.create(self._layout.tmp, name)

    def close(self) -> None:
        """End the session; what it left behind may be removed by anybody."""
        if self._file is not None:
            os.unlink(self._path)
            self._file = None


def is_alive(layout: Layout, name: str) -> bool:
    """Whether the process of a session lives."""
    try:
        fd = os.open(layout.session(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def forget(layout: Layout, name: str) -> None:
    """Remove the file of a dead session."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.session(name))
