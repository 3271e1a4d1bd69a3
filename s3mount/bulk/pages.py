"""Listings that stand on other listings: what is wanted of one, one that is recorded, one that may be a single key.

Each is a `pipeline.Pages` around another; none holds a page. Concurrency rule: everything here is called on the
engine's thread, but for the jobs that a recording hands to the session's writer.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from s3mount.bulk.ledger import Ledger
from s3mount.bulk.pipeline import Pages
from s3mount.bulk.selection import Selection
from s3mount.errors import StoreError
from s3mount.store.interface import ListPage, ObjectMeta, Page
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Cancelled, Urgency

log = logging.getLogger(__name__)

Deliver = Callable[[Sequence[ObjectMeta]], None]
Finished = Callable[[StoreError | None], None]
Cost = Callable[[Sequence[ObjectMeta], Sequence[int]], int]


def is_marker(meta: ObjectMeta) -> bool:
    """Whether an object only stands for a directory, as consoles make them."""
    return not meta.size and meta.key.endswith("/")


class Selected:
    """What is wanted of a listing, counted page by page.

    Once the total does not fit, nothing is delivered any more; the ledger says so.

    Args:
        pages: the listing.
        selection: what of it is wanted; markers of directories never are.
        ledger: where it is counted.
        head_bytes: how many bytes of each object are wanted at the most.
        cost_of: bytes of disk for some objects, of each of which so many bytes are wanted.
        may_exceed: deliver what does not fit as well.
    """

    def __init__(
        self,
        pages: Pages,
        selection: Selection,
        ledger: Ledger,
        *,
        head_bytes: int | None,
        cost_of: Cost,
        may_exceed: bool,
    ) -> None:
        self._pages = pages
        self._selection = selection
        self._ledger = ledger
        self._head_bytes = head_bytes
        self._cost_of = cost_of
        self._may_exceed = may_exceed
        self.release = pages.release
        self.stop = pages.stop

    def start(self, deliver: Deliver, finished: Finished) -> None:
        """See `Pages.start`."""

        def on_page(page: Sequence[ObjectMeta]) -> None:
            wanted = self._wanted(page)
            deliver(wanted if self._may_exceed or self._ledger.fits else ())

        def on_end(error: StoreError | None) -> None:
            self._ledger.is_listed = error is None
            finished(error)

        self._pages.start(on_page, on_end)

    def _wanted(self, page: Sequence[ObjectMeta]) -> Sequence[ObjectMeta]:
        self._ledger.listed += len(page)
        wants = self._selection.wants
        if self._selection.is_everything:
            wanted = [meta for meta in page if meta.size or not is_marker(meta)]
        else:
            wanted = [meta for meta in page if wants(meta) and not is_marker(meta)]
        sizes = [meta.size for meta in wanted]
        if self._head_bytes is not None:
            sizes = [min(size, self._head_bytes) for size in sizes]
        self._ledger.add(sizes, self._cost_of(wanted, sizes))
        return wanted


class OrExactly:
    """A listing of a prefix or, when nothing is below it, of the one object whose key the prefix is without its ``/``.

    Args:
        pages: the listing of ``key + "/"``.
        engine: sends the one LIST more.
        key: what may be an object.
    """

    def __init__(self, pages: Pages, engine: Engine, key: str) -> None:
        self._pages = pages
        self._engine = engine
        self._key = key
        self._is_empty = True
        self._is_stopped = False
        self.release = pages.release

    def start(self, deliver: Deliver, finished: Finished) -> None:
        """See `Pages.start`."""

        def on_page(page: Sequence[ObjectMeta]) -> None:
            self._is_empty = self._is_empty and not page
            deliver(page)

        def on_end(error: StoreError | None) -> None:
            if error is None and self._is_empty:
                self._ask(deliver, finished)
            else:
                finished(error)

        self._pages.start(on_page, on_end)

    def stop(self) -> None:
        """See `Pages.stop`."""
        self._is_stopped = True
        self._pages.stop()

    def _ask(self, deliver: Deliver, finished: Finished) -> None:
        def answered(answer: Page | StoreError) -> None:
            if self._is_stopped:
                return
            if isinstance(answer, Page):
                deliver([meta for meta in answer.objects if meta.key == self._key])
                finished(None)
            elif not isinstance(answer, Cancelled):
                finished(answer)

        # The key itself is the first one, in byte order, that begins with it.
        self._engine.list(ListPage(self._key, max_keys=1), answered, Urgency.NEEDED)


class Recording(Protocol):
    """A file that a listing is written to."""

    def add(self, metas: Sequence[ObjectMeta]) -> None:
        """Write some objects."""

    def commit(self) -> None:
        """All of them are written."""

    def abandon(self) -> None:
        """Forget what was written."""


class Recorded:
    """A listing that is written to a file on its way, whole or not at all.

    Args:
        pages: the listing.
        run: does jobs on another thread, one after the other.
        begin: opens the file, at the first page; called on that thread.
    """

    def __init__(
        self,
        pages: Pages,
        run: Callable[[Callable[[], None]], None],
        begin: Callable[[], Recording],
    ) -> None:
        self._pages = pages
        self._run = run
        self._begin = begin
        self._is_over = False
        # Of the other thread.
        self._recording: Recording | None = None
        self._has_failed = False
        self.release = pages.release

    def start(self, deliver: Deliver, finished: Finished) -> None:
        """See `Pages.start`."""

        def on_page(page: Sequence[ObjectMeta]) -> None:
            if page:
                self._run(lambda: self._write(page))
            deliver(page)

        def on_end(error: StoreError | None) -> None:
            self._is_over = True
            self._run(self._conclude if error is None else self._abandon)
            finished(error)

        self._pages.start(on_page, on_end)

    def stop(self) -> None:
        """See `Pages.stop`."""
        self._pages.stop()
        if not self._is_over:
            self._is_over = True
            self._run(self._abandon)

    # On the other thread.

    def _write(self, page: Sequence[ObjectMeta]) -> None:
        if self._has_failed:
            return
        try:
            if self._recording is None:
                self._recording = self._begin()
            self._recording.add(page)
        except Exception as error:
            self._fail(error)

    def _conclude(self) -> None:
        if self._recording is not None:
            try:
                self._recording.commit()
            except Exception as error:
                self._fail(error)

    def _abandon(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.abandon()

    def _fail(self, error: Exception) -> None:
        """Objects are warm without the listing too: mounts then ask the store for it."""
        log.info("the listing could not be kept for mounts: %s", error)
        self._has_failed = True
        self._abandon()
