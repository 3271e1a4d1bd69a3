"""What was measured of one tool in one line, and how it is written down."""

import statistics
from collections import Counter
from dataclasses import dataclass, field

COUNTED = ("get", "ranged_get", "head", "list", "put", "other", "bytes_down")


@dataclass(frozen=True, slots=True)
class Reading:
    """One timed part.

    Attributes:
        seconds: that it took.
        cpu: seconds of processor time that the daemon used meanwhile.
        peak: the most memory that the daemon has had so far, bytes.
        reads: bytes of objects that the work reads.
        counts: requests by kind and bytes, None when nobody counted.
    """

    seconds: float
    cpu: float
    peak: int
    reads: int
    counts: Counter[str] | None


@dataclass(slots=True)
class Row:
    """One line of one tool at one distance: all its readings, or why there are none.

    Attributes:
        over: the time limit in seconds when it was exceeded, else 0.
    """

    line: str
    group: str
    place: str
    tool: str
    readings: list[Reading] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    failed: str = ""
    over: float = 0.0

    def as_json(self) -> dict[str, object]:
        """Medians beside every single reading."""
        names = ("line", "group", "place", "tool")
        entry: dict[str, object] = {name: getattr(self, name) for name in names}
        if self.readings:
            entry["seconds"] = round(statistics.median(r.seconds for r in self.readings), 4)
            entry["cpu"] = round(statistics.median(r.cpu for r in self.readings), 3)
            entry["peak"] = max(r.peak for r in self.readings)
            entry["reads"] = self.readings[-1].reads
            entry["every_second"] = [round(r.seconds, 4) for r in self.readings]
            entry["every_cpu"] = [round(r.cpu, 3) for r in self.readings]
        if self.counts:
            entry["counts"] = self.counts
        if self.failed:
            entry["failed"] = self.failed
        if self.over:
            entry["over"] = self.over
        return entry


def counted(counts: Counter[str] | None) -> dict[str, int]:
    """The requests in the order of the table."""
    return {name: counts[name] for name in COUNTED} if counts is not None else {}
