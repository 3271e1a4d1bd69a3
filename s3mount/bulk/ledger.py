"""What a run has found so far, and whether it fits into the cache: numbers, no I/O.

Concurrency rule: written on the engine's thread, read by any; a reader may see a number that is one page behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Ledger:
    """The running totals of one prefetch.

    Attributes:
        listed: objects that were listed, wanted or not.
        objects: objects that are wanted.
        size: their bytes, or of each the first ones when no more is wanted.
        cost: bytes of disk that they take when all of them are cached, beside what is pinned already.
        missing: of a dry run: bytes that would be fetched.
        room: bytes of disk that the cache can give, None while that is not known.
        is_listed: whether the listing is over.
    """

    listed: int = 0
    objects: int = 0
    size: int = 0
    cost: int = 0
    missing: int = 0
    room: int | None = None
    is_listed: bool = False

    def add(self, sizes: Sequence[int], cost: int) -> None:
        """Count wanted objects.

        Args:
            sizes: how many bytes of each are wanted.
            cost: bytes of disk that all of them take, those that are pinned already left out.
        """
        self.objects += len(sizes)
        self.size += sum(sizes)
        self.cost += cost

    @property
    def fits(self) -> bool:
        """Whether what was found so far can be cached all at once."""
        return self.room is None or self.cost <= self.room
