"""A stretch of a listing: how far it has come, how long it may still be, and where it might be split.

What is said of keys that nobody has seen is a guess; see `listing/keyspace.py`.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from s3mount.listing.keyspace import Ruler
from s3mount.store.interface import Page
from s3mount.store.paging import byte_order

LONG = 3.0
"""Pages that a range must have left to be split, and each piece as well."""
NEAR = 2
"""Pages between neighbouring probes where the next pages are wanted first."""
FAN = 8
"""Probes into one range at once, where they are spread over all that is left of it."""
EVEN_DOUBLINGS = 12
"""A rest that is longer than a page by more doublings than these is no measure of how many keys there are."""
VAGUE_DOUBLINGS = 40
"""Doublings that still count when ranges are compared."""


@dataclass(slots=True, eq=False)
class Range:
    """The keys behind ``after``, up to ``until``.

    Attributes:
        after: where it begins, exclusive; empty for the beginning of the prefix.
        until: its last possible key, None for the end of the prefix.
        seen: the last key that came, or ``after``.
        token: continues the listing; None before the first page.
        has_begun: whether a key of it has come.
        is_cut: its last page held more than belonged to it.
        is_reread: its next page was asked for before, and begins with keys that have been given.
        is_tight: no key could be guessed in it; tried again when it has got farther.
        is_dropped: others list its keys; what still comes is of no use.
        misses: probes into it that found nothing since its last page.
        page_began: what its last page lies behind, without the prefix; its first key where nothing was before.
        samples: some keys of its last page, without the prefix.
        ruler: for the keys it has left, None when it is out of date.
        kept: pages that wait for those of earlier ranges.
    """

    after: str
    until: str | None
    seen: str
    token: str | None = None
    has_begun: bool = False
    is_under_way: bool = False
    is_over: bool = False
    is_cut: bool = False
    is_reread: bool = False
    is_tight: bool = False
    is_dropped: bool = False
    misses: int = 0
    page_began: str = ""
    samples: Sequence[str] = ()
    ruler: Ruler | None = None
    kept: deque[Page] = field(default_factory=deque)

    @property
    def is_waiting(self) -> bool:
        """Whether its next page may be asked for."""
        return not self.is_over and not self.is_under_way

    @property
    def may_split(self) -> bool:
        """Whether enough is known of it to guess at what is left."""
        return self.has_begun and not self.is_over and not self.is_tight

    def pages_left(self, ruler: Ruler) -> float:
        """A guess at how many pages are left."""
        if self.is_vague(ruler):
            return float(2 ** (min(ruler.doublings, VAGUE_DOUBLINGS) / 2))
        return ruler.pages

    def is_vague(self, ruler: Ruler) -> bool:
        """Whether what is left says little about how many keys are in it."""
        return self.until is None or self.misses > 0 or ruler.doublings > EVEN_DOUBLINGS

    def guesses(self, ruler: Ruler, count: int, *, is_near: bool) -> Iterator[str]:
        """Keys, without the prefix, at which it might be split."""
        if self.is_vague(ruler):
            return ruler.doubling(count)
        return ruler.near(count, NEAR) if is_near else ruler.even(count)

    def points(self, guesses: Iterator[str], prefix: str, delimiter: str) -> list[str]:
        """Of some guesses those that lie in it and behind each other, as whole keys that any server understands."""
        points: list[str] = []
        last = byte_order(self.seen)
        end = None if self.until is None else byte_order(self.until)
        for guess in guesses:
            # A point inside of a common prefix would give that prefix to both sides.
            point = prefix + (guess.partition(delimiter)[0] if delimiter else guess)
            # Bytes that are not UTF-8, and what XML cannot hold, are not understood everywhere.
            if not point.isprintable():
                continue
            place = byte_order(point)
            if last < place and (end is None or place < end):
                points.append(point)
                last = place
        return points


def even_shares(lengths: Sequence[float], room: int) -> list[int]:
    """How often to cut each of several lengths: the longest piece first, ``room`` in all and `FAN` in each."""
    counts = [0] * len(lengths)
    for _ in range(room):
        pieces = [
            length / (count + 1) if count < FAN else 0.0
            for length, count in zip(lengths, counts, strict=True)
        ]
        longest = max(pieces, default=0.0)
        if longest < LONG:
            break
        counts[pieces.index(longest)] += 1
    return counts


def near_shares(lengths: Sequence[float], room: int) -> list[int]:
    """How often to cut each of several lengths: the first into pieces of `NEAR`, then the next, ``room`` in all."""
    counts = []
    for length in lengths:
        wanted = max(1, int(length / NEAR)) if length >= LONG else 0
        counts.append(min(room, wanted))
        room -= counts[-1]
    return counts
