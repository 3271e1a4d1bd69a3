"""How fast the store answers: an estimate from the requests that are over. No clock: times are arguments.

One `Pace` serves a whole mount, for all its files come over the same line.
"""

from dataclasses import dataclass
from typing import NamedTuple

from s3mount.readahead.window import FIRST_WINDOW, PART_MAX, PART_MIN

FORGETTING = 1 / 16
"""How far an estimate goes back towards a sample that is worse; a better one is believed at once. What delays a request
(a busy server, a handshake) makes it look worse, nothing makes it look better than the line is."""
TELLING = 256 * 1024
"""Bytes from which a request tells of the rate: fewer come out of buffers."""
INSTANT = 1e-4
"""Seconds; what came faster was waiting to be picked up."""
ROUNDS = 4
"""The rate of all connections is the mean over so many requests for each that runs at once."""
MARGIN = 2
"""Times as much as is needed now is asked for: a reader whom the line held back gets faster as long as more helps."""
CUSHION = 0.25
"""Seconds of reading to be ahead in any case: what a hiccup takes, of the store or of this machine."""
ROUND_TRIPS = 4
"""A part is to take so many times the latency: then a connection is idle for a fifth of its time at the most."""
SPLIT = 4
"""Parts of a window at the least: one is read, others come, and one is asked for."""
HELPS = 1.25
"""Times as fast as before: what half the size must promise where no size is enough. Below that it is latency that
counts, and more requests only cost more."""
PARTS_MOST = 64
"""Parts of a window at the most: as many connections as there are when nothing else is said."""


class Trip(NamedTuple):
    """One GET that is over.

    Attributes:
        sent: when it was sent, seconds on any clock.
        first: when its first byte came, on the same clock.
        ended: when its last byte came.
        amount: bytes.
        at_once: requests that were under way when it was sent or when it ended, whichever were more, itself included.
    """

    sent: float
    first: float
    ended: float
    amount: int
    at_once: int = 1


@dataclass(slots=True)
class Pace:
    """What is known of the line to a store; 0 where nothing is.

    Attributes:
        latency: seconds from a request to its first byte.
        rate: bytes per second of one connection.
        total: bytes per second of all connections together, as far as readers have used them.
    """

    latency: float = 0.0
    rate: float = 0.0
    total: float = 0.0
    _busy: float = 0.0
    _came: float = 0.0
    _until: float = 0.0

    def note(self, trip: Trip) -> None:
        """Take a request into account; their order does not matter much."""
        latency = max(INSTANT, trip.first - trip.sent)
        self.latency = -higher(-self.latency, -latency) if self.latency else latency
        if trip.amount < TELLING:
            return
        self._note_total(trip)
        rate = trip.amount / max(INSTANT, trip.ended - trip.first)
        # Beside others it may have had its share of a full line: of what one can do alone that says "at least".
        self.rate = max(self.rate, rate) if trip.at_once > 1 else higher(self.rate, rate)

    def _note_total(self, trip: Trip) -> None:
        kept = 1 - 1 / (ROUNDS * trip.at_once + 1)
        # Time in which several came counts once.
        busy = max(0.0, trip.ended - max(trip.first, self._until))
        self._until = max(self._until, trip.ended)
        self._busy = self._busy * kept + busy
        self._came = self._came * kept + trip.amount
        self.total = self._came / max(INSTANT, self._busy)

    def is_known(self) -> bool:
        """Whether there is an estimate yet."""
        return self.latency > 0 and self.rate > 0

    def seconds_for(self, amount: float) -> float:
        """How long one request takes that finds the line free.

        Args:
            amount: bytes.
        """
        return self.latency + amount / self.rate


def higher(known: float, sample: float) -> float:
    """An estimate that follows the highest samples: up at once, down slowly."""
    return max(sample, known + (sample - known) * FORGETTING)


def bytes_ahead(pace: Pace, rate: float) -> int:
    """How many bytes ahead keep a reader from waiting.

    Args:
        pace: of the line, known.
        rate: of the reader, bytes per second.
    """
    part = min(PART_MAX, max(PART_MIN, ROUND_TRIPS * pace.latency * pace.rate))
    return max(FIRST_WINDOW, int(rate * max(CUSHION, MARGIN * pace.seconds_for(part))))


def part_size(pace: Pace, rate: float, ahead: int) -> int:
    """Bytes in one GET: the largest, so the fewest, of which ``ahead`` bytes still hold enough for the line.

    Where connections are few, or slow, or far, that is many small parts at once; where one fills the line it is few
    large ones.

    Args:
        pace: of the line, known.
        rate: of the reader, bytes per second.
        ahead: bytes that may be on their way or unread.
    """
    part = PART_MAX
    while part > PART_MIN and part > ahead // PARTS_MOST:
        seconds = pace.seconds_for(part)
        is_enough = SPLIT * part <= ahead and MARGIN * rate * seconds <= ahead
        helps = SPLIT * part > ahead or seconds > HELPS * pace.seconds_for(part // 2)
        if is_enough or not helps:
            break
        part //= 2
    return part
