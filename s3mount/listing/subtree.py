"""Flat pages of a listing cut into directories: what one LIST with a delimiter would have told of each.

A plain data structure, no I/O. It relies on the order of bytes, in which all keys of a directory stand together: a
directory is over when the first key behind it has come.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from s3mount.errors import UnexpectedReply
from s3mount.listing.page_order import ends, is_ordered
from s3mount.store.interface import ObjectMeta, Page
from s3mount.store.paging import byte_order

MOST_NAMES = 10_000
"""Names of a directory that are gathered; a longer one is left to be listed by itself, when somebody reads it."""


class Found(NamedTuple):
    """A whole directory.

    Attributes:
        prefix: of its keys.
        page: its names, as one page.
        told_at: when the oldest part of it was true.
    """

    prefix: str
    page: Page
    told_at: float


@dataclass(slots=True)
class _Open:
    """A directory whose keys are coming.

    Attributes:
        is_whole: whether all of its names have been gathered so far.
    """

    prefix: str
    told_at: float
    is_whole: bool
    objects: list[ObjectMeta] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)

    def trim(self) -> None:
        """Drop what is too much."""
        if len(self.objects) + len(self.prefixes) > MOST_NAMES:
            self.is_whole = False
        if not self.is_whole:
            self.objects.clear()
            self.prefixes.clear()

    def found(self) -> Found:
        """It is over."""
        return Found(self.prefix, Page(self.objects, self.prefixes, None), self.told_at)


class Subtree:
    """The directories below a prefix, from its flat listing.

    Args:
        prefix: empty or ending in ``/``.
        after: the listing begins behind it; what begins before is not told.

    Attributes:
        reached: the last key that came, as bytes.
    """

    def __init__(self, prefix: str, after: str = "") -> None:
        self.reached = byte_order(after)
        self._last = after
        self._start = byte_order(after)
        self._open: list[_Open] = []
        self._prefix = prefix

    def take(self, page: Page, told_at: float) -> list[Found]:
        """Take in the next page; the directories that are over with it.

        Args:
            page: with neither delimiter nor prefixes.
            told_at: when it was true.

        Raises:
            UnexpectedReply: it is not in order.
        """
        if not is_ordered(page, self._last):
            raise UnexpectedReply("the store lists keys out of order", key=self._prefix)
        if not page.objects:
            return []
        if not self._open:
            self._open.append(self._begun(self._prefix, told_at))
        for each in self._open:
            each.told_at = min(each.told_at, told_at)
        over = list(self._sort_in(page, told_at))
        for each in self._open:
            each.trim()
        self._last = ends(page)[1]
        self.reached = byte_order(self._last)
        return over

    def end(self) -> list[Found]:
        """The listing is over; the directories that are over with it."""
        left, self._open = self._open, []
        return [each.found() for each in reversed(left) if each.is_whole]

    def _sort_in(self, page: Page, told_at: float) -> Iterator[Found]:
        top = self._open[-1]
        for meta in page.objects:
            directory = meta.key[: meta.key.rfind("/") + 1]
            if directory != top.prefix:
                while not directory.startswith(top.prefix):
                    self._open.pop()
                    if top.is_whole:
                        yield top.found()
                    top = self._open[-1]
                top = self._descend(directory, told_at)
            if top.is_whole:
                top.objects.append(meta)

    def _descend(self, directory: str, told_at: float) -> _Open:
        top = self._open[-1]
        while top.prefix != directory:
            child = directory[: directory.index("/", len(top.prefix)) + 1]
            if top.is_whole:
                top.prefixes.append(child)
            top = self._begun(child, told_at)
            self._open.append(top)
        return top

    def _begun(self, prefix: str, told_at: float) -> _Open:
        # What begins before the listing does may have keys in front of it.
        return _Open(prefix, told_at, is_whole=not self._start or self._start < byte_order(prefix))
