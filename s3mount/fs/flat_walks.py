"""Which subtrees are being listed flat because somebody walks through them. It belongs to the event loop's thread."""

from s3mount.listing.catalog import Catalog
from s3mount.listing.flat import FlatListing

AT_ONCE = 4
"""Subtrees that are walked through at the same time; with more, the oldest walk has to do with neighbours."""


class FlatWalks:
    """The flat listings under way, those whose directories are still known, and those that were given up.

    Args:
        catalog: begins them, and is told what they find.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._flat: list[FlatListing] = []

    def has(self, prefix: str) -> bool:
        """Whether the listing of a directory that is opened now, and of what follows, comes from a flat one."""
        found = next((flat for flat in self._flat if flat.covers(prefix)), None)
        if found is None:
            return False
        is_known = self._catalog.peek(prefix) is not None
        found.passed(prefix, is_known=is_known)
        if found.is_over and not is_known:
            # It was listed some time ago, or not at all.
            self._flat.remove(found)
            return False
        return True

    def ran_below(self, prefix: str) -> bool:
        """Whether a listing is known that was begun for a walk below a directory."""
        return any(flat.prefix.startswith(prefix) for flat in self._flat)

    def begin(self, prefix: str, child: str) -> bool:
        """List all that is below a directory, from one of its directories on; whether that was begun."""
        if any(old.prefix == prefix and old.is_given_up for old in self._flat):
            return False  # it was of no use, so it is not tried again and again
        # Whatever is below the child comes behind its name without the slash.
        flat = self._catalog.list_flat(prefix, child.removesuffix("/"))
        if flat is None:
            return False
        for old in [old for old in self._flat if old.prefix.startswith(prefix)]:
            self._drop(old)
        while len(self._flat) >= AT_ONCE:
            self._drop(self._flat[0])
        self._flat.append(flat)
        return True

    def _drop(self, flat: FlatListing) -> None:
        flat.stop()
        self._flat.remove(flat)
