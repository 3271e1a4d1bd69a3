"""What people see of a run while it goes on, and what it says at its end.

`open` gives a `Display` to feed::

    with displays.open("simple") as shown:
        for batch in batches:
            shown.found(objects, size)
            shown.ended(batch)

Keys, lines and records go to stdout; failures, and how far a run came that was broken off, to stderr. The words are
`display_texts`'s; here they are written.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal, TextIO

from s3mount.bulk.outcome import Outcome
from s3mount.bulk.progress import Tally
from s3mount.cli import display_texts as texts
from s3mount.cli import human

Mode = Literal["simple", "detailed", "live-update", "fancy"]
MODES: tuple[Mode, ...] = ("simple", "detailed", "live-update", "fancy")

LINE_EVERY = 2.0
"""Seconds between two lines of live-update."""


@contextmanager
def open(  # noqa: A001 -- read as displays.open
    mode: Mode | None = None,
    *,
    json_lines: bool = False,
    quiet: bool = False,
    dry_run: bool = False,
    noun: str = "downloaded",
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator["Display"]:
    """A display for one run, which begins now.

    At the end of the block the summary is written unless that was done. An exception that leaves the block (Ctrl-C, a
    listing that failed) makes the display say on stderr what failed and how far the run came, and goes on.

    Args:
        mode: what is shown; None for keys and, on a terminal where objects are many or it takes long, a bar.
        json_lines: one JSON record for each object and one at the end, whatever the mode.
        quiet: nothing on stdout, whatever else was said.
        dry_run: objects are only listed: keys instead of a bar.
        noun: what happens to an object: ``downloaded``, ``prefetched``.
        stream: where to write; None for what is stdout now.
        clock: seconds, from any beginning.
    """
    run = Run(Tally(clock()), Output(stream or sys.stdout), noun, clock)
    shown = _display(run, mode, json_lines=json_lines, quiet=quiet, dry_run=dry_run)
    try:
        yield shown
    except BaseException:
        shown.stopped()
        raise
    shown.summary()


class Output:
    """A stream for whole lines. Keys leave as the bytes that they are, whatever the locale can spell.

    Attributes:
        stream: what is written to.
        is_terminal: whether a person reads it as it is written.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.is_terminal = stream.isatty()
        self._bytes = getattr(stream, "buffer", None)

    def write(self, text: str) -> None:
        """Write a text at once and send it on its way."""
        if self._bytes is None:
            self.stream.write(text)
        else:
            self.stream.flush()
            self._bytes.write(text.encode("utf-8", "surrogateescape"))
        self.stream.flush()

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines in one piece, nothing when there are none."""
        text = "\n".join(lines)
        if text:
            self.write(text + "\n")


class Run:
    """What every display knows of its run.

    Attributes:
        tally: the totals so far.
        out: where to write.
        noun: what happens to an object.
    """

    def __init__(self, tally: Tally, out: Output, noun: str, clock: Callable[[], float]) -> None:
        self.tally = tally
        self.out = out
        self.noun = noun
        self.clock = clock


class Display:
    """Base of all displays; by itself the quiet one.

    Attributes:
        tally: the totals so far, for exit statuses.
    """

    def __init__(self, run: Run) -> None:
        self.tally = run.tally
        self._run = run
        self._is_over = False

    def found(self, count: int, size: int) -> None:
        """More objects are wanted, of so many bytes in all. May be called on another thread than the rest."""
        self.tally.add_found(count, size)

    def listing_done(self) -> None:
        """Nothing more will be found. May be called on another thread than the rest."""
        self.tally.is_listed = True

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        """Show a batch; an empty one as well, for time goes by with it."""
        self.tally.add_ended(outcomes)
        self.show(outcomes)
        self.tick(self._run.clock())

    def tick(self, now: float) -> None:
        """Show what changes with time; `ended` calls it."""

    def summary(self) -> None:
        """The run is over, and everything was listed: show the end of it. Later calls do nothing."""
        if not self._is_over:
            self._is_over = True
            self.tally.is_listed = True
            self.finish(stopped=False)
            self._complain(texts.failure_lines(self.tally))

    def stopped(self) -> None:
        """The run was broken off: show how far it came. After `summary` it does nothing."""
        if not self._is_over:
            self._is_over = True
            with suppress(OSError):  # stdout may be what broke; it must not hide why the run ended
                self.finish(stopped=True)
            lines = texts.stopped_lines(self.tally, self._run.noun)
            self._complain([*texts.failure_lines(self.tally), *lines])

    def show(self, outcomes: Sequence[Outcome]) -> None:
        """Show what has ended; for the display's own way."""

    def finish(self, *, stopped: bool) -> None:
        """Show the end on stdout; for the display's own way."""

    def _complain(self, lines: Sequence[str]) -> None:
        Output(sys.stderr).lines(lines)

    def _write_summary(self) -> None:
        run = self._run
        run.out.lines(texts.summary_lines(run.tally, run.clock(), run.noun))


class Keys(Display):
    """The key of each object that is there, a line each; what is done is known when it is read."""

    def show(self, outcomes: Sequence[Outcome]) -> None:
        """Write a batch in one piece."""
        keys = texts.keys_of(outcomes)
        self._run.out.lines(map(human.name, keys) if self._run.out.is_terminal else keys)


class Detailed(Keys):
    """Keys, and a summary."""

    def finish(self, *, stopped: bool) -> None:
        """Write the summary."""
        self._write_summary()


class LiveLine(Display):
    """One line that is written over every two seconds, and a summary."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._due = run.tally.started + LINE_EVERY
        self._width = 0

    def tick(self, now: float) -> None:
        """Write the line when it is time."""
        if now >= self._due:
            self._due = now + LINE_EVERY
            self._write(now)

    def finish(self, *, stopped: bool) -> None:
        """Leave the last line standing and write the summary below."""
        self._write(self._run.clock())
        self._run.out.write("\n")
        self._write_summary()

    def _write(self, now: float) -> None:
        line = texts.live_line(self.tally, now, self._run.noun)
        # A shorter line must cover all of the longer one before it.
        self._run.out.write(f"\r{line:{self._width}}")
        self._width = len(line)


class Records(Display):
    """JSON, a record on each line."""

    def show(self, outcomes: Sequence[Outcome]) -> None:
        """Write a batch in one piece."""
        self._run.out.lines(map(texts.record, outcomes))

    def finish(self, *, stopped: bool) -> None:
        """Write the record of the whole run."""
        self._run.out.lines([texts.summary_record(self.tally, self._run.clock(), stopped=stopped)])


class Fancy(Display):
    """A bar on a terminal, then the slowest objects and a summary."""

    def __init__(self, run: Run) -> None:
        from s3mount.cli.display_bar import Bar  # rich takes longer to import than all the rest

        super().__init__(run)
        self._bar = Bar(run.out.stream, run.tally)

    def tick(self, now: float) -> None:
        """Draw the bar when it is time."""
        self._bar.draw(now)

    def finish(self, *, stopped: bool) -> None:
        """Leave the bar as it is at the end, and write what was learned."""
        self._bar.close(self._run.clock())
        self._run.out.lines(texts.slowest_lines(self.tally))
        self._write_summary()


class Automatic(Display):
    """Keys on a terminal, until the run turns out to be worth a bar."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._way: Display = Keys(run)

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        """Choose before anything is shown, so that many objects are a bar from the first one on."""
        run = self._run
        seconds = run.clock() - run.tally.started
        if isinstance(self._way, Keys) and texts.wants_bar(run.tally.found, seconds):
            self._way = Fancy(run)
        super().ended(outcomes)

    def tick(self, now: float) -> None:
        """Show it the chosen way."""
        self._way.tick(now)

    def show(self, outcomes: Sequence[Outcome]) -> None:
        """Show it the chosen way."""
        self._way.show(outcomes)

    def finish(self, *, stopped: bool) -> None:
        """Show it the chosen way."""
        self._way.finish(stopped=stopped)


def _display(
    run: Run, mode: Mode | None, *, json_lines: bool, quiet: bool, dry_run: bool
) -> Display:
    if quiet:
        return Display(run)
    if json_lines:
        return Records(run)
    if dry_run and mode in {None, "fancy"}:
        # Which keys those are is what a dry run has to say.
        return (Detailed if mode else Keys)(run)
    return _WAYS[mode](run) if mode else (Automatic if run.out.is_terminal else Keys)(run)


_WAYS: dict[Mode, type[Display]] = {
    "simple": Keys,
    "detailed": Detailed,
    "live-update": LiveLine,
    "fancy": Fancy,
}
