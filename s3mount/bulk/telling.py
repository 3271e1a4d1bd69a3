"""A program that called hears of its run: callbacks, a counter of its own, and what it is given at the end."""

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

from s3mount.bulk.ledger import Ledger
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.bulk.progress import DownloadResult, ProgressProtocol

Result = tuple[int, list[tuple[str, Exception]]]
"""How many objects are there, and each that is not with its reason."""


class Telling:
    """Tells a program of a run, and keeps what it returns.

    Args:
        ledger: of the run.
        on_complete: called with each key that is there.
        on_result: called with each object, failed ones as well.
        tracker: told of what is found and what is there.
        place_of: where an object's file is, or would be.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        on_complete: Callable[[str], None] | None = None,
        on_result: Callable[[DownloadResult], None] | None = None,
        tracker: ProgressProtocol | None = None,
        place_of: Callable[[Outcome], Path] = lambda outcome: Path(outcome.place),
    ) -> None:
        self._ledger = ledger
        self._on_complete = on_complete
        self._on_result = on_result
        self._tracker = tracker
        self._place_of = place_of
        self._found = 0
        self._there = 0
        self._failures: list[tuple[str, Exception]] = []

    def hear(self, batches: Generator[list[Outcome], None, None]) -> Result:
        """Follow a run to its end; leaving early stops it."""
        with closing(batches):
            for batch in batches:
                self._tell_found()
                for outcome in batch:
                    self._tell(outcome)
            self._tell_found()
        return self._there, self._failures

    def _tell_found(self) -> None:
        found = self._ledger.objects
        if self._tracker is not None:
            for _ in range(found - self._found):
                self._tracker.increment_found()
        self._found = found

    def _tell(self, outcome: Outcome) -> None:
        key = outcome.meta.key
        if self._on_result is not None:
            self._on_result(_result(outcome, self._place_of(outcome)))
        if outcome.error is not None:
            self._failures.append((key, outcome.error))
            return
        self._there += 1
        if self._tracker is not None and outcome.ending is not Ending.LISTED:
            arrived = outcome.ending is not Ending.PRESENT
            self._tracker.increment_downloaded(outcome.meta.size if arrived else 0)
        if self._on_complete is not None:
            self._on_complete(key)


def _result(outcome: Outcome, place: Path) -> DownloadResult:
    is_there = outcome.error is None
    has_file = is_there and outcome.ending is not Ending.LISTED
    size = outcome.meta.size if has_file else 0
    return DownloadResult(outcome.meta.key, place, is_there, size, outcome.error)
