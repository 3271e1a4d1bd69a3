"""`s3mount cache`: pins from the command line, and what the other commands say of them."""

import json
from pathlib import Path

import pytest

from s3mount.cache.cache import Cache, Limits, ObjectId
from s3mount.cli import exits
from s3mount.cli.main import run
from s3mount.config import MountOptions
from s3mount.metrics import Counters
from s3mount.store.interface import Head
from s3mount.store.open import open_store, parse_source, settings_of

SIZE = 10_000


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "bucket"
    path.mkdir()
    return path


@pytest.fixture
def cache_dir(tmp_path, folder):
    """A cache with three objects of a directory store, one of them in part."""
    root = tmp_path / "cache"
    store = open_store(parse_source(f"file://{folder}"), settings_of(MountOptions()))
    cache = Cache(root, Limits(1 << 30, 0, 1 << 24), counters=Counters())
    for key, stop in (("a/1", SIZE), ("a/2", SIZE // 2), ("b/1", SIZE)):
        held = cache.open_object(ObjectId(store.identity, key, "etag", SIZE))
        fill = held.begin_fill(0, stop)
        fill.head(Head("etag", SIZE))
        fill.write(bytes(stop))
        fill.finish()
        held.close()
    cache.maintain(1000.0)
    cache.close()
    store.close()
    return root


@pytest.fixture
def cache(cache_dir, capsys):
    """Runs a cache command; gives status, output and errors."""

    def call(*words):
        status = run(["cache", *words, "--cache-dir", str(cache_dir)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_a_pin_from_its_making_to_its_end(cache, folder):
    assert cache("pins") == (0, "nothing is pinned\n", "")
    assert cache("pin", "part", f"file://{folder}", "--prefix", "a/") == (
        0,
        "part: 2 objects, 28 KiB pinned\n",
        "",
    )
    assert cache("pin", "part", f"file://{folder}")[1] == (
        "part: 3 objects, 40 KiB pinned; 2 objects were pinned before\n"
    )
    assert cache("pins")[1] == "part  3 objects, 40 KiB cached\n"
    assert json.loads(cache("pins", "--json")[1]) == [
        {"name": "part", "objects": 3, "cached_bytes": 40_960, "wanted_bytes": 36_864}
    ]
    assert ", 40 KiB pinned" in cache("info")[1]
    assert json.loads(cache("info", "--json")[1])["pinned_bytes"] == 40_960
    assert cache("unpin", "part")[1] == "part: 3 objects no longer pinned by it\n"
    assert cache("pins", "--json")[1] == "[]\n"


def test_prune_and_clear_say_what_is_pinned(cache, folder):
    cache("pin", "a", f"file://{folder}", "--prefix", "a/")
    assert cache("prune", "--to", "0")[1] == (
        "1 object dropped, 12 KiB freed; 2 objects pinned and left\n"
    )
    status, out, error = cache("clear")
    assert (status, out) == (0, "0 objects dropped, 0 B freed; 2 objects pinned and left\n")
    assert error == "s3mount cache clear --pinned-too drops what is pinned\n"
    assert cache("clear", "--pinned-too")[1] == "2 objects dropped, 28 KiB freed\n"
    assert cache("pins")[1] == "a  2 objects, 0 B of 24 KiB cached\n"


def test_a_pin_of_nothing_fails_and_says_what_to_do(cache, folder):
    status, out, error = cache("pin", "x", f"file://{folder}", "--prefix", "none/")
    assert (status, out) == (exits.FAILED, "")
    assert "nothing is cached" in error
    assert "s3mount prefetch" in error
    status, _, error = cache("unpin", "x")
    assert status == exits.FAILED
    assert "no pin 'x'" in error
    assert "s3mount cache pins" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pin", "a/b", "file:///"), "cannot be the name of a pin"),
        (("pin", "x"), "Missing argument 'SOURCE'"),
        (("pin", "x", "/srv"), "file:///srv"),
        (("pin", "x", "file:///nowhere/at/all"), "there is no directory"),
        (("unpin", "a/b"), "cannot be the name of a pin"),
    ],
)
def test_what_is_asked_for_wrongly(cache, words, said):
    status, _, error = cache(*words)
    assert status == exits.USAGE
    assert said in error


def test_a_bucket_is_pinned_without_a_request(cache, cache_dir):
    found = Cache(cache_dir, Limits(1 << 30, 0, 0), counters=Counters())
    endpoint = "http://127.0.0.1:9"  # nobody answers there
    options = MountOptions(endpoint_url=endpoint, region="us-east-1", cache_dir=Path(cache_dir))
    store = open_store(parse_source("builds"), settings_of(options))
    held = found.open_object(ObjectId(store.identity, "nightly/x", "e", 5))
    fill = held.begin_fill(0, 5)
    fill.write(b"12345")
    fill.finish()
    held.close()
    found.maintain(1000.0)
    found.close()
    store.close()
    there = ("--endpoint-url", endpoint, "--region", "us-east-1")
    assert cache("pin", "n", "builds/nightly", *there)[:2] == (0, "n: 1 object, 4.0 KiB pinned\n")
