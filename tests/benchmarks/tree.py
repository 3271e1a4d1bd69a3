"""The bucket that is measured: one large object, a wide tree, many small files. Made once, kept, reproducible."""

import dataclasses
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from isal import isal_zlib

BUCKET = "bench"
PIECE = 1 << 20
SMALL = 4096  # bytes: also the size of a random read


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of everything there is."""

    large: int
    directories: int
    keys_per_directory: int
    small_files: int
    random_reads: int


FULL = Shape(1 << 30, 2000, 10, 2000, 500)
QUICK = Shape(128 << 20, 200, 10, 200, 100)


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

    def offsets(self) -> list[int]:
        """Where the random reads go: the same for every tool, aligned as a database reads."""
        chooser = random.Random(20_260_101)
        return [
            chooser.randrange(self.shape.large // SMALL) * SMALL
            for _ in range(self.shape.random_reads)
        ]


def prepare(root: Path, shape: Shape) -> Tree:
    """Make the tree when it is not there yet."""
    tree = Tree(root, shape)
    stamp = root / "shape.json"
    wanted = json.dumps(dataclasses.asdict(shape))
    if stamp.exists() and stamp.read_text() == wanted:
        return tree
    filler = random.Random(7)
    tree.large.parent.mkdir(parents=True, exist_ok=True)
    with tree.large.open("wb") as file:
        for _ in range(shape.large // PIECE):
            file.write(filler.randbytes(PIECE))
    for directory in range(shape.directories):
        folder = tree.bucket / "tree" / f"job-{directory:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(shape.keys_per_directory):
            (folder / f"step-{number}.log").write_bytes(b"%d %d\n" % (directory, number))
    for name in tree.small_names():
        path = tree.bucket / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(filler.randbytes(SMALL))
    stamp.write_text(wanted)
    return tree


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
