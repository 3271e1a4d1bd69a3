"""Artifacts in a directory, and the local files that go there and come back."""

import os
import socket
import threading
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.artifact import local
from s3mount.artifact.attributes import Attributes, attributes_of, metadata_of
from s3mount.artifact.failures import LocalClash, LocalMissing, NotPushable
from s3mount.artifact.local import LocalBackend, read_whole
from s3mount.artifact.parallel import in_parallel, until
from s3mount.artifact.placing import Placing, plan, refuse_clashes
from s3mount.artifact.tree import is_stream, local_files
from s3mount.bulk.folders import NotWritable
from s3mount.bulk.keys import FilePath, Unplaceable
from s3mount.bulk.wanted import Wanted
from s3mount.errors import AlreadyExists, ConfigError, NotFound

ROOT = "artifacts/jobs/1"


@pytest.fixture
def backend(tmp_path):
    (tmp_path / "kept").mkdir()
    return LocalBackend(str(tmp_path / "kept"))


def nothing(_remote, _size):
    """Not interested."""


def push(backend, path, remote, *, force=False):
    backend.push(local_files(str(path), remote), force=force, told=nothing)


def test_a_directory_is_needed(tmp_path):
    with pytest.raises(ConfigError, match="there is no directory"):
        LocalBackend(str(tmp_path / "none"))


def test_a_race_is_lost_and_nothing_overwritten(backend, tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"mine")
    look = backend._refuse_taken

    def slow_look(remote, *, force):
        look(remote, force=force)
        monkeypatch.setattr(backend, "_refuse_taken", look)
        (tmp_path / "y").write_bytes(b"theirs")
        push(backend, tmp_path / "y", remote)

    monkeypatch.setattr(backend, "_refuse_taken", slow_look)
    with pytest.raises(AlreadyExists):
        push(backend, tmp_path / "x", f"{ROOT}/x")
    assert (tmp_path / "kept" / ROOT / "x").read_bytes() == b"theirs"
    assert os.listdir(tmp_path / "kept" / ROOT) == ["x"]


def test_a_file_is_not_stored_over_a_directory(backend, tmp_path):
    (tmp_path / "x").write_bytes(b"body")
    push(backend, tmp_path / "x", f"{ROOT}/d/x")
    with pytest.raises(NotPushable, match="is a directory"):
        push(backend, tmp_path / "x", f"{ROOT}/d", force=True)
    with pytest.raises(AlreadyExists):
        push(backend, tmp_path / "x", f"{ROOT}/d")


def test_links_in_the_store_are_not_followed(backend, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/f").write_bytes(b"mine")
    jobs = tmp_path / "kept/artifacts/jobs"
    jobs.mkdir(parents=True)
    (jobs / "1").symlink_to(tmp_path / "outside")
    assert not backend.exists(ROOT)
    with pytest.raises(NotFound):
        backend.yank(f"{ROOT}/f")
    with pytest.raises(NotWritable):
        push(backend, tmp_path / "outside/f", f"{ROOT}/g")
    assert os.listdir(tmp_path / "outside") == ["f"]


def test_a_yank_leaves_no_empty_directory(backend, tmp_path):
    (tmp_path / "x").write_bytes(b"body")
    push(backend, tmp_path / "x", f"{ROOT}/a/b/c")
    push(backend, tmp_path / "x", f"{ROOT}/a/d")
    assert backend.yank(f"{ROOT}/a/b") == 1
    assert sorted(os.listdir(tmp_path / "kept" / ROOT / "a")) == ["d"]
    assert backend.yank(ROOT) == 1
    assert os.listdir(tmp_path / "kept") == []


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 17])
@pytest.mark.parametrize("grown", [-1, 0, 1])
def test_a_file_is_read_as_it_was_seen(tmp_path, monkeypatch, size, grown):
    monkeypatch.setattr(local, "CHUNK", 8)
    path = tmp_path / "x"
    path.write_bytes(b"x" * max(0, size + grown))
    mtime = path.stat().st_mtime_ns
    if size == 0 and grown == -1:
        return
    chunks = read_whole(str(path), size, mtime)
    if grown:
        read = []
        with pytest.raises(NotPushable, match="changed while it was read"):
            read.extend(chunks)
        assert len(b"".join(read)) < max(size, 1), "never as many bytes as were promised"
    else:
        assert b"".join(chunks) == b"x" * size


def test_a_file_that_was_written_again_is_not_read(tmp_path):
    (tmp_path / "x").write_bytes(b"body")
    with pytest.raises(NotPushable):
        list(read_whole(str(tmp_path / "x"), 4, 1))


def test_a_tree_in_the_order_of_its_names(tmp_path):
    for name in ("b", "a/z", "a/b", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "empty").mkdir()
    found = local_files(str(tmp_path), "r")
    assert [each.remote for each in found] == ["r/a/b", "r/a/z", "r/b", "r/c"]
    assert [each.size for each in found] == [3, 3, 1, 1]


def test_a_tree_with_the_same_directory_twice_is_no_loop(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"")
    (tmp_path / "again").symlink_to("d")
    assert [each.remote for each in local_files(str(tmp_path), "r")] == ["r/again/f", "r/d/f"]


def test_what_cannot_be_pushed(tmp_path):
    with pytest.raises(LocalMissing, match=r"^path 'none' does not exist locally$"):
        local_files("none", "r")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/dangling").symlink_to("nowhere")
    with pytest.raises(NotPushable, match="leads nowhere"):
        local_files(str(tmp_path / "a"), "r")
    (tmp_path / "b").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(tmp_path / "b")
        bound.bind("s")
        with pytest.raises(NotPushable, match="neither a file nor a directory"):
            local_files(str(tmp_path / "b"), "r")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(NotPushable, match="not UTF-8"):
        local_files(str(tmp_path / "c"), "r")


def test_what_is_a_stream(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert is_stream("-")
    assert is_stream("/dev/stdin")
    assert is_stream(str(tmp_path / "pipe"))
    assert not is_stream(str(tmp_path))
    assert not is_stream("none")


def test_where_everything_goes():
    assert plan("r/x", "a/y", ["r/x"]) == ("a", {"r/x": FilePath("", "y", True)})
    assert plan("r/x", "y", ["r/x"]).place("r/x") == "y"
    planned = plan("r", "out", ["r/a/b", "r/c"])
    assert planned.place("r/a/b") == "out/a/b"
    assert plan("r", ".", ["r/a"]).place("r/a") == "a"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "a/..", "", ".", "x/\0"])
def test_a_name_that_leads_out_has_no_place(name):
    with pytest.raises(Unplaceable):
        plan("r", "out", [f"r/{name}", "r/other"])


def test_a_name_that_is_a_file_and_a_directory():
    with pytest.raises(LocalClash, match="both a file and a directory"):
        plan("r", "out", ["r/a", "r/a/b/c"])


def test_clashes(tmp_path):
    (tmp_path / "a").symlink_to("nowhere")
    planned = plan("r", str(tmp_path), ["r/a", "r/b"])
    with pytest.raises(LocalClash, match="already exists locally"):
        refuse_clashes(planned, force=False)
    refuse_clashes(planned, force=True)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("."), os.mkdir])
def test_what_cannot_be_replaced_is_found_before_anything_is_written(tmp_path, force, make):
    make(tmp_path / "d")
    planned = plan("r", str(tmp_path), ["r/d/e/f", "r/b"])
    if (tmp_path / "d").is_dir() and not (tmp_path / "d").is_symlink():
        planned = plan("r/d", str(tmp_path / "d"), ["r/d"])
        says = "is a directory" if force else "already exists locally"
    else:
        says = "is no directory"
    with pytest.raises(LocalClash, match=says):
        refuse_clashes(planned, force=force)


@pytest.mark.parametrize("local", [".", "..", "/"])
@pytest.mark.parametrize("force", [False, True])
def test_a_file_is_not_written_over_these(local, force):
    with pytest.raises(LocalClash):
        refuse_clashes(plan("r/x", local, ["r/x"]), force=force)


def test_a_file_gets_its_mode_with_its_place(tmp_path):
    target = Placing(str(tmp_path))
    target.receive(Wanted("k", FilePath("d", "f", True), 4, 10**18, 0o711), [b"bo", b"dy"])
    found = (tmp_path / "d/f").stat()
    assert (found.st_mode & 0o777, found.st_size, found.st_mtime_ns) == (0o711, 4, 10**18)
    with pytest.raises(NotWritable):
        target.receive(Wanted("k", FilePath("d", "g", True), 5, 0), [b"body"])
    assert os.listdir(tmp_path / "d") == ["f"]
    target.close()


def test_where_there_are_no_links_a_file_is_renamed(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    target = Placing(str(tmp_path), lambda wanted: LocalClash(wanted.key))
    target.receive(Wanted("k", FilePath("", "f", True), 4, 0), [b"body"])
    assert os.listdir(tmp_path) == ["f"]
    target.close()


@given(st.integers(0, 0o7777), st.integers(-(1 << 62), 1 << 62))
def test_attributes_come_back(mode, mtime_ns):
    known = attributes_of(metadata_of(mode, mtime_ns))
    assert known.mode == mode & 0o777
    assert known.mtime_ns == (mtime_ns if abs(mtime_ns) < 1 << 62 else None)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ((), Attributes(None, None)),
        ((("mode", "0100755"), ("mtime", "1663648416.5")), Attributes(0o755, 1663648416500000000)),
        ((("mode", "rwx"), ("mtime", "yesterday")), Attributes(None, None)),
        ((("mode", "4755"), ("mtime", "NaN")), Attributes(0o755, None)),
        ((("mode", ""), ("mtime", "1e99")), Attributes(None, None)),
        ((("mtime", "Infinity"),), Attributes(None, None)),
    ],
)
def test_attributes_that_others_wrote(metadata, expected):
    assert attributes_of(metadata) == expected


def test_in_parallel_the_first_error_ends_it():
    done = []

    def work(number):
        done.append(number)
        if number == 3:
            raise ValueError(number)
        return number

    is_over = threading.Event()
    with pytest.raises(ValueError, match="3"):
        list(in_parallel(work, range(1000), 1, is_over))
    assert done == [0, 1, 2, 3]
    doubled = in_parallel(lambda number: number * 2, range(5), 3, is_over)
    assert sorted(doubled) == [0, 2, 4, 6, 8]


def test_who_leaves_early_waits_for_nothing_that_can_be_stopped():
    is_over = threading.Event()
    begun = threading.Event()
    given = []

    def work(number):
        if number == 0:
            begun.wait(60)
            return 0
        begun.set()
        assert is_over.wait(60)
        given.extend(until(is_over, [b"never"]))
        return number

    with closing(in_parallel(work, range(3), 2, is_over)) as done:
        assert next(done) == 0
    assert given == []
    assert not is_over.is_set()
