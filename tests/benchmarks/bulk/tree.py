"""The objects as files on disk. Made once, kept, the same on every machine."""

import json
import os
import random
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.bulk.lines import BUCKET, Group, Shape, groups

MODIFIED = (
    1_767_225_600  # 2026-01-01, seconds since the epoch: the same ETag whenever the tree is made
)
PIECE = 1 << 20


class Tree(NamedTuple):
    """A folder whose only folder is the bucket."""

    root: Path

    def path(self, key: str) -> Path:
        """The file of an object."""
        return self.root / BUCKET / key


def prepare(root: Path, shape: Shape) -> Tree:
    """Make the files that are not there yet.

    The stamp is written last, so a tree that was left half made is made again.
    """
    tree = Tree(root / "data")
    stamp = root / "shape.json"
    wanted = json.dumps(shape._asdict())
    if not (stamp.exists() and stamp.read_text() == wanted):
        stamp.unlink(missing_ok=True)
        for group in groups(shape):
            if group.stored:
                write_group(tree, group)
        stamp.write_text(wanted)
    return tree


def write_group(tree: Tree, group: Group) -> None:
    """Write the files of one group: bytes that no tool can compress, from a fixed seed."""
    filler = random.Random(group.name)
    for key in group.each_key():
        path = tree.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, group.size, PIECE):
                file.write(filler.randbytes(min(PIECE, group.size - start)))
        os.utime(path, (MODIFIED, MODIFIED))


def read_all(tree: Tree, group: Group) -> None:
    """Bring the files of a group into memory, so that the first tool does not pay for the disk."""
    buffer = bytearray(PIECE)
    for key in group.each_key():
        with tree.path(key).open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
