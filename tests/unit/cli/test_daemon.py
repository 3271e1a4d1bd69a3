"""The hand-over between the command and its daemon, with real processes."""

import ast
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from s3mount.cli import daemon
from s3mount.cli.daemon import Parent, Word, start_command
from s3mount.cli.exits import ChildFailed
from s3mount.cli.notify import notify
from s3mount.errors import ConfigError, MountError

SAY = """
import os, sys, time, signal
from s3mount.cli.daemon import Parent
from s3mount.errors import ConfigError
parent = Parent.of(os.environ)
"""


def start(script, seconds=10.0, environment=None):
    command = [sys.executable, "-c", SAY + textwrap.dedent(script)]
    return start_command(command, environment=environment or dict(os.environ), seconds=seconds)


def end(child):
    child.kill()
    child.wait()


def test_a_child_that_is_ready_lives_on():
    child = start("parent.ready(); time.sleep(60)")
    try:
        assert child.poll() is None
        assert os.getsid(child.pid) == child.pid
        for descriptor in (0, 1, 2):
            assert os.readlink(f"/proc/{child.pid}/fd/{descriptor}") == os.devnull
    finally:
        end(child)


def test_a_childs_error_comes_with_its_hint_and_status():
    with pytest.raises(ChildFailed) as caught:
        start('parent.failed(ConfigError("no \\n good", hint="so: é"), 2); sys.exit(2)')
    assert (caught.value.message, caught.value.hint, caught.value.status) == (
        "no \n good",
        "so: é",
        2,
    )


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sys.exit(3)", "with exit status 3"),
        ("os.kill(os.getpid(), 9)", "by signal SIGKILL"),
        ("os.write(parent._descriptor, b'{\"ready\": tr'); os._exit(1)", "with exit status 1"),
        ("os.write(parent._descriptor, b'[]\\n'); os._exit(1)", "with exit status 1"),
    ],
)
def test_a_child_that_dies_without_a_word(script, said):
    with pytest.raises(MountError, match=said):
        start(script)


def test_a_child_that_is_not_ready_in_time_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(daemon, "_GRACE_SECONDS", 0.3)
    note = tmp_path / "pid"
    script = f"open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(MountError, match="was not ready within 1 s and was stopped"):
        start(f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {script}", seconds=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_the_child_is_told_nothing_but_its_flags():
    environment = dict(os.environ) | {
        "S3MOUNT_REGION": "x",
        "NOTIFY_SOCKET": "/x",
        "AWS_PROFILE": "ci",
    }
    script = """
    said = {n: v for n, v in os.environ.items() if n.startswith(("S3MOUNT", "NOTIFY", "AWS_PROFILE"))}
    parent.failed(ConfigError(repr(said)), 1)
    """
    with pytest.raises(ChildFailed) as caught:
        start(script, environment=environment)
    assert ast.literal_eval(caught.value.message) == {
        "AWS_PROFILE": "ci",
        "S3MOUNT_CONFIG": "/dev/null",
    }


def test_a_package_in_the_current_directory_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "s3mount").mkdir()
    (tmp_path / "s3mount" / "__init__.py").write_text("raise SystemExit(99)")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChildFailed, match="cannot be a bucket"):
        daemon.start(["--", "x", "/nowhere"], environment=os.environ)


def test_words_survive_the_pipe():
    word = Word(ready=False, message="é\n", hint="\udcff", status=2)
    assert Word.decode(word.encode()) == word
    assert Word.decode(b"") is None


def test_without_a_parent_nothing_is_said():
    parent = Parent.of({})
    assert not parent.is_there
    parent.ready()
    parent.failed(ConfigError("x"), 2)


def test_notify_reaches_the_service_manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        assert notify("READY=1", "STATUS=é", environment=environment)
        assert manager.recv(100).decode() == "READY=1\nSTATUS=é"
    assert not notify("READY=1", environment=environment)
    assert not notify("READY=1", environment={})


STUB = """
import sys, types
def serve(source, mountpoint, options, *, ready):
    import json, os, signal, time
    if source == "bad-bucket":
        from s3mount.errors import NoSuchBucket
        raise NoSuchBucket("no bucket bad-bucket", hint="look again")
    if source == "odd-bucket":
        raise ValueError("odd")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    fields = {name: str(getattr(options, name)) for name in options.__slots__}
    with open(os.path.join(os.environ["HOME"], "served"), "w") as note:
        json.dump({"pid": os.getpid(), "cwd": os.getcwd(), "at": str(mountpoint), **fields}, note)
    ready()
    time.sleep(60)
module = types.ModuleType("s3mount.fuse.session")
module.serve = serve
sys.modules["s3mount.fuse.session"] = module
"""


@pytest.fixture
def mount(tmp_path):
    """The whole command, with a file system that only says that it is ready."""
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "sitecustomize.py").write_text(STUB)
    (tmp_path / "mnt").mkdir()

    def run(*arguments, **more):
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "stub")} | more
        command = [sys.executable, "-P", "-m", "s3mount", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_the_background_has_the_settings_of_the_command(mount, tmp_path):
    done = mount("my-bucket", str(tmp_path / "mnt"), "-o", "cache_size=2G", S3MOUNT_REGION="eu")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    served = json.loads((tmp_path / "served").read_text())
    try:
        assert (served["cache_size"], served["region"], served["cwd"]) == (str(2 << 30), "eu", "/")
        assert served["at"] == str(tmp_path / "mnt")
        arguments = Path(f"/proc/{served['pid']}/cmdline").read_text().split("\0")
        assert "--cache-size=2GiB" in arguments
    finally:
        os.kill(served["pid"], signal.SIGTERM)


@pytest.mark.parametrize("foreground", [[], ["-f"]])
def test_why_it_cannot_mount_is_said_in_two_lines(mount, tmp_path, foreground):
    done = mount("mount", *foreground, "bad-bucket", str(tmp_path / "mnt"))
    assert (done.returncode, done.stderr) == (1, "s3mount: no bucket bad-bucket\n  look again\n")
    done = mount("mount", *foreground, "odd-bucket", str(tmp_path / "mnt"))
    assert done.returncode == 1
    assert done.stderr.startswith("s3mount: internal error: ValueError: odd\n")
    assert "Traceback" not in done.stderr


def test_the_traceback_is_in_the_log_for_who_wants_it(mount, tmp_path):
    log = tmp_path / "log"
    flags = ["--log-level", "debug", "--log-file", str(log)]
    mount("odd-bucket", str(tmp_path / "mnt"), *flags)
    assert "Traceback" in log.read_text()


def test_the_foreground_tells_the_service_manager(tmp_path, mount):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        environment["PYTHONPATH"] = str(tmp_path / "stub")
        command = [
            sys.executable,
            "-P",
            "-m",
            "s3mount",
            "mount",
            "-f",
            "my-bucket",
            str(tmp_path / "mnt"),
        ]
        with subprocess.Popen(command, env=environment) as child:
            said = manager.recv(1000).decode()
            assert said.startswith("READY=1\nSTATUS=mounted my-bucket on ")
            child.terminate()
            assert manager.recv(1000).decode().startswith("STOPPING=1\n")
        assert child.returncode == 0


def test_who_is_stopped_while_waiting_stops_the_child(tmp_path, mount):
    stub = tmp_path / "stub" / "sitecustomize.py"
    stub.write_text(STUB.replace("    ready()\n", ""))
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "stub")}
    command = [sys.executable, "-P", "-m", "s3mount", "my-bucket", str(tmp_path / "mnt")]
    with subprocess.Popen(command, env=environment) as parent:
        note = tmp_path / "served"
        while not note.exists() or not note.read_text().endswith("}"):
            time.sleep(0.05)
        parent.terminate()
        assert parent.wait(10) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(json.loads(note.read_text())["pid"], 0)
