"""How the files of one directory are gone through: by several walks at once, and near each other in no order.

Plain state machines over the indexes of the directory's entries, no clock, no I/O. Several programs, or the processes
of one, walk through a directory side by side. Others open what belongs together, but not in the order of names: an
interpreter that imports a package does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from s3mount.readahead.siblings import SKIP, Walk

HEADS = 16
"""Walks over one directory that are told apart."""
STRAYS = 2
"""Openings that belong to no walk after which those near to them are got ready."""
START = 4
"""Entries that are got ready on suspicion; if none of them is opened it ends there."""
GAIN = 2
"""Entries that are got ready for each that was opened after it had been got ready."""
REACH = 64
"""How far from an opened entry others are looked for."""
MOST_BYTES = 1024 * 1024
"""Bytes that were got ready near others and not opened yet, at the most."""
MOST_KNOWN = 4096
"""Entries of a directory that are known to be there; in one with more, nothing is got ready near others."""


@dataclass(slots=True)
class Nearby:
    """What is got ready because it lies near to what was opened.

    Attributes:
        strays: how many openings belonged to no walk.
        credit: how many more entries may be got ready.
        waiting: bytes of those that were got ready and not opened yet.
        known: entries that were opened or found ready.
    """

    strays: int = 0
    credit: int = START
    waiting: dict[int, int] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)

    def opened(self, index: int) -> None:
        """An entry was opened."""
        if self.waiting.pop(index, None) is not None:
            self.credit += GAIN
        self.found_ready(index)

    def strayed(self) -> None:
        """The entry that was opened belongs to no walk."""
        self.strays += 1

    def found_ready(self, index: int) -> None:
        """An entry need not be got ready."""
        if len(self.known) < MOST_KNOWN:
            self.known.add(index)

    def ordered(self, index: int, size: int) -> None:
        """An entry of so many bytes is being got ready."""
        self.credit -= 1
        self.waiting[index] = size

    def around(self, index: int, length: int) -> Iterator[int]:
        """Entries to get ready one after the other, the nearest first, as long as there is credit."""
        if self.strays < STRAYS or len(self.known) >= MOST_KNOWN:
            return
        for distance in range(1, REACH + 1):
            for near in (index + distance, index - distance):
                if not 0 <= near < length or near in self.known or near in self.waiting:
                    continue
                if self.credit <= 0 or sum(self.waiting.values()) >= MOST_BYTES:
                    return
                yield near


class Visits:
    """The openings of one directory's files.

    Args:
        walk: that the first of them belongs to.

    Attributes:
        nearby: what is got ready because it lies near.
        opened: how many openings there were.
        reached: the last of the entries that were opened.
    """

    def __init__(self, walk: Walk | None = None) -> None:
        self._walks = [walk or Walk()]
        self.nearby = Nearby()
        self.opened = 0
        self.reached = 0

    def walk_of(self, index: int) -> Walk:
        """The walk that an opening belongs to: the nearest that it continues, else a new one."""
        fitting = [walk for walk in self._walks if _fits(walk, index)]
        if fitting:
            found = min(fitting, key=lambda walk: abs(index - (walk.last or 0)))
            self._walks.remove(found)
        else:
            found = Walk()
        self.opened += 1
        self.reached = max(self.reached, index)
        self._walks.append(found)
        del self._walks[:-HEADS]
        self.nearby.opened(index)
        if found.last is None:
            self.nearby.strayed()
        return found


def _fits(walk: Walk, index: int) -> bool:
    if walk.last is None:
        return True
    step = index - walk.last
    return abs(step) <= SKIP and (not walk.direction or step * walk.direction >= 0)
