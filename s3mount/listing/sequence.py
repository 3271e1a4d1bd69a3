"""Whether names of a directory are asked for in the order of its listing: then its pages answer, not each name alone.

A plain state machine over indexes and names, no clock, no I/O. What it decides costs little when it is wrong: one page
that nobody wanted, or one that was waited for before a name is asked for alone.
"""

NEAR = 8
"""Entries between two names that are asked for in order: programs leave some out, or go several at once."""
CERTAIN_STEPS = 4
"""Names in order after which the next is expected in the next page."""
AHEAD = 128
"""Entries before the end of what is listed, from which on the next page is fetched: it takes its time."""


class Sequence:
    """How the names of one directory that is not wholly listed are asked for.

    Attributes:
        steps: how many listed names in a row came near the one before.
    """

    __slots__ = ("_index", "_is_in_order", "_name", "steps")

    def __init__(self) -> None:
        self._index = -1
        self._name = b""
        self._is_in_order = False
        self.steps = 0

    def note(self, name: bytes, index: int, length: int) -> None:
        """Take note of a name that is asked for.

        Args:
            name: as the kernel has it.
            index: where it stands in the listing as far as that has come, ``length`` for a name behind that.
            length: how many entries are listed.
        """
        if name == self._name:
            return
        if index == self._index == length:
            # Of two names behind the end nothing is known but their order.
            self._is_in_order = name > self._name
        else:
            self._is_in_order = abs(index - self._index) <= NEAR
            self.steps += self._is_in_order
        if not self._is_in_order:
            self.steps = 0
        self._index, self._name = index, name

    def nears_end(self, length: int) -> bool:
        """Whether the next page should be on its way."""
        return self.steps >= CERTAIN_STEPS and self._index >= length - AHEAD

    def awaits_page(self, *, is_on_its_way: bool) -> bool:
        """Whether a name behind the end, just noted, waits for the next page instead of being asked for alone."""
        return self.steps >= CERTAIN_STEPS or (is_on_its_way and self._is_in_order)

    def lost(self) -> None:
        """The next page did not have the name that waited for it."""
        self.steps = 0
