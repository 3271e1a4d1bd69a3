"""The bucket that is measured: large objects, a wide tree, many small files. Made once, kept, reproducible.

Every part has a folder of its own, so that what one scenario reads is no neighbour of what another one reads.
"""

import dataclasses
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from isal import isal_zlib

from tests.benchmarks.package import write_package
from tests.benchmarks.sources import write_sources

BUCKET = "bench"
PIECE = 1 << 20
SMALL = 4096  # bytes: also the size of a random read
SHARD = 65536  # bytes of each file that parallel readers share
READERS = 8
FOLDERS = 10  # over which the files of the archive are spread


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of everything there is.

    Attributes:
        large: bytes of the large object.
        directories: of the tree that is walked.
        forest: directories of the wide tree that is walked.
        keys_per_directory: in each of them.
        small_files: of 4 KiB, in one directory.
        random_reads: of 4 KiB, in the large object.
        archive_files: of 4 KiB, in ten directories.
        sources: files of the source tree.
        modules: of the Python package.
        shards: of 64 KiB, shared by the parallel readers.
        part: bytes of the object that each parallel reader has for itself.
    """

    large: int
    directories: int
    forest: int
    keys_per_directory: int
    small_files: int
    random_reads: int
    archive_files: int
    sources: int
    modules: int
    shards: int
    part: int


FULL = Shape(1 << 30, 2000, 10_000, 10, 2000, 500, 5000, 1500, 120, 800, 64 << 20)
QUICK = Shape(128 << 20, 200, 500, 10, 200, 100, 500, 300, 120, 160, 8 << 20)


@dataclass(frozen=True, slots=True)
class Tree:
    """A bucket on disk and the right answers to what is read from it."""

    root: Path
    shape: Shape

    @property
    def bucket(self) -> Path:
        """The folder that is the bucket."""
        return self.root / "data" / BUCKET

    @property
    def large(self) -> Path:
        """The large object."""
        return self.bucket / "large" / "model.bin"

    def small_names(self) -> list[str]:
        """Names of the small files inside the mount, in the order in which they are read."""
        return [f"small/part-{number:05d}.json" for number in range(self.shape.small_files)]

    def archive_names(self) -> list[str]:
        """Names of the files that are archived."""
        each = self.shape.archive_files // FOLDERS
        return [f"archive/day-{n // each:02d}/event-{n:05d}.json" for n in range(each * FOLDERS)]

    def shard_names(self) -> list[str]:
        """Names of the files that the parallel readers share."""
        return [f"shards/shard-{number:05d}.bin" for number in range(self.shape.shards)]

    def part_names(self) -> list[str]:
        """Names of the objects of which each parallel reader has one."""
        return [f"parts/part-{number}.bin" for number in range(READERS)]

    def offsets(self) -> list[int]:
        """Where the random reads go: the same for every tool, aligned as a database reads."""
        chooser = random.Random(20_260_101)
        return [
            chooser.randrange(self.shape.large // SMALL) * SMALL
            for _ in range(self.shape.random_reads)
        ]

    def size_of(self, folder: str) -> int:
        """Bytes of all files below a folder of the bucket."""
        return sum(p.stat().st_size for p in (self.bucket / folder).rglob("*") if p.is_file())


def prepare(root: Path, shape: Shape) -> Tree:
    """Make the tree when it is not there yet; one of another shape goes first."""
    tree = Tree(root, shape)
    stamp = root / "shape.json"
    wanted = json.dumps(dataclasses.asdict(shape))
    if stamp.exists() and stamp.read_text() == wanted:
        return tree
    shutil.rmtree(root / "data", ignore_errors=True)
    filler = random.Random(7)
    write(tree.large, shape.large, filler)
    for top, directories in (("tree", shape.directories), ("forest", shape.forest)):
        plant(tree.bucket / top, directories, shape.keys_per_directory)
    for names, size in (
        (tree.small_names(), SMALL),
        (tree.archive_names(), SMALL),
        (tree.shard_names(), SHARD),
        (tree.part_names(), shape.part),
    ):
        for name in names:
            write(tree.bucket / name, size, filler)
    write_sources(tree.bucket / "source", shape.sources)
    write_package(tree.bucket / "python", shape.modules)
    stamp.write_text(wanted)
    return tree


def plant(top: Path, directories: int, keys: int) -> None:
    """Directories of so many keys each."""
    for directory in range(directories):
        folder = top / f"job-{directory:05d}"
        folder.mkdir(parents=True)
        for number in range(keys):
            (folder / f"step-{number}.log").write_bytes(b"%d %d\n" % (directory, number))


def write(path: Path, size: int, filler: random.Random) -> None:
    """A file of ``size`` bytes that nobody can compress."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for start in range(0, size, PIECE):
            file.write(filler.randbytes(min(PIECE, size - start)))


def read_through(path: Path, on_piece: Callable[[memoryview], None]) -> None:
    """Read a file from its start in pieces of 1 MiB into one buffer."""
    buffer = memoryview(bytearray(PIECE))
    with path.open("rb", buffering=0) as file:
        while got := file.readinto(buffer):
            on_piece(buffer[:got])


def checksum(path: Path) -> tuple[int, int]:
    """Size and CRC32 of a file; the CRC costs 20 ms for each GiB, the same for everybody."""
    size = crc = 0

    def add(piece: memoryview) -> None:
        nonlocal size, crc
        size += len(piece)
        crc = isal_zlib.crc32(piece, crc)

    read_through(path, add)
    return size, crc
