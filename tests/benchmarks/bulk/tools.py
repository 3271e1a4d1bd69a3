"""The commands that are compared, each tuned as its manual advises. To measure another one, add a row to `tools`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.bulk.lines import BUCKET, Line, Place
from tests.benchmarks.tools import environment
from tests.support.servers import REGION, program

WIDE = {"near": 64, "far": 256}
"""Objects at once, for the tools that can hold so many."""
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Job:
    """What a command needs to know.

    Attributes:
        url: the server at the place of the line.
        size: ``FULL`` or ``QUICK``.
        line: what is to be done.
        folder: where files go; fresh and empty.
        cache: an empty folder for whoever keeps a cache.
    """

    url: str
    size: str
    line: Line
    folder: Path
    cache: Path

    @property
    def place(self) -> Place:
        """Near or far."""
        return self.line.place

    @property
    def source(self) -> str:
        """The prefix as most tools want it."""
        return f"s3://{BUCKET}/{self.line.group.name}/"


Command = Callable[[Job], list[str]]


@dataclass(frozen=True, slots=True)
class Tool:
    """One column of the table.

    Attributes:
        name: as shown; what ``--tools`` takes.
        executable: where it is; a path that does not exist is a tool that is not installed.
        download: arguments that download a prefix, None when it does not.
        listing: arguments that list one, a key a line.
        version: arguments that print the version.
        note: what is special about these options.
        leaves: what there is to check afterwards: files, a cache, or nothing.
    """

    name: str
    executable: str
    download: Command | None = None
    listing: Command | None = None
    version: tuple[str, ...] = ("--version",)
    note: str = ""
    leaves: str = "files"

    @property
    def installed(self) -> bool:
        """Whether it can run here."""
        return os.access(self.executable, os.X_OK)

    def does(self, line: Line) -> bool:
        """Whether a line is for this tool."""
        known = self.download if line.work == "download" else self.listing
        return known is not None and (self.name.startswith("s3mount") or not line.own)

    def command(self, job: Job) -> list[str]:
        """The whole command line."""
        make = self.download if job.line.work == "download" else self.listing
        assert make is not None
        return [self.executable, *make(job)]

    def version_line(self) -> str:
        """The first line of what the tool says of itself."""
        done = subprocess.run(
            [self.executable, *self.version],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, **environment()},
        )
        return next(iter((done.stdout or done.stderr).splitlines()), "unknown")


def job_environment(job: Job, aws_config: Path) -> dict[str, str]:
    """Credentials and the server for every tool, and no cache that a run before has filled."""
    return {
        **os.environ,
        **environment(),
        "AWS_CONFIG_FILE": str(aws_config),
        "AWS_ENDPOINT_URL": job.url,
        "S3_ENDPOINT_URL": job.url,
        "XDG_CACHE_HOME": str(job.cache),
    }


def write_aws_config(path: Path) -> None:
    """What ``aws`` reads its number of parallel requests from; there is no option for it."""
    path.write_text("[default]\ns3 =\n  max_concurrent_requests = 64\n  addressing_style = path\n")


def s3mount_server(job: Job) -> list[str]:
    return ["--endpoint-url", job.url, "--region", REGION, "--addressing-style", "path"]


def s3mount_download(job: Job) -> list[str]:
    return ["download", job.source, "--download-dir", str(job.folder), "-q", *s3mount_server(job)]


def s3mount_prefetch(job: Job) -> list[str]:
    return ["prefetch", job.source, "-q", "--cache-dir", str(job.cache), *s3mount_server(job)]


def s3mount_listing(job: Job) -> list[str]:
    return ["ls", "-R", job.source, *s3mount_server(job)]


def rclone_remote(job: Job) -> str:
    options = f"provider=Other,env_auth,force_path_style,region={REGION},list_version=2"
    return f":s3,{options},endpoint='{job.url}':{BUCKET}/{job.line.group.name}"


def rclone_download(job: Job) -> list[str]:
    wide = str(WIDE[job.place])
    return [
        *("copy", rclone_remote(job), str(job.folder), "--transfers", wide, "--checkers", wide),
        *("--multi-thread-streams", "8", "--multi-thread-cutoff", "64M", "--inplace"),
        *("--fast-list", "--no-traverse", "--no-check-dest", "--ignore-checksum"),
        *("--s3-no-head-object", "--use-server-modtime", "--quiet"),
    ]


def rclone_listing(job: Job) -> list[str]:
    wide = str(WIDE[job.place])
    # Without ListR it lists directories side by side, which is five times as fast far away.
    words = ["lsf", "-R", "--files-only", "--disable", "ListR", "--checkers", wide]
    return [*words, rclone_remote(job)]


def s5cmd_download(job: Job) -> list[str]:
    words = ["--numworkers", "256", "--log", "error", "cp", "--concurrency", "8"]
    return [*words, f"{job.source}*", f"{job.folder}/"]


def s5cmd_listing(job: Job) -> list[str]:
    return ["ls", f"{job.source}*"]


def aws_download(job: Job) -> list[str]:
    return ["s3", "cp", "--recursive", "--only-show-errors", job.source, str(job.folder)]


def s3fetch_download(job: Job) -> list[str]:
    words = [job.source, "--region", REGION, "--download-dir", str(job.folder), "-q"]
    return [*words, "--concurrent-downloads", "32"]


def boto3_listing(job: Job) -> list[str]:
    return [str(HERE / "paginator.py"), job.url, BUCKET, f"{job.line.group.name}/"]


def floor_download(job: Job) -> list[str]:
    wide = {"near": "16", "far": "256"}[job.place]
    words = ["-m", "tests.benchmarks.bulk.floor", job.url, job.size, job.line.group.name]
    return [*words, wide]


def tools(fetched: Path) -> list[Tool]:
    """Every row.

    Args:
        fetched: the folder of the tools that `peers.fetch` brings.
    """
    s3mount = program("s3mount")
    rclone = program("rclone")
    rclone = rclone if os.path.exists(rclone) else shutil.which("rclone") or rclone
    packages = ("-c", "import boto3; print('boto3', boto3.__version__)")
    return [
        Tool("s3mount", s3mount, s3mount_download, s3mount_listing, note="defaults"),
        Tool("s3mount-prefetch", s3mount, s3mount_prefetch, note="into the cache", leaves="cache"),
        Tool(
            "rclone",
            rclone,
            rclone_download,
            rclone_listing,
            ("version",),
            "64 transfers, far 256; 8 streams from 64 MiB; no MD5, no HEAD, in place",
        ),
        Tool(
            "s5cmd",
            str(fetched / "bin" / "s5cmd"),
            s5cmd_download,
            s5cmd_listing,
            ("version",),
            "256 workers, 8 parts of an object at once",
        ),
        Tool(
            "aws",
            str(fetched / "awscli" / "bin" / "aws"),
            aws_download,
            note="64 requests at once",
        ),
        Tool(
            "s3fetch",
            str(fetched / "s3fetch" / "bin" / "s3fetch"),
            s3fetch_download,
            note="32 downloads at once",
        ),
        Tool(
            "boto3",
            sys.executable,
            listing=boto3_listing,
            version=packages,
            note="a script with the paginator",
        ),
        Tool(
            "floor",
            sys.executable,
            floor_download,
            note="the server's limit: raw sockets, 16 connections, far 256; keys known, bodies dropped",
            leaves="nothing",
        ),
    ]
