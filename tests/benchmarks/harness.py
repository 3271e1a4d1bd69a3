"""Runs scenarios for tools in turn (A B C A B C) and keeps what each cost.

Near: the tool talks to the server itself and nothing stands between; its requests are counted in one more run, not
timed, through a proxy without delay. Far: the proxy adds the round trip, and counts in the timed runs.
"""

import contextlib
import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import gauges
from tests.benchmarks.scenarios import LINES, SCENARIOS
from tests.benchmarks.tools import Place, Tool, environment
from tests.benchmarks.tree import BUCKET, Tree
from tests.support.mounts import Mount, daemon, unmount
from tests.support.proxy import ProxyProcess

SLOW = 60.0  # seconds: what takes longer is not repeated
COUNTED = ("get", "ranged_get", "head", "list", "put", "other", "bytes_down")


class TooSlow(Exception):
    """The time limit of a line was over; the daemon was killed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One timed part."""

    seconds: float
    cpu: float
    peak: int
    counts: Counter[str] | None


@dataclass(slots=True)
class Row:
    """One line of one tool at one distance: all its readings, or why there are none."""

    line: str
    place: str
    tool: str
    readings: list[Reading] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    failed: str = ""

    def as_json(self) -> dict[str, object]:
        """Medians beside every single reading."""
        entry: dict[str, object] = {"line": self.line, "place": self.place, "tool": self.tool}
        if self.readings:
            entry["seconds"] = round(statistics.median(r.seconds for r in self.readings), 4)
            entry["cpu"] = round(statistics.median(r.cpu for r in self.readings), 3)
            entry["peak"] = max(r.peak for r in self.readings)
            entry["every_second"] = [round(r.seconds, 4) for r in self.readings]
            entry["every_cpu"] = [round(r.cpu, 3) for r in self.readings]
        if self.counts:
            entry["counts"] = self.counts
        if self.failed:
            entry["failed"] = self.failed
        return entry


class Run:
    """One tool in one scenario with one fresh cache directory: a scenario's ``Session``."""

    def __init__(self, bench: "Bench", tool: Tool, url: str, counter: ProxyProcess | None) -> None:
        self.tree = bench.tree
        self.readings: dict[str, Reading] = {}
        self._bench = bench
        self._tool = tool
        self._counter = counter
        self._mount: Mount | None = None
        self._place = Place(
            url, BUCKET, bench.root / "mnt", bench.next_cache(), bench.root / "passwd-s3fs"
        )

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mount; what was counted and used until the mount answers is not the scenario's."""
        self._bench.filler.settle()
        command = self._tool.command(self._place)
        with daemon(command, self._place.mountpoint, env=environment()) as self._mount:
            yield self._mount.path

    def timed(self, line: str, work: Callable[[], None]) -> None:
        """Measure, with the end of the daemon as the time limit: a hung read cannot be left otherwise."""
        assert self._mount is not None
        mount = self._mount
        late = threading.Event()

        def give_up() -> None:
            late.set()
            mount.process.kill()
            unmount(mount.path)

        if self._counter is not None:
            self._counter.reset()
        watchdog = threading.Timer(self._bench.limit, give_up)
        watchdog.start()
        try:
            before = gauges.usage(mount.pid).cpu
            begin = time.perf_counter()
            work()
            seconds = time.perf_counter() - begin
        except Exception as error:
            if late.is_set():
                raise TooSlow(f"over {self._bench.limit:.0f} s") from error
            raise
        finally:
            watchdog.cancel()
        after = gauges.usage(mount.pid)
        counts = self._counter.counts if self._counter is not None else None
        self.readings[line] = Reading(seconds, after.cpu - before, after.peak, counts)

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
        self.filler = gauges.Filler(root / "filler", tree.bucket)
        self._server_url = server_url
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
        self, tools: Sequence[Tool], scenarios: Sequence[str], far: float, runs: int
    ) -> Iterator[Row]:
        """All rows, scenario by scenario, near before far."""
        places = [("near", 0.0), *([("far", far)] if far else [])]
        self.make_caches(len(tools) * len(scenarios) * len(places) * (runs + 1))
        for scenario, (place, delay) in itertools.product(scenarios, places):
            rows = {
                (tool.name, line): Row(line, place, tool.name)
                for line in LINES[scenario]
                for tool in tools
            }
            with ProxyProcess(self._server_url, delay) as proxy:
                for number in range(runs):
                    for tool in tools:
                        self._once(rows, tool, scenario, proxy if delay else None, number)
                if not delay:
                    for tool in tools:
                        self._count(rows, tool, scenario, proxy)
            yield from rows.values()

    def _once(
        self,
        rows: dict[tuple[str, str], Row],
        tool: Tool,
        scenario: str,
        proxy: ProxyProcess | None,
        number: int,
    ) -> None:
        """One timed run of one tool; nothing when it failed before or takes too long to repeat."""
        mine = [rows[tool.name, line] for line in LINES[scenario]]
        known = sum(row.readings[-1].seconds for row in mine if row.readings)
        if any(row.failed for row in mine) or known > SLOW:
            return
        run, failed = self._attempt(tool, scenario, proxy)
        for row in mine:
            reading = run.readings.get(row.line)
            if reading is None:
                row.failed = failed
                shown = f"failed: {failed}"
            else:
                row.readings.append(reading)
                row.counts = counted(reading.counts) or row.counts
                shown = f"{reading.seconds:.3f} s, cpu {reading.cpu:.2f} s"
            self._say(f"{row.place:4} {row.line:22} {tool.name:13} run {number + 1}: {shown}")

    def _count(
        self,
        rows: dict[tuple[str, str], Row],
        tool: Tool,
        scenario: str,
        proxy: ProxyProcess,
    ) -> None:
        """One more run through the proxy, of which only the requests are kept."""
        mine = [rows[tool.name, line] for line in LINES[scenario]]
        if any(row.failed for row in mine):
            return
        run, _ = self._attempt(tool, scenario, proxy)
        for row in mine:
            if row.line in run.readings:
                row.counts = counted(run.readings[row.line].counts)

    def _attempt(self, tool: Tool, scenario: str, proxy: ProxyProcess | None) -> tuple[Run, str]:
        """Run a scenario; what went wrong is a word for the table, not the end of the benchmark."""
        run = Run(self, tool, proxy.url if proxy is not None else self._server_url, proxy)
        failed = ""
        try:
            SCENARIOS[scenario](run)
        except Exception as error:
            failed = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        finally:
            run.close()
        return run, failed


def counted(counts: Counter[str] | None) -> dict[str, int]:
    """The requests in the order of the table."""
    return {name: counts[name] for name in COUNTED} if counts is not None else {}
