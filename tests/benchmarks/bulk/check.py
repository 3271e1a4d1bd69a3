"""Whether a tool did what it says: a wrong result is never shown as a fast one."""

import filecmp
import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.benchmarks.bulk.lines import ENDING, Group
from tests.benchmarks.bulk.traffic import Traffic
from tests.benchmarks.bulk.tree import Tree
from tests.benchmarks.scenarios import expect

COMPARED = 256  # files whose every byte is compared: all of the large ones


def check_files(tree: Tree, group: Group, folder: Path) -> None:
    """Hold downloaded files against the tree: which there are, the size of each, the bytes of some.

    Raises:
        WrongAnswer: a file is missing, too many, of another size or of other bytes.
    """
    expected = {os.path.basename(key): key for key in group.each_key()}
    found: dict[str, Path] = {}
    for path in files_below(folder):
        expect(path.name in expected, f"a file that is no object: {path}")
        expect(path.name not in found, f"an object twice: {path}")
        size = path.stat().st_size
        expect(size == group.size, f"{path}: {size} bytes instead of {group.size}")
        found[path.name] = path
    expect(len(found) == group.amount, f"{len(found)} files instead of {group.amount}")
    for name in random.sample(sorted(found), min(COMPARED, len(found))):
        same = filecmp.cmp(tree.path(expected[name]), found[name], shallow=False)
        expect(same, f"{found[name]}: other bytes than the object")


def check_sent(group: Group, traffic: Traffic) -> None:
    """Every byte was sent.

    Raises:
        WrongAnswer: less was.
    """
    expect(traffic.bytes_down >= group.total, f"{traffic.bytes_down} bytes sent of {group.total}")


def check_cache(group: Group, folder: Path) -> None:
    """A filled cache holds at least the bytes of the objects.

    Raises:
        WrongAnswer: it holds less.
    """
    kept = sum(path.stat().st_size for path in files_below(folder))
    expect(kept >= group.total, f"{kept} bytes kept of {group.total}")


def check_listing(group: Group, text: Iterable[str]) -> None:
    """A listing holds every key once; lines that end otherwise than a key are decoration.

    Raises:
        WrongAnswer: a key is missing, too many or there twice.
    """
    names = [line.strip().rpartition("/")[2].rpartition(" ")[2] for line in text]
    names = [name for name in names if name.endswith(ENDING)]
    expect(len(names) == group.amount, f"{len(names)} keys instead of {group.amount}")
    missing = {os.path.basename(key) for key in group.each_key()}.difference(names)
    expect(not missing, f"{len(missing)} keys are missing")


def files_below(folder: Path) -> Iterator[Path]:
    """All files, without following links."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)
