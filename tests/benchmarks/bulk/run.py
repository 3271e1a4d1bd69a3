"""``python -m tests.benchmarks.bulk.run``: s3mount's bulk commands and their peers on one server, in turn.

Everything is on loopback and on one disk. Results are printed as Markdown, and written as JSON with ``--output``.
"""

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import machine
from tests.benchmarks.bulk import peers, report
from tests.benchmarks.bulk.harness import Bench
from tests.benchmarks.bulk.lines import FULL, QUICK, ROUND_TRIP, Line, Shape, describe, lines
from tests.benchmarks.bulk.server import serving
from tests.benchmarks.bulk.tools import Tool, tools
from tests.benchmarks.bulk.tree import Tree, prepare, read_all
from tests.benchmarks.run import alone, say

QUIET = (
    90.0  # seconds in which some ext4 file systems create files slowly after others were deleted
)
SERVER = "nginx with one process over a folder, listings from a process behind it"


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bulk.run", description=__doc__
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, one run")
    names = ", ".join(line.name for line in lines(QUICK))
    parser.add_argument("--only", default="", help=f"of {names}, with commas")
    parser.add_argument("--tools", default="", help="with commas; default: what is installed")
    parser.add_argument("--runs", type=int, default=0, help="default 3, quick 1")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one run of a tool")
    parser.add_argument("--fetch", action="store_true", help="install the peers first")
    parser.add_argument("--fetched", type=Path, default=peers.FETCHED)
    parser.add_argument("--root", type=Path, default=Path("/var/tmp/s3mount-bench"))
    parser.add_argument("--output", type=Path, help="JSON")
    parser.add_argument("--remark", default="", help="a sentence for the report")
    return parser.parse_args()


def chosen_lines(shape: Shape, only: str) -> list[Line]:
    """The lines to run."""
    every = lines(shape)
    names = [name for name in only.split(",") if name]
    wrong = set(names) - {line.name for line in every}
    if wrong:
        known = ", ".join(line.name for line in every)
        raise SystemExit(f"unknown line {', '.join(sorted(wrong))}: one of {known}")
    return [line for line in every if not names or line.name in names]


def chosen_tools(every: list[Tool], only: str) -> tuple[list[Tool], list[str]]:
    """The tools that can run, and the names of those that are missing."""
    names = [name for name in only.split(",") if name]
    wrong = set(names) - {tool.name for tool in every}
    if wrong:
        known = ", ".join(tool.name for tool in every)
        raise SystemExit(f"unknown tool {', '.join(sorted(wrong))}: one of {known}")
    wanted = [tool for tool in every if not names or tool.name in names]
    missing = [tool.name for tool in wanted if not tool.installed]
    return [tool for tool in wanted if tool.installed], missing


@contextlib.contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """A folder for everything that is written, away again at the end, never while something is timed.

    What a run left that was killed goes with it: the lock says that nobody else is here. When files were deleted just
    now, this waits first: it would be charged to the first tool.
    """
    deleted = root.parent / "deleted"
    rest = QUIET - (time.time() - deleted.stat().st_mtime) if deleted.exists() else 0.0  # noqa: TID251
    if rest > 0:
        say(f"waiting {rest:.0f} s: files were deleted here just now")
        time.sleep(min(rest, QUIET))
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=root)).resolve()
    try:
        yield folder
    finally:
        for left in root.glob("run-*"):
            shutil.rmtree(left, ignore_errors=True)
        deleted.touch()


def warm(tree: Tree, wanted: list[Line]) -> None:
    """Read what will be served."""
    for group in {line.group for line in wanted if line.group.stored}:
        read_all(tree, group)


def measure(
    options: argparse.Namespace, size: str, shape: Shape, wanted: list[Line], runs: int
) -> dict[str, object]:
    """Measure all lines; what depends on the tools that are there."""
    present, missing = chosen_tools(tools(options.fetched), options.tools)
    root = options.root / f"bulk-{size.lower()}"
    root.mkdir(parents=True, exist_ok=True)
    say(f"preparing {root} ({', '.join(line.name for line in wanted)})")
    tree = prepare(root, shape)
    warm(tree, wanted)
    with scratch(root) as folder, serving(tree, folder / "server", size) as server:
        bench = Bench(tree, server, size, folder, limit=options.limit, say=say)
        rows = [row.as_json() for row in bench.measure(present, wanted, runs)]
    return {
        **machine.describe("tests.benchmarks.bulk.run", present),
        "missing": missing,
        "rows": rows,
    }


def main() -> None:
    """Prepare, measure, print."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is ended
    size, shape = ("QUICK", QUICK) if options.quick else ("FULL", FULL)
    wanted = chosen_lines(shape, options.only)
    runs = options.runs or (1 if options.quick else 3)
    with alone(options.root):
        if options.fetch:
            peers.fetch(options.fetched, say)
        measured = measure(options, size, shape, wanted, runs)
    results = {
        "server": SERVER,
        "remark": options.remark,
        "far": ROUND_TRIP,
        "runs": runs,
        "lines": {line.name: f"{describe(line)}, {line.place}" for line in wanted},
        **measured,
    }
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(report.render(results))


if __name__ == "__main__":
    main()
