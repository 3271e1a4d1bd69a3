"""What a look at the names costs and how old an answer may be: "Listing and freshness" in docs/semantics.md."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.fuse.conftest import Counted
from tests.support.buckets import FolderBucket, await_bucket

pytestmark = pytest.mark.fuse

TTL = 0.6  # seconds: short enough to wait for
NEVER = ("--metadata-ttl=0", "--negative-ttl=0")
APART = 12  # directories between those that tests open, lest that is taken for a walk over them
LATER_PAGE = "continuation-token|marker="


@pytest.fixture(scope="module")
def lengths(rclone, world, counted) -> Iterator[Counted]:
    """Directories of several lengths, one for each test; rclone serves them from files on disk."""
    server, folder = rclone
    made = FolderBucket("lengths", server.url, folder / "lengths", server.environment)
    sizes = {
        "thousand": 1000,
        "crowd": 10,
        "longer": 1200,
        "asked": 1200,
        "read": 2500,
        "paged": 2500,
        "endless": 6500,
        "opened": 2000,
        "listed": 2000,
    }
    for directory, count in sizes.items():
        (made.folder / directory).mkdir(parents=True)
        for number in range(count):
            (made.folder / directory / f"n{number:04}").write_bytes(b"")
        for number in range(APART):
            (made.folder / f"{directory}-{number}").mkdir()
    (made.folder / "thousand/n0500").write_bytes(b"half way")
    await_bucket(server, made.name)
    with counted(world, made) as mount:
        os.listdir(mount.path)
        yield mount


@pytest.fixture
def long(lengths) -> Counted:
    """That mount, whose root is known, counting from zero."""
    lengths.proxy.reset()
    return lengths


@pytest.fixture(scope="module")
def tree(new_bucket):
    """A small tree that tests only look at."""
    made = new_bucket()
    for key in ("top", "a/b/c/file", "a/b/other", "z/file"):
        made.put(key, key.encode())
    return made


def names(path: Path) -> set[str]:
    return set(os.listdir(path))


def prefixes(lists: list[str]) -> list[str]:
    """The prefixes that were listed."""
    return [parse_qs(query).get("prefix", [""])[0] for query in lists]


def test_one_list_answers_for_a_thousand_names(long):
    """A directory up to 1,000 names costs one LIST, which also answers every lookup in it, of names that exist and of
    names that do not.
    """
    place = long.path / "thousand"
    for number in range(0, 1000, 7):
        assert (place / f"n{number:04}").exists()
        assert not (place / f"missing{number}").exists()
    assert len(names(place)) == 1000
    assert (place / "n0500").stat().st_size == len(b"half way")
    assert prefixes(long.lists) == ["thousand/"]
    assert long.proxy.total == 1


def test_readers_at_the_same_time_share_the_list(long):
    """A directory up to 1,000 names costs one LIST, which also answers every lookup in it, of names that exist and of
    names that do not.
    """
    long.proxy.fault("list", delay=0.2)
    with ThreadPoolExecutor(8) as readers:
        paths = [long.path / f"crowd/n{number:04}" for number in range(8)]
        assert all(readers.map(Path.exists, paths))
    assert long.proxy.total == 1


def test_a_name_in_a_longer_directory_costs_one_list(long):
    """A name in a longer directory costs one LIST of that name."""
    # The first look finds out that the directory is longer than a page.
    assert (long.path / "longer/n1100").exists()
    assert prefixes(long.lists) == ["longer/", "longer/n1100"]
    long.proxy.reset()
    assert not (long.path / "longer/n9999").exists()
    assert prefixes(long.lists) == ["longer/n9999"]
    long.proxy.reset()
    for name in ("n1100", "n0001"):  # known by now, the last one from the first page
        assert (long.path / "longer" / name).exists()
    assert not (long.path / "longer/n9999").exists()
    assert long.proxy.total == 0


def test_a_longer_directory_is_read_on_when_several_names_are_asked_for(long):
    """A name in a longer directory costs one LIST of that name."""
    for number in range(1100, 1200):
        assert (long.path / f"asked/n{number:04}").exists()
    single = [prefix for prefix in prefixes(long.lists) if prefix != "asked/"]
    assert len(single) < 50
    assert prefixes(long.lists).count("asked/") == 2


def test_files_opened_in_the_order_of_a_long_directory_cost_its_pages(long):
    """Bytes that are cached and a listing that is fresh cost no request at all."""
    for number in range(2000):
        (long.path / f"opened/n{number:04}").read_bytes()
    assert prefixes(long.lists) == ["opened/"] * 2


def test_files_of_a_long_directory_that_was_listed_cost_no_more_lists(long):
    """Bytes that are cached and a listing that is fresh cost no request at all."""
    for name in sorted(names(long.path / "listed")):
        (long.path / "listed" / name).read_bytes()
    assert prefixes(long.lists) == ["listed/"] * 2


def test_a_longer_directory_that_was_read_answers_lookups(long):
    """Bytes that are cached and a listing that is fresh cost no request at all."""
    assert len(names(long.path / "read")) == 2500
    assert prefixes(long.lists) == ["read/"] * 3
    long.proxy.reset()
    assert (long.path / "read/n2499").exists()
    assert not (long.path / "read/n9999").exists()
    assert len(names(long.path / "read")) == 2500
    assert long.proxy.total == 0


def test_the_first_entries_come_after_the_first_page(long):
    """The first entries of a long directory come after its first page."""
    slow = long.proxy.fault(
        lambda request: re.search(LATER_PAGE, request.query) is not None, delay=1.5
    )
    begun = time.monotonic()
    with os.scandir(long.path / "paged") as entries:
        seen = [next(entries).name]
        assert time.monotonic() - begun < 1.2
        assert seen == ["n0000"]
        seen += [entry.name for entry in entries]
    assert slow.hits == 1
    assert len(seen) == len(set(seen)) == 2500


def test_a_long_directory_is_listed_by_many_requests_at_once(long):
    """The rest of a directory of more than a few pages is listed by several LISTs at once, ahead of its reader."""
    seen = os.listdir(long.path / "endless")
    assert sorted(seen) == sorted(f"n{number:04}" for number in range(6500))
    # No reply had told where these begin.
    assert any(re.search("start-after=.", query) for query in long.lists)
    assert 7 <= len(long.lists) <= 2 * 6.5 + 1 + 4


def test_a_path_costs_one_list_a_directory(world, tree, counted):
    """There is no HEAD, and no second LIST of a directory between a path and its open file."""
    with counted(world, tree) as mount:
        assert (mount.path / "a/b/c/file").read_bytes() == b"a/b/c/file"
        assert prefixes(mount.lists) == ["", "a/", "a/b/", "a/b/c/"]
        counts = mount.proxy.counts
        assert (counts["head"], counts["get"] + counts["ranged_get"]) == (0, 1)
        mount.proxy.reset()
        assert (mount.path / "a/b/other").read_bytes() == b"a/b/other"
        assert (mount.path / "top").read_bytes() == b"top"
        counts = mount.proxy.counts
        assert (counts["head"], counts["list"], counts["get"] + counts["ranged_get"]) == (0, 0, 2)


def test_find_and_ls_cost_one_list_a_directory(world, tree, counted):
    """There is no HEAD, and no second LIST of a directory between a path and its open file."""
    with counted(world, tree) as mount:
        for command in (["find", ".", "-size", "+0"], ["ls", "-lR"], ["du", "-s", "."]):
            subprocess.run(command, cwd=mount.path, capture_output=True, timeout=20, check=True)
        assert sorted(prefixes(mount.lists)) == ["", "a/", "a/b/", "a/b/c/", "z/"]
        assert mount.proxy.total == 5


def test_without_ttl_a_path_still_costs_one_list_a_directory(world, tree, counted):
    """There is no HEAD, and no second LIST of a directory between a path and its open file."""
    with counted(world, tree, *NEVER) as mount:
        assert (mount.path / "z/file").read_bytes() == b"z/file"
        assert prefixes(mount.lists) == ["", "z/"]
        assert mount.proxy.counts["head"] == 0


def test_a_listing_is_believed_for_its_ttl(world, new_bucket, counted):
    """A listing is believed for `--metadata-ttl`, and that a name does not exist for `--negative-ttl`."""
    bucket = new_bucket()
    bucket.put("a", b"old")
    with counted(world, bucket, f"--metadata-ttl={TTL}s") as mount:
        assert names(mount.path) == {"a"}
        listed = time.monotonic()
        bucket.put("a", b"newer")
        bucket.put("b")
        mount.proxy.reset()
        seen = (names(mount.path), (mount.path / "a").stat().st_size, mount.proxy.total)
        if time.monotonic() - listed < TTL:
            assert seen == ({"a"}, 3, 0)
        time.sleep(TTL + 0.1)
        assert (mount.path / "a").stat().st_size == 5
        assert names(mount.path) == {"a", "b"}
        assert prefixes(mount.lists) == [""]


def test_a_missing_name_is_believed_for_its_ttl(world, new_bucket, counted):
    """A listing is believed for `--metadata-ttl`, and that a name does not exist for `--negative-ttl`."""
    bucket = new_bucket()
    bucket.put("a")
    with counted(world, bucket, "--metadata-ttl=1h", f"--negative-ttl={TTL}s") as mount:
        assert not (mount.path / "b").exists()
        asked = time.monotonic()
        bucket.put("b")
        mount.proxy.reset()
        seen = ((mount.path / "b").exists(), mount.proxy.total)
        if time.monotonic() - asked < TTL:
            assert seen == (False, 0)
        time.sleep(TTL + 0.1)
        assert (mount.path / "b").exists()
        assert prefixes(mount.lists) == [""]


def test_a_missing_name_is_believed_no_longer_than_a_listing(world, new_bucket, counted):
    """A listing is believed for `--metadata-ttl`, and that a name does not exist for `--negative-ttl`."""
    bucket = new_bucket()
    with counted(world, bucket, f"--metadata-ttl={TTL}s", "--negative-ttl=1h") as mount:
        assert not (mount.path / "b").exists()
        bucket.put("b")
        time.sleep(TTL + 0.1)
        assert (mount.path / "b").exists()


def test_without_ttl_a_change_shows_at_the_next_lookup(world, new_bucket, counted):
    """With both at 0, a change in the bucket shows at the next lookup."""
    bucket = new_bucket()
    bucket.put("d/a", b"old")
    with counted(world, bucket, *NEVER) as mount:
        place = mount.path / "d"
        for round_ in range(3):
            body = b"x" * round_
            bucket.put("d/a", body)
            assert (place / "a").read_bytes() == body
            assert not (place / f"new{round_}").exists()
            bucket.put(f"d/new{round_}", body)
            assert (place / f"new{round_}").read_bytes() == body
            bucket.delete(f"d/new{round_}")
            assert not (place / f"new{round_}").exists()
            assert names(place) == {"a"}
        bucket.delete("d/a")
        assert not place.exists()
        bucket.put("d", b"a file now")
        assert place.read_bytes() == b"a file now"


def test_a_directory_does_not_change_under_its_reader(world):
    """A directory that is being read does not change under its reader."""
    source = world.place("source")
    there = {f"{number:03}-{'n' * 200}" for number in range(400)}
    for name in there:
        (source / name).write_bytes(b"")
    with world.mount(source.as_uri(), *NEVER) as mount:
        with os.scandir(mount.path) as entries:
            seen = [next(entries).name]
            for name in sorted(there)[100:]:
                (source / name).unlink()
            (source / "100-new").write_bytes(b"")
            assert len(names(mount.path)) == 101
            seen += [entry.name for entry in entries]
        assert len(seen) == len(there)
        assert set(seen) == there
        assert names(mount.path) == {*sorted(there)[:100], "100-new"}


def test_a_directory_can_be_read_again_from_where_it_was(world):
    """A directory that is being read does not change under its reader."""
    source = world.place("source")
    for number in range(300):
        (source / f"{number:03}-{'n' * 200}").write_bytes(b"")
    script = f"""
import os, pathlib, ctypes
libc = ctypes.CDLL(None)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
for function in (libc.readdir, libc.telldir, libc.closedir, libc.rewinddir):
    function.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
def read(stream):
    entry = libc.readdir(stream)
    return entry and ctypes.string_at(entry + 19)  # d_name of struct dirent64
stream = libc.opendir(b".")
first = [read(stream) for _ in range(150)]
place = libc.telldir(stream)
rest = []
while (name := read(stream)):
    rest.append(name)
for path in pathlib.Path({str(source)!r}).iterdir():
    path.unlink()
libc.seekdir(stream, place)
again = []
while (name := read(stream)):
    again.append(name)
assert again == rest, (len(again), len(rest))
assert len(set(first + rest) - {{b".", b".."}}) == 300, len(set(first + rest))
"""
    with world.mount(source.as_uri(), *NEVER) as mount:
        command = [sys.executable, "-c", script]
        subprocess.run(command, cwd=mount.path, timeout=20, check=True)


def test_refresh_forgets_a_directory_and_all_below(world, new_bucket, counted):
    """`s3mount refresh DIRECTORY` forgets what is known of a directory and everything below."""
    bucket = new_bucket()
    keys = ["top", "a/file", "a/deep/er/file", "a/gone/file", "other/file"]
    for key in keys:
        bucket.put(key, b"old")
    with counted(world, bucket, "--metadata-ttl=1h", "--negative-ttl=1h") as mount:
        for key in keys:
            assert (mount.path / key).read_bytes() == b"old"
        for key in keys:
            bucket.put(key, b"newer")
        bucket.put("a/more")
        bucket.delete("a/gone/file")
        done = world.run("refresh", str(mount.path / "a"))
        assert (done.returncode, done.stderr) == (0, "")
        assert "4 directories forgotten" in done.stdout
        assert (mount.path / "a/file").read_bytes() == b"newer"
        assert (mount.path / "a/deep/er/file").read_bytes() == b"newer"
        assert names(mount.path / "a") == {"file", "deep", "more"}
        assert not (mount.path / "a/gone").exists()
        # What lies elsewhere is believed as before.
        assert (mount.path / "other/file").read_bytes() == b"old"
        assert (mount.path / "top").read_bytes() == b"old"
        assert world.run("refresh", str(mount.path)).returncode == 0
        assert (mount.path / "other/file").read_bytes() == b"newer"
        assert (mount.path / "top").read_bytes() == b"newer"


@pytest.mark.parametrize("directory", ["", "d"])
def test_refresh_forgets_that_a_name_did_not_exist(world, new_bucket, counted, directory):
    """`s3mount refresh DIRECTORY` forgets what is known of a directory and everything below."""
    bucket = new_bucket()
    bucket.put("d/a")
    with counted(world, bucket, "--metadata-ttl=1h", "--negative-ttl=1h") as mount:
        missing = [mount.path / "d/b", mount.path / "d/new/x"]
        missing += [mount.path / "b"] if not directory else []
        for path in missing:
            assert not path.exists()
            bucket.put(str(path.relative_to(mount.path)))
        assert world.run("refresh", str(mount.path / directory)).returncode == 0
        for path in missing:
            assert path.exists(), path


def test_refresh_leaves_open_files_and_working_directories(world, new_bucket, counted):
    """`s3mount refresh DIRECTORY` forgets what is known of a directory and everything below."""
    bucket = new_bucket()
    bucket.put("d/a", b"old")
    with counted(world, bucket, "--metadata-ttl=1h") as mount:
        with (mount.path / "d/a").open("rb") as file:
            file.read(1)
            bucket.put("d/a", b"new")
            assert world.run("refresh", str(mount.path)).returncode == 0
            assert file.read() == b"ld"
        assert (mount.path / "d/a").read_bytes() == b"new"


def test_refresh_of_what_is_not_mounted(world):
    """`s3mount refresh DIRECTORY` forgets what is known of a directory and everything below."""
    done = world.run("refresh", str(world.folder))
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not in an s3mount" in done.stderr
