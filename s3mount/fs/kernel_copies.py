"""Which listing the kernel's own copy of a directory comes from.

The kernel can keep the entries of a directory that a program has read to its end, and give them to the next one without
asking. It fills its copy from whatever handle it was allowed to, and drops it at an open that does not say "keep". So
the copy must be filled from one listing at a time, and be kept only for who opens that same listing. Plain decisions.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Copying(NamedTuple):
    """What the kernel may do with an open directory.

    Attributes:
        fills: take entries from the handle into its copy, and answer from the copy.
        keeps: go on with the copy that it has.
    """

    fills: bool
    keeps: bool


@dataclass(slots=True)
class KernelCopy:
    """The kernel's copy of one directory.

    Attributes:
        listing: the number of the listing that is or will be in it, 0 for none.
        fillers: open handles that it may be filled from, all of that listing.
    """

    listing: int = 0
    fillers: int = 0

    def opened(self, listing: int, *, is_plain: bool) -> Copying:
        """A handle more.

        Args:
            listing: the number of the listing that it goes through.
            is_plain: the listing is shown as it stands, now and later.
        """
        if not is_plain or (self.fillers and self.listing != listing):
            if not self.fillers:
                self.listing = 0
            return Copying(False, False)
        keeps = self.listing == listing
        self.listing = listing
        self.fillers += 1
        return Copying(True, keeps)

    def closed(self, copying: Copying) -> None:
        """A handle less."""
        self.fillers -= copying.fills

    def spoiled(self) -> None:
        """A handle that fills it shows something else than its listing by now."""
        self.listing = -1
