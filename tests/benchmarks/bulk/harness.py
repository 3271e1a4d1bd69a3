"""Runs the tools in turn (A B C A B C), checks what they did, and keeps what each cost.

Every run writes into a fresh folder on one disk. Nothing is deleted before the end, for files that are created where
others were just deleted can cost ten times as much; large ones give their space back by being emptied.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks import gauges
from tests.benchmarks.bulk.check import check_cache, check_files, check_listing, check_sent
from tests.benchmarks.bulk.lines import Line
from tests.benchmarks.bulk.server import Server
from tests.benchmarks.bulk.tools import Job, Tool, job_environment, write_aws_config
from tests.benchmarks.bulk.traffic import Traffic
from tests.benchmarks.bulk.tree import Tree
from tests.benchmarks.harness import SLOW, TooSlow
from tests.benchmarks.machine import CHECKOUT

LAUNCHER = Path(__file__).with_name("launcher.py")
SHOWN = 200  # characters of an error


class ToolFailed(Exception):
    """A tool ended with another status than 0."""


class Reading(NamedTuple):
    """One run: seconds from start to exit, what it used, and what it asked of the server.

    ``peak`` is in bytes, of the largest process; ``first`` is seconds from the start to the first request.
    """

    seconds: float
    cpu: float
    peak: int
    server_cpu: float
    first: float | None
    traffic: Traffic


@dataclass(slots=True)
class Row:
    """One line of one tool: all its readings, or why there are none."""

    line: Line
    tool: str
    readings: list[Reading] = field(default_factory=list)
    failed: str = ""

    def as_json(self) -> dict[str, object]:
        """Medians beside every single reading."""
        entry: dict[str, object] = {
            "line": self.line.name,
            "place": self.line.place,
            "work": self.line.work,
            "tool": self.tool,
        }
        if self.failed:
            entry["failed"] = self.failed
        elif self.readings:
            entry |= medians(self.readings)
        return entry


def medians(readings: Sequence[Reading]) -> dict[str, object]:
    """The figures of a row; peak memory is the greatest, requests are those of the last run."""
    firsts = [reading.first for reading in readings if reading.first is not None]
    last = readings[-1].traffic
    return {
        "seconds": round(statistics.median(r.seconds for r in readings), 4),
        "cpu": round(statistics.median(r.cpu for r in readings), 3),
        "peak": max(r.peak for r in readings),
        "server_cpu": round(statistics.median(r.server_cpu for r in readings), 3),
        "first_request": round(statistics.median(firsts), 4) if firsts else None,
        "counts": {**last.counts, "bytes_down": last.bytes_down, "connections": last.connections},
        "every_second": [round(r.seconds, 4) for r in readings],
        "every_cpu": [round(r.cpu, 3) for r in readings],
    }


def tail(errors: Path) -> str:
    """The end of what a tool said: some tell the reason last, some put a hint behind it."""
    said = [line.strip() for line in errors.read_text(errors="replace").splitlines()]
    return " / ".join([line for line in said if line][-3:])


class Bench:
    """Everything that is the same for all tools.

    Args:
        tree: what the server serves.
        server: the server.
        size: ``FULL`` or ``QUICK``.
        root: folder for what the tools write.
        limit: seconds that one run may take.
        say: where progress goes.
    """

    def __init__(
        self,
        tree: Tree,
        server: Server,
        size: str,
        root: Path,
        *,
        limit: float,
        say: Callable[[str], None],
    ) -> None:
        self._tree = tree
        self._server = server
        self._size = size
        self._root = root
        self._limit = limit
        self._say = say
        self._number = 0
        self._settler = gauges.Settler(tree.root)
        self._aws_config = root / "aws-config"
        write_aws_config(self._aws_config)

    def measure(self, tools: Sequence[Tool], lines: Sequence[Line], runs: int) -> Iterator[Row]:
        """All rows, line by line."""
        for line in lines:
            rows = {tool.name: Row(line, tool.name) for tool in tools if tool.does(line)}
            for number in range(runs):
                for tool in tools:
                    if tool.does(line):
                        self._once(rows[tool.name], tool, number)
            yield from rows.values()

    def _once(self, row: Row, tool: Tool, number: int) -> None:
        """One run of one tool; nothing when it failed before or takes too long to repeat."""
        if row.failed or (row.readings and row.readings[-1].seconds > SLOW):
            return
        folder = self._root / f"{self._number:04d}"
        self._number += 1
        job = Job(
            self._server.urls[row.line.place], self._size, row.line, folder / "to", folder / "cache"
        )
        try:
            reading = self._run(tool, job)
        except Exception as error:
            row.failed = f"{type(error).__name__}: {error}".replace("\n", " ")[:SHOWN]
            shown = f"failed: {row.failed}"
        else:
            row.readings.append(reading)
            shown = f"{reading.seconds:.3f} s, cpu {reading.cpu:.2f} s"
        finally:
            gauges.empty_cache(folder)
        place = row.line.place
        self._say(f"{place:4} {row.line.name:10} {tool.name:16} run {number + 1}: {shown}")

    def _run(self, tool: Tool, job: Job) -> Reading:
        """Measure, then check."""
        job.folder.mkdir(parents=True)
        job.cache.mkdir(mode=0o700)
        self._settler.settle()
        self._server.traffic()  # what came before is nobody's
        before = self._server.cpu
        facts = self._launch(tool.command(job), job)
        server_cpu = self._server.cpu - before
        traffic = self._server.traffic()
        self._check(tool, job, traffic)
        first = None if traffic.first is None else traffic.first - facts["started"]
        return Reading(
            facts["seconds"], facts["cpu"], int(facts["peak"]), server_cpu, first, traffic
        )

    def _launch(self, command: list[str], job: Job) -> dict[str, float]:
        """Run a command within the limit.

        Raises:
            TooSlow: the limit was over; the command and what it started were killed.
            ToolFailed: it ended with another status than 0.
        """
        report = job.folder.parent / "facts.json"
        errors = job.folder.parent / "stderr"
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(report), *command]
        with (job.folder.parent / "stdout").open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                launcher,
                cwd=CHECKOUT,
                env=job_environment(job, self._aws_config),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            try:
                process.wait(self._limit)
            except subprocess.TimeoutExpired:
                raise TooSlow(f"over {self._limit:.0f} s") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        facts: dict[str, float] = json.loads(report.read_text())
        if facts["status"] != 0:
            raise ToolFailed(f"status {facts['status']:.0f}: {tail(errors)}")
        return facts

    def _check(self, tool: Tool, job: Job, traffic: Traffic) -> None:
        """Hold the result against the tree."""
        group = job.line.group
        if job.line.work == "list":
            with (job.folder.parent / "stdout").open() as listing:
                check_listing(group, listing)
            return
        check_sent(group, traffic)
        if tool.leaves == "files":
            check_files(self._tree, group, job.folder)
        elif tool.leaves == "cache":
            check_cache(group, job.cache)
