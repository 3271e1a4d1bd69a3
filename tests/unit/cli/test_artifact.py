"""The words and the exit statuses of `s3mount artifact`, and which mounts it tells."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from s3mount.artifact.choose import Shelf, shelf_of
from s3mount.artifact.settings import HubSettings, LocalSettings, S3Settings
from s3mount.cli.artifact_log import line, size
from s3mount.cli.artifact_mounts import below_mount
from s3mount.cli.main import run

PREFIX = r"\[[A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d\.\d{3}\] "


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """A local backend, job 1, nothing of this machine's."""
    for name in list(os.environ):
        if name.startswith(("SEMAPHORE_", "ARTIFACT_")):
            monkeypatch.delenv(name)
    (tmp_path / "kept").mkdir()
    monkeypatch.setenv("ARTIFACT_BACKEND", "local")
    monkeypatch.setenv("ARTIFACT_LOCAL_DIR", str(tmp_path / "kept"))
    monkeypatch.setenv("SEMAPHORE_JOB_ID", "1")
    (tmp_path / "x").write_bytes(b"body")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "kept"


def test_success_is_said_on_stderr_with_its_time(capsys):
    assert run(["artifact", "push", "job", "x"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    for each in said.err.splitlines():
        assert re.match(PREFIX, each)


def test_a_line():
    now = datetime(2026, 1, 2, 3, 4, 5, 67_000, UTC)
    assert line("text", now) == "[Jan  2 03:04:05.067] text"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1.0 KB"),
        (1536, "1.5 KB"),
        (1 << 20, "1.0 MB"),
        (int(2.5 * (1 << 30)), "2.5 GB"),
        (5 << 40, "5.0 TB"),
        (3 << 50, "3.0 PB"),
        (1 << 63, "8.0 EB"),
        (1 << 73, "8192.0 EB"),
    ],
)
def test_sizes(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (["push", "job", "x", "y"], 2, "unexpected extra argument"),
        (["push", "jobs", "x"], 2, "'jobs' is not one of"),
        (["push", "job"], 2, "Missing argument 'PATH'"),
        (["push", "job", ""], 2, "PATH is empty"),
        (["yank", "job", ""], 2, "PATH is empty"),
        (["pull", "job", "x", "-w", "1"], 2, "--workflow-id goes with workflow, not with job"),
        (["pull", "job", "x", "--job", "1", "--nope"], 2, "No such option"),
        (["push", "workflow", "x"], 1, "error: workflow ID is not set."),
        (["push", "project", "x"], 1, "error: project ID is not set."),
        (["push", "job", "x", "-j", "../2"], 1, "error: job ID '../2' cannot be part of a path"),
        (["push", "job", ".."], 1, "error: '..' leads out of the artifacts of job 1"),
        (["push", "job", "x", "-d", "../../.."], 1, "leads out of the artifacts of job 1"),
        (["yank", "job", "../.."], 1, "leads out of the artifacts of job 1"),
        (["pull", "job", "x", "--config", "none.yaml"], 1, "error: none.yaml: No such file"),
        (["exists", "workflow", "x"], 2, "error: workflow ID is not set."),
    ],
)
def test_what_is_asked_for_wrongly(args, status, says, capsys, kept):
    assert run(["artifact", *args]) == status
    assert says in capsys.readouterr().err
    assert list(kept.iterdir()) == []


def test_a_missing_id_is_said_word_for_word(monkeypatch, capsys):
    monkeypatch.delenv("SEMAPHORE_JOB_ID")
    assert run(["artifact", "pull", "job", "x"]) == 1
    assert capsys.readouterr().err == (
        "error: job ID is not set. Please use the SEMAPHORE_JOB_ID environment variable "
        "or the --job-id parameter to configure it\n"
    )


def test_an_unknown_backend_is_an_error(monkeypatch, capsys):
    monkeypatch.setenv("ARTIFACT_BACKEND", "gcs")
    assert run(["artifact", "push", "job", "x"]) == 1
    said = capsys.readouterr().err
    assert said == "error: ARTIFACT_BACKEND: 'gcs' is no backend\n  allowed: hub, s3, local\n"


@pytest.mark.parametrize("place", [0, 1, 2, 4])
def test_the_configuration_before_or_behind(place, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("ARTIFACT_BACKEND")
    (tmp_path / "other").mkdir()
    monkeypatch.delenv("ARTIFACT_LOCAL_DIR")
    (tmp_path / "c.yaml").write_text(f"backend: local\nlocal:\n  dir: {tmp_path}/other\n")
    args = ["push", "job", "x", "-f"]
    args[place:place] = ["--config", "c.yaml", "-v"]
    assert run(["artifact", *args]) == 0, capsys.readouterr().err
    assert (tmp_path / "other/artifacts/jobs/1/x").read_bytes() == b"body"


def test_the_configuration_at_home(monkeypatch, tmp_path):
    monkeypatch.delenv("ARTIFACT_BACKEND")
    (tmp_path / ".artifact.yaml").write_text("Backend: local\n")
    assert run(["artifact", "push", "job", "x"]) == 0


def test_expire_in_warns_on_stdout(capsys):
    assert run(["artifact", "push", "job", "x", "-e", "2w"]) == 0
    assert capsys.readouterr().out.startswith("WARNING: the --expire-in flag is obsolete")


def test_what_cannot_be_told_is_not_no(monkeypatch, capsys):
    assert run(["artifact", "exists", "job", "none"]) == 1
    monkeypatch.setenv("ARTIFACT_LOCAL_DIR", "/nowhere/at/all")
    assert run(["artifact", "exists", "job", "none"]) == 2
    assert "Error looking for artifact: there is no directory" in capsys.readouterr().err


def test_help_teaches(capsys):
    assert run(["artifact", "--help"]) == 0
    said = capsys.readouterr().out
    for word in ("push", "pull", "yank", "exists", "list", "ARTIFACT_BACKEND=s3", "delete"):
        assert word in said
    assert run(["artifact", "push", "--help"]) == 0
    assert "-d, --destination" in capsys.readouterr().out


def test_help_loads_no_backend():
    program = (
        "import sys; from s3mount.cli.main import run; run(['artifact', 'push', '--help']); "
        "heavy = {'boto3', 'botocore', 'urllib3', 'yaml', 'pycurl', 's3mount.bulk'}; "
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_of_its_own(kept, tmp_path):
    program = "from s3mount.cli.artifact_main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "push", "job", "-", "-d", "in"],
        input=b"piped",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (kept / "artifacts/jobs/1/in").read_bytes() == b"piped"
    done = subprocess.run(
        [sys.executable, "-c", program, "pull", "job", "none"], capture_output=True, check=False
    )
    assert done.returncode == 1


def test_a_pipe_that_is_named(kept):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m s3mount artifact push job <(echo hi) -d z"],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert (kept / "artifacts/jobs/1/z").read_bytes() == b"hi\n"


@pytest.mark.parametrize(
    ("source", "prefix", "below"),
    [
        ("s3://b", "artifacts/jobs/1/", "artifacts/jobs/1/"),
        ("s3://b/artifacts", "artifacts/jobs/1/", "jobs/1/"),
        ("s3://b/artifacts/jobs/1", "artifacts/jobs/1/", ""),
        ("s3://b/artifacts/jobs/1/d/e", "artifacts/jobs/1/", ""),
        ("s3://b/artifacts/jobs/10", "artifacts/jobs/1/", None),
        ("s3://b/other", "artifacts/jobs/1/", None),
        ("s3://bb", "artifacts/jobs/1/", None),
        ("file://b", "artifacts/jobs/1/", None),
        ("", "artifacts/jobs/1/", None),
    ],
)
def test_which_directory_of_a_mount_shows_it(source, prefix, below):
    assert below_mount(source, Shelf("s3", "b", ""), prefix) == below


def test_where_artifacts_can_be_seen(tmp_path):
    assert shelf_of(S3Settings("b", prefix="ci/")) == Shelf("s3", "b", "ci/")
    assert shelf_of(S3Settings("b")) == Shelf("s3", "b", "")
    assert shelf_of(LocalSettings(str(tmp_path))) == Shelf("file", os.path.realpath(tmp_path), "")
    assert shelf_of(HubSettings("https://o", "t")) is None
