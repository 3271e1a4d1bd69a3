"""The directories below a prefix, listed flat and in time for somebody who walks through them in order.

Thousands of keys in hundreds of directories come with one LIST. No more of them are sent than a walker is worth: a few
at first, then as many as he has come past, so that one who stops, or who never looks into what was listed, has cost no
more than twice what he has seen. Concurrency rule: `passed` and `stop` may be called from any thread; everything else
belongs to the engine's.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from s3mount.errors import StoreError
from s3mount.listing.subtree import Found, Subtree
from s3mount.listing.walk import PageWalk
from s3mount.store.interface import Page
from s3mount.store.paging import byte_order
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Urgency

FIRST_AHEAD = 4
"""Pages that are ahead of a walker who has only begun."""
MOST_AHEAD = 32
"""Pages that are ahead of anybody."""
PARALLEL = 16
"""LISTs under way at once."""
LATE = 16
"""Directories in a row that a walker comes to before their pages do, until listing flat is given up."""


def reach(pages_passed: int) -> int:
    """How many pages may be ahead of a walker."""
    return min(MOST_AHEAD, max(FIRST_AHEAD, pages_passed))


class Place(NamedTuple):
    """Where a flat listing begins.

    Attributes:
        prefix: of all keys.
        after: behind which it begins; empty for all of it.
        max_age: seconds that an answer may be old where somebody remembers one.
    """

    prefix: str
    after: str
    max_age: float


class FlatListing:
    """One walk's listing; it begins at once.

    Args:
        engine: sends the LISTs.
        place: what is listed.
        fill: is told of each directory, on the engine's thread.
        clock: seconds that only grow.

    Attributes:
        is_over: whether all has been listed that will be.
        is_given_up: whether that is not all there is.
    """

    def __init__(
        self,
        engine: Engine,
        place: Place,
        fill: Callable[[Found], object],
        clock: Callable[[], float],
    ) -> None:
        self.prefix = place.prefix
        self.is_given_up = False
        self.is_over = False
        self._start = byte_order(place.after)
        self._engine = engine
        self._fill = fill
        self._clock = clock
        self._lock = threading.Lock()
        self._tree = Subtree(place.prefix, place.after)
        self._ends: deque[bytes] = deque()
        self._reached = b""
        self._passed = 0
        self._late = 0
        self._walk = PageWalk(
            engine,
            place.prefix,
            parallel=PARALLEL,
            ahead=FIRST_AHEAD,
            urgency=Urgency.SOON,
            ordered=True,
            after=place.after,
            max_age=place.max_age,
        )
        engine.call(lambda: self._walk.start(self._on_page, self._on_end))

    def covers(self, prefix: str) -> bool:
        """Whether a directory is, was or will soon be told by it."""
        is_below = prefix.startswith(self.prefix) and byte_order(prefix) > self._start
        return is_below and not self.is_given_up

    def passed(self, prefix: str, *, is_known: bool) -> None:
        """The walker has come to a directory: what lies before it has been seen.

        Args:
            prefix: of the directory.
            is_known: whether what is in it was there already.
        """
        at = byte_order(prefix)
        with self._lock:
            if self.is_over:
                return
            # Before the first page nobody can be late.
            is_late = b"" < self._reached < at and not is_known
            self._late = self._late + 1 if is_late else 0
            is_hopeless = self._late > LATE
            count = 0
            while self._ends and self._ends[0] < at:
                self._ends.popleft()
                count += 1
            self._passed += count
        if is_hopeless:
            self.stop()
        elif count:
            self._engine.call(lambda: self._go_on(count))

    def stop(self) -> None:
        """List no more; what was found stays."""
        self.is_over = self.is_given_up = True
        self._engine.call(self._walk.stop)

    def _go_on(self, count: int) -> None:
        self._walk.widen(reach(self._passed))
        for _ in range(count):
            self._walk.release()

    def _on_page(self, page: Page) -> None:
        over = self._tree.take(page, self._clock() - page.age)
        with self._lock:
            self._reached = self._tree.reached
            self._ends.append(self._reached)
        for found in over:
            self._fill(found)

    def _on_end(self, error: StoreError | None) -> None:
        if error is None:
            for found in self._tree.end():
                self._fill(found)
        self.is_given_up = error is not None
        self.is_over = True
