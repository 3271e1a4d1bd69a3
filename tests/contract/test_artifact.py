"""`s3mount artifact` as pipelines call it: the same promises of every backend, over real servers."""

import json
import os
import stat
import sys
from io import BytesIO, TextIOWrapper

import pytest

from s3mount.cli.main import run
from tests.support.hub import Hub

pytestmark = pytest.mark.s3

BACKENDS = ("local", "hub", "s3")
BIG = bytes(range(256)) * (20 * 4096 + 1)  # more than one part of an upload


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """A directory to work in, with nothing of this machine's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name in list(os.environ):
        if name.startswith(("SEMAPHORE_", "ARTIFACT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


class Call:
    """Runs commands; keeps what the last one said."""

    def __init__(self, capsys):
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *args):
        status = run(["artifact", *args])
        self.out, self.err = self._capsys.readouterr()
        return status

    @property
    def said(self):
        """The lines of the log without their times."""
        return [line.partition("] ")[2] for line in self.err.splitlines()]

    def names(self, *args):
        assert self("list", *args, "--json") == 0, self.err
        return [json.loads(line)["name"] for line in self.out.splitlines()]


@pytest.fixture(params=BACKENDS)
def call(request, capsys, monkeypatch, tmp_path):
    """Runs ``s3mount artifact`` for job 1, with each backend."""
    monkeypatch.setenv("SEMAPHORE_JOB_ID", "1")
    monkeypatch.setenv("ARTIFACT_BACKEND", request.param)
    made = Call(capsys)
    made.backend = request.param
    if request.param == "local":
        (tmp_path / "kept").mkdir()
        monkeypatch.setenv("ARTIFACT_LOCAL_DIR", str(tmp_path / "kept"))
    elif request.param == "s3":
        bucket = request.getfixturevalue("bucket")
        monkeypatch.setenv("ARTIFACT_S3_BUCKET", bucket.name)
        monkeypatch.setenv("ARTIFACT_S3_ENDPOINT", bucket.endpoint)
        monkeypatch.setenv("ARTIFACT_S3_FORCE_PATH_STYLE", "true")
    else:
        hub = request.getfixturevalue("hub")
        for name, value in hub.environment.items():
            monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture
def tree(work):
    """A directory with what directories have."""
    for name, body in {"a.txt": b"a", "b.bin": b"bb", "deep/er/c": b"ccc", "empty": b""}.items():
        path = work / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    (work / "tree" / "nothing").mkdir()
    return work / "tree"


def files(root):
    return {
        str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if each.is_file()
    }


def test_a_file_goes_and_comes_back(call, work):
    (work / "x.zip").write_bytes(b"body")
    assert call("push", "job", "x.zip") == 0
    assert call.said == [
        "Successfully pushed artifact for current job.",
        "* Local source: x.zip.",
        "* Remote destination: artifacts/jobs/1/x.zip.",
        "Pushed 1 file. Total of 4 B",
    ]
    (work / "x.zip").unlink()
    assert call("pull", "job", "x.zip") == 0
    assert call.said == [
        "Successfully pulled artifact for current job.",
        "* Remote source: 'artifacts/jobs/1/x.zip'.",
        "* Local destination: 'x.zip'.",
        "Pulled 1 file. Total of 4 B",
    ]
    assert files(work) == {"x.zip": b"body"}
    assert call("yank", "job", "x.zip") == 0
    assert call.said == ["Successfully yanked 'x.zip' from current job artifacts."]
    assert call("pull", "job", "x.zip", "-f") == 1
    assert call.said[0].startswith("Error pulling artifact: ")
    assert call.said[1] == "Please check if the artifact you are trying to pull exists."
    assert files(work) == {"x.zip": b"body"}
    assert call.out == ""


@pytest.mark.parametrize(
    ("level", "flag"), [("job", "-j"), ("workflow", "-w"), ("project", "--project-id")]
)
def test_every_level_and_another_id(call, work, monkeypatch, level, flag):
    (work / "x").write_bytes(b"body")
    monkeypatch.setenv(f"SEMAPHORE_{level.upper()}_ID", "1")
    assert call("push", level, "x", flag, "2") == 0
    assert f"Successfully pushed artifact for current {level}." in call.said
    assert f"* Remote destination: artifacts/{level}s/2/x." in call.said
    assert call("exists", level, "x") == 1
    assert call("exists", level, "x", flag, "2") == 0
    assert call("pull", level, "x", flag, "2", "-f") == 0
    assert call("delete", level, "x", flag, "2") == 0
    assert call("exists", level, "x", flag, "2") == 1


def test_a_directory(call, work, tree):
    assert call("push", "job", "tree/", "-d", "/in/./side") == 0
    assert "* Remote destination: artifacts/jobs/1/in/side." in call.said
    assert "Pushed 4 files. Total of 6 B" in call.said
    assert call.names("job") == [
        "in/side/a.txt",
        "in/side/b.bin",
        "in/side/deep/er/c",
        "in/side/empty",
    ]
    assert call("pull", "job", "in/side", "-d", "out") == 0
    assert files(work / "out") == files(tree)
    assert not (work / "out/nothing").exists()
    assert call("pull", "job", "in/side/deep") == 0
    assert files(work / "deep") == {"er/c": b"ccc"}
    assert call("yank", "job", "in/side/deep") == 0
    assert call.names("job", "in") == ["in/side/a.txt", "in/side/b.bin", "in/side/empty"]


def test_everything_of_an_id(call, work, tree):
    os.chdir(tree)
    assert call("push", "job", ".") == 0
    assert "* Remote destination: artifacts/jobs/1." in call.said
    os.chdir(work)
    assert call("pull", "job", ".", "-d", "out") == 0
    assert files(work / "out") == files(tree)
    (work / "cwd").mkdir()
    os.chdir(work / "cwd")
    assert call("pull", "job", "/") == 0
    assert files(work / "cwd") == files(tree)


def test_an_empty_directory_holds_nothing(call, work):
    (work / "d/e").mkdir(parents=True)
    assert call("push", "job", "d") == 0
    assert "Pushed 0 files. Total of 0 B" in call.said
    assert call("exists", "job", "d") == 1


def test_a_prefix_is_no_name(call, work):
    for name in ("log", "log2.txt", "logs"):
        (work / name).write_bytes(name.encode())
        target = {"log": "log/1", "logs": "logs/1"}.get(name, name)
        assert call("push", "job", name, "-d", target) == 0
    assert call("pull", "job", "log", "-d", "out") == 0
    assert files(work / "out") == {"1": b"log"}
    assert call("exists", "job", "lo") == 1
    assert call("pull", "job", "lo", "-d", "none") == 1
    assert call("yank", "job", "log") == 0
    assert call.names("job") == ["log2.txt", "logs/1"]
    assert call("yank", "job", "log") == 1
    assert call.said[0].startswith("Error yanking artifact: ")


def test_everything_of_one_id_is_not_that_of_another(call, work):
    (work / "x").write_bytes(b"body")
    for number in ("1", "10", "11"):
        assert call("push", "job", "x", "-j", number) == 0
    assert call("yank", "job", ".") == 0
    assert call("exists", "job", "x") == 1
    assert call("exists", "job", "x", "-j", "10") == 0
    assert call("exists", "job", "x", "-j", "11") == 0
    for path in ("../..", "../../.."):
        assert call("yank", "job", path) == 1
        assert "leads out of the artifacts of job 1" in call.err
    assert call("exists", "job", "x", "-j", "10") == 0
    assert call("yank", "job", "") == 2


def test_what_is_stored_is_not_overwritten_unasked(call, work, tree):
    (tree / "a.txt").rename(work / "a.txt")
    assert call("push", "job", "a.txt", "-d", "tree/deep/er/c") == 0
    before = call.names("job")
    assert call("push", "job", "tree") == 1
    said = {
        "hub": "'artifacts/jobs/1/tree/deep/er/c' already exists in the remote storage; "
        "delete it first, or use --force flag",
    }.get(
        call.backend,
        "artifact already exists: artifacts/jobs/1/tree/deep/er/c (use --force to overwrite)",
    )
    assert call.said == [f"Error pushing artifact: {said}"]
    assert call.names("job") == before, "nothing was sent"
    assert call("push", "job", "tree", "--force") == 0
    assert call("pull", "job", "tree", "-d", "out") == 0
    assert files(work / "out") == files(tree)
    assert call("push", "job", "a.txt", "-d", "tree/deep/er/c") == 1
    assert call("push", "job", "a.txt", "-d", "tree/deep/er/c", "-f") == 0


def test_local_files_are_not_overwritten_unasked(call, work, tree):
    assert call("push", "job", "tree") == 0
    (work / "out/deep/er").mkdir(parents=True)
    (work / "out/deep/er/c").write_bytes(b"mine")
    assert call("pull", "job", "tree", "-d", "out") == 1
    assert call.said[0] == (
        "Error pulling artifact: 'out/deep/er/c' already exists locally; "
        "delete it first, or use --force flag"
    )
    assert files(work / "out") == {"deep/er/c": b"mine"}, "nothing was fetched"
    assert call("pull", "job", "tree", "-d", "out", "-f") == 0
    assert files(work / "out") == files(tree)
    assert call("pull", "job", "tree/a.txt", "-d", "out") == 1
    assert "'out' already exists locally" in call.err
    assert call("pull", "job", "tree/a.txt", "-d", "out", "-f") == 1
    assert "'out' is a directory" in call.err
    assert call("pull", "job", "tree", "-d", "out/a.txt") == 1
    assert files(work / "out") == files(tree)


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input(call, work, monkeypatch, name):
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"\x1f\x8bbody")))
    assert call("push", "job", name, "-d", "in.gz") == 0
    assert f"* Local source: {name}." in call.said
    assert call("pull", "job", "in.gz") == 0
    assert (work / "in.gz").read_bytes() == b"\x1f\x8bbody"


def test_standard_input_without_a_name_gets_one(call, work, monkeypatch):
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"body")))
    assert call("push", "job", "-") == 0
    (name,) = call.names("job")
    assert name.startswith("stdin-")


def test_a_file_wins_over_a_pipe(call, work, monkeypatch):
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"pipe")))
    (work / "x").write_bytes(b"file")
    assert call("push", "job", "x") == 0
    assert call("pull", "job", "x", "-f") == 0
    assert (work / "x").read_bytes() == b"file"


def test_names_of_all_sorts(call, work):
    names = ["a b", "a+b", "ä/ö", "%20", "q?#&=", "dot.", ".env", "~", "[x]{y}", "back\\slash"]
    for name in names:
        path = work / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    assert call("push", "job", "tree") == 0
    assert call("pull", "job", "tree", "-d", "out") == 0
    assert files(work / "out") == files(work / "tree")
    assert call("pull", "job", "tree/a b", "-d", "one") == 0
    assert (work / "one").read_bytes() == b"a b"


def test_a_large_file(call, work):
    (work / "big").write_bytes(BIG)
    assert call("push", "job", "big") == 0
    assert "Pushed 1 file. Total of 20.0 MB" in call.said
    assert call("pull", "job", "big", "-f") == 0
    assert (work / "big").read_bytes() == BIG


def test_many_files(call, work):
    (work / "many").mkdir()
    for number in range(150):
        (work / "many" / str(number)).write_bytes(b"x" * number)
    assert call("push", "job", "many") == 0
    assert call("push", "job", "many") == 1
    assert call("pull", "job", "many", "-d", "out") == 0
    assert "Pulled 150 files. Total of 10.9 KB" in call.said
    assert files(work / "out") == files(work / "many")
    assert call("yank", "job", "many") == 0
    assert call.names("job") == []


def test_modes_and_times_are_kept(call, work):
    path = work / "run.sh"
    path.write_bytes(b"#!")
    path.chmod(0o750)
    os.utime(path, ns=(0, 1_600_000_000_123_456_789))
    assert call("push", "job", "run.sh") == 0
    assert call("pull", "job", "run.sh", "-d", "got") == 0
    found = (work / "got").stat()
    if call.backend == "hub":
        return  # its protocol has no room for them
    assert stat.S_IMODE(found.st_mode) == 0o750
    assert found.st_mtime_ns == 1_600_000_000_123_456_789


def test_links(call, work, tree):
    (work / "elsewhere").mkdir()
    (work / "elsewhere/f").write_bytes(b"far")
    (tree / "to-file").symlink_to("a.txt")
    (tree / "to-directory").symlink_to("../elsewhere")
    assert call("push", "job", "tree") == 0
    assert call("pull", "job", "tree", "-d", "out") == 0
    assert (work / "out/to-file").read_bytes() == b"a"
    assert not (work / "out/to-file").is_symlink()
    assert (work / "out/to-directory/f").read_bytes() == b"far"
    (work / "link").symlink_to("tree")
    assert call("push", "job", "link") == 0
    (tree / "deep/loop").symlink_to("..")
    assert call("push", "job", "tree", "-f") == 1
    assert "link to a directory that it lies in" in call.err


def test_a_link_where_a_file_goes_is_not_followed(call, work):
    (work / "x").write_bytes(b"body")
    assert call("push", "job", "x", "-d", "d/x") == 0
    (work / "victim").write_bytes(b"mine")
    (work / "out").mkdir()
    (work / "out/x").symlink_to("../victim")
    assert call("pull", "job", "d", "-d", "out") == 1
    assert call("pull", "job", "d", "-d", "out", "-f") == 0
    assert (work / "victim").read_bytes() == b"mine"
    assert (work / "out/x").read_bytes() == b"body"


def test_what_is_not_there_locally(call):
    assert call("push", "job", "none") == 1
    assert call.said == ["Error pushing artifact: path 'none' does not exist locally"]


def test_listing(call, work, tree):
    assert call.names("job") == []
    assert call("list", "job", "none") == 1
    assert call.said == ["Error listing artifacts: artifact not found: artifacts/jobs/1/none"]
    assert call("push", "job", "tree") == 0
    assert call("list", "job", "tree/b.bin") == 0
    size, unit, time, name = call.out.split()
    assert (size, unit, name) == ("2", "B", "tree/b.bin")
    assert time.endswith("Z")
    assert call("list", "job", "--json") == 0
    records = [json.loads(line) for line in call.out.splitlines()]
    assert [(each["name"], each["size"]) for each in records] == [
        ("tree/a.txt", 1),
        ("tree/b.bin", 2),
        ("tree/deep/er/c", 3),
        ("tree/empty", 0),
    ]


def test_expire_in_is_accepted_and_warns(call, work):
    (work / "x").write_bytes(b"body")
    assert call("push", "job", "x", "--expire-in", "whatever") == 0
    assert call.out.startswith("WARNING: ")


def test_no_temporary_file_is_left(call, work, tree):
    assert call("push", "job", "tree") == 0
    assert call("pull", "job", "tree", "-d", "out") == 0
    assert sorted(os.listdir(work / "out")) == ["a.txt", "b.bin", "deep", "empty"]
    assert call("push", "job", "tree", "-f") == 0
    assert len(call.names("job")) == 4
