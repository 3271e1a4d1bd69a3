"""When a reader of any mount last waited for the store, told to all processes that share the cache.

One number in a file that all of them map: a mount writes the time, a bulk command reads it and makes way. It is a
hint: a number that is lost or stale costs a moment of the line and nothing else. Concurrency rule: any thread may
call; the number is 8 aligned bytes, stored and loaded at once.
"""

import logging
import math
import mmap
import os
import time

from s3mount.cache.layout import Layout

log = logging.getLogger(__name__)

GRAIN_NS = 5_000_000
"""Nanoseconds between two writes of one process."""
RECENT = 0.2
"""Seconds for which readers that waited are taken to want more: longer than a round trip to another region."""


class Demand:
    """The number, mapped; it lies in the file system's memory and costs no call.

    Args:
        layout: of the cache. Where the disk has no room for the file, nobody else hears what is noted.
    """

    def __init__(self, layout: Layout) -> None:
        try:
            self._map = _mapped(layout.demand)
        except OSError as error:
            log.info("readers are not told to other processes: %s", error)
            self._map = mmap.mmap(-1, mmap.PAGESIZE)
        self._noted = memoryview(self._map).cast("Q")
        self._next = 0

    def note(self) -> None:
        """A reader waits for the store now. Cheap enough to be said again and again."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if now >= self._next:
            self._next = now + GRAIN_NS
            self._noted[0] = now

    def seconds_since(self) -> float:
        """Seconds since a reader of any process waited; infinite when none did since the machine started."""
        noted = self._noted[0]
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        # A number from before the machine started may lie ahead of the clock.
        return (now - noted) / 1e9 if 0 < noted <= now else math.inf

    def is_recent(self) -> bool:
        """Whether a reader waited a moment ago, so that bulk work should make way."""
        return self.seconds_since() < RECENT


def _mapped(path: str) -> mmap.mmap:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        # The block must be there before it is written through the map: a full disk would end the process.
        os.posix_fallocate(fd, 0, mmap.PAGESIZE)
        return mmap.mmap(fd, mmap.PAGESIZE)
    finally:
        os.close(fd)
