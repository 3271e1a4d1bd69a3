"""Reading what a daemon used, and making the machine ready for a fair reading."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.machine import first_value

FILLER_SIZE = 1 << 40
FREE_LEFT = 1 << 30
FILL_MOST = 4 << 30
STEP = 1 << 20
_STEP = bytearray(STEP)
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


class Filler:
    """Keeps the machine's memory full of clean page cache, as it is on one that has been up for a while.

    A virtual machine's host takes free pages back and gives them again slowly, 2 ms a MiB, to whoever happens to be
    measured then. Pages of the page cache stay, and a run that needs memory gets theirs.

    Args:
        path: where a sparse file is made, as long as any file system takes it.
        served: the folder that the server reads, which must stay in memory.
    """

    def __init__(self, path: Path, served: Path) -> None:
        self._path = path
        self._served = served
        self._at = 0
        with path.open("wb") as file:
            file.truncate(FILLER_SIZE)

    def fill(self) -> int:
        """Read holes until hardly any memory is free, or enough for any run is warm; how many bytes."""
        with self._path.open("rb", buffering=0) as file:
            for count in range(FILL_MOST // STEP):
                if free_memory() < FREE_LEFT:
                    return count * STEP
                os.preadv(file.fileno(), [_STEP], self._at)
                self._at = (self._at + STEP) % FILLER_SIZE
        return FILL_MOST

    def keep(self, part: str = ".") -> None:
        """Read a part of what is served, twice: the kernel keeps what was read again, and drops what was read once."""
        for _ in range(2):
            for path in (self._served / part).rglob("*"):
                if path.is_file():
                    with path.open("rb", buffering=0) as file:
                        while file.readinto(_STEP):
                            pass

    def settle(self, part: str = ".") -> None:
        """Write back what earlier runs left, so that nobody pays for somebody else, then fill the memory.

        Args:
            part: the folder in what is served that must stay in memory; "" when no file of it will be read.
        """
        os.sync()
        if self.fill() and part:
            self.keep(part)


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
