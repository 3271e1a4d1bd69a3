"""A listing in a file: answers like a store that has the same keys, whole or not there at all."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from s3mount.errors import CacheError
from s3mount.store.interface import ListPage, ObjectMeta
from s3mount.store.manifest import BadManifest, Manifest, after
from s3mount.store.manifest_writer import ManifestWriter
from s3mount.store.paging import byte_order, fold_page

PIECES = ["a", "b", "/", "-", ".", "é", "\udc80", "\udcff", "\U0001f600", "\uffff"]
texts = st.lists(st.sampled_from(PIECES), max_size=3).map("".join)
key_lists = st.lists(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join), max_size=24, unique=True
)
FACTS = {"identity": "memory:bucket", "prefix": "", "listed_at": "5.0"}


def meta_of(key):
    return ObjectMeta(key, len(key), f'"{len(key)}', -7, "GLACIER", len(key) % 2 == 0)


def written(path, keys, facts=FACTS, page=3):
    writer = ManifestWriter(path, facts)
    for start in range(0, len(keys), page):
        writer.add([meta_of(key) for key in keys[start : start + page]])
    writer.commit()
    return Manifest(path)


@settings(max_examples=150)
@given(key_lists, texts, st.sampled_from(["", "/", "-", "a"]), texts)
@example(["a", "a-", "a/", "a/a", "a/b", "a0"], "", "/", "")
@example(["a/", "a/b"], "a/", "/", "")
@example([f"a/{number}" for number in range(30)] + ["b"], "", "/", "a/2")
@example(["\udcff", "\udcff\udcff", "\udcff/"], "\udcff", "/", "")
def test_it_answers_as_a_store_does(tmp_path_factory, keys, prefix, delimiter, start_after):
    ordered = sorted(keys, key=byte_order)
    path = tmp_path_factory.mktemp("manifest") / "m"
    with closing(written(path, keys)) as manifest:
        for max_keys in {1, 2, 3, 7, len(keys) + 1}:
            token = None
            for _ in range(len(keys) + 2):
                request = ListPage(prefix, delimiter, token, start_after, max_keys)
                page = manifest.page(request)
                assert page == fold_page(ordered, request, meta_of)
                token = page.next_token
                if token is None:
                    break
            assert token is None


@given(st.binary(max_size=3), st.binary(max_size=4))
def test_what_comes_behind_a_prefix(prefix, key):
    behind = after(prefix)
    is_behind = key > prefix and not key.startswith(prefix)
    assert is_behind == (behind is not None and key >= behind)


def test_a_page_of_folded_keys_reads_little(tmp_path):
    keys = [f"d{number}/{name:06d}" for number in range(5) for name in range(2000)]
    with closing(written(tmp_path / "m", keys, page=1000)) as manifest:
        steps = 0

        def count():
            nonlocal steps
            steps += 1

        manifest._db.set_progress_handler(count, 1)
        page = manifest.page(ListPage("", "/"))
        assert len(page.prefixes) == 5
        assert steps < 2500, "instructions of sqlite; all rows take more than 100,000"


def test_what_is_written_is_read_again(tmp_path):
    keys = ["b", "a", "\udcff", "é"]
    with closing(written(tmp_path / "new" / "m", keys)) as manifest:
        assert manifest.facts == FACTS
        assert (manifest.identity, manifest.prefix, manifest.listed_at) == (
            "memory:bucket",
            "",
            5.0,
        )
        assert [each.meta for each in manifest.objects()] == [
            meta_of(key) for key in ["a", "b", "é", "\udcff"]
        ]
        assert [each.meta.key for each in manifest.objects("a")] == ["a"]
        assert manifest.totals() == (4, 4)
        assert manifest.version_id("a") == manifest.version_id("none") == ""
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / "m").stat().st_mode & 0o777 == 0o600


def test_nobody_sees_it_before_it_is_whole(tmp_path):
    path = tmp_path / "m"
    tmp_path.chmod(0o700)
    written(path, ["old"]).close()
    writer = ManifestWriter(path, FACTS)
    writer.add([meta_of("new")])
    with closing(Manifest(path)) as manifest:
        assert [each.meta.key for each in manifest.objects()] == ["old"]
        writer.commit()
        assert [each.meta.key for each in manifest.objects()] == ["old"], "it stays what it was"
    writer.abandon()
    with closing(Manifest(path)) as manifest:
        assert [each.meta.key for each in manifest.objects()] == ["new"]


def test_what_is_abandoned_leaves_nothing(tmp_path):
    writer = ManifestWriter(tmp_path / "d" / "m", FACTS)
    writer.add([meta_of("a")])
    writer.abandon()
    writer.abandon()
    assert os.listdir(tmp_path / "d") == []


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    script = (
        "import os, sys; from pathlib import Path\n"
        "from s3mount.store.manifest_writer import ManifestWriter\n"
        "ManifestWriter(Path(sys.argv[1]), {}); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "d" / "m"], check=False, timeout=30)
    (left,) = os.listdir(tmp_path / "d")
    living = ManifestWriter(tmp_path / "d" / "m", FACTS)
    another = ManifestWriter(tmp_path / "d" / "m", FACTS)
    assert left not in os.listdir(tmp_path / "d")
    assert len(os.listdir(tmp_path / "d")) == 2
    another.abandon()
    living.commit()
    assert os.listdir(tmp_path / "d") == ["m"]


def test_a_directory_that_others_can_write_to_is_refused(tmp_path):
    (tmp_path / "d").mkdir(mode=0o777)
    (tmp_path / "d").chmod(0o777)
    with pytest.raises(CacheError, match="open to other users"):
        ManifestWriter(tmp_path / "d" / "m", FACTS)


@pytest.mark.parametrize(
    "body", [b"", b"no sqlite at all" * 100, b"SQLite format 3\0" + b"\0" * 84]
)
def test_what_is_no_manifest_is_refused(tmp_path, body):
    (tmp_path / "m").write_bytes(body)
    with pytest.raises(BadManifest):
        Manifest(tmp_path / "m")


@pytest.mark.parametrize(
    "change",
    [
        "CREATE VIEW more AS SELECT 1",
        "CREATE TRIGGER more AFTER INSERT ON facts BEGIN DELETE FROM facts; END",
        "CREATE INDEX more ON objects (size)",
        "DROP TABLE facts",
        "ALTER TABLE objects ADD COLUMN more",
        "PRAGMA user_version = 2",
        "PRAGMA application_id = 1",
    ],
)
def test_a_manifest_with_anything_else_in_it_is_refused(tmp_path, change):
    written(tmp_path / "m", ["a"]).close()
    with closing(sqlite3.connect(tmp_path / "m")) as db:
        db.execute(change)
        db.commit()
    with pytest.raises(BadManifest):
        Manifest(tmp_path / "m")


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=200))
def test_damage_is_an_error_or_no_damage_and_never_ends_a_process(tmp_path_factory, at, junk):
    path = tmp_path_factory.mktemp("manifest") / "m"
    written(path, [f"d/{number}" for number in range(300)], page=1000).close()
    body = bytearray(path.read_bytes())
    at %= len(body)
    body[at : at + len(junk)] = junk
    path.write_bytes(body)
    try:
        with closing(Manifest(path)) as manifest:
            manifest.page(ListPage("", "/"))
            list(manifest.objects())
            manifest.totals()
    except BadManifest:
        pass


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        Manifest(tmp_path / "m")
    assert os.listdir(tmp_path) == []
