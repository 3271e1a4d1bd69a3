"""docs/semantics.md, "Reading": programs that people use on files, run on a mount."""

import mmap
import os
import random
import shutil
import sqlite3
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.mounts import mounted

pytestmark = pytest.mark.fuse

MIB = 1024 * 1024
SOURCE = """
int answer(void) { return 42; }
"""
MAIN = """
#include <stdio.h>
int main(void) { puts("it runs"); return 7; }
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of all that programs are fond of."""
    folder = tmp_path_factory.mktemp("origin")
    (folder / "docs" / "deep").mkdir(parents=True)
    for number in range(40):
        (folder / "docs" / f"page-{number}.txt").write_text(f"page {number}\n")
    (folder / "docs" / "deep" / "secret.txt").write_text("one line\nthe needle is here\n")
    (folder / "docs" / "empty").touch()
    (folder / "large.bin").write_bytes(random.Random(1).randbytes(5 * MIB + 321))
    (folder / "small.bin").write_bytes(random.Random(2).randbytes(4321))
    with closing(sqlite3.connect(folder / "data.sqlite")) as database, database:
        database.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, text TEXT)")
        rows = ((number, f"number {number} " * 20) for number in range(5000))
        database.executemany("INSERT INTO numbers VALUES (?, ?)", rows)
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("inside/hello.txt", "hello from a zip")
        archive.write(folder / "large.bin", "large.bin")
    with tarfile.open(folder / "archive.tar", "w") as archive:
        archive.add(folder / "docs", "docs")
    return folder


@pytest.fixture(scope="module")
def view(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same directory as a mount."""
    folder = tmp_path_factory.mktemp("programs")
    options = ("--file-mode", "0555", "--negative-ttl", "0s", "--cache-dir", str(folder / "cache"))
    with mounted(origin.as_uri(), folder / "view", *options) as mount:
        yield mount.path


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, timeout=30, check=False
    )


def compiled(tmp_path: Path, source: str, *options: str) -> bytes:
    if shutil.which("gcc") is None:
        pytest.skip("no compiler here")
    (tmp_path / "source.c").write_text(source)
    done = run("gcc", *options, "-o", tmp_path / "made", tmp_path / "source.c")
    assert done.returncode == 0, done.stderr
    return (tmp_path / "made").read_bytes()


def test_cat(origin: Path, view: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    done = run("cat", view / "large.bin", view / "docs/empty", view / "small.bin")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (origin / "large.bin").read_bytes() + (origin / "small.bin").read_bytes()


def test_cp(origin: Path, view: Path, tmp_path: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    done = run("cp", "-a", view, tmp_path / "copy")
    assert done.returncode == 0, done.stderr
    done = run("diff", "-r", origin, tmp_path / "copy")
    assert (done.returncode, done.stdout) == (0, b"")
    assert (tmp_path / "copy/small.bin").stat().st_mtime == pytest.approx(
        (origin / "small.bin").stat().st_mtime, abs=0.001
    )


def test_tar(origin: Path, view: Path, tmp_path: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    done = run("tar", "cf", tmp_path / "made.tar", "-C", view, ".")
    assert (done.returncode, done.stderr) == (0, b"")
    done = run("tar", "xf", tmp_path / "made.tar", "-C", tmp_path, "./large.bin")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "large.bin").read_bytes() == (origin / "large.bin").read_bytes()
    done = run("tar", "tf", view / "archive.tar")
    assert b"docs/deep/secret.txt" in done.stdout.splitlines()


def test_grep(view: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    done = run("grep", "-rnI", "needle", ".", cwd=view)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"./docs/deep/secret.txt:2:the needle is here\n"


def test_find_and_du(view: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    found = run("find", view / "docs", "-name", "*.txt", "-type", "f", "-size", "-2")
    assert (found.returncode, found.stderr) == (0, b"")
    assert len(found.stdout.splitlines()) == 41
    used = run("du", "-sb", view / "large.bin")
    assert used.stdout.split()[0] == b"%d" % (5 * MIB + 321)


def test_mmap(origin: Path, view: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    whole = (origin / "large.bin").read_bytes()
    with (
        (view / "large.bin").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        assert mapped[3 * MIB : 3 * MIB + 99] == whole[3 * MIB : 3 * MIB + 99]
        assert mapped[-5:] == whole[-5:]
        assert mapped[:] == whole


def test_running_a_program(origin: Path, view: Path, tmp_path: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    (origin / "bin").mkdir()
    (origin / "bin/program").write_bytes(compiled(tmp_path, MAIN))
    (origin / "bin/script").write_text("#!/bin/sh\necho it runs; exit 7\n")
    for name in ("program", "script"):
        done = run(view / "bin" / name)
        assert (done.returncode, done.stdout) == (7, b"it runs\n")


def test_loading_a_shared_library(origin: Path, view: Path, tmp_path: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    (origin / "lib").mkdir()
    (origin / "lib/libanswer.so").write_bytes(compiled(tmp_path, SOURCE, "-shared", "-fPIC"))
    script = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).answer())"
    done = run("python3", "-c", script, view / "lib/libanswer.so")  # this process must not hold it
    assert done.stdout == b"42\n", done.stderr


@pytest.mark.parametrize("words", ["mode=ro&immutable=1", "mode=ro"])
def test_sqlite(view: Path, words: str) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    with closing(sqlite3.connect(f"file:{view}/data.sqlite?{words}", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        query = "SELECT text FROM numbers WHERE n = 4321"
        assert database.execute(query).fetchone() == ("number 4321 " * 20,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            database.execute("DELETE FROM numbers")


def test_direct_io(origin: Path, view: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    whole = (origin / "large.bin").read_bytes()
    descriptor = os.open(view / "large.bin", os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, MIB) as aligned:
            for offset in (0, 2 * MIB, 5 * MIB):
                count = os.preadv(descriptor, [aligned], offset)
                assert aligned[:count] == whole[offset : offset + MIB]
    finally:
        os.close(descriptor)
    done = run("dd", f"if={view}/large.bin", "iflag=direct", "bs=64k", "status=none")
    assert done.stdout == whole


def test_sendfile(origin: Path, view: Path, tmp_path: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    with (view / "large.bin").open("rb") as source, (tmp_path / "sent").open("wb") as sink:
        size = os.fstat(source.fileno()).st_size
        done = 0
        while done < size:
            count = os.sendfile(sink.fileno(), source.fileno(), done, size - done)
            assert count
            done += count
    assert (tmp_path / "sent").read_bytes() == (origin / "large.bin").read_bytes()


def test_archives_are_read_in_place(origin: Path, view: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    with zipfile.ZipFile(view / "archive.zip") as archive:
        assert archive.read("inside/hello.txt") == b"hello from a zip"
        assert archive.testzip() is None
    with tarfile.open(view / "archive.tar") as archive:
        member = archive.extractfile("docs/deep/secret.txt")
        assert member is not None
        assert b"needle" in member.read()


def test_python_imports_from_it(origin: Path, view: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    (origin / "package").mkdir()
    (origin / "package/wisdom.py").write_text("answer = 42\n")
    done = run("python3", "-c", "import wisdom; print(wisdom.answer)", cwd=view / "package")
    assert done.stdout == b"42\n", done.stderr


def test_locks_are_taken(view: Path) -> None:
    """cat, cp, tar, grep -r, mmap, running a program, loading a shared library, SQLite, O_DIRECT and sendfile work."""
    done = run("flock", "--shared", "--timeout", "1", view / "small.bin", "true")
    assert done.returncode == 0, done.stderr
