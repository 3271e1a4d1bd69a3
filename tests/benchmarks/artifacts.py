"""``python -m tests.benchmarks.artifacts``: pushing and pulling artifacts, beside ``rclone copy`` both ways.

Everything is on loopback, the server too: Versity's gateway where it is installed (``make bench-bulk ARGS=--fetch``),
else ``rclone serve s3``. Each run writes under a name of its own; what was pulled is compared with what was pushed,
byte for byte.

What the server has is in memory. Rclone's keeps hashes there too: they wait for the disk at each write otherwise, 3 ms
an object, and the server would be all that is measured. It reads no further than it was asked to (``--buffer-size 0``):
else each range of a large object would cost it up to 16 MiB more, which no store does. It makes the MD5 of an object
for the first reply that names its ETag; the bucket is listed before each run, unmeasured, so that no pull pays for what
a push has left.
"""

import argparse
import filecmp
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from tests.benchmarks import gauges, machine
from tests.benchmarks.bulk.harness import LAUNCHER
from tests.benchmarks.bulk.peers import FETCHED
from tests.benchmarks.report import markdown, put_into
from tests.benchmarks.run import alone, say
from tests.support.servers import REGION, Server, program, rclone_server, versitygw_server

BUCKET = "artifacts"
PIECE = 1 << 20
BEGIN, END = "<!-- artifacts: begin -->", "<!-- artifacts: end -->"
LINES = {"small": (2000, 4 << 10), "large": (1, 1 << 30)}
QUICK = {"small": (200, 4 << 10), "large": (1, 64 << 20)}


class ToolFailed(Exception):
    """A tool ended with another status than 0, or what it brought back is not what was sent."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A command that copies a folder to a name in the bucket, and back.

    Attributes:
        push: arguments, from the folder and the name.
        pull: arguments, from the name and the folder, which is not there yet.
    """

    name: str
    note: str
    executable: str
    push: Callable[[Path, str], list[str]]
    pull: Callable[[str, Path], list[str]]

    def version_line(self) -> str:
        """The first line of what the tool says of itself."""
        command = [self.executable, "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.splitlines()[0]


@dataclass(slots=True)
class Row:
    """A line of a tool: all its readings."""

    line: str
    tool: str
    readings: list[dict[str, float]] = field(default_factory=list)
    failed: str = ""

    def as_json(self) -> dict[str, Any]:
        """Medians, and every reading."""
        entry: dict[str, Any] = {"line": self.line, "tool": self.tool, "failed": self.failed}
        if self.readings:
            for name in ("seconds", "cpu"):
                entry[name] = statistics.median(each[name] for each in self.readings)
            entry["peak"] = max(each["peak"] for each in self.readings)
            entry["every"] = self.readings
        return entry


def tools() -> list[Tool]:
    """s3mount as it comes, and rclone tuned."""
    remote = f":s3,provider=Other,env_auth,force_path_style,region={REGION}:{BUCKET}"
    tuned = ["--transfers", "32", "--checkers", "32", "--quiet", "--s3-no-check-bucket"]
    tuned += ["--ignore-checksum", "--s3-no-head", "--no-traverse", "--no-check-dest"]
    tuned += ["--multi-thread-streams", "8", "--s3-upload-concurrency", "8"]
    artifact = ["artifact"]
    return [
        Tool(
            "s3mount",
            "artifact push and pull, as they come",
            program("s3mount"),
            lambda folder, name: [*artifact, "push", "project", str(folder), "-d", name],
            lambda name, folder: [*artifact, "pull", "project", name, "-d", str(folder)],
        ),
        Tool(
            "rclone",
            "rclone copy, 32 transfers, 8 streams a file, no checks before or after",
            program("rclone"),
            lambda folder, name: ["copy", *tuned, str(folder), f"{remote}/{name}"],
            lambda name, folder: ["copy", *tuned, f"{remote}/{name}", str(folder)],
        ),
    ]


def environment(server: Server, home: Path) -> dict[str, str]:
    """The server and its credentials, for both; and no cache that a run before has filled."""
    return {
        **os.environ,
        **server.environment,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "RCLONE_CONFIG": str(home / "none"),
        "RCLONE_S3_ENDPOINT": server.url,
        "ARTIFACT_BACKEND": "s3",
        "ARTIFACT_S3_BUCKET": BUCKET,
        "ARTIFACT_S3_ENDPOINT": server.url,
        "ARTIFACT_S3_REGION": REGION,
        "ARTIFACT_S3_FORCE_PATH_STYLE": "true",
        "SEMAPHORE_PROJECT_ID": "bench",
    }


def write_folder(folder: Path, count: int, size: int) -> None:
    """Files that nobody can compress."""
    filler = random.Random(count)
    folder.mkdir(parents=True)
    for number in range(count):
        with (folder / f"part-{number:05d}.bin").open("wb") as file:
            for start in range(0, size, PIECE):
                file.write(filler.randbytes(min(PIECE, size - start)))


def timed(command: list[str], environ: dict[str, str], place: Path) -> dict[str, float]:
    """Run a command from start to exit.

    Raises:
        ToolFailed: it did not do it.
    """
    report = place / "facts.json"
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(report), *command]
    with (place / "stderr").open("wb") as errors:
        subprocess.run(
            launcher, env=environ, stdout=subprocess.DEVNULL, stderr=errors, check=True, timeout=600
        )
    facts: dict[str, float] = json.loads(report.read_text())
    if facts["status"]:
        raise ToolFailed((place / "stderr").read_text()[-200:])
    return facts


def compare(sent: Path, got: Path) -> None:
    """Hold what was pulled against what was pushed.

    Raises:
        ToolFailed: they differ.
    """
    names = sorted(os.listdir(sent))
    if sorted(os.listdir(got)) != names:
        raise ToolFailed("other files came back")
    _, wrong, missing = filecmp.cmpfiles(sent, got, names, shallow=False)
    if wrong or missing:
        raise ToolFailed(f"{len(wrong) + len(missing)} files differ")


class Bench:
    """Both tools on one server."""

    def __init__(self, server: Server, root: Path, settler: gauges.Settler, stored: Path) -> None:
        self._root = root
        self._settler = settler
        self._stored = stored
        self._environ = environment(server, root)
        self._client = boto3.client(
            "s3",
            endpoint_url=server.url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name=server.region,
        )
        self._number = 0

    def measure(self, line: str, count: int, size: int, runs: int) -> Iterator[Row]:
        """Push and pull in turn, each tool after the other."""
        folder = self._root / f"sent-{line}"
        write_folder(folder, count, size)
        rows = {
            (way, tool.name): Row(f"{way} {line}", tool.name)
            for way in ("push", "pull")
            for tool in tools()
        }
        for _ in range(runs):
            for tool in tools():
                self._both_ways(tool, folder, rows["push", tool.name], rows["pull", tool.name])
        yield from rows.values()

    def _note_etags(self) -> None:
        """Have the server make the checksums that it has not made yet."""
        pages = self._client.get_paginator("list_objects_v2")
        for _ in pages.paginate(Bucket=BUCKET):
            pass

    def _both_ways(self, tool: Tool, folder: Path, push: Row, pull: Row) -> None:
        self._number += 1
        name, got = f"run-{self._number}", self._root / f"got-{self._number}"
        try:
            for row, arguments in (
                (push, tool.push(folder, name)),
                (pull, tool.pull(name, got)),
            ):
                self._note_etags()
                self._settler.settle("")
                facts = timed([tool.executable, *arguments], self._environ, self._root)
                row.readings.append({key: facts[key] for key in ("seconds", "cpu", "peak")})
                say(
                    f"{row.line:12} {row.tool:8} {facts['seconds']:.3f} s, cpu {facts['cpu']:.2f} s"
                )
            compare(folder, got)
            # This is memory, not the disk that files are made on.
            for stored in list(self._stored.rglob(name)):
                shutil.rmtree(stored)
        except (ToolFailed, subprocess.TimeoutExpired) as error:
            push.failed = pull.failed = str(error)
            say(f"{tool.name} failed: {error}")


def render(results: dict[str, Any]) -> str:
    """Everything between the markers."""
    where = results["machine"]
    heading = (
        f"`{results['command']}`, {results['when']}, commit `{results['commit']}`, {where['cores']} cores of "
        f"{where['processor']}. Medians of {results['runs']} interleaved runs."
        f" Server: `{results['server']}` over a folder in memory."
    )
    table = [["line", "tool", "s", "CPU s", "peak MiB", "times as fast"]]
    least = {row["line"]: row for row in results["rows"] if row["tool"] == "rclone"}
    for row in results["rows"]:
        other = least[row["line"]]
        if row["failed"] or other["failed"]:
            table.append([row["line"], row["tool"], row["failed"] or "-", "", "", ""])
            continue
        ratio = other["seconds"] / row["seconds"] if row["tool"] != "rclone" else 1.0
        cells = [f"{row['seconds']:.2f}", f"{row['cpu']:.2f}", f"{row['peak'] / 2**20:.0f}"]
        table.append([row["line"], row["tool"], *cells, f"{ratio:.2f}"])
    notes = [f"- **{name}**: {tool['note']}" for name, tool in results["tools"].items()]
    return "\n".join([heading, "", *notes, "", markdown(table)])


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.artifacts")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, one run")
    parser.add_argument("--runs", type=int, default=0, help="default 3, quick 1")
    parser.add_argument("--root", type=Path, default=Path("/var/tmp/s3mount-bench"))
    parser.add_argument("--memory", type=Path, default=Path("/dev/shm"), help="a tmpfs")
    parser.add_argument("--fetched", type=Path, default=FETCHED)
    parser.add_argument("--output", type=Path, help="JSON")
    parser.add_argument("--into", type=Path, help="a page, between its two markers")
    return parser.parse_args()


@contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """A folder for everything that is written; it goes when nothing is timed any more."""
    folder = Path(tempfile.mkdtemp(prefix="artifacts-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serving(served: Path, hashes: Path, fetched: Path) -> Iterator[tuple[Server, str]]:
    """The fastest server that is installed, over a folder, and what it is called."""
    gateway = fetched / "bin" / "versitygw"
    if gateway.exists():
        with versitygw_server(gateway, served) as server:
            yield server, "versitygw posix"
        return
    hashes.mkdir()
    # Without a store of hashes each reply would cost the MD5 of the whole file.
    with rclone_server(served, "--buffer-size", "0", hashes_in=hashes) as server:
        yield server, "rclone serve s3"


def main() -> None:
    """Measure, print, keep."""
    options = arguments()
    runs = options.runs or (1 if options.quick else 3)
    with (
        alone(options.root),
        scratch(options.root) as folder,
        scratch(options.memory) as memory,
    ):
        served = memory / "served"
        (served / BUCKET).mkdir(parents=True)
        with serving(served, memory / "hashes", options.fetched) as (server, called):
            bench = Bench(server, folder, gauges.Settler(served), served / BUCKET)
            lines = QUICK if options.quick else LINES
            rows = [row for line, of in lines.items() for row in bench.measure(line, *of, runs)]
    results = {
        **machine.describe("tests.benchmarks.artifacts", tools()),
        "runs": runs,
        "server": called,
        "rows": [row.as_json() for row in rows],
    }
    if options.output:
        options.output.write_text(json.dumps(results, indent=1))
    text = render(results)
    print(text)
    if options.into:
        put_into(options.into, text, BEGIN, END)


if __name__ == "__main__":
    main()
