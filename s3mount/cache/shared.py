"""What all objects of one open cache share.

This module is the bundle that `Cache` makes once and every `CachedObject` and `Fill` is given; it
decides nothing. Each part has its own concurrency rule; `Tally` may be added to from any thread.
"""

import threading
from collections import Counter
from dataclasses import dataclass

from s3mount.cache.extent import OpenFiles
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


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts of one open cache."""

    layout: Layout
    space: Space
    files: OpenFiles
    memory: MemoryBudget
    tally: Tally
