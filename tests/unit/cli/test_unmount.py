"""Unmounting and asking, on mounts whose daemon is dead, stuck or has never been."""

import json
import os
import subprocess
import sys

import pytest

from s3mount.cli import live, processes, status, unmount
from s3mount.cli.detach import Busy
from s3mount.cli.main import run
from s3mount.cli.mountinfo import mount_at, read_mounts
from s3mount.cli.patience import within
from s3mount.errors import MountError


@pytest.fixture
def point(tmp_path):
    made = tmp_path / "mnt"
    made.mkdir()
    return made


def is_mounted(point):
    return mount_at(read_mounts(), point) is not None


def test_patience():
    assert within(1, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(1, lambda: 1 / 0)
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        within(0.05, lambda: __import__("time").sleep(0.5))


@pytest.mark.fuse
def test_a_dead_mount_is_unmounted(point, kernel_mount):
    with kernel_mount.dead(point):
        assert run(["unmount", str(point)]) == 0
        assert not is_mounted(point)


@pytest.mark.fuse
def test_a_stuck_mount_is_unmounted_by_force(point, kernel_mount, monkeypatch):
    monkeypatch.setattr(unmount, "_ASK_SECONDS", 0.2)
    with kernel_mount.unserved(point):
        assert run(["unmount", "--force", str(point)]) == 0
        assert not is_mounted(point)


@pytest.mark.fuse
def test_if_dead_leaves_what_is_not(point, kernel_mount, monkeypatch, capsys):
    monkeypatch.setattr("s3mount.cli.mountpoint.LOOK_SECONDS", 0.2)
    assert run(["unmount", "--if-dead", str(point)]) == 0
    with kernel_mount.unserved(point):
        assert run(["unmount", "--if-dead", str(point)]) == 0
        assert is_mounted(point)
    with kernel_mount.dead(point):
        assert run(["unmount", "--if-dead", str(point)]) == 0
        assert not is_mounted(point)
    assert "cleared a dead mount of s3://bucket" in capsys.readouterr().err


@pytest.mark.fuse
def test_status_tells_dead_and_stuck_mounts(point, kernel_mount, monkeypatch, capsys):
    monkeypatch.setattr(status, "_SECONDS", 0.2)
    with kernel_mount.dead(point):
        assert run(["status", "--json", str(point)]) == 1
        (told,) = json.loads(capsys.readouterr().out)["mounts"]
        assert told["mountpoint"] == str(point)
        assert "its daemon is gone" in told["error"]
        assert run(["refresh", str(point)]) == 1
        assert f"s3mount unmount {point}" in capsys.readouterr().err
    with kernel_mount.unserved(point):
        assert run(["status", str(point)]) == 1
        assert "does not answer within 0.2 s" in capsys.readouterr().out


@pytest.mark.fuse
def test_what_is_no_mount_of_ours(point, capsys):
    assert run(["unmount", "/proc"]) == 1
    assert "is no mount of s3mount but proc" in capsys.readouterr().err
    assert run(["unmount", str(point)]) == 1
    assert f"{point} is not mounted" in capsys.readouterr().err


def test_a_file_elsewhere_is_not_in_an_s3mount(point):
    with pytest.raises(live.NotOurs):
        live.read_status(point, 1)


def test_who_uses_a_directory(point):
    (point / "file").touch()
    script = "import sys; f = open('file'); print(flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=point, stdin=pipe, stdout=pipe
    ) as child:
        child.stdout.readline()
        found = [holder for holder in processes.holders(str(point)) if holder.pid == child.pid]
        assert found == [(child.pid, found[0].name, str(point))]
        busy = unmount._with_users(Busy(f"{point} is in use"), point, None)
        assert f"(pid {child.pid}: {point})" in busy.message
        assert "--lazy" in busy.hint
        assert not processes.wait_gone(child.pid, 0.05)
        child.stdin.close()
        assert processes.wait_gone(child.pid, 5)
    assert processes.holders(str(point)) == []


def test_a_process_that_is_no_daemon_is_never_taken_for_one():
    with subprocess.Popen(["sleep", "60"]) as child:
        assert not processes.is_s3mount(child.pid)
        processes.kill(child.pid)
    assert processes.wait_gone(child.pid, 0.1)
    assert not processes.is_s3mount(child.pid)


def test_a_status_that_is_no_table(monkeypatch, point):
    monkeypatch.setattr(os, "getxattr", lambda *_: b"[]")
    with pytest.raises(MountError, match="not a table"):
        live.read_status(point, 1)
    monkeypatch.setattr(os, "getxattr", lambda *_: b"{")
    with pytest.raises(MountError, match="not JSON"):
        live.read_status(point, 1)
