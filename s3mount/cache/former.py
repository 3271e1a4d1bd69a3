"""What the former version of the cache left on disk, and how it goes.

Its objects cannot be read any more: they would only take room that nobody counts. This module removes them unless a
process of that version still writes or reads there. Concurrency rule: several processes may do this at once.
"""

import contextlib
import fcntl
import os

from s3mount.cache.layout import SHARDS, Layout

OBJECTS, TMP, SESSIONS = "objects", "tmp", "sessions"
FILES = ("demand", "index.sqlite", "index.sqlite-wal", "index.sqlite-shm")


class Former:
    """The former version's part of a cache directory.

    Args:
        layout: which cache.
    """

    def __init__(self, layout: Layout) -> None:
        self._home = layout.former
        self._shards = [f"{self._home}/{OBJECTS}/{shard}" for shard in SHARDS]
        self.removed = 0

    def remove(self, most: int) -> bool:
        """Remove up to about so many objects; whether there is nothing left to do for now."""
        if not os.path.isdir(f"{self._home}/{OBJECTS}"):
            return True
        if self._is_in_use():
            return True
        enough = self.removed + most
        while self._shards and self.removed < enough:
            self._remove_shard(self._shards.pop())
        if self._shards:
            return False
        for name in (TMP, SESSIONS):
            _empty(f"{self._home}/{name}")
        for name in FILES:
            with contextlib.suppress(OSError):
                os.unlink(f"{self._home}/{name}")
        for name in (TMP, SESSIONS, OBJECTS):
            with contextlib.suppress(OSError):
                os.rmdir(f"{self._home}/{name}")
        return True

    def _is_in_use(self) -> bool:
        """Whether a process of the former version lives that writes there."""
        sessions = f"{self._home}/{SESSIONS}"
        with contextlib.suppress(FileNotFoundError):
            return any(_is_locked(f"{sessions}/{name}") for name in os.listdir(sessions))
        return False

    def _remove_shard(self, shard: str) -> None:
        with contextlib.suppress(OSError):
            for name in os.listdir(shard):
                path = f"{shard}/{name}"
                if not _is_locked(path):
                    self.removed += _remove(path)
            os.rmdir(shard)


def _is_locked(path: str) -> bool:
    """Whether somebody has a lock on a file or directory: a session, or a lease."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _remove(path: str) -> bool:
    try:
        os.unlink(path)
    except IsADirectoryError:
        _empty(path)
        with contextlib.suppress(OSError):
            os.rmdir(path)
    except OSError:
        return False
    return True


def _empty(path: str) -> None:
    with contextlib.suppress(OSError):
        for name in os.listdir(path):
            with contextlib.suppress(OSError):
                os.unlink(f"{path}/{name}")
