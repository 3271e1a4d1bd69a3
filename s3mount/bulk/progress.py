"""How far a run is: counts, speed, time left, the failures and the slowest objects. Numbers only; time is passed in.

`Tally` is what displays read. `ProgressProtocol` and `ProgressTracker` are for programs that bring a counter of their
own to the library.
"""

import heapq
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, TypedDict, runtime_checkable

from s3mount.bulk.outcome import Ending, Outcome

FAILURES_KEPT = 20
SLOWEST_KEPT = 5

REQUEST_WORTH = 256 << 10
"""Bytes that could have come in the time that one request costs: what makes small and large objects comparable."""

_KIB = 1 << 10
_MIB = 1 << 20
_GIB = 1 << 30


@runtime_checkable
class ProgressProtocol(Protocol):
    """A counter that a program passes in. Both methods may be called from different threads."""

    def increment_found(self) -> None:
        """One more object is wanted."""

    def increment_downloaded(self, bytes_count: int) -> None:
        """One more object is there, of so many bytes."""


class Stats(TypedDict):
    """What `ProgressTracker.get_stats` gives: bytes, seconds, and MiB per second."""

    objects_found: int
    objects_downloaded: int
    bytes_downloaded: int
    elapsed_time: float
    download_speed_mbps: float


class ProgressTracker:
    """Counts what was found and what was downloaded; may be read and written from any thread.

    Args:
        clock: seconds, from any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._lock = threading.Lock()
        self._found = 0
        self._downloaded = 0
        self._bytes = 0

    def increment_found(self) -> None:
        """One more object is wanted."""
        with self._lock:
            self._found += 1

    def increment_downloaded(self, bytes_count: int) -> None:
        """One more object is there, of so many bytes."""
        with self._lock:
            self._downloaded += 1
            self._bytes += bytes_count

    def get_stats(self) -> Stats:
        """All counts as they are now; they belong to one moment."""
        with self._lock:
            elapsed = self._clock() - self._started
            return Stats(
                objects_found=self._found,
                objects_downloaded=self._downloaded,
                bytes_downloaded=self._bytes,
                elapsed_time=elapsed,
                download_speed_mbps=self._bytes / _MIB / elapsed if elapsed > 0 else 0.0,
            )


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """What became of one object, for programs.

    Attributes:
        key: the whole key.
        dest_filename: the file; where nothing was written, where it would be as far as that is known.
        success: whether the object is there. In a dry run: whether it would be asked for.
        file_size: bytes of the file, 0 unless it was written or was there.
        error: why it is not there.
    """

    key: str
    dest_filename: Path
    success: bool
    file_size: int = 0
    error: Exception | None = field(default=None, repr=False)


class Failure(NamedTuple):
    """An object that is not there, and why."""

    key: str
    error: Exception


class Slow(NamedTuple):
    """An object that took long; ordered by its seconds."""

    seconds: float
    key: str
    size: int


@dataclass(slots=True)
class Tally:
    """Running totals of one run. What is found and what has ended may be told by different threads, one each.

    Attributes:
        started: seconds on the clock whose readings are passed to `speed` and `time_left`.
        found: objects that are wanted.
        wanted_bytes: their sizes together.
        is_listed: whether the listing is over, so that ``found`` is all there is.
        ended: objects that have ended, however.
        ended_bytes: their sizes together.
        fetched_bytes: bytes that came over the network.
        fetched_work: the part of all work that was done over the network; see `work`.
        endings: how many objects ended how.
        failures: the first `FAILURES_KEPT` that failed.
    """

    started: float
    found: int = 0
    wanted_bytes: int = 0
    is_listed: bool = False
    ended: int = 0
    ended_bytes: int = 0
    fetched_bytes: int = 0
    fetched_work: int = 0
    endings: dict[Ending, int] = field(default_factory=lambda: dict.fromkeys(Ending, 0))
    failures: list[Failure] = field(default_factory=list)
    _slow: list[Slow] = field(default_factory=list)

    def add_found(self, count: int, size: int) -> None:
        """More objects are wanted, of so many bytes in all."""
        self.found += count
        self.wanted_bytes += size

    def add_ended(self, outcomes: Iterable[Outcome]) -> None:
        """Some objects have ended."""
        for outcome in outcomes:
            self.ended += 1
            self.endings[outcome.ending] += 1
            self.ended_bytes += outcome.meta.size
            self.fetched_bytes += outcome.fetched
            if outcome.error is not None:
                self._note_failure(outcome.meta.key, outcome.error)
            elif outcome.ending is Ending.FETCHED:
                self.fetched_work += work(1, outcome.meta.size)
                self._note_seconds(outcome)

    @property
    def failed(self) -> int:
        """Objects that are not there."""
        return self.endings[Ending.FAILED]

    @property
    def slowest(self) -> list[Slow]:
        """The `SLOWEST_KEPT` fetched objects that took longest, the slowest first."""
        return sorted(self._slow, reverse=True)

    def _note_failure(self, key: str, error: Exception) -> None:
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(Failure(key, error))

    def _note_seconds(self, outcome: Outcome) -> None:
        slow = self._slow
        if len(slow) < SLOWEST_KEPT:
            heapq.heappush(slow, Slow(outcome.seconds, outcome.meta.key, outcome.meta.size))
        elif outcome.seconds > slow[0].seconds:
            heapq.heapreplace(slow, Slow(outcome.seconds, outcome.meta.key, outcome.meta.size))


def work(objects: int, size: int) -> int:
    """What fetching so many objects of so many bytes in all costs, in bytes."""
    return objects * REQUEST_WORTH + size


def elapsed(tally: Tally, now: float) -> float:
    """Seconds since the run began; never negative."""
    return max(0.0, now - tally.started)


def speed(tally: Tally, now: float) -> float:
    """Bytes per second over the network, since the run began."""
    seconds = elapsed(tally, now)
    return tally.fetched_bytes / seconds if seconds else 0.0


def time_left(tally: Tally, now: float) -> float | None:
    """Seconds until all is there if everything left must be fetched; None while that cannot be told.

    It cannot be told while the listing goes on, nor before something was fetched.
    """
    seconds = elapsed(tally, now)
    if not tally.is_listed or not tally.fetched_work or not seconds:
        return None
    left = work(max(0, tally.found - tally.ended), max(0, tally.wanted_bytes - tally.ended_bytes))
    return left * seconds / tally.fetched_work


def format_bytes(count: float, suffix: str = "") -> str:
    """Bytes in steps of 1024 with one decimal: ``512 B``, ``1.5 KB``, ``2.0 MB``; GB is the largest unit.

    Args:
        count: bytes.
        suffix: what follows the unit, such as ``/s``.
    """
    if count < _KIB:
        return f"{count:.0f} B{suffix}"
    for unit, worth in (("KB", _KIB), ("MB", _MIB)):
        if count < worth * 1024:
            return f"{count / worth:.1f} {unit}{suffix}"
    return f"{count / _GIB:.1f} GB{suffix}"
