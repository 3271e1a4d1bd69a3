"""`s3mount build` over directories: what it refuses, says, and leaves behind."""

import json
import os

import pytest

from s3mount.cli.build_run import RunWish, place
from s3mount.cli.build_wanted import spread
from s3mount.cli.main import run
from tests.unit.builds.archives import archive, artifact
from tests.unit.builds.github_api import github


@pytest.fixture(autouse=True)
def _no_run(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("THEROCK_", "GITHUB_", "RELEASE_TYPE")):
            monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path):
    """Artifacts of a run."""
    root = tmp_path / "staging" / "7-linux"
    root.mkdir(parents=True)
    for name in ("blas_lib_generic", "blas_lib_gfx942", "blas_test_generic", "rand_lib_gfx94X"):
        path = root / f"{name}.tar.zst"
        digest = artifact(path, files=[(f"lib/{name}", b"x")])
        path.with_name(f"{path.name}.sha256sum").write_text(f"{digest}\n")
    (root / "index.html").write_text("")
    return root


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Run a command in an empty directory; its status, stdout and stderr."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*args):
        status = run(["build", *map(str, args)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def names(path):
    return sorted(each.name for each in path.iterdir())


def listed(said):
    return [line.rpartition("/")[2].removesuffix(".tar.zst") for line in said.splitlines()]


# Which.


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], ["blas_lib_generic", "blas_lib_gfx942", "blas_test_generic", "rand_lib_gfx94X"]),
        (
            ["--artifact-group", "gfx942"],
            ["blas_lib_generic", "blas_lib_gfx942", "blas_test_generic"],
        ),
        (["--artifact-group", "gfx9"], ["blas_lib_generic", "blas_test_generic"]),
        (
            ["--amdgpu-targets", "gfx942, gfx94X", "_lib_"],
            ["blas_lib_generic", "blas_lib_gfx942", "rand_lib_gfx94X"],
        ),
        (
            ["--artifact-group", "gfx9", "--group-match", "substring", "_lib_"],
            ["blas_lib_generic", "blas_lib_gfx942", "rand_lib_gfx94X"],
        ),
        (["^blas", "--exclude", "_test_", "gfx"], ["blas_lib_generic"]),
        (["--exclude", "_test_", "gfx", "--", "^blas"], ["blas_lib_generic"]),
        (["--exclude=_test_", "gfx"], ["blas_lib_gfx942", "rand_lib_gfx94X"]),
    ],
)
def test_list(call, folder, args, expected):
    status, said, err = call("list", "--from", f"file://{folder}", *args)
    assert (status, err) == (0, "")
    assert listed(said) == expected
    assert said.startswith(f"file://{folder}/")


def test_list_for_programs_and_with_sizes(call, folder):
    source = f"file://{folder}"
    records = [
        json.loads(line) for line in call("list", "--from", source, "--json")[1].splitlines()
    ]
    assert records[1]["artifact"] == "blas_lib_gfx942.tar.zst"
    assert records[1]["uri"] == f"{source}/blas_lib_gfx942.tar.zst"
    assert records[1]["size"] == (folder / "blas_lib_gfx942.tar.zst").stat().st_size
    assert [records[1][field] for field in ("name", "component", "target_family")] == [
        *("blas", "lib", "gfx942"),
    ]
    assert str(records[1]["size"]) in call("list", "--from", source, "-l")[1]


def test_the_environment_names_a_run(call, folder, monkeypatch):
    monkeypatch.setenv("THEROCK_LOCAL_STAGING_DIR", str(folder.parent))
    assert len(listed(call("list", "--run-id", "7", "--platform", "linux")[1])) == 4
    monkeypatch.setenv("THEROCK_RUN_ID", "7")
    monkeypatch.setenv("THEROCK_PLATFORM", "linux")
    assert len(listed(call("list")[1])) == 4


@pytest.mark.parametrize(
    ("wish", "environment", "uri"),
    [
        (RunWish("7"), {}, "s3://therock-ci-artifacts/7-linux"),
        (RunWish("7", "windows"), {}, "s3://therock-ci-artifacts/7-windows"),
        (RunWish(), {"GITHUB_RUN_ID": "8"}, "s3://therock-ci-artifacts/8-linux"),
        (RunWish("7", fork=True), {}, "s3://therock-ci-artifacts-external/ROCm-TheRock/7-linux"),
        (RunWish("7", run_github_repo="a/b"), {}, "s3://therock-ci-artifacts-external/a-b/7-linux"),
        (RunWish("7", release_type="nightly"), {}, "s3://therock-nightly-artifacts/7-linux"),
        (RunWish("7", bucket="mine"), {}, "s3://mine/7-linux"),
        (RunWish(), {"THEROCK_LOCAL_STAGING_DIR": "/s"}, "file:///s/local-linux"),
    ],
)
def test_places(wish, environment, uri):
    environment = {"THEROCK_PLATFORM": "linux"} | environment
    assert place(wish, None, environment=environment).base_uri == uri


@pytest.mark.parametrize(
    ("wish", "prefix", "asked"),
    [
        (RunWish("7", lookup=True), "s3://therock-ci-artifacts-external/ROCm-TheRock/7-linux", 1),
        (RunWish("7", lookup=True, fork=False), "s3://therock-ci-artifacts/7-linux", 0),
        (RunWish("7"), "s3://therock-ci-artifacts/7-linux", 0),
    ],
)
def test_github_is_asked_by_who_wants_it(wish, prefix, asked):
    with github() as server:
        server.reply = (200, b'{"head_repository": {"full_name": "me/fork"}}')
        environment = server.environment | {"THEROCK_PLATFORM": "linux"}
        assert place(wish, None, environment=environment).base_uri == prefix
        assert len(server.asked) == asked


def test_exclude_takes_all_that_follows():
    assert spread(["a", "--exclude", "b", "c", "-l", "d"]) == [
        *("a", "--exclude", "b", "--exclude", "c", "-l", "d"),
    ]
    assert spread(["--exclude", "-x", "b"]) == ["--exclude", "-x", "b"]
    assert spread(["--exclude"]) == ["--exclude"]
    assert spread(["--exclude", "a", "--", "b", "--exclude"]) == [
        *("--exclude", "a", "--", "b", "--exclude"),
    ]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["list"], "--run-id"),
        (["fetch"], "--from"),
        (["push", "."], "--to"),
        (["list", "--from", "{}", "--run-id", "7"], "leave out --run-id"),
        (["list", "--from", "{}", "--no-fork"], "leave out --fork"),
        (["list", "--from", "{}", "["], "'['"),
        (["fetch", "--from", "{}", "--exclude", "a", "(b"], "'(b'"),
        (["list", "--from", "file:///missing/dir", "["], "'['"),
        (["list", "--run-id", "a/b"], "run id"),
        (["list", "--run-id", "7", "--platform", "mac"], "--platform"),
        (["list", "--run-id", "7", "--release-type", "daily"], "--release-type"),
        (["list", "--from", "snapshot:x"], "snapshot"),
        (["list", "--from", "file:///missing/dir"], "/missing/dir"),
        (["fetch", "--from", "{}", "--extract", "--no-extract"], "exclude each other"),
        (["fetch", "--from", "{}", "--flatten", "--no-extract"], "exclude each other"),
        (["fetch", "--from", "{}", "--download-concurrency", "0"], "--download-concurrency"),
        (["copy", "--to", "{}"], "--source-run-id"),
        (["copy", "--from", "{}", "--source-run-id", "7", "--to", "{}"], "--source-run-id"),
        (["copy", "--from", "{}", "--to", "{}"], "onto itself"),
        (["copy", "--from", "{}", "--to", "s3://bucket/p"], "build push"),
    ],
)
def test_what_is_refused(call, folder, args, says):
    status, said, err = call(*(word.format(f"file://{folder}") for word in args))
    assert (status, said) == (2, "")
    assert says in err


def test_a_run_that_is_not_there(call, folder, monkeypatch):
    (folder.parent / "8-linux").mkdir()
    monkeypatch.setenv("THEROCK_LOCAL_STAGING_DIR", str(folder.parent))
    monkeypatch.setenv("THEROCK_PLATFORM", "linux")
    status, said, err = call("fetch", "--run-id", "8", "--platform", "linux")
    assert (status, said) == (3, "")
    assert "--fork" in err
    for command in (["list"], ["fetch"], ["copy", "--to", f"file://{folder}"]):
        flag = "--source-run-id" if command[0] == "copy" else "--run-id"
        status, said, err = call(*command, flag, "9")
        assert (status, said) == (3, "")
        assert "there is no run file://" in err


def test_nothing_is_found(call, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for command in ("list", "fetch"):
        status, said, err = call(command, "--from", f"file://{tmp_path}/empty")
        assert (status, said) == (3, "")
        assert "there are no artifacts in file://" in err
        assert "--fork" not in err
        status, said, err = call(command, "--from", f"file://{folder}", "fft")
        assert (status, said) == (3, "")
        assert err.startswith("s3mount: no artifact matches fft\ns3mount: none of the 4 artifacts")
    (folder / "blas_lib_generic.tar.zst").unlink()
    (folder / "blas_test_generic.tar.zst").unlink()
    status, _, err = call("list", "--from", f"file://{folder}", "--artifact-group", "gfx1100")
    assert status == 3
    assert "there are: gfx942, gfx94X" in err
    assert call("push", tmp_path / "empty", "--to", f"file://{tmp_path}/to")[0] == 3


# Fetching.


def test_fetch(call, folder, tmp_path):
    status, said, err = call("fetch", "--from", f"file://{folder}", "^blas", "fft")
    out = tmp_path / "here" / "build" / "artifacts"
    assert status == 0
    assert err == "s3mount: no artifact matches fft\n"
    assert sorted(said.split()) == [
        f"build/artifacts/{name}"
        for name in ("blas_lib_generic", "blas_lib_gfx942", "blas_test_generic")
    ]
    assert names(out) == ["blas_lib_generic", "blas_lib_gfx942", "blas_test_generic"]


def test_fetch_flat(call, folder, tmp_path):
    args = ["fetch", "--from", f"file://{folder}", "--flatten", "--output-dir", "flat"]
    status, said, _ = call(*args, "--no-delete-after-extract", "--extract-concurrency", "1", "gfx")
    assert status == 0
    assert listed(said) == ["blas_lib_gfx942", "rand_lib_gfx94X"]
    assert names(tmp_path / "here" / "flat" / "lib") == ["blas_lib_gfx942", "rand_lib_gfx94X"]
    assert (tmp_path / "here" / "flat" / "blas_lib_gfx942.tar.zst").is_file()


def test_a_dry_run_makes_nothing(call, folder, tmp_path):
    status, said, err = call("fetch", "--from", f"file://{folder}", "--dry-run", "rand", "fft")
    assert (status, listed(said)) == (0, ["rand_lib_gfx94X"])
    assert "fft" in err
    assert names(tmp_path / "here") == []
    said = call("fetch", "--from", f"file://{folder}", "--dry-run", "--json", "rand")[1]
    assert json.loads(said)["status"] == "listed"


def test_what_fails_is_told_at_the_end(call, folder, tmp_path):
    (folder / "blas_lib_gfx942.tar.zst.sha256sum").write_text("0" * 64)
    archive(folder / "rand_lib_gfx94X.tar.zst", ("../evil", b"x"))
    (folder / "rand_lib_gfx94X.tar.zst.sha256sum").unlink()
    status, said, err = call("fetch", "--from", f"file://{folder}", "--output-dir", "out")
    assert status == 1
    assert sorted(said.split()) == ["out/blas_lib_generic", "out/blas_test_generic"]
    lines = err.splitlines()
    assert lines[0] == "s3mount: 2 of 4 artifacts failed:"
    assert lines[1].startswith("  blas_lib_gfx942.tar.zst: blas_lib_gfx942.tar.zst has the SHA-256")
    assert lines[3].startswith("  rand_lib_gfx94X.tar.zst: ")
    assert "leads out" in lines[3]
    assert not (tmp_path / "here" / "evil").exists()
    assert call("fetch", "--from", f"file://{folder}", "--no-verify", "gfx942")[0] == 0


def test_fetch_for_programs(call, folder):
    archive(folder / "rand_lib_gfx94X.tar.zst", ("../evil", b"x"))
    (folder / "rand_lib_gfx94X.tar.zst.sha256sum").unlink()
    status, said, _ = call("fetch", "--from", f"file://{folder}", "--json", "gfx")
    records = {each["artifact"]: each for each in map(json.loads, said.splitlines())}
    assert status == 1
    assert records["blas_lib_gfx942.tar.zst"]["status"] == "fetched"
    assert records["blas_lib_gfx942.tar.zst"]["path"] == "build/artifacts/blas_lib_gfx942"
    assert records["rand_lib_gfx94X.tar.zst"]["status"] == "failed"
    assert "evil" in records["rand_lib_gfx94X.tar.zst"]["error"]


def test_quiet(call, folder):
    assert call("fetch", "--from", f"file://{folder}", "-q") == (0, "", "")
    assert call("fetch", "--from", f"file://{folder}", "-q", "--no-extract") == (0, "", "")


def test_the_only_archives_are_not_removed(call, folder):
    args = ["fetch", "--from", f"file://{folder}", "--output-dir", folder]
    status, _, err = call(*args)
    assert status == 2
    assert "--no-delete-after-extract" in err
    assert call(*args, "--no-delete-after-extract")[0] == 0
    assert (folder / "blas_lib_gfx942.tar.zst").is_file()
    assert (folder / "blas_lib_gfx942").is_dir()


def test_of_two_archives_of_one_tree_one_is_unpacked(call, folder):
    artifact(folder / "rand_lib_gfx94X.tar.xz")
    assert listed(call("list", "--from", f"file://{folder}", "rand")[1]) == [
        *("rand_lib_gfx94X.tar.xz", "rand_lib_gfx94X"),
    ]
    said = call("fetch", "--from", f"file://{folder}", "--json", "rand")[1]
    assert json.loads(said)["artifact"] == "rand_lib_gfx94X.tar.zst"
    said = call("fetch", "--from", f"file://{folder}", "--no-extract", "rand")[1]
    assert len(said.splitlines()) == 2


# Sending.


def test_push(call, folder, tmp_path):
    target = f"file://{tmp_path}/to/8-linux"
    (folder / "rand_lib_gfx94X.tar.zst.sha256sum").unlink()
    status, said, err = call("push", folder, "--to", target, "--dry-run")
    assert (status, err) == (0, "")
    assert not (tmp_path / "to").exists()
    assert call("push", folder, "--to", target)[:2] == (0, said)
    sidecar = "rand_lib_gfx94X.tar.zst.sha256sum"  # made where there is none
    expected = sorted([*names(folder), sidecar])
    expected.remove("index.html")
    assert names(tmp_path / "to" / "8-linux") == expected
    assert call("fetch", "--from", target, "-q") == (0, "", "")


def test_push_to_a_staging_directory(call, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("THEROCK_LOCAL_STAGING_DIR", str(tmp_path / "to"))
    one = folder / "blas_lib_gfx942.tar.zst"
    assert call("push", one, "--run-id", "8", "--platform", "linux")[0] == 0
    assert names(tmp_path / "to" / "8-linux") == [one.name, f"{one.name}.sha256sum"]


def test_what_cannot_be_pushed(call, folder, tmp_path):
    target = f"file://{tmp_path}/to"
    (folder / "blas_lib_gfx942.tar.zst.sha256sum").write_text("0" * 64)
    status, said, err = call("push", folder, "--to", target, "--json")
    assert status == 1
    assert "1 of 4 artifacts failed" in err
    records = {each["artifact"]: each["status"] for each in map(json.loads, said.splitlines())}
    assert records.pop("blas_lib_gfx942.tar.zst") == "failed"
    assert set(records.values()) == {"sent"}
    assert "blas_lib_gfx942.tar.zst" not in names(tmp_path / "to")
    assert call("push", folder / "index.html", "--to", target)[0] == 1
    assert call("push", tmp_path / "missing.tar.xz", "--to", target)[0] == 1
    (tmp_path / "twin").mkdir()
    artifact(tmp_path / "twin" / "blas_lib_generic.tar.zst")
    assert "same name" in call("push", folder, tmp_path / "twin", "--to", target)[2]


def test_copy(call, folder, tmp_path):
    target = f"file://{tmp_path}/to"
    args = [
        "copy",
        "--from",
        f"file://{folder}",
        "--to",
        target,
        "blas",
        "fft",
        "--exclude",
        "test",
    ]
    status, said, err = call(*args, "--dry-run")
    assert (status, err) == (0, "s3mount: no artifact matches fft\n")
    assert not (tmp_path / "to").exists()
    assert listed(said) == ["blas_lib_generic", "blas_lib_gfx942"]
    status, said, _ = call(*args)
    assert (status, sorted(listed(said))) == (0, ["blas_lib_generic", "blas_lib_gfx942"])
    assert names(tmp_path / "to") == [
        f"blas_lib_{family}.tar.zst{end}"
        for family in ("generic", "gfx942")
        for end in ("", ".sha256sum")
    ]
    assert call("copy", "--from", f"file://{folder}", "--to", target, "fft")[0] == 3


def test_help_names_every_flag(call):
    said = call("fetch", "--help")[1]
    for flag in (
        *(
            "--run-id",
            "--platform",
            "--artifact-group",
            "--amdgpu-targets",
            "--exclude",
            "--dry-run",
        ),
        *(
            "--download-concurrency",
            "--extract-concurrency",
            "--no-extract",
            "--extract",
            "--flatten",
        ),
        *(
            "--delete-after-extract / --no-delete-after-extract",
            "--run-github-repo",
            "--output-dir",
        ),
        *("--from", "--no-verify", "--release-type", "--endpoint-url", "--cache-dir"),
    ):
        assert flag in said
    assert [call(name, "--help")[0] for name in ("list", "push", "copy")] == [0, 0, 0]
