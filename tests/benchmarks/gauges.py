"""Reading what a daemon used, and making the machine ready for a fair reading."""

import ctypes
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
KEEP_INODE = 1 << 16  # cache files above this are emptied after a run, not deleted


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds (user and system) and the greatest resident memory of a process and its descendants."""

    cpu: float
    peak: int


def usage(pid: int) -> Usage:
    """Read it now. Threads and children that have ended are included in the kernel's figures."""
    cpu, peak = 0.0, 0
    for member in family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{member}/status").read_text()
        except OSError:
            continue
        cpu += sum(int(field) for field in fields[11:15]) / TICKS
        peak += sum(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")
        )
    return Usage(cpu, peak)


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []
    return [pid, *(member for child in children for member in family(child))]


def warm_memory(amount: int) -> None:
    """Touch memory before a run: a virtual machine's host gives pages slowly the first time they are used."""
    with mmap.mmap(-1, amount) as area:
        view = (ctypes.c_char * amount).from_buffer(area)
        ctypes.memset(view, 1, amount)
        del view


def settle(amount: int) -> None:
    """Write back what earlier runs left, so that nobody pays for somebody else, then warm the memory."""
    os.sync()
    warm_memory(amount)


def empty_cache(folder: Path) -> None:
    """Give the disk space of a used cache back without deleting inodes.

    Some ext4 file systems create files ten times slower for a minute after others were deleted, which would be
    charged to the next tool.
    """
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size > KEEP_INODE:
            os.truncate(path, 0)
