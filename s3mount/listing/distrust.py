"""Since when older listings of a directory are not to be believed: a plain data structure, time is passed in.

Somebody has seen that a listing was wrong, or said so. What was listed before that moment, here or by others, is then
not asked for again. It remembers a bounded number of moments; what it forgets it takes for the latest of those.
"""

from collections import OrderedDict

KEPT = 10_000
"""Directories remembered, of each kind."""
NEVER = float("-inf")


class Distrust:
    """Moments, by directory.

    Args:
        kept: how many of each kind are remembered.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._directories: OrderedDict[str, float] = OrderedDict()
        self._trees: OrderedDict[str, float] = OrderedDict()
        self._floor = NEVER

    def note(self, prefix: str, now: float) -> None:
        """Something in a directory was not as it was listed."""
        self._remember(self._directories, prefix, now)

    def note_below(self, prefix: str, now: float) -> None:
        """A directory and everything below it is to be listed anew."""
        self._remember(self._trees, prefix, now)

    def since(self, prefix: str) -> float:
        """The moment before which a listing of a directory is not believed; `NEVER` for none."""
        latest = max(self._floor, self._directories.get(prefix, NEVER))
        end = 0
        while self._trees and end >= 0:
            latest = max(latest, self._trees.get(prefix[:end], NEVER))
            end = prefix.find("/", end) + 1 or -1
        return latest

    def _remember(self, moments: OrderedDict[str, float], prefix: str, now: float) -> None:
        moments[prefix] = now
        moments.move_to_end(prefix)
        while len(moments) > self._kept:
            # The oldest comes first, so nothing older is remembered.
            self._floor = max(self._floor, moments.popitem(last=False)[1])
