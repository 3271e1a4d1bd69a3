"""Whether a directory can be mounted on, and what is said when it cannot."""

import errno
import os
from pathlib import Path

import pytest

from s3mount.cli import mountpoint
from s3mount.cli.mountinfo import Mount, mount_at, read_mounts
from s3mount.cli.mountpoint import Facts, absolute, complaint, look, prepare
from s3mount.errors import MountError

HERE = Path("/mnt/x")
OURS = Mount("0:39", "/mnt/x", "fuse.s3mount", "s3://builds")
OTHER = Mount("0:40", "/mnt/x", "ext4", "/dev/sdb1")
ABOVE = Mount("0:41", "/mnt", "fuse.s3mount", "s3://above")

SAID = [
    (Facts(HERE), None),
    (Facts(HERE, at=None, above=Mount("0:1", "/", "ext4", "/dev/vda")), None),
    (Facts(HERE, problem=errno.ENOENT), "/mnt/x: No such file or directory | mkdir -p /mnt/x"),
    (Facts(HERE, problem=errno.EACCES), "Permission denied"),
    (Facts(HERE, is_directory=False), "is not a directory"),
    (Facts(HERE, is_empty=False), "is not empty"),
    (Facts(HERE, may_write=False), "you may not write there"),
    (Facts(HERE, at=OURS), "already mounted: s3://builds | to end that: s3mount unmount /mnt/x"),
    (Facts(HERE, at=OTHER), "already a mount point, of /dev/sdb1 (ext4)"),
    (Facts(HERE, at=OURS, problem=errno.ENOTCONN), "a dead mount of s3://builds"),
    (Facts(HERE, at=OURS, stuck=True), "that does not answer | s3mount unmount --force /mnt/x"),
    (Facts(HERE, stuck=True), "does not answer"),
    (Facts(HERE, above=ABOVE), "lies inside the s3mount of s3://above at /mnt"),
    (
        Facts(HERE, above=ABOVE, problem=errno.ENOTCONN),
        "a mount whose daemon is gone | s3mount unmount /mnt",
    ),
]


@pytest.mark.parametrize(("facts", "said"), SAID)
def test_what_is_said(facts, said):
    error = complaint(facts)
    if said is None:
        assert error is None
    else:
        assert said in f"{error.message} | {error.hint}"


def test_looking_at_real_directories(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full" / "x").mkdir(parents=True)
    (tmp_path / "file").touch()
    assert complaint(look(tmp_path / "empty")) is None
    assert not look(tmp_path / "full").is_empty
    assert not look(tmp_path / "file").is_directory
    assert look(tmp_path / "none").problem == errno.ENOENT
    assert look(Path("/proc")).at.fstype == "proc"


def test_links_and_dots_are_resolved(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert absolute(tmp_path / "x" / ".." / "link") == tmp_path / "real"


@pytest.mark.fuse
def test_a_dead_mount_is_cleared_and_used_again(tmp_path, kernel_mount):
    with kernel_mount.dead(tmp_path):
        with pytest.raises(OSError, match="not connected"):
            os.listdir(tmp_path)
        assert prepare(absolute(tmp_path)) == f"cleared a dead mount of s3://bucket from {tmp_path}"
        assert mount_at(read_mounts(), tmp_path) is None
        assert prepare(tmp_path) == ""


@pytest.mark.fuse
def test_a_stuck_mount_is_told_and_left(tmp_path, kernel_mount, monkeypatch):
    monkeypatch.setattr(mountpoint, "LOOK_SECONDS", 0.2)
    with kernel_mount.unserved(tmp_path):
        with pytest.raises(MountError, match="does not answer"):
            prepare(absolute(tmp_path))
        assert mount_at(read_mounts(), tmp_path)


@pytest.mark.fuse
def test_below_a_dead_mount_the_mount_is_named(tmp_path, kernel_mount):
    with (
        kernel_mount.dead(tmp_path),
        pytest.raises(MountError, match="whose daemon is gone") as caught,
    ):
        prepare(absolute(tmp_path / "below"))
    assert caught.value.hint == f"s3mount unmount {tmp_path}"
