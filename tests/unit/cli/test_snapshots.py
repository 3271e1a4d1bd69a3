"""`s3mount snapshots`: what it prints, what it refuses, and that it carries a snapshot whole."""

import io
import json
import os
import sys

import pytest

from s3mount.cache.cache import Cache, Limits
from s3mount.cache.layout import ObjectId
from s3mount.cli import exits
from s3mount.cli.main import run
from s3mount.metrics import Counters
from s3mount.store import snapshots
from s3mount.store.interface import Head, ObjectMeta

FACTS = {
    "identity": "s3.aws/bucket",
    "prefix": "d/",
    "source": "s3://bucket/d",
    "kind": "s3",
    "place": "bucket",
    "created": "5.0",
    **dict.fromkeys(
        ("endpoint_url", "region", "addressing_style", "no_sign_request", "requester_pays"), ""
    ),
}
METAS = [ObjectMeta("d/a", 4, "e1", 0), ObjectMeta("d/b\n\udcff", 2000, "e2", 0)]


@pytest.fixture
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("S3MOUNT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def one(cache_dir):
    writer = snapshots.writer(cache_dir, "one", FACTS)
    writer.add([(METAS[0], "v1"), (METAS[1], "")])
    writer.commit()
    return cache_dir


def cached(cache_dir, meta, body):
    cache = Cache(cache_dir, Limits(1 << 30, 0, 1 << 24), counters=Counters())
    held = cache.open_object(ObjectId(FACTS["identity"], meta.key, meta.etag, meta.size))
    fill = held.begin_fill(0, meta.size)
    fill.head(Head(meta.etag, meta.size))
    fill.write(body)
    fill.finish()
    held.close()
    cache.close()


def test_none_yet(cache_dir, capsys):
    assert run(["snapshots"]) == 0
    assert "prefetch SOURCE --snapshot NAME" in capsys.readouterr().err
    assert run(["snapshots", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert not cache_dir.exists()


@pytest.mark.parametrize("written", [["snapshots"], ["snapshots", "list"]])
def test_what_there_is_and_how_much_of_it_is_cached(one, capsys, written):
    cached(one, METAS[0], b"body")
    assert run(written) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "one"
    assert out[1].startswith("  s3://bucket/d, ")
    assert out[2] == "  2 objects, 2.0 KiB; 50% of them cached, 4 B"
    assert run([*written, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record == {
        "name": "one",
        "source": "s3://bucket/d",
        "store": "s3.aws/bucket",
        "created": 5.0,
        "objects": 2,
        "bytes": 2004,
        "cached_objects": 1,
        "cached_bytes": 4,
    }


def test_a_damaged_one_is_said_to_be(one, capsys):
    snapshots.path_of(one, "two").write_bytes(b"junk")
    assert run(["snapshots"]) == 0
    assert "two\n  damaged" in capsys.readouterr().out
    assert run(["snapshots", "remove", "two"]) == 0
    assert snapshots.names(one) == ["one"]


def test_keys_byte_for_byte(one, capfdbinary):
    assert run(["snapshots", "show", "one"]) == 0
    assert capfdbinary.readouterr().out == b"d/a\nd/b\n\xff\n"
    assert run(["snapshots", "show", "one", "--json"]) == 0
    records = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert records[0] == {**METAS[0]._asdict(), "version_id": "v1"}
    assert records[1]["key"] == METAS[1].key


@pytest.mark.parametrize("command", ["show", "remove", "export"])
def test_an_unknown_name_names_the_others(one, capsys, tmp_path, command):
    rest = [str(tmp_path / "file")] if command == "export" else []
    assert run(["snapshots", command, "none", *rest]) == exits.USAGE
    assert "no snapshot 'none'" in (error := capsys.readouterr().err)
    assert "there are: one" in error
    assert not (tmp_path / "file").exists()


def test_out_to_a_file_and_in_again(one, tmp_path, capsys):
    assert run(["snapshots", "export", "one", str(tmp_path / "two.s3snapshot")]) == 0
    assert (tmp_path / "two.s3snapshot").stat().st_mode & 0o077 == 0
    assert sorted(os.listdir(tmp_path)) == ["cache", "two.s3snapshot"]
    elsewhere = f"--cache-dir={tmp_path}/elsewhere"
    assert run(["snapshots", "import", str(tmp_path / "two.s3snapshot"), elsewhere]) == 0
    assert "two: 2 objects, 2.0 KiB of s3://bucket/d (s3.aws/bucket)" in capsys.readouterr().out
    assert snapshots.names(tmp_path / "elsewhere") == ["two"]
    again = ["snapshots", "import", str(tmp_path / "two.s3snapshot"), elsewhere]
    assert run(again) == exits.USAGE
    assert "--replace" in capsys.readouterr().err
    assert run([*again, "--replace"]) == 0


def test_out_to_stdout_and_in_from_stdin(one, tmp_path, capfdbinary, monkeypatch):
    assert run(["snapshots", "export", "one", "-"]) == 0
    sys.stdout.flush()
    body = capfdbinary.readouterr().out
    assert body == snapshots.path_of(one, "one").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(body)))
    assert run(["snapshots", "import", "-"]) == exits.USAGE
    assert run(["snapshots", "import", "-", "--name", "two"]) == 0
    assert snapshots.names(one) == ["one", "two"]


@pytest.mark.parametrize("body", [b"", b"junk" * 1000])
def test_what_is_no_snapshot_is_refused(one, tmp_path, capsys, body):
    (tmp_path / "file").write_bytes(body)
    assert run(["snapshots", "import", str(tmp_path / "file")]) == exits.FAILED
    assert str(tmp_path / "file") in capsys.readouterr().err
    assert snapshots.names(one) == ["one"]
    assert run(["snapshots", "import", str(tmp_path / "nothing")]) == exits.FAILED
    assert "nothing" in capsys.readouterr().err


def test_out_to_a_directory_that_is_not_there(one, tmp_path, capsys):
    target = tmp_path / "nowhere" / "file"
    assert run(["snapshots", "export", "one", str(target)]) == exits.FAILED
    said = capsys.readouterr().err
    assert f"mkdir -p {target.parent}" in said


def test_help_does_not_wait_for_the_store(capsys):
    assert run(["snapshots", "--help"]) == 0
    assert "snapshot:nightly-0412" in capsys.readouterr().out
