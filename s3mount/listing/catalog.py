"""The names below a bucket: answered from what is remembered, or learned with one LIST.

A lookup is one LIST of the directory when that may be short (its page answers all siblings too, and every name that is
not there), of the single name when the directory is known to be long. Concurrency rule: every method may be called from
any thread and none waits; what is not known comes as a future, resolved on the engine's thread with no lock held.
"""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from s3mount.errors import StoreError
from s3mount.listing.directory import Directory, Entry, Oddities
from s3mount.listing.flat import FlatListing, Place
from s3mount.listing.growth import Growth
from s3mount.listing.questions import Health, Questions
from s3mount.listing.rest import PARALLEL
from s3mount.listing.shelf import Answer, Listing, Shelf, ShelfSettings
from s3mount.listing.subtree import Found
from s3mount.metrics import Counters
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Urgency


class Catalog:
    """The names below a bucket, as far and as freshly as they are known.

    Args:
        engine: sends the LISTs.
        settings: how long and how much is remembered.
        parallel: LISTs of one directory at once at the most; 1 lists page after page, and each directory by
            itself.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        engine: Engine,
        settings: ShelfSettings = ShelfSettings(),  # noqa: B008 - immutable
        *,
        parallel: int = PARALLEL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = Counters()
        self._engine = engine
        self._clock = clock
        self._is_flat_worth_it = parallel > 1
        self._lock = threading.RLock()
        self._shelf = Shelf(settings)
        self._health = Health()
        self._questions = Questions(
            engine, self._shelf, self._lock, clock, self.counters, self._health
        )
        self._growth = Growth(
            engine, self._shelf, self._lock, clock, self.counters, self._health, parallel
        )

    def known(self, prefix: str, name: bytes) -> Answer | None:
        """What is known of a name without a request, None when one is needed.

        Args:
            prefix: of the directory: empty or ending in ``/``.
            name: as the kernel has it.
        """
        with self._lock:
            answer = self._shelf.known(prefix, name, self._clock())
            if answer is not None and self._shelf.is_long(prefix):
                self._note_hit(prefix, name)
            return answer

    def lookup(self, prefix: str, name: bytes) -> "Future[Answer]":
        """What a name is, with one request where it is not known.

        The future fails with the `StoreError` of that request, unless the endpoint does not answer and the name was
        known before: then it brings what was known.
        """
        with self._lock:
            answer = self._shelf.known(prefix, name, self._clock())
            if answer is not None:
                return _resolved(answer)
            future = self._questions.pending(prefix, name) or self._ask(prefix, name)
            # While the endpoint does not answer nobody waits for it who can be told what was true last.
            old = self._shelf.old(prefix, name, self._clock()) if self._health.is_failing else None
        return future if old is None else _resolved(old)

    def open_listing(self, prefix: str) -> Listing:
        """The listing of a directory that a reader goes through; it shares what is known."""
        with self._lock:
            listing = self._shelf.fresh_listing(prefix, self._clock())
            if listing is not None:
                return listing
            listing = self._growth.relist(prefix)
            old = self._shelf.old_listing(prefix) if self._health.is_failing else None
            if old is not None:
                self._growth.fetch(listing, Urgency.SOON)
            return old or listing

    def peek(self, prefix: str) -> Directory | None:
        """What is known and trusted of a directory; no request is made."""
        with self._lock:
            listing = self._shelf.fresh_listing(prefix, self._clock())
            return listing.directory if listing is not None else None

    def warm(self, prefix: str) -> bool:
        """Have the first page of a directory that will probably be read; whether a request was needed."""
        with self._lock:
            is_there = self._shelf.fresh_listing(prefix, self._clock()) or self._growth.has_begun(
                prefix
            )
            if is_there or not self._shelf.believes:
                return False
            self._growth.fetch(self._growth.relist(prefix), Urgency.SOON)
            return True

    def list_flat(self, prefix: str, after: str) -> FlatListing | None:
        """Begin to list all that is below a prefix and behind a key, for somebody who walks through it."""
        with self._lock:
            if not self._shelf.believes or not self._is_flat_worth_it:
                return None
            place = Place(prefix, after, self._shelf.max_age(prefix, self._clock()))
        return FlatListing(self._engine, place, self.fill, self._clock)

    def fill(self, found: Found) -> bool:
        """Take in a directory that was listed together with others; whether that was news."""
        with self._lock:
            now = self._clock()
            age = now - found.told_at
            is_there = self._shelf.fresh_listing(found.prefix, now) or self._growth.has_begun(
                found.prefix
            )
            if is_there or age >= self._shelf.max_age(found.prefix, now):
                return False
            listing = Listing(found.prefix)
            listing.append(found.page._replace(age=age), now)
            self._shelf.keep(listing)
            return True

    def old_listing(self, prefix: str) -> Listing | None:
        """A whole listing of whatever age, for when no newer one can be had."""
        with self._lock:
            return self._shelf.old_listing(prefix)

    def ensure(self, listing: Listing, count: int) -> "Future[None] | None":
        """Have ``count`` entries of a listing, or all that exist; None when they are there already.

        One page more than asked for is on its way while the reader takes what it has, and several once it has gone
        beyond the first page of a directory of more than a few.
        """
        with self._lock:
            listing.wanted = max(listing.wanted, count)
            if not listing.can_give(count):
                return self._growth.wait(listing, count)
            self._growth.read_ahead(listing)
            return None

    def has_learned(self) -> bool:
        """Whether single names have been asked for, so that `current` may differ from a listing."""
        return self._shelf.has_learned()

    def current(self, prefix: str, entry: Entry) -> Entry | None:
        """An entry of a listing, or what has been learned of its name since then."""
        with self._lock:
            return self._shelf.current(prefix, entry)

    def remaining_ttl(self, listing: Listing, start: int) -> float:
        """Seconds that the entries of a listing from an index on may still be trusted."""
        return self._shelf.remaining_ttl(listing, self._clock(), start)

    def outdate(self, prefix: str, name: bytes) -> None:
        """A name was seen to be another version than its listing says: ask again at the next lookup."""
        with self._lock:
            self._shelf.outdate(prefix, name, self._clock())

    def forget(self, prefix: str) -> int:
        """Forget a directory and everything below it; how many directories were known."""
        with self._lock:
            self._growth.forget(prefix)
            self._questions.forget(prefix)
            return self._shelf.forget(prefix, self._clock())

    def totals(self) -> dict[str, int]:
        """How many directories and entries are known, for status."""
        with self._lock:
            return self._shelf.totals()

    def oddities(self) -> tuple[Oddities, Oddities]:
        """Keys that no path can spell, and names that are both an object's and a directory's."""
        with self._lock:
            return self._shelf.oddities()

    def _ask(self, prefix: str, name: bytes) -> "Future[Answer]":
        future = self._questions.begin(prefix, name)
        if not self._shelf.is_long(prefix):
            self._ask_directory(prefix, name, future)
        elif (listing := self._expected_in(prefix, name)) is not None:
            self._await_page(listing, name, future)
        else:
            self._questions.ask(prefix, name, future)
            self._note_miss(prefix, name)
        return future

    def _note_hit(self, prefix: str, name: bytes) -> None:
        """A name that is listed was asked for: who asks in order will soon need the next page."""
        listing = self._shelf.fresh_listing(prefix, self._clock())
        if listing is None or listing.directory.is_complete:
            return
        listing.note_lookup(name)
        if listing.flight is None and listing.sequence.nears_end(len(listing.directory)):
            self._growth.fetch(listing, Urgency.SOON)

    def _expected_in(self, prefix: str, name: bytes) -> Listing | None:
        """The listing whose next page probably has a name that is behind its reach."""
        listing = self._shelf.fresh_listing(prefix, self._clock())
        if listing is None or listing.directory.is_known(name):
            return None
        listing.note_lookup(name)
        is_on_its_way = listing.flight is not None
        return listing if listing.sequence.awaits_page(is_on_its_way=is_on_its_way) else None

    def _await_page(self, listing: Listing, name: bytes, future: "Future[Answer]") -> None:
        """The next page answers; a name that lies farther behind is then asked for alone."""

        def came(done: "Future[None]") -> None:
            if not listing.directory.is_known(name):
                listing.sequence.lost()
            self._after_page(listing, name, done, future)

        page = self._growth.wait(listing, 0)
        page.add_done_callback(came)

    def _ask_directory(
        self, prefix: str, name: bytes, future: "Future[Answer]", oldest: float = math.inf
    ) -> None:
        """One LIST of the directory, which may be known to others for ``oldest`` seconds."""
        with self._lock:
            listing = self._growth.relist(prefix, oldest)
            first = self._growth.wait(listing, 0)
        first.add_done_callback(lambda done: self._after_page(listing, name, done, future))

    def _note_miss(self, prefix: str, name: bytes) -> None:
        """A name behind the reach of a long listing was asked for: names behind it may be next."""
        if not self._shelf.believes:
            return  # its pages would be too old before anybody asked for them
        listing = self._shelf.fresh_listing(prefix, self._clock()) or self._growth.relist(prefix)
        if listing.directory.is_known(name):
            return
        listing.misses += 1
        if listing.misses >= listing.patience:
            listing.misses = 0
            listing.patience *= 2
            self._growth.fetch(listing, Urgency.SOON)

    def _after_page(
        self, listing: Listing, name: bytes, done: "Future[None]", future: "Future[Answer]"
    ) -> None:
        prefix = listing.directory.prefix
        error = done.exception()
        if isinstance(error, StoreError):
            self._questions.fail(prefix, name, error, future)
        elif not listing.directory.is_known(name):
            self._questions.ask(prefix, name, future)
        else:
            entry = listing.directory.find(name)
            answer = self._shelf.aged(entry, listing.name_told_at(name), self._clock())
            oldest = self._shelf.negative_ttl
            if answer is None and entry is None and listing.has_aged and listing.oldest > oldest:
                self._ask_directory(prefix, name, future, oldest)
            else:
                future.set_result(answer or Answer(entry, 0.0))


def _resolved(answer: Answer) -> "Future[Answer]":
    future: Future[Answer] = Future()
    future.set_result(answer)
    return future
