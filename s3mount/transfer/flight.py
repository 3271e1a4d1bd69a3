"""One request on its way, from the wish to its end, with every try in between."""

import enum
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from s3mount.errors import StoreError, as_store_error
from s3mount.store.interface import Get, Head, ListPage, Page, Request

if TYPE_CHECKING:
    from s3mount.store.pipe import Drain, Pipe
    from s3mount.store.writing import Answer


class Urgency(enum.IntEnum):
    """Who wants it."""

    NEEDED = 0
    """Somebody waits for it."""
    SOON = 1
    """A reader will probably want it."""
    WARM = 2
    """Ordered in bulk, ahead of any reader."""


class Sink(Protocol):
    """Where the bytes of a Get go. Called on the engine's thread only.

    ``head`` once, ``write`` in order without gaps or repeats whatever had to be tried again, then ``finish`` or
    ``fail`` once. After ``fail`` nothing more comes. An error that any of them raises ends the flight.
    """

    def head(self, head: Head) -> "Drain | None":
        """The version is confirmed; its bytes follow.

        Returns:
            What takes bytes out of a pipe, where somebody wants them in a file only. Others still come to ``write``,
            in whatever turn.
        """

    def write(self, chunk: bytes) -> None:
        """The next bytes."""

    def finish(self) -> None:
        """All bytes have been written."""

    def fail(self, error: StoreError) -> None:
        """There will be no more bytes."""


class Cancelled(StoreError):
    """Nobody wants this any more."""


class Flight:
    """A request, its urgency, and how far it has come. It is the store's receiver for itself.

    ``urgency``, ``received`` and ``is_over`` may be read from any thread. Once it is over so may its times, seconds
    of a monotonic clock: ``sent_at`` of the last try, ``first_at`` of the first reply and ``ended_at``; and
    ``at_once``, the most flights that were under way when it was sent or ended. The rest belongs to the engine's.

    Invariant: the sink has been given exactly the first ``received`` bytes that were asked for, all of the version
    whose ETag is ``etag``.
    """

    __slots__ = (
        "_drain",
        "_on_end",
        "_refused",
        "asked",
        "at_once",
        "attempts",
        "deliver_page",
        "ended_at",
        "etag",
        "first_at",
        "is_over",
        "last_progress",
        "progress",
        "received",
        "sent_at",
        "sink",
        "told_head",
        "urgency",
    )

    def __init__(
        self,
        asked: Request,
        urgency: Urgency,
        *,
        on_end: "Callable[[Flight, StoreError | None], None]",
        sink: Sink | None = None,
        deliver_page: Callable[[Page | StoreError], None] | None = None,
    ) -> None:
        self.asked = asked
        self.urgency = urgency
        self.sink = sink
        self.deliver_page = deliver_page
        self.attempts = 0
        self.received = 0
        self.last_progress = 0.0
        self.progress = 0
        self.at_once = 0
        self.sent_at = self.first_at = self.ended_at = 0.0
        self.told_head = False
        self.is_over = False
        self.etag = asked.etag if isinstance(asked, Get) else ""
        self._on_end = on_end
        self._refused: StoreError | None = None
        self._drain: Drain | None = None

    def next_request(self) -> Request:
        """What is still to be asked: all at first, the rest after a try that broke off."""
        if not isinstance(self.asked, Get) or not self.received:
            return self.asked
        start = self.asked.start + self.received
        return self.asked._replace(etag=self.etag, start=start, whole=False)

    def head(self, head: Head) -> "Drain | None":
        """Pin the version at the first reply; a resumed one names it in If-Match."""
        if not self.told_head:
            assert self.sink is not None
            self.told_head = True
            self.first_at = time.monotonic()
            self.etag = head.etag
            self._drain = self.sink.head(head)
        return self._let_through if self._drain is not None else None

    def data(self, chunk: bytes) -> None:
        """Hand the bytes on."""
        assert self.sink is not None
        self.sink.write(chunk)
        self.received += len(chunk)

    def _let_through(self, pipe: "Pipe", count: int) -> None:
        assert self._drain is not None
        self._drain(pipe, count)
        self.received += count

    def note_progress(self, now: float) -> bool:
        """Whether bytes have come since the last call; then the patience with it begins anew."""
        if self.received == self.progress:
            return False
        self.progress = self.received
        self.last_progress = now
        return True

    def page(self, page: Page) -> None:
        """Hand the page on; `done` follows, and tells whoever could not take it why."""
        assert self.deliver_page is not None
        try:
            self.deliver_page(page)
        except Exception as error:
            self._refused = as_store_error(error, self.key)
        else:
            self.deliver_page = None

    def answer(self, answer: "Answer") -> None:
        """Only who writes is answered; see `writes.WriteFlight`."""
        raise NotImplementedError

    def done(self, error: StoreError | None) -> None:
        """Tell the engine."""
        self._on_end(self, error or self._refused)

    @property
    def key(self) -> str:
        """The key or prefix, for logs."""
        return self.asked.prefix if isinstance(self.asked, ListPage) else self.asked.key

    @property
    def kind(self) -> str:
        """``get`` or ``list``, for logs and counters."""
        return "list" if isinstance(self.asked, ListPage) else "get"

    def finish(self) -> None:
        """Tell the sink that all is there."""
        if self.sink is not None:
            self.sink.finish()

    def fail(self, error: StoreError) -> None:
        """Tell whoever wanted it that it will not come."""
        if self.sink is not None:
            self.sink.fail(error)
        elif self.deliver_page is not None:
            deliver, self.deliver_page = self.deliver_page, None
            deliver(error)
