"""Reading what a daemon used, and making the machine ready for a fair reading."""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.machine import first_value

MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
TOUCHED = min(4 << 30, MEMORY // 4)  # as much as the largest run writes
STEP = 1 << 20
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


class Settler:
    """Makes the machine ready before each run: nothing waits to be written, and free memory can be had at once.

    A virtual machine's host takes free pages back and gives them again slowly, 2 ms a MiB, to whoever happens to be
    measured then. Pages that somebody had a moment ago it has not taken yet.

    Args:
        served: the folder that the server reads, which must stay in memory.
    """

    def __init__(self, served: Path) -> None:
        self._served = served

    def keep(self, part: str = ".") -> None:
        """Read a part of what is served, twice: the kernel keeps what was read again, and drops what was read once."""
        piece = bytearray(STEP)
        for _ in range(2):
            for path in (self._served / part).rglob("*"):
                if path.is_file():
                    with path.open("rb", buffering=0) as file:
                        while file.readinto(piece):
                            pass

    def settle(self, part: str = ".") -> None:
        """Write back what earlier runs left, so that nobody pays for somebody else, then touch free memory.

        Args:
            part: the folder in what is served that must stay in memory; "" when no file of it will be read.
        """
        os.sync()
        is_short = free_memory() < TOUCHED
        touch(TOUCHED)
        if is_short and part:
            self.keep(part)


def touch(size: int) -> None:
    """Have each page of so much memory once, and give it back."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1


def free_memory() -> int:
    """Bytes of memory that nobody uses, not even as a cache."""
    return int(first_value("/proc/meminfo", "MemFree").removesuffix(" kB")) * 1024


def empty_cache(folder: Path) -> None:
    """Give the disk space of a used cache back without deleting inodes.

    Some ext4 file systems create files ten times slower for a minute after others were deleted, which would be
    charged to the next tool.
    """
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size > KEEP_INODE:
            os.truncate(path, 0)
