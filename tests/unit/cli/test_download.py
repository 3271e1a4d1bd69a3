"""What `s3mount download` refuses, warns of and says of itself."""

import pytest

from s3mount.cli.download import _below, _where
from s3mount.cli.main import run


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "f").write_bytes(b"body")
    return f"file://{tmp_path}/source"


@pytest.fixture
def out(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["-t", "4", "-c", "4"], "cannot use --threads (deprecated) and --concurrent-downloads"),
        (["-q", "--progress", "simple"], "--quiet and --progress"),
        (["-c", "0"], "--concurrent-downloads"),
        (["-c", "-1"], "--concurrent-downloads"),
        (["-t", "0"], "--threads"),
        (["--progress", "loud"], "--progress"),
        (["--download-dir", "missing"], "missing"),
        (["--delimiter", ""], "--delimiter"),
        (["-r", "["], "regular expression"),
        (["--include", "/"], "matches nothing"),
        (["--larger", "much"], "--larger"),
        (["--newer", "soon"], "--newer"),
    ],
)
def test_what_makes_no_sense_is_refused(source, out, capsys, args, says):
    assert run(["download", source, *args]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.out == ""
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "written", ["s3://", "s3:///p", "", " ", "/path", "gs://bucket", "s3://my"]
)
def test_what_names_no_bucket_is_refused(out, capsys, written):
    assert run(["download", written]) == 2
    assert capsys.readouterr().err.startswith("s3mount: ")


def test_into_the_current_directory(source, out, capsys):
    assert run(["download", source]) == 0
    assert capsys.readouterr() == ("f\n", "")
    assert (out / "f").read_bytes() == b"body"


def test_threads_is_another_word_with_a_warning(source, out, capsys):
    assert run(["download", source, "-t", "4"]) == 0
    said = capsys.readouterr().err
    assert said == "Warning: --threads is deprecated, use --concurrent-downloads instead.\n"


def test_many_requests_are_warned_of(source, out, capsys):
    assert run(["download", source, "-c", "1001"]) == 0
    assert "Warning: 1001 requests at once" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["simple", "detailed", "live-update", "fancy", "DETAILED"])
def test_every_way_of_progress(source, out, capsys, mode):
    assert run(["download", source, "--progress", mode]) == 0
    assert (out / "f").is_file()


def test_quiet(source, out, capsys):
    assert run(["download", source, "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_nothing_found(source, out, capsys, tmp_path):
    (tmp_path / "source" / "f").unlink()
    assert run(["download", source]) == 3
    assert "there is nothing below" in capsys.readouterr().err


def test_help_names_every_flag(capsys):
    assert run(["download", "--help"]) == 0
    said = capsys.readouterr().out
    for flag in ("--skip-existing", "--dry-run", "-c, --concurrent", "--region", "--cache-dir"):
        assert flag in said


@pytest.mark.parametrize(
    ("text", "delimiter", "bucket", "prefix"),
    [
        ("s3://bucket/my/test/pre", "/", "bucket", "my/test/pre"),
        ("bucket/p", "/", "bucket", "p"),
        ("S3://bucket", "/", "bucket", ""),
        ("s3://bucket//p", "/", "bucket", "/p"),
        ("s3://bucket:some:prefix", ":", "bucket", "some:prefix"),
        ("s3://bucket/p?x=%20#y", "/", "bucket", "p?x=%20#y"),
    ],
)
def test_the_prefix_is_taken_as_it_is_written(text, delimiter, bucket, prefix):
    source, found = _where(text, delimiter)
    assert (source.bucket_or_dir, source.prefix, found) == (bucket, "", prefix)


def test_a_prefix_of_the_options_begins_behind_a_slash():
    assert _below("a", "b/") == "a/b/"
    assert _below("a/", "/b/") == "a/b/"
    assert _below("", "b/") == "b/"
    assert _below("a", "") == "a"
