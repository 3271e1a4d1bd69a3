"""What is left of a directory behind its first pages: several LISTs at once, whose pages come in order.

What is asked for next is decided in `listing/ranges.py`; here it is sent, as far as there is room. Concurrency rule:
every method is called under the lock of whoever owns it.
"""

import math
from collections.abc import Callable
from functools import partial

from s3mount.errors import StoreError
from s3mount.listing.ranges import Ask, Ranges
from s3mount.store.interface import Page
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Flight, Urgency

PARALLEL = 16
"""LISTs under way at once: one reader is not worth more."""
LEAST_AHEAD = 8
"""Pages on their way, waiting for earlier ones, or in front of the reader: for one that has only begun."""
MOST_AHEAD = 32
"""The same for a reader that has come through as many pages."""
_MORE = "more"
"""Token of a page that is not the last: what goes on is known to the ranges alone."""


def reach(pages_read: int) -> int:
    """How many pages may be ahead of a reader: who stops has cost no more than twice what he read, or a few."""
    return min(MOST_AHEAD, max(LEAST_AHEAD, pages_read))


class Rest:
    """The pages behind those that are known.

    A page that waited for earlier ones has grown older meanwhile: its age says so.

    Args:
        engine: sends the LISTs.
        ranges: in order, and resumed behind what is known.
        now: seconds of the clock that `take` is told as well.

    Attributes:
        deliver: is told of every reply, on the engine's thread and without a lock; see `take` and `give_up`.
    """

    deliver: Callable[[Ask, Page | StoreError], None]

    def __init__(self, engine: Engine, ranges: Ranges, now: float) -> None:
        self._engine = engine
        self._ranges = ranges
        self._begun_at = now
        self._oldest = math.inf
        self._flights: dict[Ask, Flight] = {}

    def send(self, pages_read: int, pages_ahead: int, max_age: float) -> int:
        """Ask for what there is room for, at least for one page where none is on its way; how many that were.

        Args:
            pages_read: pages that a reader has come to.
            pages_ahead: pages that were given besides.
            max_age: seconds that an answer may be old.
        """
        self._ranges.window = max(self._ranges.window, reach(pages_read))
        room = reach(pages_read) - pages_ahead - self._ranges.kept - len(self._flights)
        asked = self._ranges.ask(room if self._flights else max(1, room))
        for ask in asked:
            request = ask.request._replace(max_age=max_age)
            self._flights[ask] = self._engine.list(
                request, partial(self.deliver, ask), Urgency.SOON
            )
        return len(asked)

    def hurry(self) -> None:
        """Somebody waits for the page that is given next."""
        for ask, flight in self._flights.items():
            if ask.stretch is self._ranges.foremost:
                self._engine.promote(flight, Urgency.NEEDED)

    def expects(self, ask: Ask) -> bool:
        """Whether a reply is still of use."""
        return ask in self._flights

    def take(self, ask: Ask, page: Page, now: float) -> list[Page]:
        """Take in a reply; the pages whose turn it is, the last of all with no token.

        Raises:
            UnexpectedReply: the store does not list in order or does not go on, and it is too late to do without.
        """
        del self._flights[ask]
        told_at = now - page.age
        if page.age:
            self._oldest = min(self._oldest, told_at)
        # While it waits, its age counts from one moment for all.
        ready = self._ranges.take(ask.stretch, page._replace(age=self._begun_at - told_at))
        pages = [self._aged(each, now) for each in ready]
        if self._ranges.is_over:
            last = pages.pop() if pages else Page([], [], None, page.age)
            pages.append(last._replace(next_token=None))
        return pages

    def give_up(self) -> None:
        """Wait for no reply any more; what was on its way is asked for again by the next `send`."""
        for ask, flight in self._flights.items():
            self._ranges.give_up(ask.stretch)
            self._engine.cancel(flight)
        self._flights.clear()

    def _aged(self, page: Page, now: float) -> Page:
        # That nothing lies between two ranges was told by other pages, none of them older than the oldest.
        told_at = min(self._begun_at - page.age, self._oldest)
        return page._replace(age=max(0.0, now - told_at), next_token=_MORE)
