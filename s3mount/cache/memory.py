"""How much memory holds bytes for which the disk has no room.

This module counts and decides what is dropped first; it does not hold the bytes itself.
Concurrency rule: any thread may call; one short lock, under which nothing of another room is
called.
"""

import threading
from typing import Protocol


class Droppable(Protocol):
    """Finished bytes in memory that may be fetched again."""

    awaited: bool

    @property
    def held(self) -> int:
        """Bytes in memory."""

    def drop(self) -> None:
        """Forget them."""


class MemoryBudget:
    """The bytes of all streamed-through fills of one process.

    Bytes on their way and bytes that a reader waits for are never dropped, so ``used`` may stand
    above the limit by what those are; the engine bounds them by its own budget of requests.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._finished: dict[int, Droppable] = {}
        self.used = 0

    def grow(self, amount: int) -> None:
        """Count bytes that arrived, and drop the oldest finished ones when these are too many."""
        with self._lock:
            self.used += amount
            victims = self._victims() if self.used > self._limit else []
        for victim in victims:
            victim.drop()

    def finished(self, fill: Droppable) -> None:
        """From now on ``fill`` may be dropped."""
        with self._lock:
            self._finished[id(fill)] = fill

    def forget(self, fill: Droppable, amount: int) -> None:
        """``fill`` holds its ``amount`` bytes no longer."""
        with self._lock:
            self._finished.pop(id(fill), None)
            self.used -= amount

    def _victims(self) -> list[Droppable]:
        excess = self.used - self._limit
        victims = []
        for fill in self._finished.values():
            if excess <= 0:
                break
            if not fill.awaited:
                victims.append(fill)
                excess -= fill.held
        return victims
