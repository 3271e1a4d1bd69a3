"""Both roads to a mount: the system call, and fusermount3 for who may not make it."""

import os
from pathlib import Path

import pytest

from s3mount.errors import MountError
from s3mount.fuse import mounting
from s3mount.fuse.connection import greet
from s3mount.fuse.mounting import MountRequest, mount, unmount
from tests.support.mounts import mount_points

ODD = "s3://bucket/a,b\\c d"


def entry_of(mountpoint: Path) -> tuple[str, str, set[str]]:
    """Type, source and options in the kernel's list."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, rest = line.partition(" - ")
        if place.split(" ")[4] == str(mountpoint):
            kind, source, options = rest.split(" ", 2)
            every = place.split(" ")[5].split(",") + options.split(",")
            return kind, source.encode().decode("unicode_escape"), set(every)
    raise AssertionError(f"{mountpoint} is not mounted")


def refuse_directly(request):
    raise PermissionError("as for a user")


@pytest.mark.fuse
@pytest.mark.parametrize("allow_other", [False, True])
@pytest.mark.parametrize("is_helped", [False, True])
def test_a_mount_comes_and_goes(tmp_path, monkeypatch, is_helped, allow_other):
    if is_helped:
        monkeypatch.setattr(mounting, "_mount_directly", refuse_directly)
    descriptor = mount(MountRequest(tmp_path, ODD, allow_other))
    try:
        kind, source, options = entry_of(tmp_path)
        offered = greet(descriptor)
    finally:
        unmount(descriptor, tmp_path)
    assert (kind, source) == ("fuse.s3mount", ODD)
    assert {"ro", "nosuid", "nodev", "noatime", "default_permissions"} <= options
    assert ("allow_other" in options) == allow_other
    assert offered.minor >= 31
    assert tmp_path not in mount_points(None)


@pytest.mark.fuse
@pytest.mark.parametrize("is_helped", [False, True])
def test_a_refusal_is_told_in_words(tmp_path, monkeypatch, is_helped):
    if is_helped:
        monkeypatch.setattr(mounting, "_mount_directly", refuse_directly)
    with pytest.raises(MountError, match=r"FUSE refuses to mount on .*: .*(?i:no such file)"):
        mount(MountRequest(tmp_path / "nowhere", "bucket", False))


@pytest.mark.fuse
def test_a_mount_that_somebody_took_away_is_only_closed(tmp_path):
    """What was mounted there since is another's."""
    first = mount(MountRequest(tmp_path, "first", False))
    greet(first)
    mounting._libc().umount2(os.fsencode(tmp_path), 0)
    second = mount(MountRequest(tmp_path, "second", False))
    try:
        unmount(first, tmp_path)
        assert entry_of(tmp_path)[1] == "second"
    finally:
        unmount(second, tmp_path)
