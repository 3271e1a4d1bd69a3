"""Whole prefixes into files, over a store in memory that fails on demand: what is written, and what is left behind."""

import contextlib
import errno
import os
import time
from contextlib import closing

import pytest

from s3mount.bulk import receiving as receiving_module
from s3mount.bulk.download import download_objects
from s3mount.bulk.keys import Unplaceable
from s3mount.bulk.ledger import Ledger
from s3mount.bulk.outcome import Ending
from s3mount.bulk.receiving import GATHER, Damaged
from s3mount.bulk.saving import MIB, PART
from s3mount.bulk.selection import Selection
from s3mount.bulk.wanted import Collision, DiskFull
from s3mount.bulk.warm import prefetch_objects
from s3mount.cache.cache import Limits
from s3mount.errors import AccessDenied, ConfigError, NotFound, ObjectArchived, ServerFault
from s3mount.store.interface import Get
from s3mount.store.memory import MemoryStore
from tests.support.faulty_store import FaultyStore
from tests.unit.bulk.sessions import SerialPages, session_over

ALL = Selection()
BIG = bytes(range(256)) * (20 * MIB // 256)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def session(store, tmp_path):
    with session_over(FaultyStore(store), tmp_path / "cache") as opened:
        yield opened


def fetch(session, root, prefix="", selection=ALL, **options):
    """Run to the end; outcomes by key."""
    batches = download_objects(session, prefix, str(root), selection, **({"jobs": 16} | options))
    outcomes = [each for batch in batches for each in batch]
    found = {each.meta.key: each for each in outcomes}
    assert len(found) == len(outcomes)
    return found


def is_get(request):
    return isinstance(request, Get)


def endings(outcomes):
    return {key: each.ending for key, each in outcomes.items()}


def files(root):
    return {
        str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if each.is_file()
    }


def test_every_size(store, session, root):
    bodies = {
        f"d/{size}": BIG[:size]
        for size in [0, 1, 4096, 256 * 1024, 256 * 1024 + 1, MIB, PART, PART + 1, len(BIG)]
    }
    metas = {key: store.put(key, body) for key, body in bodies.items()}
    outcomes = fetch(session, root)
    assert set(endings(outcomes).values()) == {Ending.FETCHED}
    assert files(root) == bodies
    for key, outcome in outcomes.items():
        assert outcome.place == str(root / key)
        assert outcome.fetched == len(bodies[key])
        assert (root / key).stat().st_mtime_ns == metas[key].mtime_ns
    gets = [get.key for get in session.store.gets()]
    assert gets.count("d/0") == 0
    assert gets.count(f"d/{PART}") == 1
    assert gets.count(f"d/{len(BIG)}") == 3


def test_every_get_names_the_version(store, session, root):
    for size in (10, 300_000, len(BIG)):
        store.put(f"{size}", BIG[:size])
    fetch(session, root)
    assert all(get.etag for get in session.store.gets())
    assert [get.whole for get in session.store.gets() if get.key != f"{len(BIG)}"] == [True, True]


def test_a_prefix_is_a_text(store, session, root):
    for key in ("p/a", "px", "q/b"):
        store.put(key, b"x")
    assert set(fetch(session, root, "p")) == {"p/a", "px"}
    assert set(files(root)) == {"p/a", "px"}
    (root / "px").unlink()
    fetch(session, root, "p/")
    assert set(files(root)) == {"p/a", "a"}


def test_markers_have_no_outcome(store, session, root):
    for key in ("d/", "d/e/", "d/f"):
        store.put(key, b"")
    store.put("full/", b"bytes")
    ledger = Ledger()
    assert set(fetch(session, root, ledger=ledger)) == {"d/f"}
    assert (ledger.listed, ledger.objects, ledger.is_listed) == (4, 1, True)
    assert files(root) == {"d/f": b""}


def test_a_selection(store, session, root):
    for key in ("a.log", "d/b.log", "d/c.txt"):
        store.put(key, b"x")
    ledger = Ledger()
    fetch(session, root, selection=Selection(regex=r"\.log$"), ledger=ledger)
    assert set(files(root)) == {"a.log", "d/b.log"}
    assert (ledger.listed, ledger.objects, ledger.size) == (3, 2, 2)


def test_other_pages(store, session, root):
    for number in range(50):
        store.put(f"d/{number}", b"%d" % number)
    pages = SerialPages(session.engine, "d/", max_keys=7)
    fetch(session, root, "d/", pages=pages)
    assert files(root) == {f"{number}": b"%d" % number for number in range(50)}


def test_a_dry_run_touches_nothing(store, session, root):
    store.put("d/f", b"body")
    store.put("../evil", b"body")
    outcomes = fetch(session, root, dry_run=True)
    assert endings(outcomes) == {"d/f": Ending.LISTED, "../evil": Ending.FAILED}
    assert outcomes["d/f"].place == str(root / "d/f")
    assert list(root.iterdir()) == []
    assert session.store.gets() == []


def test_what_exists_is_replaced_or_skipped(store, session, root):
    for key in ("same", "d/other", "big"):
        store.put(key, BIG[: 9 * MIB] if key == "big" else b"body")
    fetch(session, root)
    before = len(session.store.gets())
    (root / "d/other").write_bytes(b"else")
    outcomes = fetch(session, root, skip_existing=True)
    present = {"same": Ending.PRESENT, "big": Ending.PRESENT, "d/other": Ending.FETCHED}
    assert endings(outcomes) == present
    assert outcomes["same"].place == str(root / "same")
    assert len(session.store.gets()) == before + 1
    (root / "same").write_bytes(b"changed")
    assert set(endings(fetch(session, root)).values()) == {Ending.FETCHED}
    assert files(root)["same"] == b"body"


def test_no_key_leaves_the_directory(store, session, root, tmp_path):
    evil = ["../evil", "x/../../../evil", "q/..", "a/b/../../../evil", "n\0ul", "a" * 256]
    for key in [*evil, "/tmp/abs", "back\\..\\slash", "in/../side", "new\nline"]:
        store.put(key, b"body")
    outcomes = fetch(session, root)
    assert {key for key, each in outcomes.items() if each.error is not None} == set(evil)
    assert all(isinstance(outcomes[key].error, Unplaceable) for key in evil)
    assert set(files(root)) == {"tmp/abs", "back\\..\\slash", "side", "new\nline"}
    assert not list(tmp_path.rglob("evil"))


def test_clashes_are_told_and_nothing_is_lost(store, session, root):
    for key in ("a", "a/b", "d//e", "d/e", "d/./e"):
        store.put(key, key.encode())
    outcomes = fetch(session, root)
    there = {outcome.place: key for key, outcome in outcomes.items() if outcome.error is None}
    assert len(there) == 2
    assert {str(root / name): body.decode() for name, body in files(root).items()} == there
    collided = [each for each in outcomes.values() if isinstance(each.error, Collision)]
    assert len(collided) == 2


@pytest.mark.parametrize("size", [10, 300_000, len(BIG)])
def test_an_object_that_fails(store, session, root, size):
    store.put("bad", BIG[:size])
    store.put("good", b"good")
    session.store.fail(
        NotFound("gone", key="bad"),
        matches=lambda request: is_get(request) and request.key == "bad",
    )
    outcomes = fetch(session, root, pages=SerialPages(session.engine))
    assert endings(outcomes) == {"bad": Ending.FAILED, "good": Ending.FETCHED}
    assert "run the same command again" in outcomes["bad"].error.hint
    assert files(root) == {"good": b"good"}


@pytest.mark.parametrize("size", [5000, 300_000, len(BIG)])
def test_a_reply_that_breaks_off_goes_on_where_it_broke(store, session, root, size):
    store.put("k", BIG[:size])
    session.store.fail(ServerFault("broken"), times=3, after=size // 8, matches=is_get)
    assert endings(fetch(session, root)) == {"k": Ending.FETCHED}
    assert files(root) == {"k": BIG[:size]}


@pytest.mark.parametrize("size", [5000, 300_000])
@pytest.mark.parametrize("times", [1, 3])
def test_damaged_bytes_are_fetched_again(store, session, root, size, times):
    store.put("k", BIG[:size])
    broken = Flipping(session.store.inner, times)
    session.store.inner = broken
    outcome = fetch(session, root)["k"]
    if times < 3:
        assert files(root) == {"k": BIG[:size]}
    else:
        assert isinstance(outcome.error, Damaged)
        assert files(root) == {}


class Flipping:
    """A store that turns a bit of some replies."""

    def __init__(self, inner, times):
        self.inner, self.times = inner, times

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def submit(self, request, receiver):
        if isinstance(request, Get) and self.times:
            self.times -= 1
            tell = receiver.sink.write
            receiver.sink = _Turned(
                receiver.sink, lambda chunk: tell(bytes([chunk[0] ^ 1]) + chunk[1:])
            )
        self.inner.submit(request, receiver)


class _Turned:
    def __init__(self, sink, write):
        self.head, self.finish, self.fail, self.write = sink.head, sink.finish, sink.fail, write


def test_an_archived_object_is_not_asked_for(store, session, root):
    store.put("cold", b"body", storage_class="GLACIER")
    outcomes = fetch(session, root)
    assert isinstance(outcomes["cold"].error, ObjectArchived)
    assert session.store.gets() == []


def test_a_listing_that_fails_ends_the_run(store, session, root):
    session.store.fail(AccessDenied("no"))
    with pytest.raises(AccessDenied):
        fetch(session, root)


def test_a_directory_that_is_not_there(session, tmp_path):
    with pytest.raises(ConfigError, match="missing"):
        fetch(session, tmp_path / "missing")


@pytest.mark.parametrize("size", [0, 10, 300_000, len(BIG)])
def test_a_full_disk_ends_the_run(store, session, root, monkeypatch, size):
    for number in range(3000 if size <= 10 else 4):
        store.put(f"d/{number:04}", BIG[:size])

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "utime", refuse)
    with pytest.raises(DiskFull, match="the disk is full"):
        fetch(session, root)
    assert files(root) == {}
    assert len(session.store.gets()) < 2900


@pytest.mark.parametrize("size", [10, 300_000, len(BIG)])
def test_what_is_in_the_cache_is_copied(store, session, root, size):
    store.put("d/k", BIG[:size])
    for _ in prefetch_objects(session, "", ALL, jobs=4):
        pass
    _until(lambda: session.cache.usage().objects)
    gets = len(session.store.gets())
    outcomes = fetch(session, root)
    assert endings(outcomes) == {"d/k": Ending.COPIED}
    assert outcomes["d/k"].fetched == 0
    assert files(root) == {"d/k": BIG[:size]}
    assert len(session.store.gets()) == gets
    assert endings(fetch(session, root, use_cache=False)) == {"d/k": Ending.FETCHED}


def test_damage_in_the_cache_is_fetched(store, session, root, expects_log):
    expects_log("damaged")
    store.put("k", BIG[: 3 * MIB])
    for _ in prefetch_objects(session, "", ALL, jobs=4):
        pass
    _until(lambda: session.cache.usage().objects)
    for path in session.cache_dir.rglob("*"):
        if path.is_file() and path.stat().st_size > 2 * MIB:
            with open(path, "r+b") as file:
                file.seek(2 * MIB)
                file.write(b"damaged!")
    assert endings(fetch(session, root)) == {"k": Ending.FETCHED}
    assert files(root) == {"k": BIG[: 3 * MIB]}


def _until(is_so):
    deadline = time.monotonic() + 5
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_so()


@pytest.mark.parametrize("size", [10, 300_000, len(BIG)])
def test_who_leaves_early_leaves_nothing_behind(store, session, root, size):
    store.put("a", b"first")
    for number in range(30):
        store.put(f"d/{number}", BIG[:size])
    session.store.fail(
        None,
        times=100,
        after=1,
        matches=lambda request: is_get(request) and request.key[:2] == "d/",
    )
    batches = download_objects(
        session, "", str(root), ALL, pages=SerialPages(session.engine), jobs=16
    )
    with closing(batches):
        while not next(batches):
            pass
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert files(root) == {"a": b"first"}


def test_few_bytes_wait_in_memory(store, tmp_path, root, monkeypatch):
    """A part holds half a MiB at the most before that is written: no more parts are asked for than that allows."""
    for number in range(12):
        store.put(f"{number}", BIG[: 10 * MIB])
    under_way = most = most_held = 0

    class Counting(FaultyStore):
        def submit(self, request, receiver):
            nonlocal under_way, most
            under_way += isinstance(request, Get)
            most = max(most, under_way)
            super().submit(request, receiver)

    class Watched(receiving_module._Part):
        def write(self, chunk):
            nonlocal most_held
            super().write(chunk)
            most_held = max(most_held, self._count)

        def finish(self):
            nonlocal under_way
            under_way -= 1
            super().finish()

    monkeypatch.setattr(receiving_module, "_Part", Watched)
    limits = Limits(1 << 30, 0, 8 * MIB)
    with session_over(Counting(store), tmp_path / "cache", limits=limits, jobs=64) as session:
        outcomes = fetch(session, root, jobs=64)
    assert set(endings(outcomes).values()) == {Ending.FETCHED}
    assert most == 8 * MIB // GATHER
    assert most_held < GATHER
    assert all(body == BIG[: 10 * MIB] for body in files(root).values())


def test_a_bandwidth_limit_asks_for_smaller_parts(store, tmp_path, root):
    store.put("k", BIG[: 4 * MIB])
    faulty = FaultyStore(store)
    with session_over(faulty, tmp_path / "cache", max_bandwidth=100 * MIB) as session:
        fetch(session, root)
    assert files(root) == {"k": BIG[: 4 * MIB]}
    assert len(faulty.gets()) == 4


def test_no_descriptor_is_left_open(store, session, root):
    for number in range(300):
        store.put(f"{number % 150}/{number}", BIG[: 10 if number % 10 else 400_000])
    fetch(session, root)
    links = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # of the listing itself, for one
            links.append(os.readlink(f"/proc/self/fd/{number}"))
    assert not [link for link in links if link.startswith(str(root))]
