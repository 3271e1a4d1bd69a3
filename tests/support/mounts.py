"""The real ``s3mount`` command in the foreground, as a context manager that always unmounts.

It knows the kernel's list of mounts and the daemon's log; what is inside the mount is the test's business.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import end_process, owned_pids

FILESYSTEM_TYPE = "fuse.s3mount"
TROUBLE = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|^Traceback ", re.MULTILINE)
OCTAL = re.compile(r"\\([0-7]{3})")


class MountFailed(RuntimeError):
    """The command ended, or the mount point did not answer in time."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount that answers."""

    path: Path
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def pid(self) -> int:
        """The process that serves the mount."""
        return self.process.pid

    @property
    def log(self) -> str:
        """What the command has written so far."""
        return self.log_file.read_text(errors="replace")


def mount_points(filesystem_type: str | None = FILESYSTEM_TYPE) -> list[Path]:
    """Where file systems of a type are mounted now (None: of any type)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, rest = line.partition(" - ")
        if filesystem_type is None or rest.split(" ", 1)[0] == filesystem_type:
            raw = OCTAL.sub(lambda code: chr(int(code[1], 8)), place.split(" ")[4])
            found.append(Path(os.fsdecode(raw.encode("latin-1", "surrogateescape"))))
    return found


def await_mount(
    process: subprocess.Popen[bytes], mountpoint: Path, log_file: Path, seconds: float = 20.0
) -> None:
    """Wait until the mount point is mounted and answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise MountFailed(f"ended with status {process.returncode}: {tail(log_file)}")
        if mountpoint in mount_points(None) and answers(mountpoint):
            return
        time.sleep(0.005)
    raise MountFailed(f"not mounted after {seconds:.0f} s: {tail(log_file)}")


def answers(mountpoint: Path, seconds: float = 5.0) -> bool:
    """Whether a mount answers. Asked by another process: who asks a hung mount waits for ever."""
    try:
        done = subprocess.run(
            ["stat", str(mountpoint)], capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def tail(log_file: Path, lines: int = 5) -> str:
    """The last lines of a log, on one line, for a message."""
    return " | ".join(log_file.read_text(errors="replace").strip().splitlines()[-lines:])


def unmount(mountpoint: Path) -> None:
    """Unmount in order; lazily when something still holds on; quiet when it is not mounted."""
    attempts = (["fusermount3", "-u"], ["umount"], ["fusermount3", "-u", "-z"], ["umount", "-l"])
    for attempt in attempts:
        if mountpoint not in mount_points(None):
            return
        with contextlib.suppress(subprocess.TimeoutExpired, FileNotFoundError):
            subprocess.run(
                [*attempt, str(mountpoint)], check=False, capture_output=True, timeout=20
            )


@contextlib.contextmanager
def daemon(
    command: Sequence[str],
    mountpoint: Path,
    *,
    env: Mapping[str, str] | None = None,
    patience: float = 20.0,
) -> Iterator[Mount]:
    """Run any mount command in the foreground; unmount and end it whatever happens.

    ``env`` is added to the environment.
    """
    with tempfile.TemporaryDirectory(prefix="mount-log-") as folder:
        log_file = Path(folder) / "log"
        with log_file.open("wb") as sink:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
            )
        owned_pids.add(process.pid)
        try:
            await_mount(process, mountpoint, log_file, patience)
            yield Mount(mountpoint, process, log_file)
        finally:
            unmount(mountpoint)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            end_process(process)
            owned_pids.discard(process.pid)


@contextlib.contextmanager
def mounted(
    source: str,
    mountpoint: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    expects: Sequence[str] = (),
) -> Iterator[Mount]:
    """``s3mount mount -f OPTIONS SOURCE MOUNTPOINT``; its log must be free of trouble at the end.

    Args:
        source: a bucket, ``s3://bucket/prefix`` or ``file:///dir``.
        mountpoint: made when it is not there.
        options: further arguments of the command.
        env: variables added to the environment (credentials of a server, ``S3MOUNT_*``).
        expects: regular expressions; a line of the log with trouble must match one of them.
    """
    mountpoint.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "s3mount", "mount", "-f", *options, source, str(mountpoint)]
    kept = ""
    with daemon(command, mountpoint.resolve(), env=env) as mount:
        try:
            yield mount
        finally:
            unmount(mount.path)
            with contextlib.suppress(subprocess.TimeoutExpired):
                mount.process.wait(10)
            kept = mount.log
    trouble = undeclared(kept, expects)
    assert not trouble, "undeclared trouble in the log of s3mount:\n" + "\n".join(trouble)


def undeclared(log: str, expects: Sequence[str]) -> list[str]:
    """The lines of a log that tell of trouble which no pattern expects."""
    lines = [line for line in log.splitlines() if TROUBLE.search(line)]
    return [line for line in lines if not any(re.search(pattern, line) for pattern in expects)]
