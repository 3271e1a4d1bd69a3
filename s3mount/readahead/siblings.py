"""Walks over a directory: which neighbours of what was just opened will be opened next.

A plain state machine over the indexes of one directory's entries, no clock, no I/O. Programs that go through it
(cat *, tar, cp -r, grep -r, find) open its entries in the order of the listing, forwards or backwards, perhaps passing
over some; a step to a near neighbour begins a walk, and the first step that does not fit ends it.
"""

from dataclasses import dataclass

SKIP = 8
"""Entries that a step may pass over: a glob or a test on the name leaves some out."""
DEPTH_MAX = 64
"""Neighbours on their way at the most: at 30 ms of round trip that is 2,000 a second."""
BATCH = 4
"""Neighbours are named by at least this part of the depth (one in so many): a dozen requests that are sent together
cost a third of what they cost one by one."""
PRIMED = 3
"""Steps that a walk of the parent directory is worth: a tree that is walked is walked to its leaves."""


@dataclass(slots=True)
class Walk:
    """One way through the entries of one kind in a directory.

    Attributes:
        last: the entry that was opened last, None when there was none.
        direction: 1 forwards, -1 backwards, 0 not known.
        steps: how many steps in that direction have been taken.
        asked_to: the first entry, in that direction, that has not been named yet.
    """

    last: int | None = None
    direction: int = 0
    steps: int = 0
    asked_to: int = 0

    @classmethod
    def within_a_walk(cls) -> "Walk":
        """The walk over a directory that was come to by a walk over its parent."""
        return cls(last=-1, direction=1, steps=PRIMED)

    @property
    def depth(self) -> int:
        """How many neighbours are worth being on their way."""
        return min(DEPTH_MAX, 2 << min(self.steps, 10)) if self.is_on else 0

    @property
    def is_on(self) -> bool:
        """Whether what is opened now is taken for a walk."""
        return self.steps > 0

    def visit(self, index: int, length: int) -> range:
        """Take note of an entry that was opened.

        Args:
            index: its place in the directory.
            length: of the directory as far as it is known.

        Returns:
            The entries to get ready, the nearest first; none is named twice in a walk.
        """
        if index == self.last:
            return range(0)
        step = index - self.last if self.last is not None else 0
        self.last = index
        direction = (step > 0) - (step < 0)
        if not 0 < abs(step) <= SKIP or direction == -self.direction:
            self.direction = self.steps = 0
            return range(0)
        if self.direction == 0:
            self.direction = direction
            self.asked_to = index + direction
        self.steps += 1
        return self._ahead(index, length)

    def stop_at(self, index: int) -> None:
        """Only what lies before ``index`` was got ready: name it and what follows again the next time."""
        self.asked_to = index

    def _ahead(self, index: int, length: int) -> range:
        depth = self.depth
        if (self.asked_to - 1 - index) * self.direction > depth - depth // BATCH:
            return range(0)
        if self.direction > 0:
            ahead = range(max(index + 1, self.asked_to), min(index + 1 + depth, length))
        else:
            ahead = range(min(index - 1, self.asked_to), max(index - 1 - depth, -1), -1)
        if ahead:
            self.asked_to = ahead[-1] + self.direction
        return ahead
