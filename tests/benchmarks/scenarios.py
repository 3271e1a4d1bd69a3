"""What is done inside a mount, and whether the answer was right. One scenario yields one or two lines of the table.

A scenario is a plain function that gets a ``Session``; ``session.timed(line, work)`` is the part that counts.
A wrong answer raises ``WrongAnswer``: it is never shown as a fast one.
"""

import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from tests.benchmarks.tree import SMALL, Tree, checksum

# Seconds from the last close to the unmount: rclone writes down which ranges its disk cache holds five seconds
# after the last read, and would be shown without a cache otherwise.
QUIET = 8.0


class WrongAnswer(Exception):
    """A tool answered with other bytes or names than the bucket holds."""


class Session(Protocol):
    """One tool, one run, one fresh cache directory."""

    tree: Tree

    def mounted(self) -> AbstractContextManager[Path]:
        """Mount with the session's cache directory; again after an unmount is a remount."""

    def timed(self, line: str, work: Callable[[], None]) -> None:
        """Run, measure and record under the name of a line."""


def expect(right: bool, what: str) -> None:
    """Refuse a wrong answer."""
    if not right:
        raise WrongAnswer(what)


def large(session: Session) -> None:
    """The large object from its start to its end, then again after a remount with the cache that is on disk."""
    tree = session.tree
    right = checksum(tree.large)
    for line in ("sequential, cold", "sequential, remounted"):
        with session.mounted() as mount:
            path = mount / tree.large.relative_to(tree.bucket)
            session.timed(line, lambda path=path: expect(checksum(path) == right, "bytes differ"))
            time.sleep(QUIET)


def random_reads(session: Session) -> None:
    """Reads of 4 KiB all over the large object, which nobody has read before."""
    tree = session.tree
    offsets = tree.offsets()
    right = list(read_at(tree.large, offsets))
    with session.mounted() as mount:
        path = mount / tree.large.relative_to(tree.bucket)
        session.timed(
            "random 4 KiB", lambda: expect(list(read_at(path, offsets)) == right, "bytes differ")
        )


def first_byte(session: Session) -> None:
    """From the name of the large object to its first 4 KiB, right after mounting."""
    tree = session.tree
    right = list(read_at(tree.large, [0]))
    with session.mounted() as mount:
        path = mount / tree.large.relative_to(tree.bucket)
        session.timed("first byte", lambda: expect(list(read_at(path, [0])) == right, "differs"))


def find(session: Session) -> None:
    """``find`` over the tree, twice in one mount."""
    right = sorted(found(session.tree.bucket / "tree"))
    with session.mounted() as mount:
        for line in ("find", "find, again"):
            session.timed(
                line, lambda: expect(sorted(found(mount / "tree")) == right, "names differ")
            )


def small_files(session: Session) -> None:
    """Open, read and close small files one after the other, as a build or an import does."""
    tree = session.tree
    names = tree.small_names()
    right = [(tree.bucket / name).read_bytes() for name in names]
    with session.mounted() as mount:
        session.timed(
            "small files",
            lambda: expect(all_bytes(mount / name for name in names) == right, "bytes differ"),
        )


def read_at(path: Path, offsets: Iterable[int]) -> Iterable[bytes]:
    """Single reads of 4 KiB without a buffer in between."""
    with path.open("rb", buffering=0) as file:
        for offset in offsets:
            file.seek(offset)
            yield file.read(SMALL)


def all_bytes(paths: Iterable[Path]) -> list[bytes]:
    """The contents of files."""
    return [path.read_bytes() for path in paths]


def found(top: Path) -> list[bytes]:
    """The names that ``find`` prints."""
    return subprocess.run(["find", "."], cwd=top, capture_output=True, check=True).stdout.split()


SCENARIOS: dict[str, Callable[[Session], None]] = {
    "large": large,
    "random": random_reads,
    "first": first_byte,
    "find": find,
    "small": small_files,
}
LINES = {
    "large": ("sequential, cold", "sequential, remounted"),
    "random": ("random 4 KiB",),
    "first": ("first byte",),
    "find": ("find", "find, again"),
    "small": ("small files",),
}
