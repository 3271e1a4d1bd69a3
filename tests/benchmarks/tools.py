"""The mount commands that are compared. To measure another one, add a row to ``TOOLS``.

Every command runs in the foreground, mounts read-only, and gets a fresh cache directory that was made beforehand.
``defaults`` rows are what a person gets who reads the manual's first page; ``tuned`` rows are what its documentation
advises for reading.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import ACCESS_KEY, REGION, SECRET_KEY, program


@dataclass(frozen=True, slots=True)
class Place:
    """What a mount command needs to know."""

    url: str
    bucket: str
    mountpoint: Path
    cache: Path
    passwords: Path  # of s3fs: ACCESS:SECRET

    def write_passwords(self) -> None:
        """s3fs wants a file that only its user may read."""
        self.passwords.touch(mode=0o600)
        self.passwords.write_text(f"{ACCESS_KEY}:{SECRET_KEY}\n")


@dataclass(frozen=True, slots=True)
class Tool:
    """One row of the table.

    Attributes:
        name: as shown; what ``--tools`` takes.
        executable: where it is, None when it is not installed.
        arguments: everything behind the executable.
        version: arguments that print the version.
        note: what is special about these options.
        rest: seconds from the last close to an unmount after which the cache is to be used again.
    """

    name: str
    executable: str | None
    arguments: Callable[[Place], list[str]]
    version: tuple[str, ...] = ("--version",)
    note: str = ""
    rest: float = 1.0

    def command(self, place: Place) -> list[str]:
        """The whole command line."""
        assert self.executable is not None
        return [self.executable, *self.arguments(place)]

    def version_line(self) -> str:
        """The first line of what the tool says of itself."""
        assert self.executable is not None
        try:
            done = subprocess.run(
                [self.executable, *self.version],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
                env={**os.environ, **environment()},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"unknown ({error})"
        return next(iter((done.stdout or done.stderr).splitlines()), "unknown")


def environment() -> dict[str, str]:
    """Credentials for every tool, and nothing of this machine's own configuration."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "RCLONE_CONFIG": os.devnull,
    }


def s3mount(place: Place) -> list[str]:
    return [
        *("-m", "s3mount", "mount", "-f", "--endpoint-url", place.url),
        *("--cache-dir", str(place.cache), place.bucket, str(place.mountpoint)),
    ]


def rclone(place: Place, *options: str) -> list[str]:
    remote = f":s3,provider=Rclone,env_auth,endpoint='{place.url}':{place.bucket}"
    return [
        *("mount", remote, str(place.mountpoint), "--read-only"),
        *("--cache-dir", str(place.cache), *options),
    ]


def rclone_tuned(place: Place) -> list[str]:
    return rclone(
        place,
        *("--vfs-cache-mode", "full", "--vfs-read-chunk-streams", "4"),
        *("--vfs-read-chunk-size", "4M", "--buffer-size", "0"),
        *("--vfs-fast-fingerprint", "--no-modtime", "--no-checksum"),  # no HEAD for each file
        *("--dir-cache-time", "1h", "--attr-timeout", "1h"),
    )


def s3fs(place: Place, *options: str) -> list[str]:
    place.write_passwords()
    words = (f"url={place.url}", "use_path_request_style", f"passwd_file={place.passwords}", "ro")
    return [
        *(place.bucket, str(place.mountpoint), "-f"),
        *(part for word in (*words, *options) for part in ("-o", word)),
    ]


def s3fs_tuned(place: Place) -> list[str]:
    return s3fs(
        place,
        *(f"use_cache={place.cache}", "parallel_count=16", "multireq_max=64"),
        *("max_stat_cache_size=1000000", "stat_cache_expire=3600"),
    )


def mount_s3(place: Place) -> list[str]:
    return [
        *(place.bucket, str(place.mountpoint), "--foreground", "--read-only"),
        *("--endpoint-url", place.url, "--force-path-style", "--region", REGION),
        *("--cache", str(place.cache)),
    ]


def geesefs(place: Place) -> list[str]:
    return [
        *("-f", "--endpoint", place.url, "--region", REGION, "-o", "ro"),
        *("--cache", str(place.cache), "--cache-to-disk-hits", "1"),
        *(place.bucket, str(place.mountpoint)),
    ]


def goofys(place: Place) -> list[str]:
    return ["-f", "--endpoint", place.url, "-o", "ro", place.bucket, str(place.mountpoint)]


# rclone writes down which ranges its disk cache holds five seconds after the last read, and would be shown without a
# cache otherwise.
RCLONE_REST = 8.0
RCLONE = program("rclone") if os.path.exists(program("rclone")) else shutil.which("rclone")
TOOLS = (
    Tool("s3mount", sys.executable, s3mount, ("-m", "s3mount", "--version"), "defaults"),
    Tool("rclone", RCLONE, rclone, ("version",), "defaults: no disk cache"),
    Tool(
        *("rclone-tuned", RCLONE, rclone_tuned, ("version",)),
        note="disk cache, 4 streams of 4 MiB",
        rest=RCLONE_REST,
    ),
    Tool("s3fs", shutil.which("s3fs"), s3fs, note="defaults: no disk cache"),
    Tool("s3fs-tuned", shutil.which("s3fs"), s3fs_tuned, note="disk cache, 16 parallel parts"),
    Tool("mount-s3", shutil.which("mount-s3"), mount_s3, note="with a disk cache"),
    Tool("geesefs", shutil.which("geesefs"), geesefs, note="with a disk cache"),
    Tool("goofys", shutil.which("goofys"), goofys),
)


def installed(names: str = "") -> list[Tool]:
    """The rows that can run here, or those that were named."""
    wanted = [name for name in names.split(",") if name]
    unknown = set(wanted) - {tool.name for tool in TOOLS}
    if unknown:
        raise SystemExit(f"unknown tool: {', '.join(sorted(unknown))}")
    chosen = [tool for tool in TOOLS if not wanted or tool.name in wanted]
    missing = [tool.name for tool in chosen if wanted and tool.executable is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}")
    return [tool for tool in chosen if tool.executable is not None]
