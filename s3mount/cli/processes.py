"""Who uses a mount, and when its daemon is gone, from /proc.

It reads links and tables of /proc only, never the mount itself, so it cannot be stopped by a mount
that is stuck; what it may not read it passes over. Waiting is done on a pidfd where the kernel has
one.
"""

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Holder(NamedTuple):
    """A process that uses a mount, and one thing that it uses."""

    pid: int
    name: str
    path: str


def holders(point: str) -> list[Holder]:
    """Processes with a working directory, an open file, a program or a mapping under ``point``."""
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            used = next((path for path in _used(entry) if _lies_under(path, point)), None)
            if used is not None:
                found.append(Holder(int(entry.name), _name(entry), used))
    return sorted(found)


def _used(process: Path) -> Iterator[str]:
    links = [process / "cwd", process / "root", process / "exe"]
    with contextlib.suppress(OSError):
        links += (process / "fd").iterdir()
    for link in links:
        with contextlib.suppress(OSError):
            yield os.readlink(link)
    with contextlib.suppress(OSError):
        for line in os.fsdecode((process / "maps").read_bytes()).splitlines():
            address_to_inode_and_path = line.split(maxsplit=5)
            yield address_to_inode_and_path[-1]


def _lies_under(path: str, point: str) -> bool:
    return path == point or path.startswith(f"{point.rstrip('/')}/")


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"


def is_s3mount(pid: int) -> bool:
    """Whether a process looks like a daemon of ours: a number may have been given to another."""
    try:
        return b"s3mount" in (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False


def wait_gone(pid: int, seconds: float) -> bool:
    """Wait until a process has ended; False when it has not in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    try:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def kill(pid: int) -> None:
    """End a process for good."""
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
