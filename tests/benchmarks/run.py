"""``python -m tests.benchmarks.run``: s3mount and its peers on one server, in turn.

Everything is on loopback: ``rclone serve s3`` over a folder, or the server of ``--endpoint``. Results are printed as
Markdown, and written as JSON with ``--output``.
"""

import argparse
import compileall
import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks import machine, report
from tests.benchmarks.harness import Bench
from tests.benchmarks.lines import SCENARIOS, chosen
from tests.benchmarks.tools import TOOLS, installed
from tests.benchmarks.tree import BUCKET, FULL, QUICK, Tree, checksum, prepare
from tests.support.buckets import s3_client
from tests.support.servers import Server, rclone_server


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    names = ", ".join(tool.name for tool in TOOLS)
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a tenth of everything, one run",
    )
    scenarios = ", ".join(one.name for one in SCENARIOS)
    parser.add_argument(
        "--only",
        default="",
        help=f"of {scenarios}, with commas; one place of them with -near or -far behind it",
    )
    parser.add_argument("--tools", default="", help=f"of {names}; default: what is installed")
    parser.add_argument("--runs", type=int, default=0, help="default 3, quick 1")
    parser.add_argument("--far", type=float, default=0.030, help="round trip in s; 0: near only")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one line")
    parser.add_argument("--endpoint", default="", help="another S3 server; it is filled first")
    parser.add_argument("--root", type=Path, default=Path("/var/tmp/s3mount-bench"))
    parser.add_argument("--output", type=Path, help="JSON")
    return parser.parse_args()


@contextlib.contextmanager
def served(tree: Tree, endpoint: str) -> Iterator[tuple[Server, str]]:
    """A server that holds the tree, warm: every listing asked for once, the large object in memory."""
    if endpoint:
        server = Server(endpoint, 0)
        upload(server, tree)
        yield server, endpoint
        return
    hashes = tree.root / "hashes"
    hashes.mkdir(exist_ok=True)
    with rclone_server(tree.bucket.parent, "--dir-cache-time", "1h", hashes_in=hashes) as server:
        with contextlib.closing(s3_client(server)) as client:
            for _ in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
                pass
        checksum(tree.large)
        yield server, "`rclone serve s3` over a folder"


def upload(server: Server, tree: Tree) -> None:
    """Fill another server's bucket, unless it was filled before."""
    with contextlib.closing(s3_client(server)) as client:
        known = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        if BUCKET in known:
            return
        client.create_bucket(Bucket=BUCKET)
        files = [path for path in tree.bucket.rglob("*") if path.is_file()]

        def put(path: Path) -> None:
            client.upload_file(str(path), BUCKET, str(path.relative_to(tree.bucket)))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, files))


@contextlib.contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """A folder for mount point and caches, away again at the end, never while something is timed."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=root)).resolve()
    try:
        yield folder
    finally:
        if not os.path.ismount(folder / "mnt"):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """One benchmark at a time: two would measure each other, and share the server's store of hashes.

    The package is compiled first, as an installed one is; a checkout may be in an environment that keeps no bytecode.
    """
    compileall.compile_dir(machine.CHECKOUT / "s3mount", quiet=1)
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another benchmark is running in {root}") from None
        yield


def say(text: str) -> None:
    """Progress goes beside the results."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Prepare, measure, print."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is unmounted
    tools, jobs = installed(options.tools), chosen(options.only)
    shape = QUICK if options.quick else FULL
    runs = options.runs or (1 if options.quick else 3)
    root = options.root / ("quick" if options.quick else "full")
    root.mkdir(parents=True, exist_ok=True)
    say(f"preparing {root} ({', '.join(f'{job.scenario.name}-{job.place}' for job in jobs)})")
    tree = prepare(root, shape)
    with (
        alone(options.root),
        served(tree, options.endpoint) as (server, what),
        scratch(root) as folder,
    ):
        bench = Bench(tree, server.url, folder, limit=options.limit, say=say)
        rows = [row.as_json() for row in bench.measure(tools, jobs, options.far, runs)]
        results = {
            **machine.describe("tests.benchmarks.run", tools),
            "server": what,
            "far": options.far,
            "runs": runs,
            "shape": dataclasses.asdict(shape),
            "rows": rows,
        }
        # The folder that goes next takes its time, and somebody may not wait for that.
        if options.output:
            options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(report.render(results))


if __name__ == "__main__":
    main()
