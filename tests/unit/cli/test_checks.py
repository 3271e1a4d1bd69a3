"""What the doctor says, by what was found."""

import pytest

from s3mount.cli import checks, doctor
from s3mount.cli.checks import Place
from s3mount.cli.main import run
from s3mount.errors import (
    AccessDenied,
    CredentialsExpired,
    CredentialsMissing,
    NoSuchBucket,
    Unreachable,
)

GOOD = Place("/c", "", 0o700, 0, "ext4", 100 << 30, 50 << 30)


def levels(*found):
    return [check.level for check in found]


def test_the_machine():
    assert levels(
        checks.fuse_device(""),
        checks.fuse_device("No such file or directory"),
        checks.fusermount("/usr/bin/fusermount3", is_setuid=True, is_root=False),
        checks.fusermount("/usr/bin/fusermount3", is_setuid=False, is_root=True),
        checks.fusermount("/usr/bin/fusermount3", is_setuid=False, is_root=False),
        checks.fusermount(None, is_setuid=False, is_root=True),
        checks.fusermount(None, is_setuid=False, is_root=False),
        checks.kernel("6.18.44-x"),
        checks.kernel("4.19.0"),
        checks.kernel("odd"),
    ) == ["ok", "FAIL", "ok", "ok", "FAIL", "ok", "FAIL", "ok", "FAIL", "ok"]


def test_a_device_that_only_root_may_open():
    assert "chmod 666" in checks.fuse_device("Permission denied").advice


def test_allow_other():
    conf = "# user_allow_other\n\n"
    assert checks.allow_other(conf, is_asked=False, is_root=False) is None
    assert checks.allow_other(conf, is_asked=True, is_root=True).level == "ok"
    assert checks.allow_other(conf, is_asked=True, is_root=False).level == "FAIL"
    assert (
        checks.allow_other(f"{conf}user_allow_other \n", is_asked=True, is_root=False).level == "ok"
    )


@pytest.mark.parametrize(
    ("place", "level"),
    [
        (GOOD, "ok"),
        (GOOD._replace(mode=None), "ok"),
        (GOOD._replace(mode=0o755), "ok"),
        (GOOD._replace(mode=0o770), "FAIL"),
        (GOOD._replace(owner=1), "FAIL"),
        (GOOD._replace(problem="Read-only file system"), "FAIL"),
    ],
)
def test_the_cache_directory(place, level):
    assert checks.cache_directory(place, user=0).level == level


@pytest.mark.parametrize(
    ("place", "level"),
    [
        (GOOD, "ok"),
        (GOOD._replace(fstype="tmpfs"), "warn"),
        (GOOD._replace(fstype="nfs4"), "warn"),
        (GOOD._replace(free=1 << 20), "warn"),
        (GOOD._replace(total=5 << 30), "warn"),
    ],
)
def test_the_disk_of_the_cache(place, level):
    assert checks.cache_disk(place, most=10 << 30, min_free=1 << 30).level == level


@pytest.mark.parametrize(
    ("error", "which", "advice"),
    [
        (CredentialsMissing("none"), ["credentials"], "--no-sign-request"),
        (CredentialsExpired("old"), ["credentials"], "log in again"),
        (Unreachable("refused"), ["endpoint"], "--endpoint-url"),
        (AccessDenied("no", status=403), ["endpoint", "bucket"], "s3:ListBucket"),
        (NoSuchBucket("no", status=404), ["endpoint", "bucket"], "is the name right"),
        (
            AccessDenied("late", status=403, code="RequestTimeTooSkewed"),
            ["endpoint", "bucket"],
            "clock",
        ),
        (
            AccessDenied("no", status=403, hint="as the store says"),
            ["endpoint", "bucket"],
            "as the store",
        ),
    ],
)
def test_a_bucket_that_does_not_answer_as_it_should(error, which, advice):
    found = checks.bucket_failed("b", error)
    assert [check.what for check in found] == which
    assert found[-1].level == "FAIL"
    assert advice in found[-1].advice


def test_the_doctor_on_this_machine(capsys, tmp_path):
    assert run(["doctor", f"file://{tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "ok    /dev/fuse" in said
    assert "directory" in said
    assert run(["doctor", f"file://{tmp_path}/none"]) == 1
    assert "FAIL  directory" in capsys.readouterr().out


def test_a_cache_directory_that_is_a_file(tmp_path, capsys):
    (tmp_path / "c").touch()
    assert run(["doctor", "--cache-dir", str(tmp_path / "c" / "d")]) == 1
    assert "is not a directory" in capsys.readouterr().out
    assert doctor._place(tmp_path / "c" / "d").mode is None
