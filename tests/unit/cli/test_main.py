"""Which command is meant, and what becomes of errors."""

import subprocess
import sys

import click
import pytest

from s3mount.cli import exits, main
from s3mount.cli.main import as_command, run
from s3mount.errors import ConfigError, S3MountError


def subclasses(root):
    return {root} | {each for direct in root.__subclasses__() for each in subclasses(direct)}


def test_every_error_has_an_exit_status():
    for error in subclasses(S3MountError):
        expected = exits.USAGE if issubclass(error, ConfigError) else exits.FAILED
        assert exits.status_of(error("x")) == expected
    assert exits.status_of(KeyboardInterrupt()) == 130
    assert exits.status_of(ZeroDivisionError()) == 1


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["my-bucket", "/mnt"], ["mount", "my-bucket", "/mnt"]),
        (["-f", "my-bucket", "/mnt"], ["mount", "-f", "my-bucket", "/mnt"]),
        (["s3://status", "/mnt"], ["mount", "s3://status", "/mnt"]),
        (["status"], ["status"]),
        (["umount", "/mnt"], ["umount", "/mnt"]),
        (["--help"], ["--help"]),
        ([], []),
    ],
)
def test_a_first_word_that_is_no_command_is_a_source(written, meant):
    assert as_command(written) == meant


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (["statsu"], "did you mean s3mount status?"),
        (["my-bucket"], "to mount: s3mount my-bucket MOUNTPOINT"),
        (["mount", "my-bucket"], "Missing argument 'MOUNTPOINT'"),
        (["my-bucket", "/none", "--cache-size", "ten"], '--cache-size: "ten" is not a size'),
        (["my-bucket", "/none", "-o", "remount"], "a mount cannot be changed"),
        (["my-bucket", "/none", "-o", "cashe_size=1"], "did you mean cache-size?"),
        (["/srv/data", "/none"], "file:///srv/data"),
        (["unmount"], "Missing argument"),
        (["cache", "prune", "--to", "x"], '--to: "x" is not a size'),
    ],
)
def test_what_is_asked_for_wrongly_exits_with_2(written, said, capsys):
    assert run(written) == exits.USAGE
    error = capsys.readouterr().err
    assert error.startswith("s3mount: ")
    assert said in error


def test_what_fails_exits_with_1(capsys, tmp_path):
    assert run(["my-bucket", str(tmp_path / "none")]) == exits.FAILED
    said = capsys.readouterr().err
    assert (
        said == f"s3mount: {tmp_path}/none: No such file or directory\n  mkdir -p {tmp_path}/none\n"
    )
    assert run(["unmount", str(tmp_path)]) == exits.FAILED
    assert run(["status", str(tmp_path)]) == exits.FAILED
    assert run(["refresh", str(tmp_path)]) == exits.FAILED


def test_a_command_that_was_spelled_wrong_is_no_missing_mountpoint(capsys, tmp_path):
    assert run(["prefecth", str(tmp_path / "nothing")]) == exits.FAILED
    assert "did you mean s3mount prefetch?" in capsys.readouterr().err
    assert run(["my-bucket", str(tmp_path / "nothing")]) == exits.FAILED
    assert "did you mean" not in capsys.readouterr().err


def test_ctrl_c_and_surprises(monkeypatch, capsys):
    def raising(error):
        @click.command()
        def command():
            raise error

        monkeypatch.setattr(main.Commands, "get_command", lambda *_: command)
        return run(["status"])

    assert raising(KeyboardInterrupt()) == 130
    capsys.readouterr()
    assert raising(ZeroDivisionError("oh")) == 1
    assert capsys.readouterr().err == (
        "s3mount: internal error: ZeroDivisionError: oh\n  --log-level debug logs where it happened\n"
    )
    assert raising(PermissionError(13, "Permission denied", "/x")) == 1
    assert capsys.readouterr().err == "s3mount: /x: Permission denied\n"


def test_help_teaches_a_newcomer_two_lines_and_every_command_shows_examples(capsys):
    assert run(["--help"]) == 0
    said = capsys.readouterr().out
    assert "mkdir -p ~/artifacts" in said
    assert "s3mount my-bucket ~/artifacts" in said
    for name in main.COMMANDS:
        assert run([name, "--help"]) == 0
        assert "xamples" in capsys.readouterr().out, name


def test_help_imports_nothing_heavy():
    script = """
import sys
from s3mount.cli.main import run
run(["--help"])
heavy = {"boto3", "botocore", "trio", "rich", "pycurl", "sqlite3"} & sys.modules.keys()
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
