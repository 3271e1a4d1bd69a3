"""A directory as a store: the same meaning as a bucket's where both can say it, and no way out of it."""

import os
import shutil
import stat
import tempfile
import threading
import time
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from s3mount.errors import AccessDenied, BadBody, NotFound, ObjectChanged, StoreError
from s3mount.store.directory import CHUNK, KEPT_WALKS, DirectoryStore
from s3mount.store.interface import Get, ListPage
from s3mount.store.memory import MemoryStore
from s3mount.store.paging import byte_order
from tests.unit.store.builders import Told, ask, fetch, names, page_of, walk, whole

NOBODY = 65534


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def store(root):
    store = DirectoryStore(root)
    yield store
    store.close()


def write(root, key, body=b""):
    path = os.fsencode(root) + b"/" + key.encode("utf-8", "surrogateescape")
    os.makedirs(path.rpartition(b"/")[0], exist_ok=True)
    if not key.endswith("/"):
        with open(path, "wb") as file:
            file.write(body)


class Both:
    """The same keys in a bucket and in a directory; keys that a directory cannot hold are in neither."""

    def __init__(self, root, keys):
        self.memory, self.keys = MemoryStore(), []
        for key in keys:
            try:
                write(root, key, key.encode("utf-8", "surrogateescape"))
            except OSError:
                continue
            self.keys.append(key)
        for key in self.keys:
            body = b"" if key.endswith("/") else key.encode("utf-8", "surrogateescape")
            if not key.endswith("/") or not any(
                other != key and other.startswith(key) for other in self.keys
            ):
                self.memory.put(key, body)
        self.directory = DirectoryStore(root)


parts = st.lists(
    st.sampled_from(["a", "b", "-", "é", "\udc80", "a.b", "\n"]), min_size=1, max_size=2
)
paths = st.lists(parts.map("".join), min_size=1, max_size=3).map("/".join)
trees = st.lists(st.one_of(paths, paths.map(lambda path: path + "/")), unique=True, max_size=8)


@given(trees, st.data())
@settings(max_examples=60)
def test_a_directory_lists_as_a_bucket_of_the_same_keys_does(tree, data):
    root = Path(tempfile.mkdtemp(prefix="s3mount-test-"))
    try:
        both = Both(root, tree)
        all_keys = names(walk(both.memory))
        assert names(walk(both.directory)) == all_keys
        prefixes = {"", "a", "a/", "a/a", "a/b/", "//", "a//", "/"} | {key[:-1] for key in all_keys}
        prefix = data.draw(st.sampled_from(sorted(prefixes, key=byte_order)))
        delimiter = data.draw(st.sampled_from(["", "/"]))
        for max_keys in (1, 2, 3, 1000):
            in_memory = walk(both.memory, prefix, delimiter, max_keys=max_keys)
            in_directory = walk(both.directory, prefix, delimiter, max_keys=max_keys)
            assert sorted(names(in_directory)) == sorted(names(in_memory))
            sizes = {meta.key: meta.size for meta in in_memory if not isinstance(meta, str)}
            assert sizes == {
                meta.key: meta.size for meta in in_directory if not isinstance(meta, str)
            }
        for meta in walk(both.directory):
            if not meta.key.endswith("/"):
                assert fetch(both.directory, whole(meta)) == meta.key.encode(
                    "utf-8", "surrogateescape"
                )
        both.directory.close()
    finally:
        shutil.rmtree(root)


class Contract:
    """What both stores must do alike; each subclass says how an object gets there."""

    def test_ranges_are_exact(self, bucket, put):
        body = os.urandom(3 * CHUNK + 17)
        meta = put("k", body)
        for start, stop in [
            (0, 1),
            (0, len(body)),
            (CHUNK - 1, CHUNK + 1),
            (len(body) - 1, len(body)),
        ]:
            told = ask(bucket, Get("k", meta.etag, start, stop))
            assert told.error is None
            assert told.body == body[start:stop]
            assert (told.heads[0].etag, told.heads[0].size) == (meta.etag, len(body))

    def test_an_empty_object_is_read_whole(self, bucket, put):
        told = ask(bucket, whole(put("k", b"")))
        assert (told.error, told.body, len(told.heads)) == (None, b"", 1)

    def test_an_overwritten_object_is_another_version(self, bucket, put):
        before = put("k", b"one")
        after = put("k", b"three")
        assert before.etag != after.etag
        with pytest.raises(ObjectChanged):
            fetch(bucket, whole(before))
        assert fetch(bucket, whole(after)) == b"three"
        assert fetch(bucket, Get("k", "", 0, 5)) == b"three"

    @pytest.mark.parametrize("key", ["nothing", "k/below", "k/", "", "a", "a/"])
    def test_what_is_not_there_is_not_found(self, bucket, put, key):
        put("k", b"body")
        put("a/b", b"body")
        told = ask(bucket, Get(key, "", 0, 1))
        assert isinstance(told.error, NotFound)
        assert not told.heads

    @pytest.mark.parametrize("prefix", ["nothing/", "k/", "a//", "/", "../", "./", "a/../", "a\0/"])
    def test_what_is_not_there_lists_as_nothing(self, bucket, put, prefix):
        put("k", b"body")
        put("a/b", b"body")
        for delimiter in ("", "/"):
            page = page_of(bucket, ListPage(prefix, delimiter))
            assert (list(page.objects), list(page.prefixes), page.next_token) == ([], [], None)

    def test_a_cancelled_request_is_never_answered(self, bucket, put):
        meta = put("k", b"body")
        cancelled, kept = Told(), Told()
        bucket.submit(whole(meta), cancelled)
        bucket.submit(whole(meta), kept)
        bucket.cancel(cancelled)
        bucket.cancel(Told())  # unknown
        for _ in range(3):
            bucket.poll(0)
        assert not cancelled.is_done
        assert kept.body == b"body"

    def test_two_listings_at_once_do_not_meet(self, bucket, put):
        for number in range(6):
            put(f"{number}")
        first = page_of(bucket, ListPage("", "/", max_keys=2))
        second = page_of(bucket, ListPage("", "/", max_keys=2))
        assert first == second
        for _ in range(2):
            page = page_of(bucket, ListPage("", "/", first.next_token, max_keys=2))
            assert names(page.objects) == ["2", "3"]

    def test_a_continued_listing_shows_what_was_put_behind_it_or_not_but_nothing_twice(
        self, bucket, put
    ):
        for number in range(4):
            put(f"{number}")
        page = page_of(bucket, ListPage("", "/", max_keys=2))
        put("0", b"changed")
        put("9")
        rest = page_of(bucket, ListPage("", "/", page.next_token, max_keys=10))
        assert names(rest.objects)[:2] == ["2", "3"]
        assert set(names(rest.objects)) <= {"2", "3", "9"}

    def test_a_poll_that_waits_is_woken(self, bucket):
        timer = threading.Timer(0.02, bucket.wake)
        timer.start()
        began = time.monotonic()
        bucket.poll(10)
        assert time.monotonic() - began < 5
        timer.join()

    def test_requests_and_bytes_are_counted(self, bucket, put):
        fetch(bucket, whole(put("k", bytes(100))))
        before = bucket.counters.totals()
        fetch(bucket, Get("k", "", 0, 60))
        page_of(bucket, ListPage(""))
        after = bucket.counters.totals()
        grown = {name: after[name] - before.get(name, 0) for name in after}
        assert grown == {"requests.get": 1, "requests.list": 1, "bytes.received": 60}


class TestMemory(Contract):
    @pytest.fixture
    def bucket(self):
        return MemoryStore()

    @pytest.fixture
    def put(self, bucket):
        return lambda key, body=b"": bucket.put(key, body)


class TestDirectory(Contract):
    @pytest.fixture
    def bucket(self, store):
        return store

    @pytest.fixture
    def put(self, store, root):
        def put(key, body=b""):
            write(root, key, body)
            return meta_of(store, key)

        return put


def meta_of(store, key):
    return next(meta for meta in page_of(store, ListPage(key)).objects if meta.key == key)


def test_what_is_no_directory_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for name in ("nothing", "file"):
        with pytest.raises(NotFound) as caught:
            DirectoryStore(tmp_path / name)
        assert caught.value.hint


def test_two_mounts_of_one_directory_are_one_store(tmp_path, root):
    (tmp_path / "link").symlink_to(root)
    one, other = DirectoryStore(root), DirectoryStore(tmp_path / "link")
    assert one.identity == other.identity
    one.close()
    other.close()


@pytest.fixture
def secret(tmp_path):
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "secret").write_bytes(b"secret")
    (outside / "deep" / "secret").write_bytes(b"secret")
    return outside


@pytest.mark.parametrize(
    "key",
    [
        "../outside/secret",
        "a/../../outside/secret",
        "..",
        "a/..",
        "./a/b",
        "a//b",
        "/a/b",
        "a/b/",
        "a/b//",
        "link/secret",
        "link/deep/secret",
        "a/link/secret",
        "a/\0",
    ],
)
def test_no_key_leads_out_of_the_directory(root, store, secret, key):
    write(root, "a/b", b"body")
    (root / "link").symlink_to(secret)
    (root / "a" / "link").symlink_to(secret)
    with pytest.raises(NotFound):
        fetch(store, Get(key, "", 0, 4))


def test_no_absolute_key_leads_out_of_the_directory(store, secret):
    with pytest.raises(NotFound):
        fetch(store, Get(str(secret / "secret"), "", 0, 4))
    assert walk(store, str(secret) + "/") == []


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize(
    "prefix", ["link/", "link/deep/", "link", "../outside/", "a/../../outside/"]
)
def test_no_listing_leads_out_of_the_directory(root, store, secret, prefix, delimiter):
    write(root, "a/b", b"body")
    (root / "link").symlink_to(secret)
    assert walk(store, prefix, delimiter) == []


def test_links_to_directories_are_not_shown_and_cannot_run_in_circles(root, store, secret):
    write(root, "a/b", b"body")
    (root / "a" / "up").symlink_to("..")
    (root / "link").symlink_to(secret)
    (root / "self").symlink_to("self")
    (root / "dangling").symlink_to("nothing")
    assert names(walk(store)) == ["a/b"]
    assert names(walk(store, "", "/")) == ["a/"]


def test_links_to_files_are_followed(root, store):
    write(root, "a/b", b"body")
    (root / "link").symlink_to("a/b")
    meta = meta_of(store, "link")
    assert meta.size == 4
    assert fetch(store, whole(meta)) == b"body"


def test_what_is_neither_file_nor_directory_is_not_shown_and_never_waited_for(root, store):
    os.mkfifo(root / "pipe")
    os.mknod(root / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert walk(store) == []
    for key in ("pipe", "device"):
        with pytest.raises(NotFound):
            fetch(store, Get(key, "", 0, 1))


def test_an_empty_directory_is_a_marker(root, store):
    write(root, "a/")
    write(root, "b/c/")
    assert names(walk(store)) == ["a/", "b/c/"]
    assert names(walk(store, "", "/")) == ["a/", "b/"]
    assert names(walk(store, "a/", "/")) == ["a/"]


def test_names_in_the_order_of_bytes_where_directories_end_in_a_slash(root, store):
    for key in ("a/x", "a-", "a.b", "a0", "é", "\udc80"):
        write(root, key)
    assert names(walk(store)) == ["a-", "a.b", "a/x", "a0", "\udc80", "é"]


class Meddling(Told):
    """A receiver that does something after the first chunk."""

    def __init__(self, meddle):
        super().__init__()
        self.meddle = meddle

    def data(self, chunk):
        super().data(chunk)
        if len(self.body) == len(chunk):
            self.meddle()


def meddled(store, request, meddle):
    told = Meddling(meddle)
    store.submit(request, told)
    store.poll(0)
    assert told.is_done
    return told


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, CHUNK + 5),
        lambda path: os.truncate(path, 0),
        lambda path: os.truncate(path, 4 * CHUNK),
        lambda path: os.utime(path, ns=(0, 0)),
    ],
)
def test_a_file_that_changes_while_it_is_read_is_never_mixed(root, store, change):
    body = os.urandom(3 * CHUNK)
    write(root, "k", body)
    told = meddled(store, whole(meta_of(store, "k")), lambda: change(root / "k"))
    assert isinstance(told.error, ObjectChanged)
    assert told.body == body[:CHUNK]


@pytest.mark.parametrize(
    "change", [lambda path: path.unlink(), lambda path: path.rename(path.with_name("moved"))]
)
def test_a_file_that_is_removed_while_it_is_read_is_read_to_its_end(root, store, change):
    body = os.urandom(3 * CHUNK)
    write(root, "k", body)
    told = meddled(store, whole(meta_of(store, "k")), lambda: change(root / "k"))
    assert told.error is None
    assert told.body == body


def test_a_file_that_is_replaced_is_another_version_even_with_the_same_size_and_time(root, store):
    write(root, "k", b"one")
    before = meta_of(store, "k")
    write(root, "new", b"two")
    os.utime(root / "new", ns=(before.mtime_ns, before.mtime_ns))
    (root / "new").rename(root / "k")
    with pytest.raises(ObjectChanged):
        fetch(store, whole(before))


def test_a_range_behind_the_end_is_never_a_short_body(root, store):
    write(root, "k", b"body")
    told = ask(store, Get("k", "", 0, 10))
    assert isinstance(told.error, BadBody)


@pytest.fixture
def as_nobody():
    """Tests run as root, whom nothing is forbidden."""
    folder = Path(tempfile.mkdtemp(prefix="s3mount-test-"))
    folder.chmod(0o755)
    (folder / "open").mkdir()
    (folder / "open" / "file").write_bytes(b"body")
    (folder / "open" / "secret").write_bytes(b"body")
    (folder / "open" / "secret").chmod(0)
    (folder / "shut").mkdir(mode=0o700)
    (folder / "shut" / "file").write_bytes(b"body")
    store = DirectoryStore(folder)
    os.seteuid(NOBODY)
    try:
        yield store
    finally:
        os.seteuid(0)
        store.close()
        shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_what_may_not_be_read_is_told_and_hides_nothing_else(as_nobody):
    assert names(walk(as_nobody, "", "/")) == ["open/", "shut/"]
    assert names(walk(as_nobody, "open/", "/")) == ["open/file", "open/secret"]
    assert fetch(as_nobody, Get("open/file", "", 0, 4)) == b"body"
    for request in (
        Get("open/secret", "", 0, 4),
        Get("shut/file", "", 0, 4),
        ListPage("shut/", "/"),
    ):
        told = ask(as_nobody, request)
        assert isinstance(told.error, AccessDenied)
        assert told.error.hint


def test_a_listing_goes_on_where_it_stood_without_sorting_again(root, store, monkeypatch):
    for number in range(20):
        write(root, f"{number:02}")
    read = []
    real = store._names
    monkeypatch.setattr(store, "_names", lambda parent: read.append(parent) or real(parent))
    assert len(walk(store, "", "/", max_keys=3)) == 20
    assert read == [""]


def test_a_token_that_is_not_remembered_goes_on_all_the_same(root, store):
    for number in range(20):
        write(root, f"{number:02}/x")
    for token, following in [("05/", "06/"), ("055", "06/"), ("19/", None)]:
        page = page_of(store, ListPage("", "/", token, max_keys=2))
        assert (page.prefixes[0] if page.prefixes else None) == following
        page = page_of(
            store, ListPage("", "", token + "x" if token[-1] == "/" else token, max_keys=2)
        )
        assert (page.objects[0].key if page.objects else None) == (following and following + "x")


def test_listings_that_nobody_goes_on_with_are_forgotten(root, store):
    for number in range(4 * KEPT_WALKS):
        write(root, f"{number:03}/a")
        write(root, f"{number:03}/b")
    for number in range(4 * KEPT_WALKS):
        page_of(store, ListPage(f"{number:03}/", "/", max_keys=1))
    assert len(store._walks) <= KEPT_WALKS


def test_a_file_that_vanishes_between_two_pages_is_left_out(root, store):
    for number in range(6):
        write(root, f"{number}")
    page = page_of(store, ListPage("", "/", max_keys=2))
    (root / "2").unlink()
    (root / "4").unlink()
    rest = page_of(store, ListPage("", "/", page.next_token, max_keys=10))
    assert names(rest.objects) == ["3", "5"]


@pytest.mark.parametrize("key", ["x" * 300, "x/" * 3000 + "y"])
def test_a_key_too_long_for_a_path_is_not_there(store, key):
    with pytest.raises(NotFound):
        fetch(store, Get(key, "", 0, 1))
    with pytest.raises(StoreError):
        raise ask(store, ListPage(key + "/", "/")).error or NotFound("listed as nothing")
