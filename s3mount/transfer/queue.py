"""Which request is sent next: a plain data structure, no clock, no thread.

Three classes of urgency, each first come, first served. Somebody waits for NEEDED; SOON is a guess about what a reader
will want; WARM was ordered in bulk. The lower two never fill every connection, so that a reader who waits finds one.
WARM shrinks to a few while it makes way for readers of other processes, whose requests share the line and the store.
"""

import enum
import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from s3mount.transfer.flight import Flight, Urgency


class Shares(NamedTuple):
    """How many requests of a class, and all below it, may be under way at once."""

    needed: int
    soon: int
    warm: int

    @classmethod
    def of(cls, connections: int) -> "Shares":
        """Keep an eighth for whoever waits, and as much again for guesses over bulk."""
        spare = max(1, connections // 8)
        return cls(connections, max(1, connections - spare), max(1, connections - 2 * spare))


MAKING_WAY = 16
"""WARM keeps one in so many of its share while it makes way: it never stands still."""


_ORDER = tuple(Urgency)
"""Once: going through an enum costs more than the rest of a look at the queue."""


class _Place(enum.Enum):
    WAITING = enum.auto()
    RUNNING = enum.auto()
    DELAYED = enum.auto()


@dataclass(slots=True)
class RequestQueue:
    """Flights that wait, that run, and that wait for their next try.

    A flight is in exactly one place. Changing urgency leaves a stale reference behind in the old lane, which is passed
    over when it surfaces: cheaper than searching the lane.
    """

    shares: Shares
    running: int = 0
    running_by: list[int] = field(default_factory=lambda: [0] * len(Urgency))
    _lanes: tuple[deque[Flight], deque[Flight], deque[Flight]] = field(
        default_factory=lambda: (deque(), deque(), deque())
    )
    _delayed: list[tuple[float, int, Flight]] = field(default_factory=list)
    _places: dict[Flight, _Place] = field(default_factory=dict)
    _serial: int = 0

    def add(self, flight: Flight) -> None:
        """A new flight."""
        self._places[flight] = _Place.WAITING
        self._lanes[flight.urgency].append(flight)

    def delay(self, flight: Flight, until: float) -> None:
        """A running flight that failed and is tried again at ``until``."""
        self._stop_running(flight)
        self._serial += 1
        self._places[flight] = _Place.DELAYED
        heapq.heappush(self._delayed, (until, self._serial, flight))

    def promote(self, flight: Flight, urgency: Urgency) -> None:
        """Raise a flight's urgency; one that is more urgent already stays as it is."""
        if urgency >= flight.urgency:
            return
        place = self._places.get(flight)
        if place is _Place.RUNNING:
            self.running_by[flight.urgency] -= 1
            self.running_by[urgency] += 1
        flight.urgency = urgency
        if place is _Place.WAITING:
            self._lanes[urgency].append(flight)

    def remove(self, flight: Flight) -> bool:
        """Forget a flight that ended or is not wanted; whether it was running."""
        place = self._places.pop(flight, None)
        if place is _Place.RUNNING:
            self._stop_running(flight)
        return place is _Place.RUNNING

    def take(self, now: float, *, makes_way: bool = False) -> Flight | None:
        """The flight to send now, None when there is none or no share left for it.

        Args:
            now: seconds, on the clock of `delay`.
            makes_way: whether WARM makes way for readers elsewhere.
        """
        while self._delayed and self._delayed[0][0] <= now:
            _, _, flight = heapq.heappop(self._delayed)
            if self._places.get(flight) is _Place.DELAYED:
                self._places[flight] = _Place.WAITING
                self._lanes[flight.urgency].appendleft(flight)
        for urgency, share in zip(_ORDER, self.shares, strict=True):
            if self.running >= share:
                return None
            if urgency is Urgency.WARM and makes_way and self._warm_is_enough():
                return None
            lane = self._lanes[urgency]
            while lane:
                flight = lane.popleft()
                if self._places.get(flight) is _Place.WAITING and flight.urgency == urgency:
                    self._places[flight] = _Place.RUNNING
                    self.running += 1
                    self.running_by[urgency] += 1
                    return flight
        return None

    def room_for_warm(self, *, makes_way: bool = False) -> int:
        """How many WARM requests beside those of flights may begin; flights that wait their turn go first.

        Args:
            makes_way: see `take`.
        """
        if any(self._lanes):
            return 0
        room = self.shares.warm - self.running
        if makes_way:
            room = min(room, self._warm_at_least() - self.running_by[Urgency.WARM])
        return max(0, room)

    def begin_warm(self, count: int) -> None:
        """WARM requests that are no flights are under way."""
        self.running += count
        self.running_by[Urgency.WARM] += count

    def end_warm(self) -> None:
        """One of them is over, or is a flight from now on."""
        self.running -= 1
        self.running_by[Urgency.WARM] -= 1

    def add_running(self, flight: Flight) -> None:
        """A flight that is under way already."""
        self._places[flight] = _Place.RUNNING
        self.running += 1
        self.running_by[flight.urgency] += 1

    def next_due(self) -> float | None:
        """When the next delayed flight is due, None when there is none."""
        return self._delayed[0][0] if self._delayed else None

    def may_wait(self, urgency: Urgency) -> bool:
        """Whether flights of an urgency may wait for their turn; False is certain."""
        return bool(self._lanes[urgency])

    def __contains__(self, flight: object) -> bool:
        return flight in self._places

    def flights(self) -> list[Flight]:
        """Every flight, in whatever place."""
        return list(self._places)

    def is_empty(self) -> bool:
        """Whether there is nothing to do now or later."""
        return not self._places

    def _warm_is_enough(self) -> bool:
        return self.running_by[Urgency.WARM] >= self._warm_at_least()

    def _warm_at_least(self) -> int:
        return max(1, self.shares.warm // MAKING_WAY)

    def _stop_running(self, flight: Flight) -> None:
        self.running -= 1
        self.running_by[flight.urgency] -= 1
