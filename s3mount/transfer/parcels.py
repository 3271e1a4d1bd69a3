"""Small objects on their way, of which nobody wants to hear before they are whole: no flight is made for one.

They are WARM and share the requests of that class with its flights, which go first. What goes another way than straight
becomes a flight, with all that holds for those: who takes a parcel is its sink then. Concurrency rule: everything
belongs to the engine's thread.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol

from s3mount.errors import StoreError, as_store_error
from s3mount.store.interface import Head, Parcel, ParcelStore, Receiver, Store, get_of
from s3mount.transfer.flight import Cancelled, Flight, Sink, Urgency
from s3mount.transfer.queue import RequestQueue

log = logging.getLogger(__name__)


class SmallSink(Parcel, Sink, Protocol):
    """Who takes a small object: in one call (`Parcel.arrived`), or as any sink does.

    An error that ``arrived`` raises ends it, with ``fail``.
    """


class Parcels:
    """Those of one engine.

    Args:
        store: brings them; one that cannot has them all sent as flights.
        queue: says how many may be under way.
        on_end: told when a try of what has become a flight is over.
    """

    def __init__(
        self,
        store: Store,
        queue: RequestQueue,
        *,
        on_end: Callable[[Flight, StoreError | None], None],
    ) -> None:
        self._store = store if isinstance(store, ParcelStore) else None
        self._queue = queue
        self._on_end = on_end
        self._waiting: deque[SmallSink] = deque()
        self._under_way: dict[Parcel, SmallSink] = {}
        if self._store is not None:
            self._store.serve(self)

    def add(self, parcel: SmallSink) -> None:
        """Ask for one as soon as it may be."""
        if self._store is None:
            self.fly(parcel)
        else:
            self._waiting.append(parcel)

    def fly(self, parcel: SmallSink) -> None:
        """Ask for one as a flight like any other."""
        self._queue.add(self._flight_of(parcel))

    def launch(self, *, makes_way: bool) -> bool:
        """Ask for as many as may be under way; flights that wait have gone before.

        Returns:
            Whether some became flights, which wait now.
        """
        store, queue, waiting = self._store, self._queue, self._waiting
        if store is None or not waiting:
            return False
        room = min(len(waiting), queue.room_for_warm(makes_way=makes_way))
        if not room:
            return False
        parcels = [waiting.popleft() for _ in range(room)]
        refused = store.fetch(parcels)
        self._under_way.update(zip(parcels, parcels, strict=True))
        queue.begin_warm(room)
        for parcel in refused:
            self.fly(self._left(parcel))
        return bool(refused)

    def cancel(self, parcels: Collection[SmallSink]) -> None:
        """Stop some; those that are neither waiting nor under way here are passed over."""
        unwanted = set(parcels)
        left = [each for each in self._waiting if each in unwanted]
        self._waiting = deque(each for each in self._waiting if each not in unwanted)
        for parcel in unwanted & self._under_way.keys():
            assert self._store is not None
            self._store.recall(parcel)
            self._left(parcel)
            left.append(parcel)
        for parcel in left:
            _fail(parcel, Cancelled("no longer wanted", key=parcel.key))

    def stop(self, error: StoreError) -> None:
        """Fail all that are left; the store is about to be closed."""
        left = [*self._waiting, *self._under_way.values()]
        self._waiting.clear()
        self._under_way.clear()
        for parcel in left:
            _fail(parcel, error)

    def arrived(self, parcel: Parcel, head: Head, body: bytes) -> None:
        """See `store.interface.ParcelCounter`."""
        self._queue.end_warm()
        sink = self._under_way.pop(parcel)
        try:
            sink.arrived(head, body)
        except Exception as error:
            _fail(sink, as_store_error(error, parcel.key))

    def receiver_for(self, parcel: Parcel) -> Receiver:
        """See `store.interface.ParcelCounter`."""
        flight = self._flight_of(self._left(parcel))
        flight.sent_at = flight.last_progress
        self._queue.add_running(flight)
        return flight

    def _flight_of(self, parcel: SmallSink) -> Flight:
        flight = Flight(get_of(parcel), Urgency.WARM, on_end=self._on_end, sink=parcel)
        flight.last_progress = time.monotonic()
        return flight

    def _left(self, parcel: Parcel) -> SmallSink:
        self._queue.end_warm()
        return self._under_way.pop(parcel)


def _fail(sink: SmallSink, error: StoreError) -> None:
    try:
        sink.fail(error)
    except Exception:
        log.exception("whoever wanted %r could not take it", sink.key)
