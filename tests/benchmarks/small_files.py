"""What programs do with many small files: read them one by one, archive, copy and import them, read them at once."""

import io
import os
import sys
import tarfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.package import NAME
from tests.benchmarks.scenarios import Session, files_below, output
from tests.benchmarks.tree import READERS

PROGRAM = f"import sys; sys.path.insert(0, sys.argv[1]); import {NAME}.main as m; print(m.VALUE)"


def one_by_one(session: Session) -> None:
    """Open, read and close small files one after the other; again; again after a remount."""
    tree = session.tree
    names = tree.small_names()
    right = all_bytes(tree.bucket / name for name in names)
    size = sum(map(len, right))

    def measure(line: str, mount: Path) -> None:
        session.timed(line, lambda: all_bytes(mount / name for name in names), right.__eq__, size)

    with session.mounted() as mount:
        measure("small files", mount)
        measure("small files, again", mount)
        session.rest()
    with session.mounted() as mount:
        measure("small files, remounted", mount)


def archive(session: Session) -> None:
    """``tar`` of a folder."""
    tree = session.tree
    right = contents(tree.bucket / "archive")
    with session.mounted() as mount:
        session.timed(
            "tar c",
            lambda: archived(mount, "archive"),
            lambda got: members(got) == {f"archive/{name}": data for name, data in right.items()},
            sum(map(len, right.values())),
        )


def copy(session: Session) -> None:
    """``cp -r`` of a source tree to the local disk."""
    right = contents(session.tree.bucket / "source")
    copied = session.folder()
    with session.mounted() as mount:
        session.timed(
            "cp -r",
            lambda: output(["cp", "-r", str(mount / "source"), str(copied)]),
            lambda _: contents(copied / "source") == right,
            sum(map(len, right.values())),
        )


def imports(session: Session) -> None:
    """A fresh interpreter that imports a package, without bytecode caches."""
    package = session.tree.bucket / "python"
    right = imported(package)
    with session.mounted() as mount:
        session.timed(
            "import",
            lambda: imported(mount / "python"),
            right.__eq__,
            session.tree.size_of("python"),
        )


def readers_small(session: Session) -> None:
    """Processes that read at once, each its own share of the files of one folder."""
    read_at_once(session, "8 readers, small files", session.tree.shard_names())


def readers_large(session: Session) -> None:
    """Processes that read at once, each a larger object of its own."""
    read_at_once(session, "8 readers, large files", session.tree.part_names())


def read_at_once(session: Session, line: str, names: list[str]) -> None:
    """Deal names to the readers and let them read at the same time."""
    bucket = session.tree.bucket
    each = -(-len(names) // READERS)
    shares = [names[start : start + each] for start in range(0, len(names), each)]
    right = checksums(bucket, shares)
    size = sum((bucket / name).stat().st_size for name in names)
    with session.mounted() as mount:
        session.timed(line, lambda: checksums(mount, shares), right.__eq__, size)


def all_bytes(paths: Iterable[Path]) -> list[bytes]:
    """The contents of files."""
    return [path.read_bytes() for path in paths]


def contents(top: Path) -> dict[str, bytes]:
    """The contents of every file below a folder."""
    return {str(name): path.read_bytes() for name, path in files_below(top).items()}


def archived(top: Path, folder: str) -> bytes:
    """What ``tar`` writes into a pipe. Into /dev/null it would write without reading the files."""
    command = ["tar", "--create", "--file=-", "--directory", str(top), folder]
    return output(command)


def members(archive: bytes) -> dict[str, bytes]:
    """The files of an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as reader:
        files = [(member.name, reader.extractfile(member)) for member in reader if member.isfile()]
        return {name: file.read() for name, file in files if file is not None}


def imported(folder: Path) -> bytes:
    """What the package says after a fresh interpreter has imported all of it."""
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    return output(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})


def checksums(top: Path, shares: Sequence[Sequence[str]]) -> list[bytes]:
    """What one ``cksum`` for each share says, all of them at work at once."""

    def run(share: Sequence[str]) -> bytes:
        return output(["cksum", *share], cwd=top)

    with ThreadPoolExecutor(len(shares)) as pool:
        return list(pool.map(run, shares))
