"""A prefix listed by many requests at once, page after page, no faster than somebody takes the pages.

What is asked for next is decided in `listing/ranges.py`; here it is sent. Concurrency rule: `PageWalk` and `FlatWalk`
belong to the engine's thread; `pages_now` and `walk_now` to the thread that calls them.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from queue import SimpleQueue
from typing import NamedTuple, TypedDict, Unpack

from s3mount.errors import StoreError
from s3mount.listing.ranges import Ask, Ranges
from s3mount.listing.walking import Walking
from s3mount.store.interface import MOST_ENTRIES, ObjectMeta, Page
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Urgency

PARALLEL = 32
"""LISTs under way at once: with more, the time goes into reading the replies."""
AHEAD = 64
"""Pages that may be on their way or wait for whoever takes them."""
AHEAD_IN_ORDER = 128
"""The same where pages wait for earlier ones as well: with fewer, that is what the time goes into."""


class WalkOptions(TypedDict, total=False):
    """How to list.

    Attributes:
        parallel: LISTs under way at once at the most, `PARALLEL` where nobody says; 1 lists serially.
        ahead: pages delivered and not released, waiting for earlier ones, or under way, at the most; `AHEAD`, and
            `AHEAD_IN_ORDER` where they come ordered.
        urgency: of every LIST; NEEDED.
        ordered: whether pages come in the order of their keys; no. It keeps pages in memory, and takes longer.
        delimiter: folds keys into common prefixes; none.
        max_keys: entries in a page at the most; `MOST_ENTRIES`.
        after: a key of the prefix behind which the listing begins; none.
        max_age: seconds that an answer may be old where somebody remembers one; 0.
    """

    parallel: int
    ahead: int
    urgency: Urgency
    ordered: bool
    delimiter: str
    max_keys: int
    after: str
    max_age: float


class PageWalk(Walking[Ask, Page]):
    """Lists a prefix and pushes its pages that are not empty, common prefixes included.

    Every entry comes exactly once. A store that lists out of order, or does not begin where it should, is listed
    serially, in its own order. It ends with `UnexpectedReply` when the store's order cannot be relied on.

    Args:
        engine: sends the LISTs.
        prefix: of all keys.
    """

    def __init__(self, engine: Engine, prefix: str, **options: Unpack[WalkOptions]) -> None:
        super().__init__(engine, options.get("urgency", Urgency.NEEDED))
        is_ordered = options.get("ordered", False)
        self._ahead = options.get("ahead", AHEAD_IN_ORDER if is_ordered else AHEAD)
        self._ranges = Ranges(
            prefix,
            delimiter=options.get("delimiter", ""),
            max_keys=options.get("max_keys", MOST_ENTRIES),
            parallel=options.get("parallel", PARALLEL),
            window=self._ahead if is_ordered else 0,
            after=options.get("after", ""),
        )
        self._max_age = options.get("max_age", 0.0)

    def widen(self, ahead: int) -> None:
        """Let more pages be ahead of whoever takes them in order."""
        self._ahead = self._ranges.window = max(self._ahead, ahead)

    def _send(self) -> None:
        if self._is_over:
            return
        busy = self._unreleased + self._ranges.kept + self._ranges.under_way
        for ask in self._ranges.ask(self._ahead - busy):
            self._ask(ask, ask.request._replace(max_age=self._max_age))

    def _take(self, asked: Ask, page: Page) -> None:
        pages = self._ranges.take(asked.stretch, page)
        self._unreleased += len(pages)
        self._send()
        for each in pages:
            self._give(each)
        if self._ranges.is_over:
            self._finish(None)


class FlatWalk:
    """The objects of a `PageWalk`, without the common prefixes.

    Args:
        engine: sends the LISTs.
        prefix: of all keys.
    """

    def __init__(self, engine: Engine, prefix: str, **options: Unpack[WalkOptions]) -> None:
        self._pages = PageWalk(engine, prefix, **options)

    def start(
        self,
        deliver: Callable[[Sequence[ObjectMeta]], None],
        finished: Callable[[StoreError | None], None],
    ) -> None:
        """Begin: every page goes to ``deliver``, then ``finished`` is called once."""
        self._pages.start(lambda page: deliver(page.objects), finished)

    def release(self) -> None:
        """One delivered page has been worked off: another one may be listed."""
        self._pages.release()

    def stop(self) -> None:
        """List no more; neither callback is called any more."""
        self._pages.stop()


class _End(NamedTuple):
    error: StoreError | None


def pages_now(engine: Engine, prefix: str, **options: Unpack[WalkOptions]) -> Generator[Page]:
    """The pages of a `PageWalk`, for a thread that waits for them; who leaves early ends the walk.

    Raises:
        StoreError: the listing failed; the pages before were given.
    """
    walk = PageWalk(engine, prefix, **options)
    arrived: SimpleQueue[Page | _End] = SimpleQueue()
    engine.call(lambda: walk.start(arrived.put, lambda error: arrived.put(_End(error))))
    try:
        while not isinstance(each := arrived.get(), _End):
            yield each
            engine.call(walk.release)
    finally:
        engine.call(walk.stop)
    if each.error is not None:
        raise each.error


def walk_now(
    engine: Engine, prefix: str, **options: Unpack[WalkOptions]
) -> Generator[Sequence[ObjectMeta]]:
    """The objects of a `FlatWalk`, page by page, for a thread that waits for them; see `pages_now`."""
    pages = pages_now(engine, prefix, **options)
    with closing(pages):
        for page in pages:
            yield page.objects
