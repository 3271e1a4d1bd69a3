"""Files below a directory: whole or not there, never outside, and no two keys in one."""

import errno
import fcntl
import os

import pytest

from s3mount.bulk.folders import Folders, NotWritable
from s3mount.bulk.keys import KeyMap
from s3mount.bulk.target import NO_NAMELESS, Target
from s3mount.bulk.wanted import (
    Collision,
    DiskFull,
    Wanted,
    same_time,
    translated,
)
from s3mount.errors import ConfigError

TIME = 1_700_000_000_123_456_789
LEFT = ".s3mount-" + "0" * 24 + ".part"


def wanted(key, size=4, mtime_ns=TIME):
    return Wanted(key, KeyMap("").path_of(key), size, mtime_ns)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def target(root):
    made = Target(str(root))
    yield made
    made.close()


def files(root):
    return {str(each.relative_to(root)) for each in root.rglob("*") if not each.is_dir()}


def test_a_file_is_written_with_its_time(target, root):
    target.write(wanted("a/b/c"), b"body")
    assert (root / "a/b/c").read_bytes() == b"body"
    assert (root / "a/b/c").stat().st_mtime_ns == TIME
    assert files(root) == {"a/b/c"}
    assert target.place(wanted("a/b/c").path) == str(root / "a/b/c")


def test_a_file_that_is_there_is_replaced(target, root):
    (root / "f").write_bytes(b"before the run")
    target.write(wanted("f"), b"body")
    assert (root / "f").read_bytes() == b"body"


def test_names_that_are_not_utf8_keep_their_bytes(target, root):
    target.write(wanted("d/\udcff"), b"body")
    assert os.listdir(os.fsencode(root / "d")) == [b"\xff"]


def test_pieces_come_in_any_order(target, root):
    part = target.begin(wanted("d/f", size=8))
    part.write([b"gh"], 6)
    part.write([b"ab", b"", b"cdef"], 0)
    assert files(root) != {"d/f"}
    part.commit()
    assert (root / "d/f").read_bytes() == b"abcdefgh"
    assert (root / "d/f").stat().st_mtime_ns == TIME
    assert files(root) == {"d/f"}


def test_a_file_with_too_few_bytes_is_not_given_its_place(target, root):
    part = target.begin(wanted("f", size=8))
    part.write([b"abc"], 0)
    with pytest.raises(NotWritable, match="3 bytes of 8"):
        part.commit()
    assert files(root) == set()


def test_what_is_discarded_leaves_nothing(target, root):
    part = target.begin(wanted("f"))
    part.discard()
    assert files(root) == set()


@pytest.mark.parametrize("key", ["link/f", "d/link/f", "d/link/e/f"])
def test_a_symbolic_link_is_not_followed(target, root, tmp_path, key):
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "d").mkdir()
    (root / key[: key.index("link") + 4]).symlink_to(outside)
    with pytest.raises(NotWritable, match="is a symbolic link, which is not followed"):
        target.write(wanted(key), b"body")
    with pytest.raises(NotWritable, match="symbolic link"):
        target.begin(wanted(key))
    assert list(outside.iterdir()) == []
    assert not target.holds(wanted(key))


def test_a_link_in_the_place_of_a_file_is_replaced_itself(target, root, tmp_path):
    (tmp_path / "outside").write_bytes(b"not ours")
    (root / "f").symlink_to(tmp_path / "outside")
    target.write(wanted("f"), b"body")
    assert (tmp_path / "outside").read_bytes() == b"not ours"
    assert (root / "f").read_bytes() == b"body"
    assert not (root / "f").is_symlink()


def test_a_directory_that_is_swapped_for_a_link_is_written_where_it_was_found(
    target, root, tmp_path
):
    outside = tmp_path / "outside"
    outside.mkdir()
    part = target.begin(wanted("d/f"))
    (root / "d").rename(root / "moved")
    (root / "d").symlink_to(outside)
    part.write([b"body"], 0)
    part.commit()
    assert list(outside.iterdir()) == []
    assert (root / "moved/f").read_bytes() == b"body"


def test_the_directory_itself_may_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    target = Target(str(tmp_path / "link"))
    target.write(wanted("f"), b"body")
    target.close()
    assert files(root) == {"f"}


def test_a_file_where_a_directory_is_needed(target, root):
    target.write(wanted("a"), b"body")
    with pytest.raises(NotWritable, match="'a' is a file, and a directory is needed"):
        target.write(wanted("a/b"), b"body")
    assert files(root) == {"a"}


def test_a_directory_where_a_file_is_needed(target, root):
    target.write(wanted("a/b"), b"body")
    (root / "empty").mkdir()
    for key in ("a", "empty"):
        with pytest.raises(NotWritable, match="is a directory, and a file is needed"):
            target.write(wanted(key), b"body")
    part = target.begin(wanted("a"))
    part.write([b"body"], 0)
    with pytest.raises(NotWritable, match="is a directory"):
        part.commit()
    assert files(root) == {"a/b"}


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("d/e", "d//e", "written during this run"),
        ("d//e", "d/e", "as 'd//e' has"),
        ("d//e", "d/./e", "as 'd//e' has"),
        ("/d/e", "x/../d/e", "as '/d/e' has"),
    ],
)
def test_the_second_of_two_keys_with_one_path_fails(target, root, first, second, says):
    target.write(wanted("before"), b"body")
    target.write(wanted(first), b"1st!")
    with pytest.raises(Collision, match=says):
        target.write(wanted(second), b"2nd!")
    part = target.begin(wanted(second))
    part.write([b"2nd!"], 0)
    with pytest.raises(Collision):
        part.commit()
    assert (root / "d/e").read_bytes() == b"1st!"
    assert files(root) == {"before", "d/e"}


def test_an_odd_key_replaces_what_was_there_before_the_run(root):
    (root / "d").mkdir()
    (root / "d/e").write_bytes(b"old")
    os.utime(root / "d/e", ns=(TIME, TIME))
    while (root / "probe").exists() or not _is_later(root):
        pass
    target = Target(str(root))
    target.write(wanted("d//e"), b"new!")
    target.close()
    assert (root / "d/e").read_bytes() == b"new!"


def _is_later(root):
    """Whether the clock of the file system has gone on since ``d/e`` was written."""
    (root / "probe").touch()
    later = (root / "probe").stat().st_ctime_ns > (root / "d/e").stat().st_ctime_ns
    (root / "probe").unlink()
    return later


def test_an_odd_key_does_not_replace_a_file_that_was_left_alone(root):
    (root / "d").mkdir()
    (root / "d/e").write_bytes(b"left")
    os.utime(root / "d/e", ns=(TIME, TIME))
    target = Target(str(root), keeps_existing=True)
    assert target.holds(wanted("d/e"))
    assert not target.holds(wanted("d//e", mtime_ns=TIME + 10**9))
    with pytest.raises(Collision, match=r"where (another file is kept|a file was written)"):
        target.write(wanted("d//e"), b"odd!")
    assert (root / "d/e").read_bytes() == b"left"
    target.close()


def test_an_odd_key_that_was_left_alone_keeps_its_place(root):
    (root / "d").mkdir()
    (root / "d/e").write_bytes(b"left")
    os.utime(root / "d/e", ns=(TIME, TIME))
    target = Target(str(root), keeps_existing=True)
    assert target.holds(wanted("d//e"))
    with pytest.raises(Collision, match="as 'd//e' has"):
        target.write(wanted("d/e", mtime_ns=TIME + 10**9), b"new!")
    target.close()


def test_what_counts_as_there(root):
    target = Target(str(root), keeps_existing=True)
    assert not target.holds(wanted("d/f"))
    target.write(wanted("d/f"), b"body")
    assert target.holds(wanted("d/f"))
    assert not target.holds(wanted("d/f", size=5))
    assert not target.holds(wanted("d/f", mtime_ns=TIME + 1))
    assert target.holds(wanted("d/f", mtime_ns=TIME // 10**9 * 10**9))
    (root / "link").symlink_to(root / "d/f")
    assert not target.holds(wanted("link"))
    assert not target.holds(wanted("d"))
    target.close()


def test_times_of_whole_seconds():
    assert same_time(5, 5)
    assert same_time(3_000_000_000, 3_999_999_999)
    assert not same_time(3_000_000_001, 3_999_999_999)
    assert not same_time(3_000_000_000, 4_000_000_000)


@pytest.mark.parametrize("sweeps", [True, False])
def test_leftovers_are_removed_and_nothing_else(root, sweeps):
    (root / "d").mkdir()
    others = {".s3mount-", LEFT + "x", ".s3mount-xyz.part"}
    for name in (LEFT, *others):
        (root / "d" / name).write_bytes(b"left")
        (root / name).write_bytes(b"left")
    target = Target(str(root), sweeps=sweeps)
    assert not target.holds(wanted("d/f"))
    target.close()
    stays = others if sweeps else {*others, LEFT}
    assert {each.name for each in (root / "d").iterdir()} == stays
    assert {each.name for each in root.iterdir()} == {"d", *stays}


def test_what_another_run_is_writing_is_left_alone(root):
    with open(root / LEFT, "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        target = Target(str(root))
        target.write(wanted("f"), b"body")
        assert files(root) == {"f", LEFT}
        os.unlink(root / LEFT)
    target.close()
    other = Target(str(root))
    part = other.begin(wanted("large"))
    third = Target(str(root))
    third.write(wanted("g"), b"body")
    part.write([b"body"], 0)
    part.commit()
    assert files(root) == {"f", "g", "large"}
    other.close()
    third.close()


@pytest.mark.parametrize("kept", [1, 2, 128])
def test_few_descriptors_are_enough(root, kept):
    folders = Folders(str(root), kept)
    before = len(os.listdir("/proc/self/fd"))
    deep = "/".join(f"d{number}" for number in range(20))
    for path in [deep, "x/y", deep, "x", "d0/z", deep]:
        assert os.path.samestat(os.stat(folders.open(path, make=True)), os.stat(root / path))
    assert len(os.listdir("/proc/self/fd")) - before <= kept
    folders.close()


@pytest.mark.parametrize("name", ["missing", "file", "nul\0"])
def test_a_target_must_be_a_directory(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError):
        Target(str(tmp_path / name))


def test_a_small_file_never_has_a_temporary_name(target, root, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("no file was there, so none need be replaced")

    monkeypatch.setattr(os, "rename", refuse)
    target.write(wanted("a/f"), b"body")
    assert (root / "a" / "f").read_bytes() == b"body"
    assert (root / "a" / "f").stat().st_mtime_ns == TIME


@pytest.mark.parametrize("number", sorted(NO_NAMELESS))
@pytest.mark.parametrize("call", ["open", "link"])
def test_a_file_system_without_nameless_files(target, root, monkeypatch, call, number):
    real, refused = getattr(os, call), []

    def odd(path, *args, **kwargs):
        if call == "link" or args[0] & os.O_TMPFILE == os.O_TMPFILE:
            refused.append(path)
            raise OSError(number, os.strerror(number))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, call, odd)
    for name in ("f", "g"):
        target.write(wanted(f"a/{name}"), b"body")
        assert (root / "a" / name).read_bytes() == b"body"
    assert len(refused) == 1
    assert files(root) == {"a/f", "a/g"}


def test_a_disk_that_is_full_while_a_nameless_file_is_named(target, root, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(DiskFull):
        target.write(wanted("a/f"), b"body")
    assert files(root) == set()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_has_its_own_error(number):
    error = translated(OSError(number, os.strerror(number)), wanted("a/f").path)
    assert isinstance(error, DiskFull)
    assert "--skip-existing" in error.hint


def test_no_descriptor_is_lost(root):
    before = len(os.listdir("/proc/self/fd"))
    target = Target(str(root))
    for number in range(50):
        target.write(wanted(f"d{number}/f"), b"body")
        part = target.begin(wanted(f"d{number}/g"))
        part.write([b"body"], 0)
        part.commit() if number % 2 else part.discard()
    target.close()
    assert len(os.listdir("/proc/self/fd")) == before
