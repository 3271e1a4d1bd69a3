"""`s3mount prefetch` as a command: what it says, and its exit statuses, over a local directory."""

import json

import pytest

from s3mount.cli.main import run


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    for name, size in {"a.log": 100, "sub/b.log": 2000, "sub/c.txt": 30, "empty": 0}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return folder


@pytest.fixture
def prefetch(files, tmp_path, capsys):
    """Run it; exit status, stdout and stderr."""

    def call(*arguments, source=None):
        cache = ["--cache-dir", str(tmp_path / "cache"), "--cache-min-free", "0"]
        status = run(["prefetch", source or f"file://{files}", *cache, *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_it_shows_the_keys_and_is_done(prefetch):
    status, out, err = prefetch()
    assert (status, err) == (0, "")
    assert sorted(out.split()) == ["a.log", "empty", "sub/b.log", "sub/c.txt"]
    assert prefetch("-q") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["--include", "*.log"], ["a.log", "sub/b.log"]),
        (["--include", "sub/", "--exclude", "*.txt"], ["sub/b.log"]),
        (["-r", r"^sub/.*\.txt$"], ["sub/c.txt"]),
        (["--larger", "30"], ["a.log", "sub/b.log"]),
        (["--smaller", "1KiB", "--larger", "0"], ["a.log", "sub/c.txt"]),
        (["--newer", "1h", "--include", "empty"], ["empty"]),
        (["--prefix", "sub", "--include", "c.*"], ["sub/c.txt"]),
    ],
)
def test_what_is_chosen(prefetch, arguments, keys):
    status, out, _ = prefetch(*arguments)
    assert (status, sorted(out.split())) == (0, keys)


def test_one_file_by_its_path(prefetch, files):
    assert prefetch(source=f"file://{files}/a.log") == (0, "a.log\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--larger", "much"], "allowed: a size"),
        (["--newer", "7"], "allowed: a length of time"),
        (["--max-bandwidth", "0"], "allowed: bytes per second"),
        (["--head-bytes", "0"], "allowed: a size"),
        (["-r", "*.log"], "--include"),
        (["--include", "[b-a]"], "glob"),
        (["-j", "0"], "-j"),
        (["--pin", "a/b"], "a/b"),
        (["--snapshot", "a/b"], "a/b"),
        (["--dry-run", "--pin", "name"], "--pin"),
        (["--progress", "loud"], "fancy"),
        (["--from-file", "/no/such/file"], "/no/such/file"),
    ],
)
def test_what_is_asked_for_wrongly_is_status_2_and_a_hint(prefetch, arguments, said):
    status, out, err = prefetch(*arguments)
    assert (status, out) == (2, "")
    assert said in err


def test_nothing_there_and_nothing_wanted_are_status_3(prefetch, tmp_path):
    (tmp_path / "nothing").mkdir()
    status, _, err = prefetch(source=f"file://{tmp_path}/nothing")
    assert (status, "nothing below" in err) == (3, True), err
    status, _, err = prefetch("--include", "*.tar")
    assert status == 3, err
    assert "none of the 4 objects" in err
    assert "globs" in err


def test_keys_from_a_file_and_a_missing_one(prefetch, tmp_path):
    listed = tmp_path / "keys"
    listed.write_text("a.log\n\nsub/c.txt\n")
    status, out, _ = prefetch("--from-file", str(listed))
    assert (status, sorted(out.split())) == (0, ["a.log", "sub/c.txt"])
    listed.write_text("a.log\nno.log\n")
    status, _, err = prefetch("--from-file", str(listed))
    assert status == 1
    assert "no.log" in err
    assert "not found" in err


def test_a_dry_run_says_how_much_and_whether_it_fits(prefetch):
    prefetch("-q", "--include", "a.log")
    status, out, _ = prefetch("--dry-run", "--json")
    plan = json.loads(out.splitlines()[-1])["plan"]
    assert status == 0
    assert (plan["objects"], plan["bytes"], plan["missing_bytes"]) == (4, 2130, 2030)
    assert plan["fits"]
    status, out, _ = prefetch("--dry-run")
    assert "it fits" in out


def test_what_does_not_fit_is_refused(prefetch, files):
    (files / "large").write_bytes(bytes(2 << 20))
    status, _, err = prefetch("--cache-size", "1MiB")
    assert status == 1
    assert "does not fit" in err
    assert "--cache-size" in err
    status, out, _ = prefetch("--cache-size", "1MiB", "--dry-run")
    assert status == 1
    assert "it does not fit" in out


def test_json_says_what_became_of_each(prefetch):
    status, out, _ = prefetch("--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert {record["key"]: record["ending"] for record in records[:-1]} == {
        "a.log": "fetched",
        "sub/b.log": "fetched",
        "sub/c.txt": "fetched",
        "empty": "present",
    }
    assert records[-1]["summary"]["bytes_fetched"] == 2130
