"""What is remembered of the bucket's names, and how far it may be trusted: a plain data structure, time is passed in.

Listings of directories as far as they have come, answers about single names of directories that are longer than a page,
and names that have turned out to be another version than their listing says. It makes no request and takes no lock.
"""

import itertools
import math
from bisect import bisect_left, bisect_right
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

from cachetools import LRUCache

from s3mount.listing.directory import Directory, Entry, Oddities
from s3mount.listing.distrust import NEVER, Distrust
from s3mount.listing.rest import Rest
from s3mount.listing.sequence import Sequence
from s3mount.store.interface import Page
from s3mount.transfer.flight import Flight

NAMES = 100_000
"""Single names, long directories and odd keys: how many of each are remembered."""

PATIENCE = 2
"""Names behind the reach of a long listing that are asked for one by one before it is read on."""

OLD_TTL = 1.0
"""Seconds that an answer of unknown age holds, given because the endpoint does not answer."""


class ShelfSettings(NamedTuple):
    """How long and how much is remembered.

    Attributes:
        metadata_ttl: seconds that a listing is trusted for the names in it.
        negative_ttl: seconds that a listing is trusted for names that are not in it.
        max_bytes: memory for listings.
        max_entries: entries in all listings together.
    """

    metadata_ttl: float = 60.0
    negative_ttl: float = 10.0
    max_bytes: int = 256 * 1024 * 1024
    max_entries: int = 2_000_000


class Answer(NamedTuple):
    """What is known about one name.

    Attributes:
        entry: None when there is nothing of this name.
        ttl: seconds that the answer may still be trusted.
    """

    entry: Entry | None
    ttl: float


T = TypeVar("T")
Column = tuple[T, ...] | list[T]
_serials = itertools.count(1)


class Listing:
    """A directory and how far its listing has come.

    Attributes:
        ends: how many entries there were with each page.
        times: when each page was true.
        oldest: seconds that a page may be old.
        has_aged: whether a page was not the store's answer of now.
        flight: its next page on the way.
        serial: a number that no other listing of this process has.
        rest: what is listed by several requests at once, once a reader has come so far.
        wanted: entries that the foremost reader has asked for.
        misses: lookups of names behind its reach since it was last extended for them.
        patience: misses after which it is extended. It doubles with each page that answered nobody, so that scattered
            lookups in an endless directory do not list it, and sequential ones soon find their page.
        sequence: whether names are asked for in the order of the listing.
    """

    __slots__ = (
        "directory",
        "ends",
        "flight",
        "has_aged",
        "misses",
        "oldest",
        "patience",
        "rest",
        "sequence",
        "serial",
        "times",
        "token",
        "waiters",
        "wanted",
    )

    def __init__(self, prefix: str, oldest: float = math.inf) -> None:
        self.directory = Directory(prefix)
        self.serial = next(_serials)
        self.oldest = oldest
        self.has_aged = False
        self.token: str | None = None
        self.ends: Column[int] = ()
        self.times: Column[float] = ()
        self.flight: Flight | None = None
        self.rest: Rest | None = None
        self.wanted = 0
        self.misses = 0
        self.patience = PATIENCE
        self.sequence = Sequence()
        self.waiters: tuple[tuple[int, Future[None]], ...] = ()

    def append(self, page: Page, now: float) -> None:
        """Take in the next page."""
        self.directory.append(page)
        self.token = page.next_token
        self.times = _with(self.times, now - page.age)
        self.has_aged = self.has_aged or page.age > 0
        self.ends = _with(self.ends, len(self.directory))

    def pages_read(self) -> int:
        """How many of the pages that are there a reader has come to."""
        return min(len(self.ends), bisect_left(self.ends, self.wanted) + 1)

    def told_at(self, index: int) -> float:
        """When the page of an entry was true; a later page makes an earlier one no younger."""
        page = bisect_right(self.ends, index)
        return self.times[min(page, len(self.ends) - 1)] if self.ends else 0.0

    def name_told_at(self, name: bytes) -> float:
        """When the listing said what a name is, or that it is nothing."""
        return self.told_at(self.directory.position(name))

    def note_lookup(self, name: bytes) -> None:
        """A name is asked for."""
        length = len(self.directory)
        self.sequence.note(name, self.directory.position(name), length)

    def has_begun(self) -> bool:
        """Whether the first page is there."""
        return self.directory.pages > 0

    def can_give(self, count: int) -> bool:
        """Whether the first page and ``count`` entries are there, or all that exist."""
        if self.directory.is_complete:
            return True
        return self.has_begun() and self.directory.settled() >= count


class _Learned(NamedTuple):
    """What one LIST said about a single name, and when."""

    entry: Entry | None
    at: float


class Shelf:
    """Knowledge with its age, within bounds; what was used least recently goes first.

    Listings stay when they are too old to be trusted: they are what a mount still knows when its endpoint is gone.
    """

    def __init__(self, settings: ShelfSettings) -> None:
        self._settings = settings
        self._listings: LRUCache[str, Listing] = LRUCache(settings.max_bytes, self._size_of)
        self._names: LRUCache[tuple[str, bytes], _Learned] = LRUCache(NAMES)
        self._outdated: LRUCache[tuple[str, bytes], float] = LRUCache(NAMES)
        self._long: LRUCache[str, bool] = LRUCache(NAMES)
        self._odd: LRUCache[str, tuple[Oddities, Oddities]] = LRUCache(NAMES)
        self._distrust = Distrust()

    @property
    def negative_ttl(self) -> float:
        """Seconds that it is believed of a name that it does not exist."""
        return min(self._settings.metadata_ttl, self._settings.negative_ttl)

    @property
    def believes(self) -> bool:
        """Whether anything is trusted for any time at all."""
        return self._settings.metadata_ttl > 0

    def known(self, prefix: str, name: bytes, now: float) -> Answer | None:
        """What is known of a name and may be trusted."""
        listing = self._listing_of(prefix, name)
        learned = self._names.get((prefix, name))
        if learned is not None and (listing is None or learned.at >= listing.name_told_at(name)):
            answer = self.aged(learned.entry, learned.at, now)
            if answer is not None:
                return answer
        if listing is None:
            return None
        told_at = listing.name_told_at(name)
        if self._outdated.get((prefix, name), -1.0) >= told_at:
            return None
        listing.patience = PATIENCE
        return self.aged(listing.directory.find(name), told_at, now)

    def old(self, prefix: str, name: bytes, now: float) -> Answer | None:
        """What was known of a name, whatever its age; but that it does not exist, only within the metadata TTL.

        An outage must not look as if something had been deleted, or had never been there.
        """
        listing = self._listing_of(prefix, name)
        learned = self._names.get((prefix, name))
        if learned is not None and (listing is None or learned.at >= listing.name_told_at(name)):
            entry, at = learned
        elif listing is not None:
            entry, at = listing.directory.find(name), listing.name_told_at(name)
        else:
            return None
        is_trusted = now < at + self._settings.metadata_ttl
        return Answer(entry, OLD_TTL) if entry is not None or is_trusted else None

    def aged(self, entry: Entry | None, at: float, now: float) -> Answer | None:
        """An answer of a certain age, None when it is too old."""
        limit = self._settings.metadata_ttl
        if entry is None:
            limit = self.negative_ttl
        ttl = at + limit - now
        return Answer(entry, ttl) if ttl > 0 else None

    def fresh_listing(self, prefix: str, now: float) -> Listing | None:
        """The listing of a directory, when it may be trusted."""
        listing = self._listings.get(prefix)
        return listing if listing is not None and self.is_fresh(listing, now) else None

    def old_listing(self, prefix: str) -> Listing | None:
        """A whole listing of whatever age."""
        listing = self._listings.get(prefix)
        return listing if listing is not None and listing.directory.is_complete else None

    def remaining_ttl(self, listing: Listing, now: float, start: int = 0) -> float:
        """Seconds that the entries of a listing from an index on may still be trusted."""
        return max(0.0, listing.told_at(start) + self._settings.metadata_ttl - now)

    def is_fresh(self, listing: Listing, now: float) -> bool:
        """Whether a listing may be trusted."""
        return self.remaining_ttl(listing, now) > 0.0

    def max_age(self, prefix: str, now: float, known_at: float = NEVER) -> float:
        """How many seconds old an answer about a directory may be, so that it may be trusted and is news.

        Args:
            prefix: of the directory.
            now: as the clock says.
            known_at: of when the answer is that is already known.
        """
        since = max(known_at, self._distrust.since(prefix))
        return max(0.0, min(self._settings.metadata_ttl, now - since))

    def listed_at(self, prefix: str) -> float:
        """Of when the listing is that is remembered, whatever its age; `NEVER` where there is none."""
        listing = self._listings.get(prefix)
        return NEVER if listing is None else listing.told_at(0)

    def learned_at(self, prefix: str, name: bytes) -> float:
        """Of when the answer about a single name is that is remembered; `NEVER` where there is none."""
        learned = self._names.get((prefix, name))
        return NEVER if learned is None else learned.at

    def is_long(self, prefix: str) -> bool:
        """Whether a directory is known to be longer than a page."""
        return prefix in self._long

    def keep(self, listing: Listing) -> None:
        """Remember a listing that has grown by a page."""
        directory = listing.directory
        prefix = directory.prefix
        if not directory.is_complete or directory.pages > 1:
            self._long[prefix] = True
        else:
            self._long.pop(prefix, None)
        if directory.unspellable.count or directory.twins.count:
            self._odd[prefix] = (directory.unspellable, directory.twins)
        else:
            self._odd.pop(prefix, None)
        self._listings.pop(prefix, None)
        if self._size_of(listing) <= self._settings.max_bytes:
            self._listings[prefix] = listing

    def holds(self, listing: Listing) -> bool:
        """Whether this listing is the one that is remembered for its directory."""
        return self._listings.get(listing.directory.prefix) is listing

    def learn(self, prefix: str, name: bytes, entry: Entry | None, now: float) -> None:
        """Remember what one LIST said about a single name."""
        self._names[prefix, name] = _Learned(entry, now)

    def has_learned(self) -> bool:
        """Whether anything is remembered of single names."""
        return bool(self._names)

    def current(self, prefix: str, entry: Entry) -> Entry | None:
        """An entry of a listing, or what has been learned of its name since then."""
        if not self._names:
            return entry
        learned = self._names.get((prefix, entry.name))
        listing = self._listing_of(prefix, entry.name)
        if learned is None or (listing and learned.at < listing.name_told_at(entry.name)):
            return entry
        return learned.entry

    def outdate(self, prefix: str, name: bytes, now: float) -> None:
        """A name is another version than is remembered: do not answer with it again."""
        self._names.pop((prefix, name), None)
        self._outdated[prefix, name] = now
        self._distrust.note(prefix, now)

    def drop(self, listing: Listing) -> None:
        """Forget one listing, when it is the one remembered."""
        if self.holds(listing):
            del self._listings[listing.directory.prefix]

    def forget(self, prefix: str, now: float) -> int:
        """Forget a directory and all below it, and believe no older listing of it; how many listings that were."""
        self._distrust.note_below(prefix, now)
        below = [known for known in self._listings if known.startswith(prefix)]
        for known in below:
            del self._listings[known]
        for names in (self._names, self._outdated):
            for pair in [pair for pair in names if pair[0].startswith(prefix)]:
                del names[pair]
        return len(below)

    def totals(self) -> dict[str, int]:
        """How many directories and entries are remembered."""
        listings = list(self._listings.values())
        entries = sum(len(listing.directory) for listing in listings)
        return {"directories": len(listings), "entries": entries}

    def oddities(self) -> tuple[Oddities, Oddities]:
        """Keys that no path can spell, and names that are both an object's and a directory's."""
        unspellable, twins = Oddities(), Oddities()
        for unspellable_here, twins_here in list(self._odd.values()):
            unspellable.include(unspellable_here)
            twins.include(twins_here)
        return unspellable, twins

    def _listing_of(self, prefix: str, name: bytes) -> Listing | None:
        """The listing that says what a name is."""
        listing = self._listings.get(prefix)
        return listing if listing is not None and listing.directory.is_known(name) else None

    def _size_of(self, listing: Listing) -> int:
        """Bytes, or the share of the bound in entries put in bytes when that is more."""
        share = self._settings.max_bytes // self._settings.max_entries
        return max(listing.directory.weight, len(listing.directory) * share)


def _with(column: "Column[T]", value: T) -> "Column[T]":
    """One value more. Most directories have one page, and a tuple of one takes half of what a list takes."""
    if not column:
        return (value,)
    more = column if isinstance(column, list) else list(column)
    more.append(value)
    return more
