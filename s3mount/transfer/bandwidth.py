"""How fast bytes may be asked for: a token bucket, and the flights that draw from it. Time is passed in."""

from s3mount.store.interface import Get
from s3mount.transfer.flight import Flight

BURST = 0.25
"""Seconds of the rate that idle time saves up."""


class TokenBucket:
    """Bytes that may be asked for now; below zero, that were asked for too soon.

    It begins empty, so that no stretch of time brings more than the rate, `BURST` and one request.

    Args:
        rate: bytes per second, above 0.
        now: seconds, on the clock of all later calls.
    """

    __slots__ = ("_as_of", "_level", "_rate")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._level = 0.0
        self._as_of = now

    def charge(self, amount: int) -> None:
        """Bytes were asked for; with a minus sign, they did not come."""
        self._level -= amount

    def wait(self, now: float) -> float:
        """Seconds until more may be asked for; 0 when it may be now."""
        self._level = min(BURST * self._rate, self._level + (now - self._as_of) * self._rate)
        self._as_of = now
        # Less than a byte is the rounding of the clock, which a wait would never end.
        return -self._level / self._rate if self._level <= -1 else 0.0


class Meter:
    """Charges flights to a bucket.

    A flight is charged when it is sent, with all that it is to bring, so that many that are sent at once do not pass
    the rate together; what did not come is given back. Listings are not charged. Bytes come in lumps of a request:
    who sets a limit asks for parts that take a fraction of a second, 1 MiB or less.

    Args:
        rate: bytes per second, above 0.
        now: seconds, on the clock of all later calls.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._bucket = TokenBucket(rate, now)
        self._promised: dict[Flight, int] = {}

    def wait(self, now: float) -> float:
        """Seconds until a flight may be sent; 0 when it may be now."""
        return self._bucket.wait(now)

    def sent(self, flight: Flight) -> None:
        """A flight is on its way, for the first time or again."""
        if isinstance(flight.asked, Get):
            promised = self._promised[flight] = flight.asked.stop - flight.asked.start
            self._bucket.charge(promised - flight.received)

    def ended(self, flight: Flight) -> None:
        """A try is over, however it ended; a flight that was not sent is passed over."""
        promised = self._promised.pop(flight, None)
        if promised is not None:
            self._bucket.charge(flight.received - promised)
