"""How the listings of directories grow: page after page, or by several LISTs at once where a reader goes through one.

Concurrency rule: that of `listing/catalog.py`, whose lock it shares; what is public is called under it.
"""

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from s3mount.errors import StoreError, UnexpectedReply
from s3mount.listing.distrust import NEVER
from s3mount.listing.questions import Health
from s3mount.listing.ranges import CERTAIN, Ask, Ranges
from s3mount.listing.rest import LEAST_AHEAD, Rest, reach
from s3mount.listing.shelf import Listing, Shelf
from s3mount.metrics import Counters
from s3mount.store.interface import MOST_ENTRIES, ListPage, Page
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Urgency

Waiters = list[tuple[int, Future[None]]]


class Growth:
    """Listings that have begun, and what is asked for to go on with any.

    Args:
        engine: sends the LISTs.
        shelf: remembers the listings.
        lock: of the shelf.
        clock: seconds that only grow.
        counters: of the listings.
        health: is told of every reply.
        parallel: LISTs of one directory at once at the most.
    """

    def __init__(
        self,
        engine: Engine,
        shelf: Shelf,
        lock: threading.RLock,
        clock: Callable[[], float],
        counters: Counters,
        health: Health,
        parallel: int,
    ) -> None:
        self._engine = engine
        self._shelf = shelf
        self._lock = lock
        self._clock = clock
        self._health = health
        self._counters = counters
        self._parallel = parallel
        self._under_way: dict[str, Listing] = {}

    def has_begun(self, prefix: str) -> bool:
        """Whether the first page of a new listing is on its way."""
        return prefix in self._under_way

    def forget(self, prefix: str) -> None:
        """What was asked for before serves those who wait for it, and is not remembered."""
        for known in [known for known in self._under_way if known.startswith(prefix)]:
            del self._under_way[known]

    def relist(self, prefix: str, oldest: float = math.inf) -> Listing:
        """The new listing of a directory: what is there is too old, or does not answer."""
        listing = self._under_way.get(prefix)
        if listing is None or listing.oldest > oldest:
            listing = self._under_way[prefix] = Listing(prefix, oldest)
        return listing

    def wait(self, listing: Listing, count: int) -> Future[None]:
        """Somebody waits for a number of entries, or all that exist."""
        future: Future[None] = Future()
        listing.waiters += ((count, future),)
        self.fetch(listing, Urgency.NEEDED)
        return future

    def read_ahead(self, listing: Listing) -> None:
        """Have as many pages in front of the reader as he is worth."""
        self._divide(listing)
        read = listing.pages_read()
        if len(listing.ends) - read < (1 if listing.rest is None else reach(read)):
            self.fetch(listing, Urgency.SOON)

    def _divide(self, listing: Listing) -> None:
        """From now on several LISTs at once, where a reader is in the middle of a long directory."""
        known = listing.directory
        if listing.rest or listing.flight or known.is_complete or self._parallel == 1:
            return
        if known.pages < CERTAIN or listing.wanted <= listing.ends[0] or listing.token is None:
            return
        keys = known.last_keys(listing.ends[-1] - listing.ends[-2])
        if keys:
            ranges = Ranges(
                known.prefix,
                delimiter="/",
                max_keys=MOST_ENTRIES,
                parallel=self._parallel,
                window=LEAST_AHEAD,
            )
            ranges.resume(keys, listing.token, known.pages)
            rest = Rest(self._engine, ranges, self._clock())
            listing.rest = rest
            rest.deliver = lambda ask, page: self._on_part(listing, rest, ask, page)

    def fetch(self, listing: Listing, urgency: Urgency) -> None:
        """Have the next page, and more where several are listed at once."""
        self._divide(listing)
        if listing.flight is not None:
            self._engine.promote(listing.flight, urgency)
        elif listing.directory.is_complete:
            return
        elif listing.rest is None:
            self._fetch_page(listing, urgency)
        else:
            read = listing.pages_read()
            sent = listing.rest.send(read, len(listing.ends) - read, self._max_age(listing))
            self._counters.add("listing.pages", sent)
            if urgency is Urgency.NEEDED:
                listing.rest.hurry()

    def _max_age(self, listing: Listing) -> float:
        prefix = listing.directory.prefix
        known_at = NEVER if listing.has_begun() else self._shelf.listed_at(prefix)
        return min(listing.oldest, self._shelf.max_age(prefix, self._clock(), known_at))

    def _fetch_page(self, listing: Listing, urgency: Urgency) -> None:
        request = ListPage(
            listing.directory.prefix,
            "/",
            listing.token,
            max_keys=MOST_ENTRIES,
            max_age=self._max_age(listing),
        )
        self._counters.add("listing.pages")
        listing.flight = self._engine.list(
            request, lambda page: self._on_page(listing, page), urgency
        )

    def _on_page(self, listing: Listing, page: Page | StoreError) -> None:
        with self._lock:
            listing.flight = None
            self._health.note(page)
            came = page if isinstance(page, StoreError) else [page]
            ready = self._take(listing, came)
        _tell(ready, came)

    def _on_part(self, listing: Listing, rest: Rest, ask: Ask, page: Page | StoreError) -> None:
        """A reply to one of several LISTs."""
        with self._lock:
            if not rest.expects(ask):
                return
            self._health.note(page)
            came = self._in_order(rest, ask, page)
            if isinstance(came, StoreError):
                rest.give_up()
            ready = self._take(listing, came)
        _tell(ready, came)

    def _in_order(self, rest: Rest, ask: Ask, page: Page | StoreError) -> list[Page] | StoreError:
        """The pages whose turn it is."""
        if isinstance(page, StoreError):
            return page
        try:
            return rest.take(ask, page, self._clock())
        except UnexpectedReply as error:
            # The order of this store cannot be relied on: what is listed next is listed page after page.
            self._parallel = 1
            return error

    def _take(self, listing: Listing, came: list[Page] | StoreError) -> Waiters:
        """Take in what came; the waiters that are to be told."""
        if not isinstance(came, StoreError):
            return self._extend(listing, came)
        self._drop(listing, came)
        waiters, listing.waiters = listing.waiters, ()
        return list(waiters)

    def _extend(self, listing: Listing, pages: Sequence[Page]) -> Waiters:
        """Take in pages; the waiters that have what they waited for."""
        # A listing that was forgotten while its page was on its way serves those who read it, and nobody else.
        prefix = listing.directory.prefix
        is_wanted = self._under_way.get(prefix) is listing or self._shelf.holds(listing)
        for page in pages:
            listing.append(page, self._clock())
        if is_wanted and pages:
            self._under_way.pop(prefix, None)
            self._shelf.keep(listing)
        ready = [waiter for waiter in listing.waiters if listing.can_give(waiter[0])]
        listing.waiters = tuple(waiter for waiter in listing.waiters if waiter not in ready)
        if listing.waiters:
            self.fetch(listing, Urgency.NEEDED)
        elif listing.rest is not None:
            self.read_ahead(listing)
        return ready

    def _drop(self, listing: Listing, error: StoreError) -> None:
        """Begin anew next time; pages that came before an endpoint went away are still worth having."""
        prefix = listing.directory.prefix
        if self._under_way.get(prefix) is listing:
            del self._under_way[prefix]
        if not error.retryable:
            self._shelf.drop(listing)


def _tell(waiters: Waiters, came: list[Page] | StoreError) -> None:
    for _, future in waiters:
        if isinstance(came, StoreError):
            future.set_exception(came)
        else:
            future.set_result(None)
