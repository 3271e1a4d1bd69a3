"""A bar for a terminal, drawn by rich. It has no thread of its own: it is drawn when it is told the time."""

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from s3mount.bulk import progress
from s3mount.bulk.progress import Tally

DRAW_EVERY = 0.25
"""Seconds between two drawings."""


class Bar:
    """A spinner, a bar over the work that is known, counts, speed and times.

    Args:
        stream: a terminal; on anything else only the last state is written.
        tally: what it shows.
    """

    def __init__(self, stream: TextIO, tally: Tally) -> None:
        self._tally = tally
        self._due = tally.started
        self._facts = _Facts(tally)
        console = Console(file=stream)
        # The usual spinner is of Braille letters, which an 8-bit locale cannot spell.
        spinner = "line" if console.options.ascii_only else "dots"
        self._progress = Progress(
            SpinnerColumn(spinner),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            self._facts,
            console=console,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("", total=None)
        self._progress.start()

    def draw(self, now: float) -> None:
        """Draw the state of now, at most every `DRAW_EVERY` seconds."""
        if now >= self._due:
            self._due = now + DRAW_EVERY
            self._draw(now)

    def close(self, now: float) -> None:
        """Draw once more and leave the terminal as it was."""
        self._draw(now)
        self._progress.stop()

    def _draw(self, now: float) -> None:
        tally = self._tally
        self._facts.now = now
        total = progress.work(tally.found, tally.wanted_bytes)
        done = progress.work(tally.ended, tally.ended_bytes)
        self._progress.update(self._task, total=total or None, completed=done, refresh=True)


class _Facts(ProgressColumn):
    """Counts, bytes, speed and times in one column."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(Column(no_wrap=True))
        self.now = tally.started
        self._tally = tally

    def render(self, task: Task) -> Text:
        return Text(facts(self._tally, self.now))


def facts(tally: Tally, now: float) -> str:
    """What stands behind the bar."""
    more = "" if tally.is_listed else "+"
    left = progress.time_left(tally, now)
    parts = [
        f"{tally.ended:,}/{tally.found:,}{more}",
        progress.format_bytes(tally.fetched_bytes),
        progress.format_bytes(progress.speed(tally, now), "/s"),
        clock(progress.elapsed(tally, now)),
    ]
    parts += [f"{tally.failed:,} failed"] if tally.failed else []
    parts += [f"{clock(left)} left"] if left else []
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """A length of time as a clock shows it: ``0:07``, ``12:30``, ``1:00:00``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
