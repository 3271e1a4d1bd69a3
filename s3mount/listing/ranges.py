"""Which LIST to send next, so that a prefix is listed by many requests at once: a plain data structure, no I/O.

The keys are divided into ranges, each from a key (exclusive) to another (inclusive, or the end of the prefix). A range
is listed page by page; S3 knows no end, so what a page holds beyond its range is cut off. A long range is split at a
guessed key: the LIST that begins there is called a probe, and its page is the first of a new range. A wrong guess
costs that request and nothing else.

Two bounds hold whatever the keys are. Every key is given exactly once, for what a range gives lies behind its last key
and not behind its end, and ranges do not overlap. And probes are counted: one behind the first page, from `CERTAIN`
on as many as full pages have come and ``parallel / 4`` more. As every page that is not full is the last of its range,
``n`` keys in pages of ``m`` take at most ``2 * n / m + 1 + parallel / 4`` requests. Both hold for a store that lists
in the order of bytes and begins behind the key that was asked for; another is listed serially, or refused.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from s3mount.errors import UnexpectedReply
from s3mount.listing.keyspace import Ruler
from s3mount.listing.page_order import behind, ends, is_ordered, up_to
from s3mount.listing.stretch import Range, even_shares, near_shares
from s3mount.store.interface import ListPage, Page

CERTAIN = 3
"""Pages after which a listing counts as long, so that many probes are sent at once."""
SAMPLES = 16
"""Keys that are kept of a page, to learn the letters of its neighbourhood."""
FIRST_KEYS = 32
"""First keys of ranges that are kept for the same."""
VAGUE_PAGES = 16
"""How many pages in front of another range a long one counts for, when it is not known how many it has."""


class Ask(NamedTuple):
    """A LIST to send, and the range that it is for."""

    stretch: Range
    request: ListPage


class Ranges:
    """The listing of a prefix, divided.

    Args:
        prefix: of all keys.
        delimiter: folds keys into common prefixes when it is not empty; each is given once, like a key.
        max_keys: entries in a page at the most.
        parallel: requests under way at once at the most; 1 lists serially.
        window: pages that may wait for earlier ones, so that all are given in order; 0 for any order.
        after: a key of the prefix behind which the listing begins; empty for all of it.

    Attributes:
        window: as above; it may become wider at any time.
        under_way: requests that were asked for and not answered.
        kept: pages that wait for earlier ones.
    """

    def __init__(
        self,
        prefix: str,
        *,
        delimiter: str,
        max_keys: int,
        parallel: int,
        window: int,
        after: str = "",
    ) -> None:
        self._prefix = prefix
        self._delimiter = delimiter
        self._max_keys = max_keys
        self._parallel = parallel
        self.window = window
        self._ranges = [Range(after, None, after)]
        self._first_keys: deque[str] = deque(maxlen=FIRST_KEYS)
        self._may_probe = parallel > 1
        self._is_serial = False
        self._entries = 0
        self._page_size = 1
        self._probes = 0
        self._begun = 0
        self.under_way = 0
        self.kept = 0

    @property
    def is_over(self) -> bool:
        """Whether everything has been listed and given."""
        return not self._ranges

    @property
    def foremost(self) -> Range | None:
        """The range whose page is given next, None when everything has come."""
        return next((each for each in self._ranges if not each.is_over), None)

    def resume(self, keys: Sequence[str], token: str, pages: int) -> None:
        """Begin behind pages that came before, instead of at the beginning of the prefix.

        Args:
            keys: those of the last of these pages in order, common prefixes included; at least one.
            token: with which it ended.
            pages: how many came.
        """
        (stretch,) = self._ranges
        stretch.token, stretch.seen = token, keys[-1]
        stretch.has_begun = True
        self._begun += 1
        self._first_keys.append(self._inner(keys[0]))
        self._learn_keys(stretch, keys[0], keys[:: max(1, len(keys) // SAMPLES)])
        self._entries, self._page_size = len(keys) * pages, len(keys)

    def give_up(self, stretch: Range) -> None:
        """No reply comes to an `Ask`: the range may be asked for again."""
        stretch.is_under_way = False
        self.under_way -= 1

    def ask(self, room: int) -> list[Ask]:
        """What to send now, at most ``room`` requests: ranges go on, earlier ones first, before any is split."""
        room = max(0, min(room, self._parallel - self.under_way))
        chosen = list(islice(self._next_waiting(), room))
        if self._may_probe:
            chosen += self._split(room - len(chosen))
        for each in chosen:
            each.is_under_way = True
        self.under_way += len(chosen)
        return [Ask(each, self._request(each)) for each in chosen]

    def take(self, stretch: Range, page: Page) -> list[Page]:
        """Take in the reply to an `Ask`; gives the pages that may be handed on now.

        Raises:
            UnexpectedReply: the store does not list in order or does not go on, and it is too late to do without.
        """
        stretch.is_under_way = False
        self.under_way -= 1
        if stretch.is_dropped:
            return []
        if page.next_token is not None and page.next_token == stretch.token:
            message = "the store gave the same page of the listing twice"
            raise UnexpectedReply(message, key=self._prefix)
        if not self._is_serial:
            page = _fresh_part(stretch, page)
            if not is_ordered(page, stretch.seen):
                self._do_without_order(stretch)
        if not stretch.is_dropped:
            self._extend(stretch, page)
        return self._ready()

    def _next_waiting(self) -> Iterator[Range]:
        """Ranges that may go on; in order, no farther than the pages that may be kept reach."""
        before = 0.0
        for each in self._ranges:
            if each.is_waiting:
                yield each
            if self.window:
                before += 1 + len(each.kept) + min(self._pages_left(each), VAGUE_PAGES)
                if before >= self.window:
                    return

    def _request(self, each: Range) -> ListPage:
        after = each.after if each.token is None else ""
        return ListPage(self._prefix, self._delimiter, each.token, after, self._max_keys)

    # A page comes in.

    def _extend(self, stretch: Range, page: Page) -> None:
        own = page if self._is_serial else up_to(page, stretch.until)
        count = len(own.objects) + len(own.prefixes)
        stretch.is_cut = own is not page
        stretch.is_over = stretch.is_cut or page.next_token is None
        if not stretch.is_cut:
            # A page that is cut can be asked for again, should the range have to grow.
            stretch.token = page.next_token
        if count:
            stretch.kept.append(own)
            self.kept += 1
            self._learn(stretch, own, count)
        elif stretch.is_over and not stretch.has_begun:
            self._remove_empty(stretch)

    def _learn(self, stretch: Range, own: Page, count: int) -> None:
        self._entries += count
        self._page_size = max(self._page_size, count)
        first, last = ends(own)
        if not stretch.has_begun:
            stretch.has_begun = True
            self._begun += 1
            self._first_keys.append(self._inner(first))
        # What lies in front of the first key was told by this page as well: many directories begin with a gap.
        began, stretch.seen = stretch.seen or first, last
        step = max(1, count // SAMPLES)
        samples = [*(meta.key for meta in own.objects[::step]), *own.prefixes[::step]]
        self._learn_keys(stretch, began, samples)

    def _learn_keys(self, stretch: Range, began: str, samples: Sequence[str]) -> None:
        """What the keys of a range's newest page say about those that are left."""
        stretch.page_began = self._inner(began)
        stretch.samples = [self._inner(key) for key in samples]
        stretch.ruler = None
        stretch.misses = 0
        stretch.is_tight = False

    def _remove_empty(self, stretch: Range) -> None:
        """Nothing is there: now the range in front is known to end where this one began."""
        at = self._ranges.index(stretch)
        del self._ranges[at]
        if at:
            self._ranges[at - 1].misses += 1
            self._ranges[at - 1].ruler = None

    def _ready(self) -> list[Page]:
        """Pages whose turn it is; forgets ranges that have given all."""
        ready: list[Page] = []
        for each in self._ranges:
            ready += each.kept
            each.kept.clear()
            if self.window and not each.is_over:
                break
        self.kept = sum(len(each.kept) for each in self._ranges)
        # A range that is over may have to grow as long as nothing has come of the one behind it.
        self._ranges = [
            each
            for each, is_end_sure in self._with_ends()
            if each.kept or not each.is_over or not is_end_sure
        ]
        return ready

    def _with_ends(self) -> list[tuple[Range, bool]]:
        """Each range, and whether a key has come of the one behind it, if there is one."""
        following = [*self._ranges[1:], None]
        return [
            (each, later is None or later.has_begun)
            for each, later in zip(self._ranges, following, strict=False)
        ]

    # A store that does not list in order, or does not begin where it should.

    def _do_without_order(self, stretch: Range) -> None:
        """Go on without probes: serially when nothing else has come, else without this one."""
        self._may_probe = False
        if self._begun == int(stretch.has_begun):
            for each in self._ranges:
                each.is_dropped = each is not stretch
            self._ranges = [stretch]
            stretch.until = None
            self._is_serial = True
        elif not stretch.has_begun:
            self._give_back(stretch)
        else:
            raise UnexpectedReply(
                "the store lists keys out of order, and began in order",
                key=self._prefix,
                hint="list again: did the store change meanwhile?",
            )

    def _give_back(self, stretch: Range) -> None:
        """Have the keys of a range listed by the one in front of it."""
        stretch.is_dropped = True
        at = self._ranges.index(stretch)
        del self._ranges[at]
        before = self._ranges[at - 1]
        before.until, before.ruler = stretch.until, None
        if before.is_cut:
            before.is_over = before.is_cut = False
            before.is_reread = True

    # Splitting.

    def _split(self, room: int) -> list[Range]:
        """New ranges, at most ``room``, cut from those that are believed to be the longest."""
        full_pages = self._entries // self._page_size
        allowed = min(full_pages, 1)
        if full_pages >= CERTAIN:
            allowed = full_pages + min(full_pages, self._parallel // 4)
        room = min(room, allowed - self._probes)
        if room <= 0:
            return []
        # With a quarter of the window taken by pages from far away, it is the next ones that are missing.
        is_near = bool(self.window) and (self.kept + self.under_way) * 4 >= self.window
        # Of a range whose end is being probed it is not known yet what is left.
        lengths = [
            self._pages_left(each) if is_end_sure else 0.0
            for each, is_end_sure in self._with_ends()
        ]
        shares = near_shares(lengths, room) if is_near else even_shares(lengths, room)
        chosen = [(each, n) for each, n in zip(self._ranges, shares, strict=True) if n]
        return [new for each, n in chosen for new in self._split_one(each, n, is_near=is_near)]

    def _pages_left(self, each: Range) -> float:
        return each.pages_left(self._ruler(each)) if each.may_split else 0.0

    def _ruler(self, each: Range) -> Ruler:
        if each.ruler is None:
            until = None if each.until is None else self._inner(each.until)
            samples = [*each.samples, *self._first_keys]
            each.ruler = Ruler(each.page_began, self._inner(each.seen), until, samples)
        return each.ruler

    def _inner(self, key: str) -> str:
        """What is behind the prefix, without the delimiter at the end."""
        inner = key[len(self._prefix) :]
        return inner.removesuffix(self._delimiter) if self._delimiter else inner

    def _split_one(self, each: Range, count: int, *, is_near: bool) -> list[Range]:
        guesses = each.guesses(self._ruler(each), count, is_near=is_near)
        points = each.points(guesses, self._prefix, self._delimiter)
        if not points:
            each.is_tight = True
            return []
        untils = [*points[1:], each.until]
        new = [Range(point, until, point) for point, until in zip(points, untils, strict=True)]
        each.until, each.ruler = points[0], None
        at = self._ranges.index(each) + 1
        self._ranges[at:at] = new
        self._probes += len(new)
        return new


def _fresh_part(stretch: Range, page: Page) -> Page:
    """Of a page that is read again what has not been given."""
    if not stretch.is_reread:
        return page
    stretch.is_reread = False
    return behind(page, stretch.seen)
