"""`download` and `prefetch` as functions, over directories: no network."""

import asyncio
import subprocess
import sys
import threading

import pytest
import trio

import s3mount
from s3mount import api
from s3mount.errors import CacheError, ConfigError
from s3mount.store.open import Source


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "store"
    for number in range(30):
        path = folder / f"d{number % 3}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * number)
    return folder


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def names_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_package_gives_its_names_away_without_importing_them():
    code = (
        "import sys, s3mount; s3mount.__version__;"
        "heavy = {'s3mount.api', 's3mount.store.s3', 'pycurl', 'botocore'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "assert set(s3mount.__all__) <= set(dir(s3mount)), dir(s3mount);"
        "assert all(getattr(s3mount, name) for name in s3mount.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_has_no_other_names():
    with pytest.raises(AttributeError, match="'s3mount' has no attribute 'upload'"):
        _ = s3mount.upload


def test_download_gives_files_and_their_number(source, target):
    assert s3mount.download(source.as_uri(), target) == (30, [])
    assert names_below(target) == names_below(source)
    assert (target / "d2" / "29.txt").read_bytes() == b"x" * 29


def test_a_directory_may_be_a_text(source, target):
    assert s3mount.download(source.as_uri(), str(target), regex=r"\b7\.txt$") == (1, [])
    assert names_below(target) == {"d1/7.txt"}


def test_nothing_found_is_nothing(source, target):
    assert s3mount.download(source.as_uri(), target, regex="nothing") == (0, [])
    assert s3mount.prefetch(source.as_uri(), include=["*.nothing"]) == (0, [])


def test_dry_run_makes_nothing_and_counts_all(source, target):
    keys = []
    tracker = s3mount.ProgressTracker()
    told = {"on_complete": keys.append, "progress_tracker": tracker}
    assert s3mount.download(source.as_uri(), target, dry_run=True, **told) == (30, [])
    assert list(target.iterdir()) == []
    assert len(keys) == 30
    stats = tracker.get_stats()
    assert (stats["objects_found"], stats["objects_downloaded"]) == (30, 0)


def test_everyone_is_told_on_the_thread_that_called_before_it_returns(source, target):
    keys, results, threads = [], [], set()

    def on_complete(key):
        threads.add(threading.current_thread())
        keys.append(key)

    def on_result(result):
        threads.add(threading.current_thread())
        results.append(result)

    tracker = s3mount.ProgressTracker()
    s3mount.download(
        source.as_uri(),
        target,
        on_complete=on_complete,
        on_result=on_result,
        progress_tracker=tracker,
    )
    assert set(keys) == names_below(source)
    assert [result.key for result in results] == keys
    assert all(r.success and r.dest_filename.stat().st_size == r.file_size for r in results)
    assert threads == {threading.current_thread()}
    stats = tracker.get_stats()
    assert stats["objects_found"] == stats["objects_downloaded"] == 30
    assert stats["bytes_downloaded"] == sum(range(30))


def test_files_that_are_there_count_no_bytes(source, target):
    s3mount.download(source.as_uri(), target)
    tracker, results = s3mount.ProgressTracker(), []
    told = {"progress_tracker": tracker, "on_result": results.append}
    assert s3mount.download(source.as_uri(), target, skip_existing=True, **told) == (30, [])
    stats = tracker.get_stats()
    assert (stats["objects_downloaded"], stats["bytes_downloaded"]) == (30, 0)
    assert sum(result.file_size for result in results) == sum(range(30))


def test_what_an_object_cannot_be_is_told_of_it_alone(source, target):
    (target / "d1").write_text("in the way")
    results = []
    count, failures = s3mount.download(source.as_uri(), target, on_result=results.append)
    assert count == 20
    assert {key for key, _ in failures} == {f"d1/{n}.txt" for n in range(1, 30, 3)}
    assert all(isinstance(error, Exception) for _, error in failures)
    failed = [result for result in results if not result.success]
    assert {r.dest_filename for r in failed} == {target / key for key, _ in failures}
    assert {r.file_size for r in failed} == {0}


def test_an_exception_in_a_callback_stops_the_run_and_comes_out(source, target):
    before = threading.active_count()
    seen = []

    def on_complete(key):
        seen.append(key)
        raise LookupError(key)

    for run in (
        lambda: s3mount.download(source.as_uri(), target, on_complete=on_complete),
        lambda: s3mount.prefetch(source.as_uri(), on_complete=on_complete, pin="kept"),
    ):
        with pytest.raises(LookupError):
            run()
    assert len(seen) == 2
    assert threading.active_count() == before
    assert not [name for name in names_below(target) if name.startswith(".")]


@pytest.mark.parametrize("run", [s3mount.download, s3mount.prefetch])
@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("s3://bucket", {"regex": "("}),
        ("s3://", {}),
        ("s3:// /p", {}),
        ("", {}),
        ("http://example.com/bucket", {}),
        ("ftp://bucket", {}),
        ("s3://bucket", {"endpoint_url": "nonsense"}),
        ("s3://bucket", {"profile": "nobody"}),
    ],
)
def test_nonsense_is_refused_at_once(run, source, options):
    with pytest.raises(ConfigError):
        run(source, **options)


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": -1}, {"delimiter": ""}])
def test_download_refuses_nonsense(options):
    with pytest.raises(ConfigError):
        s3mount.download("s3://bucket", **options)


def test_prefetch_refuses_nonsense():
    with pytest.raises(ConfigError, match="jobs is 0"):
        s3mount.prefetch("s3://bucket", jobs=0)
    with pytest.raises(ConfigError):
        s3mount.prefetch("s3://bucket", include=["/"])


def test_a_directory_that_is_not_there(source, tmp_path):
    with pytest.raises(ConfigError, match="No such file or directory"):
        s3mount.download(source.as_uri(), tmp_path / "missing")


def test_a_cache_that_cannot_be_used(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((CacheError, ConfigError)):
        s3mount.prefetch(source.as_uri(), cache_dir=tmp_path / "file")


def test_prefetch_fetches_once_and_download_copies_from_there(source, target, tmp_path):
    tracker, again = s3mount.ProgressTracker(), s3mount.ProgressTracker()
    where = {"cache_dir": tmp_path / "cache"}
    assert s3mount.prefetch(source.as_uri(), progress_tracker=tracker, **where) == (30, [])
    assert s3mount.prefetch(source.as_uri(), progress_tracker=again, **where) == (30, [])
    assert tracker.get_stats()["bytes_downloaded"] == sum(range(30))
    assert again.get_stats()["bytes_downloaded"] == 0
    assert s3mount.download(source.as_uri(), target, **where) == (30, [])
    assert names_below(target) == names_below(source)


def test_inside_an_event_loop_of_asyncio(source, target):
    async def main():
        beside = await asyncio.to_thread(s3mount.download, source.as_uri(), target)
        return beside, s3mount.download(source.as_uri(), target)

    assert asyncio.run(main()) == ((30, []), (30, []))


async def test_inside_an_event_loop_of_trio(source, target):
    assert await trio.to_thread.run_sync(s3mount.download, source.as_uri(), target) == (30, [])


def test_from_two_threads_at_once(source, tmp_path):
    ends = []

    def run(folder):
        folder.mkdir()
        ends.append(s3mount.download(source.as_uri(), folder))

    threads = [threading.Thread(target=run, args=[tmp_path / name]) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [(30, []), (30, [])]


def test_the_environment_does_not_move_what_a_program_names(source, target, monkeypatch):
    monkeypatch.setenv("S3MOUNT_PREFIX", "elsewhere/")
    assert s3mount.prefetch(source.as_uri()) == (30, [])
    assert s3mount.download(source.as_uri(), target) == (30, [])


@pytest.mark.parametrize(
    ("uri", "delimiter", "bucket", "prefix"),
    [
        ("s3://bucket", "/", "bucket", ""),
        ("s3://bucket/", "/", "bucket", ""),
        ("S3://bucket/my/test/pre", "/", "bucket", "my/test/pre"),
        ("bucket/p", "/", "bucket", "p"),
        ("s3://bucket:my:prefix", ":", "bucket", "my:prefix"),
    ],
)
def test_a_prefix_is_a_text(uri, delimiter, bucket, prefix):
    assert api._where(uri, delimiter) == (Source("s3", bucket), prefix)
