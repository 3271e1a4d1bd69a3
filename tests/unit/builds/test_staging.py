"""A tree gets its place whole or not at all; and the processes that fill it."""

import os
import signal

import pytest

from s3mount.builds import staging as staging_module
from s3mount.builds.crew import Crew
from s3mount.builds.members import BadArchive, RefusedMember
from s3mount.builds.sidecar import BadSidecar, ChecksumMismatch, body_of, digest_in, digest_of
from s3mount.builds.staging import Staging, sweep
from s3mount.builds.worker import Answer, Job, answer_in, as_line, error_of, job_in
from s3mount.errors import S3MountError
from tests.unit.builds.archives import archive, member


def filled(beside, **files):
    staging = Staging(beside)
    for name, body in files.items():
        (staging.path / name).write_text(body)
    return staging


def names(root):
    return sorted(each.name for each in root.iterdir())


def test_a_tree_gets_its_place(tmp_path):
    filled(tmp_path, f="1").give_place(tmp_path / "tree")
    assert (tmp_path / "tree" / "f").read_text() == "1"
    assert names(tmp_path) == ["tree"]


@pytest.mark.parametrize("swaps", [True, False])
@pytest.mark.parametrize("kind", ["tree", "empty", "file", "link"])
def test_what_was_there_is_replaced(tmp_path, monkeypatch, swaps, kind):
    if not swaps:
        monkeypatch.setattr(staging_module.ctypes, "CDLL", lambda *_, **__: object())
    place = tmp_path / "tree"
    if kind == "file":
        place.write_text("old")
    elif kind == "link":
        (tmp_path / "other").mkdir()
        place.symlink_to("other")
    else:
        place.mkdir()
        if kind == "tree":
            (place / "old").write_text("old")
    filled(tmp_path, f="1").give_place(place)
    assert names(place) == ["f"]
    assert not place.is_symlink()
    assert names(tmp_path) == sorted({"tree", *(["other"] if kind == "link" else [])})


def test_what_is_discarded_leaves_nothing(tmp_path):
    staging = filled(tmp_path, f="1")
    staging.discard()
    staging.discard()
    assert names(tmp_path) == []


def test_what_a_killed_run_has_left_is_removed_and_what_is_locked_stays(tmp_path):
    mine = filled(tmp_path, f="1")
    left = tmp_path / f".s3mount-{'0' * 24}.tree"
    left.mkdir()
    (left / "f").write_text("x")
    (tmp_path / ".s3mount-mine.tree").mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == sorted([mine.path.name, ".s3mount-mine.tree"])
    mine.discard()


def test_merging(tmp_path):
    out = tmp_path / "out"
    (out / "lib").mkdir(parents=True, mode=0o700)
    (out / "lib" / "a").write_text("old")
    (out / "lib" / "mine").write_text("mine")
    staging = Staging(tmp_path)
    (staging.path / "lib" / "deep").mkdir(parents=True)
    (staging.path / "lib" / "deep").chmod(0o750)
    (staging.path / "lib" / "a").write_text("new")
    (staging.path / "lib" / "deep" / "l").symlink_to("../a")
    assert staging.merge_into(out) == 1
    assert (out / "lib" / "a").read_text() == (out / "lib" / "deep" / "l").read_text() == "new"
    assert (out / "lib" / "mine").read_text() == "mine"
    assert (out / "lib").stat().st_mode & 0o777 == 0o700
    assert (out / "lib" / "deep").stat().st_mode & 0o777 == 0o750
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("there", ["file", "link", "directory"])
def test_what_cannot_be_merged(tmp_path, there):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "elsewhere").mkdir()
    staging = Staging(tmp_path)
    if there == "directory":
        (out / "lib").mkdir()
        (staging.path / "lib").write_text("x")
    else:
        (staging.path / "lib").mkdir()
        (staging.path / "lib" / "f").write_text("x")
        if there == "file":
            (out / "lib").write_text("mine")
        else:
            (out / "lib").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(S3MountError, match="lib"):
        staging.merge_into(out)
    assert names(tmp_path / "elsewhere") == []
    assert names(tmp_path) == ["elsewhere", "out"]


# Processes.


def work(crew, job):
    return crew.submit(lambda: crew.do(job)).result(60)


def test_a_crew_unpacks_and_tells_of_errors(tmp_path):
    good, bad, evil = (tmp_path / f"{name}_lib_generic.tar.zst" for name in ("a", "b", "c"))
    digest = archive(good, ("f", b"x"))
    bad.write_bytes(b"no archive")
    archive(evil, member("../f"))
    with Crew(2) as crew:
        for archive_path, error in ((bad, BadArchive), (evil, RefusedMember)):
            (tmp_path / "root").mkdir()
            with pytest.raises(error, match=archive_path.name):
                work(crew, Job(str(archive_path), str(tmp_path / "root")))
            (tmp_path / "root").rmdir()
        (tmp_path / "root").mkdir()
        work(crew, Job(str(good), str(tmp_path / "root"), sha256=digest))
        (tmp_path / "again").mkdir()
        with pytest.raises(ChecksumMismatch):
            work(crew, Job(str(good), str(tmp_path / "again"), sha256="0" * 64))
        with pytest.raises(S3MountError, match="No such file"):
            work(crew, Job(str(tmp_path / "missing.tar.xz"), str(tmp_path / "again")))
    assert (tmp_path / "root" / "f").read_bytes() == b"x"


def test_a_process_that_is_killed_fails_its_job_alone(tmp_path):
    path = tmp_path / "a_lib_generic.tar.zst"
    archive(path, ("f", b"x"))
    with Crew(1) as crew:
        (tmp_path / "one").mkdir()
        work(crew, Job(str(path), str(tmp_path / "one")))
        [process] = crew._all
        os.kill(process.pid, signal.SIGKILL)
        (tmp_path / "two").mkdir()
        with pytest.raises(S3MountError, match="status -9"):
            work(crew, Job(str(path), str(tmp_path / "two")))
        work(crew, Job(str(path), str(tmp_path / "two")))


def test_a_crew_that_is_closed_does_nothing_more(tmp_path):
    crew = Crew(1)
    crew.close()
    with pytest.raises(S3MountError, match="broken off"):
        crew.do(Job("a.tar.xz", str(tmp_path)))


def test_what_goes_through_the_pipe_comes_back():
    job = Job("/a\n\udcff", "/d", True, "x")
    assert job_in(as_line(job)) == job
    answer = Answer("what", "do", "RefusedMember")
    assert answer_in(as_line(answer)) == answer
    assert isinstance(error_of(answer), RefusedMember)
    assert error_of(Answer()) is None
    assert type(error_of(Answer("x", "", "OSError"))) is S3MountError


# Checksums.


@pytest.mark.parametrize("body", [b"%s\n", b"%s  blas.tar.xz\n", b"  %s", b"%s *f"])
def test_the_first_word_of_a_sidecar_is_the_digest(body):
    assert digest_in(body % (b"AB" * 32), "f") == "ab" * 32


@pytest.mark.parametrize("body", [b"", b"\n", b"abc", b"zz" * 32, b"ab" * 33, b"\xff" * 64])
def test_what_holds_no_digest(body):
    with pytest.raises(BadSidecar, match=r"f\.sha256sum"):
        digest_in(body, "f.sha256sum")


def test_a_digest_is_written_as_it_is_read(tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    digest = digest_of(tmp_path / "f")
    assert digest_in(body_of(digest), "f") == digest
