"""The engine: one thread through which every request to a store goes.

It owns the order of requests, how many are under way, and what is tried again; it knows nothing of caches, files or
FUSE. Concurrency rule: `Engine.get`, `list`, `promote` and `cancel` may be called from any thread and only put a word
into the inbox; everything else, and every call of a sink or a page callback, happens on the engine's own thread.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

from s3mount.errors import CredentialsExpired, StoreError, UnexpectedReply
from s3mount.metrics import Counters, Incident
from s3mount.store.interface import Get, ListPage, Page, Store
from s3mount.transfer.bandwidth import Meter
from s3mount.transfer.flight import Cancelled, Flight, Sink, Urgency
from s3mount.transfer.own_thread import OwnThread
from s3mount.transfer.parcels import Parcels, SmallSink
from s3mount.transfer.queue import RequestQueue, Shares
from s3mount.transfer.retry import RetryPolicy, next_delay

if TYPE_CHECKING:  # who only reads does not load it
    from s3mount.store.writing import Answer, Write

log = logging.getLogger(__name__)

IDLE_POLL = 60.0
"""Seconds a poll may sleep when nothing is due; a word in the inbox wakes it."""
LOOK_AGAIN = 0.1
"""Seconds after which readers elsewhere are told, or asked for, again while nothing else happens."""


class EngineSettings(NamedTuple):
    """How much at once, and how patient.

    Attributes:
        connections: requests under way at once at the most.
        retry: when a failed request is made again.
        shares: how the connections are divided; `Shares.of` where nobody says.
        max_bandwidth: bytes per second of objects, 0 for no limit. It holds on the mean of a few seconds when requests
            are small beside it; see `Meter`.
    """

    connections: int = 64
    retry: RetryPolicy = RetryPolicy()
    shares: Shares | None = None
    max_bandwidth: float = 0


class Engine(OwnThread):
    """Sends requests by urgency, tries again what can pass, and hands results on.

    Use it as a context manager: leaving it stops the thread and fails what is still under way with `Cancelled`.

    Args:
        store: where requests go; the engine closes it at its end.
        settings: how much at once, and how patient.
        on_expired: called on the engine's thread when a request failed for old credentials.
        on_needed: called on the engine's thread again and again, at least every 0.1 s, while NEEDED flights are under
            way.
        gives_way: asked on the engine's thread whenever flights may be sent, at least every 0.1 s while it says yes:
            whether WARM flights should make way for readers of another engine.
    """

    def __init__(
        self,
        store: Store,
        settings: EngineSettings = EngineSettings(),  # noqa: B008 - immutable
        *,
        on_expired: Callable[[], None] = lambda: None,
        on_needed: Callable[[], None] | None = None,
        gives_way: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__("s3mount-engine")
        self.store = store
        self.counters = Counters()
        self._settings = settings
        self._on_expired = on_expired
        self._on_needed = on_needed
        self._gives_way = gives_way
        self._makes_way = False
        limit = settings.max_bandwidth
        self._meter = Meter(limit, time.monotonic()) if limit else None
        self._queue = RequestQueue(settings.shares or Shares.of(settings.connections))
        self._parcels = Parcels(store, self._queue, on_end=self._ended)
        self._inbox: deque[Callable[[], None]] = deque()
        self._sleeping = False
        self._stopping = False

    def get(self, request: Get, sink: Sink, urgency: Urgency) -> Flight:
        """Fetch bytes into a sink.

        Args:
            request: what to read.
            sink: told of every byte in order, then of the end, on the engine's thread.
            urgency: who wants it.
        """
        flight = Flight(request, urgency, on_end=self._ended, sink=sink)
        self._post(lambda: self._add(flight))
        return flight

    def get_small(self, sink: SmallSink) -> None:
        """Fetch a small whole object for somebody who has nothing to do before all of it is here; WARM.

        On the engine's thread only, and so are all calls of the sink: ``arrived`` once, or those of a `Sink`.
        """
        if self._meter is None:
            self._parcels.add(sink)
        else:
            self._parcels.fly(sink)

    def cancel_small(self, sinks: Collection[SmallSink]) -> None:
        """Stop small objects; each is told `Cancelled` unless it has ended before. On the engine's thread only."""
        self._parcels.cancel(sinks)
        unwanted = set(sinks)
        for flight in self._queue.flights():
            if flight.sink in unwanted:
                self._cancel(flight)

    def list(
        self, request: ListPage, deliver: Callable[[Page | StoreError], None], urgency: Urgency
    ) -> Flight:
        """Fetch one page of a listing.

        Args:
            request: what to list.
            deliver: called once, on the engine's thread; where it raises it is called again, with that error.
            urgency: who wants it.
        """
        flight = Flight(request, urgency, on_end=self._ended, deliver_page=deliver)
        self._post(lambda: self._add(flight))
        return flight

    def send(
        self, request: "Write", deliver: "Callable[[Answer | StoreError], None]", urgency: Urgency
    ) -> Flight:
        """Write, or look at an object.

        Args:
            request: what is wanted.
            deliver: called once, on the engine's thread; must not raise.
            urgency: who wants it.
        """
        from s3mount.transfer.writes import WriteFlight

        flight = WriteFlight(request, urgency, on_end=self._ended, deliver=deliver)
        self._post(lambda: self._add(flight))
        return flight

    def promote(self, flight: Flight, urgency: Urgency) -> None:
        """Raise the urgency of a flight that may still be waiting for its turn."""
        if urgency < flight.urgency:
            self._post(lambda: self._queue.promote(flight, urgency))

    def cancel(self, flight: Flight) -> None:
        """Stop a flight; its sink or callback is told `Cancelled` unless it has ended before."""
        self._post(lambda: self._cancel(flight))

    def call(self, word: Callable[[], None]) -> None:
        """Run ``word`` on the engine's thread, after everything that was asked for before."""
        self._post(word)

    def _post(self, word: Callable[[], None]) -> None:
        self._inbox.append(word)
        # The thread says that it will sleep before it looks into the inbox for the last time, so either it sees this
        # word there or we see that it sleeps.
        if self._sleeping:
            self.store.wake()

    def _run(self) -> None:
        while True:
            self._read_inbox()
            if self._stopping:
                break
            self._launch()
            self._sleeping = True
            timeout = 0.0 if self._inbox else self._time_to_next()
            try:
                self.store.poll(timeout)
            except Exception:
                log.exception("the store failed in a way that it does not know")
            self._sleeping = False
        for flight in self._queue.flights():
            self._end(flight, Cancelled("the engine is stopping", key=flight.key))
        self._parcels.stop(Cancelled("the engine is stopping"))
        self.store.close()

    def _read_inbox(self) -> None:
        for _ in range(len(self._inbox)):
            try:
                self._inbox.popleft()()
            except Exception:
                log.exception("what was to be done on the engine's thread failed")

    def _time_to_next(self) -> float:
        now = time.monotonic()
        wait = IDLE_POLL
        if self._makes_way or (self._on_needed and self._queue.running_by[Urgency.NEEDED]):
            wait = LOOK_AGAIN
        debt = self._meter.wait(now) if self._meter else 0.0
        if debt and any(map(self._queue.may_wait, Urgency)):
            wait = min(wait, debt)
        due = self._queue.next_due()
        return wait if due is None else min(wait, max(0.0, due - now, debt))

    def _end_soon(self) -> None:
        self._post(self._stop)

    def _stop(self) -> None:
        self._stopping = True

    def _add(self, flight: Flight) -> None:
        flight.last_progress = time.monotonic()
        self._queue.add(flight)

    def _launch(self) -> None:
        now = time.monotonic()
        self._makes_way = self._gives_way()
        self._launch_flights(now)
        if self._parcels.launch(makes_way=self._makes_way):
            self._launch_flights(now)
        if self._on_needed and self._queue.running_by[Urgency.NEEDED]:
            self._on_needed()

    def _launch_flights(self, now: float) -> None:
        while (flight := self._take(now)) is not None:
            self._submit(flight)

    def _submit(self, flight: Flight) -> None:
        flight.sent_at = time.monotonic()
        flight.at_once = self._queue.running
        try:
            self.store.submit(flight.next_request(), flight)
        except Exception as error:
            # Nobody else would tell who waits for it, and the thread must live for the others.
            log.exception("%s of %r could not be sent", flight.kind, flight.key)
            what = f"{flight.key!r} could not be asked for: {type(error).__name__}: {error}"
            self._end(flight, UnexpectedReply(what, key=flight.key))

    def _take(self, now: float) -> Flight | None:
        if self._meter is None:
            return self._queue.take(now, makes_way=self._makes_way)
        if self._meter.wait(now):
            return None
        flight = self._queue.take(now, makes_way=self._makes_way)
        if flight is not None:
            self._meter.sent(flight)
        return flight

    def _cancel(self, flight: Flight) -> None:
        if flight in self._queue:
            self.store.cancel(flight)
            self._end(flight, Cancelled("no longer wanted", key=flight.key))

    def _ended(self, flight: Flight, error: StoreError | None) -> None:
        """One try is over: the receiver's ``done``."""
        if self._meter is not None:
            self._meter.ended(flight)
        if error is None:
            self._end(flight, None)
            return
        now = time.monotonic()
        if flight.note_progress(now):
            flight.attempts = 0
        flight.attempts += 1
        if isinstance(error, CredentialsExpired):
            self._on_expired()
        delay = next_delay(
            self._settings.retry,
            error,
            attempt=flight.attempts,
            idle=now - flight.last_progress,
            draw=random.random(),
        )
        if delay is None:
            self._give_up(flight, error)
            return
        self.counters.add("requests.retried")
        log.info("%s of %r failed (%s), again in %.2f s", flight.kind, flight.key, error, delay)
        self._queue.delay(flight, now + delay)

    def _give_up(self, flight: Flight, error: StoreError) -> None:
        self.counters.add("requests.failed")
        self.counters.note(
            Incident(time.time(), flight.kind, flight.key, error.message, error.request_id)  # noqa: TID251
        )
        log.info(
            "%s of %r failed: %s [request id %s]",
            flight.kind,
            flight.key,
            error,
            error.request_id or "none",
        )
        self._end(flight, error)

    def _end(self, flight: Flight, error: StoreError | None) -> None:
        flight.at_once = max(flight.at_once, self._queue.running)
        self._queue.remove(flight)
        if self._meter is not None:
            self._meter.ended(flight)
        flight.ended_at = time.monotonic()
        flight.is_over = True
        try:
            if error is None:
                flight.finish()
            else:
                flight.fail(error)
        except Exception:
            log.exception("whoever wanted %r could not take it", flight.key)
