"""`s3mount ls`: what it prints, what it does not find, and how it ends."""

import json
import subprocess
import sys

import pytest

from s3mount.cli import exits
from s3mount.cli.ls import Style, lines
from s3mount.cli.main import run
from s3mount.store.interface import ObjectMeta, Page

META = ObjectMeta("a\tb", 1536, "e", 1_700_000_000_123_456_789)
COLD = META._replace(key="c", storage_class="GLACIER")
PAGE = Page([META, COLD], ["a/", "b/"], None)


@pytest.mark.parametrize(
    ("style", "shown"),
    [
        (Style(), "a\tb\na/\nb/\nc\n"),
        (Style(is_escaped=True), "a\\tb\na/\nb/\nc\n"),
        (
            Style(is_long=True),
            "          1536  2023-11-14T22:13:20Z  a\tb\n"
            "             -  -                     a/\n"
            "             -  -                     b/\n"
            "          1536  2023-11-14T22:13:20Z  GLACIER  c\n",
        ),
    ],
)
def test_entries_come_in_the_order_of_their_keys(style, shown):
    assert "".join(lines(PAGE, style)) == shown


def test_sizes_for_people():
    (line,) = lines(Page([META], [], None), Style(is_long=True, is_human=True))
    assert line.split() == ["1.5", "KiB", "2023-11-14T22:13:20Z", "a", "b"]


def test_a_record_a_line():
    key = 'quo"te\n\udc80'
    records = list(lines(Page([META._replace(key=key)], ["z/"], None), Style(is_json=True)))
    assert [json.loads(line) for line in records] == [
        {
            "key": key,
            "size": 1536,
            "mtime": "2023-11-14T22:13:20Z",
            "etag": "e",
            "storage_class": "STANDARD",
        },
        {"prefix": "z/"},
    ]
    assert all(line.count("\n") == 1 for line in records)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "store"
    for name in ("a/x", "a/y/z", "b", "c"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def test_a_directory_one_level_and_all(folder, capfd):
    assert run(["ls", f"file://{folder}"]) == 0
    assert capfd.readouterr().out == "a/\nb\nc\n"
    assert run(["ls", "-R", f"file://{folder}"]) == 0
    assert capfd.readouterr().out == "a/x\na/y/z\nb\nc\n"


def test_nothing_has_a_status_of_its_own(folder, capfd):
    assert run(["ls", f"file://{folder}", "--prefix", "none"]) == exits.NOTHING_FOUND == 3
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"s3mount: file://{folder}: nothing is there\n"


@pytest.fixture
def ls(bucket, monkeypatch, capfd):
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)

    def ls(*args):
        status = run(["ls", *args])
        out, err = capfd.readouterr()
        return status, out.splitlines(), err

    return ls


@pytest.mark.s3
def test_a_bucket(bucket, ls):
    for key in ("dir/a", "dir/b", "dir/sub/c", "é"):
        bucket.put(key, b"12345")
    name = bucket.name
    assert ls(name) == (0, ["dir/", "é"], "")
    assert ls(f"s3://{name}/dir") == (0, ["dir/a", "dir/b", "dir/sub/"], "")
    assert ls("-R", f"{name}/dir/") == (0, ["dir/a", "dir/b", "dir/sub/c"], "")
    assert ls(f"{name}/dir/a") == (0, ["dir/a"], "")
    status, out, _ = ls("-l", f"{name}/dir/a")
    assert (status, out[0].split()[0]) == (0, "5")


@pytest.mark.s3
def test_the_beginning_of_a_key_is_not_its_object(bucket, ls):
    bucket.put("dir/about")
    status, out, err = ls(f"{bucket.name}/dir/a")
    assert (status, out) == (exits.NOTHING_FOUND, [])
    assert "nothing is there" in err


@pytest.mark.s3
def test_no_bucket_is_an_error(bucket, ls):
    status, out, err = ls(f"{bucket.name}-none")
    assert (status, out) == (exits.FAILED, [])
    assert err.startswith("s3mount: ")
    assert "bucket" in err


@pytest.mark.s3
def test_a_reader_that_has_enough_ends_it_quietly(folder):
    for number in range(3000):
        (folder / f"{number:0200d}").touch()
    command = [sys.executable, "-m", "s3mount", "ls", f"file://{folder}"]
    listing = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert listing.stdout.readline()
    listing.stdout.close()
    assert listing.wait(30) == 0
    assert listing.stderr.read() == b""
    listing.stderr.close()
