"""What is done inside a mount, and whether the answer was right: large objects and walks. See ``lines`` for the table.

A scenario is a plain function that gets a ``Session``; ``session.timed`` is the part that counts. A wrong answer
raises ``WrongAnswer``: it is never shown as a fast one.
"""

import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from tests.benchmarks.tree import SMALL, Tree, checksum


class WrongAnswer(Exception):
    """A tool answered with other bytes or names than the bucket holds."""


class Session(Protocol):
    """One tool, one run, one fresh cache directory."""

    tree: Tree

    def mounted(self) -> AbstractContextManager[Path]:
        """Mount with the session's cache directory; again after an unmount is a remount."""

    def rest(self) -> None:
        """Wait until the tool has written down what its cache holds, before an unmount that a remount follows."""

    def folder(self) -> Path:
        """A fresh folder on the local disk."""

    def timed(
        self, line: str, work: Callable[[], Any], is_right: Callable[[Any], bool], reads: int = 0
    ) -> None:
        """Run, measure, then check, and record under the name of a line.

        Args:
            line: of the table.
            work: what counts; its answer is checked after the time was taken.
            is_right: says whether it was the right answer.
            reads: bytes of objects that the work reads; 0 when it reads names only.
        """


def expect(right: bool, what: str) -> None:
    """Refuse a wrong answer."""
    if not right:
        raise WrongAnswer(what)


def large(session: Session) -> None:
    """The large object from its start to its end: cold, from the kernel's pages, after a remount from the cache."""
    tree = session.tree
    right, size = checksum(tree.large), tree.shape.large
    name = tree.large.relative_to(tree.bucket)
    with session.mounted() as mount:
        path = mount / name
        session.timed("sequential, cold", lambda: checksum(path), right.__eq__, size)
        session.timed(
            "sequential, again", lambda: cat(path), lambda _: checksum(path) == right, size
        )
        session.timed("local cat", lambda: cat(tree.large), lambda _: True, size)
        session.rest()
    with session.mounted() as mount:
        path = mount / name
        session.timed("sequential, remounted", lambda: checksum(path), right.__eq__, size)


def random_reads(session: Session) -> None:
    """Reads of 4 KiB all over the large object, which nobody has read before."""
    tree = session.tree
    offsets = tree.offsets()
    right = read_at(tree.large, offsets)
    with session.mounted() as mount:
        path = mount / tree.large.relative_to(tree.bucket)
        reads = SMALL * len(set(offsets))
        session.timed("random 4 KiB", lambda: read_at(path, offsets), right.__eq__, reads)


def first_byte(session: Session) -> None:
    """From the name of the large object to its first 4 KiB, right after mounting."""
    tree = session.tree
    right = read_at(tree.large, [0])
    with session.mounted() as mount:
        path = mount / tree.large.relative_to(tree.bucket)
        session.timed("first byte", lambda: read_at(path, [0]), right.__eq__, SMALL)


def find(session: Session) -> None:
    """``find`` over the tree, twice in one mount."""
    _find(session, "tree", ("find", "find, again"))


def find_wide(session: Session) -> None:
    """``find`` over the wide tree."""
    _find(session, "forest", ("find, wide",))


def _find(session: Session, top: str, lines: Sequence[str]) -> None:
    right = sorted(found(session.tree.bucket / top))
    with session.mounted() as mount:
        for line in lines:
            session.timed(line, lambda: found(mount / top), lambda got: sorted(got) == right)


def usage(session: Session) -> None:
    """``du`` over the wide tree: every file is asked for its size."""
    tree = session.tree
    right = {str(n): p.stat().st_size for n, p in files_below(tree.bucket / "forest").items()}
    with session.mounted() as mount:
        session.timed("du, wide", lambda: sizes(mount / "forest"), lambda got: got == right)


def read_at(path: Path, offsets: Iterable[int]) -> list[bytes]:
    """Single reads of 4 KiB without a buffer in between."""
    with path.open("rb", buffering=0) as file:
        return [file.read(SMALL) for offset in offsets if file.seek(offset) == offset]


def cat(path: Path) -> None:
    """Read a file as ``cat`` does."""
    command = ["cat", str(path)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)


def output(command: Sequence[str], **options: Any) -> bytes:
    """What a command prints.

    Raises:
        WrongAnswer: it ended with another status than zero; with the first and the last thing that it complained of.
    """
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        command, capture_output=True, check=False, **options
    )
    complaints = done.stderr.decode(errors="replace").strip().splitlines()
    said = " ... ".join(dict.fromkeys([*complaints[:1], *complaints[-1:]])) or "nothing said"
    expect(done.returncode == 0, f"{command[0]} ended with status {done.returncode}: {said}")
    return done.stdout


def found(top: Path) -> list[bytes]:
    """The names that ``find`` prints."""
    return output(["find", "."], cwd=top).split()


def sizes(top: Path) -> dict[str, int]:
    """What ``du`` says of every file below a folder: its size in bytes, as the mount gives it."""
    command = ["du", "--all", "--apparent-size", "--block-size=1", "."]
    pairs = (line.partition("\t") for line in output(command, cwd=top).decode().splitlines())
    entries = {name.removeprefix("./"): int(size) for size, _, name in pairs}
    folders = {name.rpartition("/")[0] for name in entries} | {"."}
    return {name: size for name, size in entries.items() if name not in folders}


def files_below(top: Path) -> dict[Path, Path]:
    """Every file below a folder, by its path in there."""
    return {path.relative_to(top): path for path in top.rglob("*") if path.is_file()}
