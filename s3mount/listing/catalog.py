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
from s3mount.listing.distrust import NEVER
from s3mount.listing.names import decode, name_of_twin
from s3mount.listing.shelf import Answer, Listing, Shelf, ShelfSettings
from s3mount.metrics import Counters
from s3mount.store.interface import ListPage, Page
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Urgency

PAGE = 1000
"""Keys and prefixes in a page: the most that S3 gives."""


class Catalog:
    """The names below a bucket, as far and as freshly as they are known.

    Args:
        engine: sends the LISTs.
        settings: how long and how much is remembered.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        engine: Engine,
        settings: ShelfSettings = ShelfSettings(),  # noqa: B008 - immutable
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = Counters()
        self._engine = engine
        self._clock = clock
        self._lock = threading.RLock()
        self._shelf = Shelf(settings)
        self._under_way: dict[str, Listing] = {}
        self._asked: dict[tuple[str, bytes], Future[Answer]] = {}
        self._is_failing = False

    def known(self, prefix: str, name: bytes) -> Answer | None:
        """What is known of a name without a request, None when one is needed.

        Args:
            prefix: of the directory: empty or ending in ``/``.
            name: as the kernel has it.
        """
        with self._lock:
            return self._shelf.known(prefix, name, self._clock())

    def lookup(self, prefix: str, name: bytes) -> "Future[Answer]":
        """What a name is, with one request where it is not known.

        The future fails with the `StoreError` of that request, unless the endpoint does not answer and the name was
        known before: then it brings what was known.
        """
        with self._lock:
            answer = self._shelf.known(prefix, name, self._clock())
            if answer is not None:
                return _resolved(answer)
            future = self._asked.get((prefix, name))
            if future is None:
                future = self._ask(prefix, name)
            # While the endpoint does not answer nobody waits for it who can be told what was true last.
            old = self._shelf.old(prefix, name, self._clock()) if self._is_failing else None
        return future if old is None else _resolved(old)

    def open_listing(self, prefix: str) -> Listing:
        """The listing of a directory that a reader goes through; it shares what is known."""
        with self._lock:
            listing = self._shelf.fresh_listing(prefix, self._clock())
            if listing is not None:
                return listing
            listing = self._relist(prefix)
            old = self._shelf.old_listing(prefix) if self._is_failing else None
            if old is not None:
                self._fetch(listing, Urgency.SOON)
            return old or listing

    def peek(self, prefix: str) -> Directory | None:
        """What is known and trusted of a directory; no request is made."""
        with self._lock:
            listing = self._shelf.fresh_listing(prefix, self._clock())
            return listing.directory if listing is not None else None

    def warm(self, prefix: str) -> bool:
        """Have the first page of a directory that will probably be read; whether a request was needed."""
        with self._lock:
            is_there = self._shelf.fresh_listing(prefix, self._clock()) or prefix in self._under_way
            if is_there or not self._shelf.believes:
                return False
            self._fetch(self._relist(prefix), Urgency.SOON)
            return True

    def old_listing(self, prefix: str) -> Listing | None:
        """A whole listing of whatever age, for when no newer one can be had."""
        with self._lock:
            return self._shelf.old_listing(prefix)

    def ensure(self, listing: Listing, count: int) -> "Future[None] | None":
        """Have ``count`` entries of a listing, or all that exist; None when they are there already.

        One page more than asked for is on its way while the reader takes what it has.
        """
        with self._lock:
            if not listing.can_give(count):
                return self._wait(listing, count)
            if count + PAGE > len(listing.directory):
                self._fetch(listing, Urgency.SOON)
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
            for known in [known for known in self._under_way if known.startswith(prefix)]:
                del self._under_way[known]
            # What was asked before answers those who asked, and is not remembered.
            for pair in [pair for pair in self._asked if pair[0].startswith(prefix)]:
                del self._asked[pair]
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
        future: Future[Answer] = Future()
        self._asked[prefix, name] = future
        future.add_done_callback(lambda _: self._answered(prefix, name, future))
        if self._shelf.is_long(prefix):
            self._ask_name(prefix, name, future)
            self._note_miss(prefix, name)
            return future
        self._ask_directory(prefix, name, future)
        return future

    def _ask_directory(
        self, prefix: str, name: bytes, future: "Future[Answer]", oldest: float = math.inf
    ) -> None:
        """One LIST of the directory, which may be known to others for ``oldest`` seconds."""
        with self._lock:
            listing = self._relist(prefix, oldest)
            first = self._wait(listing, 0)
        first.add_done_callback(lambda done: self._after_page(listing, name, done, future))

    def _answered(self, prefix: str, name: bytes, future: "Future[Answer]") -> None:
        with self._lock:
            if self._asked.get((prefix, name)) is future:
                del self._asked[prefix, name]

    def _note_miss(self, prefix: str, name: bytes) -> None:
        """A name behind the reach of a long listing was asked for: names behind it may be next."""
        if not self._shelf.believes:
            return  # its pages would be too old before anybody asked for them
        listing = self._shelf.fresh_listing(prefix, self._clock()) or self._relist(prefix)
        if listing.directory.is_known(name):
            return
        listing.misses += 1
        if listing.misses >= listing.patience:
            listing.misses = 0
            listing.patience *= 2
            self._fetch(listing, Urgency.SOON)

    def _relist(self, prefix: str, oldest: float = math.inf) -> Listing:
        """The new listing of a directory: what is there is too old, or does not answer."""
        listing = self._under_way.get(prefix)
        if listing is None or listing.oldest > oldest:
            listing = self._under_way[prefix] = Listing(prefix, oldest)
        return listing

    def _wait(self, listing: Listing, count: int) -> "Future[None]":
        future: Future[None] = Future()
        listing.waiters.append((count, future))
        self._fetch(listing, Urgency.NEEDED)
        return future

    def _fetch(self, listing: Listing, urgency: Urgency) -> None:
        if listing.flight is not None:
            self._engine.promote(listing.flight, urgency)
            return
        if listing.directory.is_complete:
            return
        prefix = listing.directory.prefix
        known_at = NEVER if listing.has_begun() else self._shelf.listed_at(prefix)
        max_age = min(listing.oldest, self._shelf.max_age(prefix, self._clock(), known_at))
        request = ListPage(prefix, "/", listing.token, max_keys=PAGE, max_age=max_age)
        self.counters.add("listing.pages")
        listing.flight = self._engine.list(
            request, lambda page: self._on_page(listing, page), urgency
        )

    def _on_page(self, listing: Listing, page: Page | StoreError) -> None:
        with self._lock:
            listing.flight = None
            self._note_health(page)
            if isinstance(page, StoreError):
                ready, listing.waiters = listing.waiters, []
                self._drop(listing, page)
            else:
                ready = self._extend(listing, page)
        for _, future in ready:
            if isinstance(page, StoreError):
                future.set_exception(page)
            else:
                future.set_result(None)

    def _extend(self, listing: Listing, page: Page) -> "list[tuple[int, Future[None]]]":
        """Take in a page; the waiters that have what they waited for."""
        # A listing that was forgotten while its page was on its way serves those who read it, and nobody else.
        prefix = listing.directory.prefix
        is_wanted = self._under_way.get(prefix) is listing or self._shelf.holds(listing)
        listing.append(page, self._clock())
        if is_wanted:
            self._under_way.pop(prefix, None)
            self._shelf.keep(listing)
        ready = [waiter for waiter in listing.waiters if listing.can_give(waiter[0])]
        listing.waiters = [waiter for waiter in listing.waiters if waiter not in ready]
        if listing.waiters:
            self._fetch(listing, Urgency.NEEDED)
        return ready

    def _note_health(self, page: Page | StoreError) -> None:
        """Whether the endpoint answers; what it refuses is an answer too, and what others remember is none."""
        if isinstance(page, StoreError) or not page.age:
            self._is_failing = isinstance(page, StoreError) and page.retryable

    def _drop(self, listing: Listing, error: StoreError) -> None:
        """Begin anew next time; pages that came before an endpoint went away are still worth having."""
        prefix = listing.directory.prefix
        if self._under_way.get(prefix) is listing:
            del self._under_way[prefix]
        if not error.retryable:
            self._shelf.drop(listing)

    def _after_page(
        self, listing: Listing, name: bytes, done: "Future[None]", future: "Future[Answer]"
    ) -> None:
        prefix = listing.directory.prefix
        error = done.exception()
        if isinstance(error, StoreError):
            self._fail(prefix, name, error, future)
        elif not listing.directory.is_known(name):
            self._ask_name(prefix, name, future)
        else:
            entry = listing.directory.find(name)
            answer = self._shelf.aged(entry, listing.name_told_at(name), self._clock())
            oldest = self._shelf.negative_ttl
            if answer is None and entry is None and listing.has_aged and listing.oldest > oldest:
                self._ask_directory(prefix, name, future, oldest)
            else:
                future.set_result(answer or Answer(entry, 0.0))

    def _ask_name(
        self, prefix: str, name: bytes, future: "Future[Answer]", oldest: float = math.inf
    ) -> None:
        """One LIST, which may be known to others, that answers both "object" and "directory" for one name."""
        # The twin `a.s3object` is known by `a` and `a/`, which the shorter prefix covers as well.
        start = prefix + decode(name_of_twin(name) or name)
        self.counters.add("listing.names")

        def deliver(page: Page | StoreError) -> None:
            self._note_health(page)
            if isinstance(page, StoreError):
                self._fail(prefix, name, page, future)
                return
            part = Directory(prefix)
            part.append(page)
            found = Page([], [], None, page.age)
            self._ask_labels(part, name, part.undecided(name), found, future, oldest)

        max_age = self._max_age_of_name(prefix, name, oldest)
        request = ListPage(start, "/", max_keys=PAGE, max_age=max_age)
        self._engine.list(request, deliver, Urgency.NEEDED)

    def _max_age_of_name(self, prefix: str, name: bytes, oldest: float) -> float:
        with self._lock:
            known_at = self._shelf.learned_at(prefix, name)
            return min(oldest, self._shelf.max_age(prefix, self._clock(), known_at))

    def _ask_labels(
        self,
        part: Directory,
        name: bytes,
        labels: list[bytes],
        found: Page,
        future: "Future[Answer]",
        oldest: float,
    ) -> None:
        """A thousand names begin like this one and sort before what decides it: ask for that alone, one by one."""
        prefix = part.prefix
        if not labels:
            part.append(found)
            self._learn(prefix, name, part.find(name), future, found.age, oldest)
            return
        key = prefix + decode(labels[0])

        def deliver(page: Page | StoreError) -> None:
            self._note_health(page)
            if isinstance(page, StoreError):
                self._fail(prefix, name, page, future)
                return
            more = _with_label(found, key, page)
            self._ask_labels(part, name, labels[1:], more, future, oldest)

        max_age = self._max_age_of_name(prefix, name, oldest)
        self._engine.list(ListPage(key, "/", max_keys=1, max_age=max_age), deliver, Urgency.NEEDED)

    def _learn(
        self,
        prefix: str,
        name: bytes,
        entry: Entry | None,
        future: "Future[Answer]",
        age: float,
        oldest: float,
    ) -> None:
        with self._lock:
            now = self._clock()
            if self._asked.get((prefix, name)) is future:
                self._shelf.learn(prefix, name, entry, now - age)
            answer = self._shelf.aged(entry, now - age, now)
            limit = self._shelf.negative_ttl
        if answer is None and entry is None and age and oldest > limit:
            self._ask_name(prefix, name, future, limit)
        else:
            future.set_result(answer or Answer(entry, 0.0))

    def _fail(self, prefix: str, name: bytes, error: StoreError, future: "Future[Answer]") -> None:
        """Answer with what was known where the endpoint does not; its refusals stand."""
        with self._lock:
            old = self._shelf.old(prefix, name, self._clock()) if error.retryable else None
        if old is not None:
            future.set_result(old)
        else:
            future.set_exception(error)


def _with_label(found: Page, key: str, page: Page) -> Page:
    """What is known of a name, and what the page of one of its labels says."""
    objects, prefixes = list(found.objects), list(found.prefixes)
    if not key.endswith("/"):
        objects += [meta for meta in page.objects if meta.key == key]
    elif page.objects or page.prefixes:
        prefixes.append(key)
    return Page(objects, prefixes, None, max(found.age, page.age))


def _resolved(answer: Answer) -> "Future[Answer]":
    future: Future[Answer] = Future()
    future.set_result(answer)
    return future
