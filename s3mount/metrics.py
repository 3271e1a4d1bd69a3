"""Counters, each written by one thread only and read by any.

A counter is an int in a dict, so a reader may see a value that is one behind, never a wrong one. Who needs totals
adds the snapshots of several `Counters`.
"""

from collections import Counter, deque
from typing import NamedTuple


class Incident(NamedTuple):
    """One error as `s3mount status` shows it."""

    at: float
    what: str
    key: str
    message: str
    request_id: str


class Counters:
    """Named totals and the newest incidents of one thread.

    Names are ``room.what``, such as ``requests.get``, ``bytes.fetched``, ``cache.hit_bytes``.
    """

    def __init__(self, *, incidents: int = 20) -> None:
        self._totals: Counter[str] = Counter()
        self._incidents: deque[Incident] = deque(maxlen=incidents)

    def add(self, name: str, amount: int = 1) -> None:
        """Add ``amount`` to the total called ``name``."""
        self._totals[name] += amount

    def note(self, incident: Incident) -> None:
        """Remember an incident; the oldest is forgotten when there are too many."""
        self._incidents.append(incident)

    def totals(self) -> dict[str, int]:
        """A copy of all totals."""
        return dict(self._totals.copy())

    def incidents(self) -> list[Incident]:
        """The newest incidents, oldest first."""
        return list(self._incidents)
