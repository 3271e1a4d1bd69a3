"""What all objects of one open cache share.

This module is the bundle that `Cache` makes once and every `CachedObject` and `Fill` is given; it
decides nothing. Each part has its own concurrency rule; `Tally` may be added to from any thread.
"""

import threading
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from s3mount.cache.layout import Layout
from s3mount.cache.memory import MemoryBudget
from s3mount.cache.space import Space
from s3mount.metrics import Counters


class Tally:
    """Counts from any thread, until the one thread that may write the `Counters` takes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        """Count ``amount`` under ``name``."""
        with self._lock:
            self._counts[name] += amount

    def move_to(self, counters: Counters) -> None:
        """Hand everything counted so far on."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        for name, amount in counts.items():
            counters.add(name, amount)


Job = Callable[[], None]


class Backlog:
    """Work for the disk that those who receive bytes leave to another thread, in order.

    Args:
        run: takes a job; where nothing else is given it is done at once.
        limit: bytes that may wait; whoever leaves more waits until some are written.
    """

    def __init__(self, run: Callable[[Job], None] | None = None, *, limit: int) -> None:
        self._run = run
        self._limit = limit
        self._waiting = 0
        self._room = threading.Condition()

    def leave(self, job: Job, amount: int) -> None:
        """Have ``job`` done, which is to write ``amount`` bytes; one that writes none of them never waits."""
        if self._run is None:
            job()
            return
        with self._room:
            # One job is always taken: a disk that is slow must not stop those who bring bytes for good.
            if amount:
                self._room.wait_for(
                    lambda: self._waiting == 0 or self._waiting + amount <= self._limit
                )
            self._waiting += amount

        def work() -> None:
            try:
                job()
            finally:
                with self._room:
                    self._waiting -= amount
                    self._room.notify_all()

        self._run(work)


class Deferred:
    """Work that waits for other processes: it is tried each time that the cache is maintained."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: list[Callable[[], bool]] = []

    def add(self, job: Callable[[], bool]) -> None:
        """Try ``job`` again and again, until it says that it is over."""
        with self._lock:
            self._jobs.append(job)

    def run(self) -> None:
        """Try all of them once."""
        with self._lock:
            jobs, self._jobs = self._jobs, []
        left = [job for job in jobs if not job()]
        with self._lock:
            self._jobs += left


class Shared(NamedTuple):
    """The parts of one open cache."""

    layout: Layout
    space: Space
    memory: MemoryBudget
    tally: Tally
    backlog: Backlog
    deferred: Deferred
