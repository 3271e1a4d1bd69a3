"""Runs scenarios for tools in turn (A B C A B C) and keeps what each cost.

Near: the tool talks to the server itself and nothing stands between; its requests are counted in one more run, not
timed, through a proxy without delay. Far: the proxy adds the round trip, and counts in the timed runs.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import gauges
from tests.benchmarks.lines import FAR, NEAR, Job
from tests.benchmarks.rows import Reading, Row, counted
from tests.benchmarks.scenarios import expect
from tests.benchmarks.tools import Place, Tool, environment
from tests.benchmarks.tree import BUCKET, Tree
from tests.support.mounts import Mount, daemon, unmount
from tests.support.proxy import ProxyProcess

SLOW = 60.0  # seconds: what takes longer is not repeated


class TooSlow(Exception):
    """The time limit of a line was over; the daemon was killed."""


class Run:
    """One tool in one scenario with one fresh cache directory: a scenario's ``Session``.

    Attributes:
        readings: by line.
        late: the line that exceeded the time limit, "" when none did.
    """

    def __init__(self, bench: "Bench", tool: Tool, job: Job, counter: ProxyProcess | None) -> None:
        self.tree = bench.tree
        self.readings: dict[str, Reading] = {}
        self.late = ""
        self._bench = bench
        self._tool = tool
        self._part = job.scenario.folder
        self._counter = counter
        self._mount: Mount | None = None
        url = counter.url if counter is not None else bench.server_url
        self._place = Place(
            url, BUCKET, bench.root / "mnt", bench.next_cache(), bench.root / "passwd-s3fs"
        )

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mount; what was counted and used until the mount answers is not the scenario's."""
        self._bench.settler.settle(self._part)
        command = self._tool.command(self._place)
        with daemon(command, self._place.mountpoint, env=environment()) as self._mount:
            yield self._mount.path

    def rest(self) -> None:
        """Wait as long as this tool needs."""
        time.sleep(self._tool.rest)

    def folder(self) -> Path:
        """Beside the cache; it goes with everything else at the end."""
        folder = self._place.cache.with_name(self._place.cache.name + "-local")
        folder.mkdir()
        return folder

    def timed(
        self, line: str, work: Callable[[], Any], is_right: Callable[[Any], bool], reads: int = 0
    ) -> None:
        """Measure, with the end of the daemon as the time limit: a hung read cannot be left otherwise.

        Raises:
            TooSlow: the limit was over.
            WrongAnswer: the work was done in time, and wrong.
        """
        assert self._mount is not None
        if self._counter is not None:
            self._counter.reset()
        before = gauges.usage(self._mount.pid).cpu
        with self._limited(line, self._mount):
            begin = time.perf_counter()
            answer = work()
            seconds = time.perf_counter() - begin
        after = gauges.usage(self._mount.pid)
        counts = self._counter.counts if self._counter is not None else None
        expect(is_right(answer), "another answer than the bucket's")
        self.readings[line] = Reading(seconds, after.cpu - before, after.peak, reads, counts)

    @contextlib.contextmanager
    def _limited(self, line: str, mount: Mount) -> Iterator[None]:
        """End the daemon when the time is over; whoever waits for it then gets an error."""

        def give_up() -> None:
            self.late = line
            kill_family(mount.pid)
            unmount(mount.path)

        watchdog = threading.Timer(self._bench.limit, give_up)
        watchdog.start()
        try:
            yield
        except Exception as error:
            if self.late:
                raise TooSlow(f"over {self._bench.limit:.0f} s") from error
            raise
        finally:
            watchdog.cancel()
            watchdog.join()
        if self.late:
            raise TooSlow(f"over {self._bench.limit:.0f} s")

    def close(self) -> None:
        """Give the space of the cache back."""
        gauges.empty_cache(self._place.cache)


class Bench:
    """Everything that is the same for all tools.

    Args:
        tree: what the server serves.
        server_url: the server itself.
        root: folder for mount point and caches.
        limit: seconds that one timed part may take.
        say: where progress goes.
    """

    def __init__(
        self,
        tree: Tree,
        server_url: str,
        root: Path,
        *,
        limit: float,
        say: Callable[[str], None],
    ) -> None:
        self.tree = tree
        self.root = root
        self.limit = limit
        self.settler = gauges.Settler(tree.bucket)
        self.server_url = server_url
        self._say = say
        self._caches: Iterator[Path] = iter(())
        (root / "mnt").mkdir(parents=True, exist_ok=True)

    def make_caches(self, amount: int) -> None:
        """Make the cache directories before anything is timed."""
        folders = [self.root / "caches" / f"{number:04d}" for number in range(amount)]
        for folder in folders:
            folder.mkdir(parents=True, mode=0o700)
        self._caches = iter(folders)

    def next_cache(self) -> Path:
        """A fresh cache directory."""
        return next(self._caches)

    def measure(
        self, tools: Sequence[Tool], jobs: Sequence[Job], far: float, runs: int
    ) -> Iterator[Row]:
        """All rows, job by job.

        Args:
            tools: that take turns.
            jobs: in this order.
            far: round trip in seconds of the far place; 0 leaves out what is far.
            runs: of each tool in each job.
        """
        wanted = [job for job in jobs if far or job.place == NEAR]
        self.make_caches(len(tools) * len(wanted) * (runs + 1))
        for job in wanted:
            yield from self._job(tools, job, far if job.place == FAR else 0.0, runs)

    def _job(self, tools: Sequence[Tool], job: Job, delay: float, runs: int) -> list[Row]:
        """The rows of one scenario at one place."""
        scenario = job.scenario
        rows = {
            (tool.name, line): Row(line, scenario.group, job.place, tool.name)
            for line in scenario.lines
            for tool in tools
        }
        with ProxyProcess(self.server_url, delay) as proxy:
            for number in range(runs):
                for tool in tools:
                    mine = [rows[tool.name, line] for line in scenario.lines]
                    self._once(mine, tool, job, proxy if delay else None, number)
            if not delay:
                for tool in tools:
                    self._count(
                        [rows[tool.name, line] for line in scenario.lines], tool, job, proxy
                    )
        return list(rows.values())

    def _once(
        self, mine: list[Row], tool: Tool, job: Job, proxy: ProxyProcess | None, number: int
    ) -> None:
        """One timed run of one tool; nothing when it failed before or takes too long to repeat."""
        known = sum(row.readings[-1].seconds for row in mine if row.readings)
        if any(row.failed for row in mine) or known > SLOW:
            return
        run, failed = self._attempt(tool, job, proxy)
        for row in mine:
            reading = run.readings.get(row.line)
            if reading is not None:
                row.readings.append(reading)
                row.counts = counted(reading.counts) or row.counts
                shown = f"{reading.seconds:.3f} s, cpu {reading.cpu:.2f} s"
            else:
                row.over = self.limit if row.line == run.late else 0.0
                row.failed = failed if row.over or not run.late else "not run"
                shown = f"failed: {row.failed}"
            self._say(f"{row.place:4} {row.line:23} {tool.name:13} run {number + 1}: {shown}")

    def _count(self, mine: list[Row], tool: Tool, job: Job, proxy: ProxyProcess) -> None:
        """One more run through the proxy, of which only the requests are kept."""
        if any(row.failed for row in mine):
            return
        run, _ = self._attempt(tool, job, proxy)
        for row in mine:
            if row.line in run.readings:
                row.counts = counted(run.readings[row.line].counts)

    def _attempt(self, tool: Tool, job: Job, proxy: ProxyProcess | None) -> tuple[Run, str]:
        """Run a scenario; what went wrong is a word for the table, not the end of the benchmark."""
        run = Run(self, tool, job, proxy)
        failed = ""
        try:
            job.scenario.work(run)
        except Exception as error:
            failed = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        finally:
            run.close()
        return run, failed


def kill_family(pid: int) -> None:
    """End a daemon and what it started, at once."""
    for member in gauges.family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
