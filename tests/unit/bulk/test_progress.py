"""The numbers of a run: counts, speed, time left, failures and the slowest objects."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.bulk import progress
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.bulk.progress import (
    FAILURES_KEPT,
    SLOWEST_KEPT,
    DownloadResult,
    ProgressProtocol,
    ProgressTracker,
    Tally,
    format_bytes,
)
from s3mount.store.interface import ObjectMeta

MIB = 1 << 20


def outcome(key="k", size=0, ending=Ending.FETCHED, seconds=0.0, fetched=None):
    error = OSError("no") if ending is Ending.FAILED else None
    came = size if fetched is None and ending is Ending.FETCHED else fetched or 0
    return Outcome(ObjectMeta(key, size, "etag", 0), ending, came, seconds, error)


outcomes = st.builds(
    outcome,
    key=st.text(max_size=3),
    size=st.integers(0, 1 << 40),
    ending=st.sampled_from(Ending),
    seconds=st.floats(0, 1e6),
)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@given(st.lists(outcomes))
def test_every_outcome_is_counted_once(run):
    tally = Tally(0.0)
    for each in run:
        tally.add_found(1, each.meta.size)
    tally.add_ended(run[: len(run) // 2])
    tally.add_ended(run[len(run) // 2 :])
    assert sum(tally.endings.values()) == tally.ended == tally.found == len(run)
    assert tally.ended_bytes == tally.wanted_bytes
    assert tally.fetched_bytes == sum(each.fetched for each in run)


@given(st.lists(outcomes, max_size=100))
def test_the_first_failures_are_kept_and_all_are_counted(run):
    tally = Tally(0.0)
    tally.add_ended(run)
    failed = [each for each in run if each.error is not None]
    assert tally.failed == len(failed)
    assert [(f.key, f.error) for f in tally.failures] == [
        (each.meta.key, each.error) for each in failed[:FAILURES_KEPT]
    ]


@given(st.lists(outcomes, max_size=100))
def test_the_slowest_are_those_that_took_longest(run):
    tally = Tally(0.0)
    tally.add_ended(run)
    seconds = sorted((e.seconds for e in run if e.ending is Ending.FETCHED), reverse=True)
    assert [each.seconds for each in tally.slowest] == seconds[:SLOWEST_KEPT]


@given(st.lists(outcomes), st.booleans(), st.floats(0, 1e9))
def test_time_left_is_told_only_once_the_listing_is_done(run, is_listed, now):
    tally = Tally(0.0, found=len(run) + 1, wanted_bytes=1 << 50, is_listed=is_listed)
    tally.add_ended(run)
    left = progress.time_left(tally, now)
    if not is_listed or not now or Ending.FETCHED not in {each.ending for each in run}:
        assert left is None
    else:
        assert left >= 0


def test_time_left_goes_by_what_was_fetched_not_by_what_was_there():
    tally = Tally(0.0, found=100, wanted_bytes=100 * MIB, is_listed=True)
    tally.add_ended([outcome(size=MIB, ending=Ending.PRESENT)] * 80)
    tally.add_ended([outcome(size=MIB)] * 10)
    assert progress.time_left(tally, 5.0) == pytest.approx(5.0)


def test_nothing_is_left_at_the_end():
    tally = Tally(0.0, found=1, wanted_bytes=7, is_listed=True)
    tally.add_ended([outcome(size=7)])
    assert progress.time_left(tally, 3.0) == 0


def test_speed_is_that_of_the_network():
    tally = Tally(10.0)
    tally.add_ended([outcome(size=4 * MIB), outcome(size=MIB, ending=Ending.COPIED)])
    assert progress.speed(tally, 12.0) == 2 * MIB
    assert progress.speed(tally, 10.0) == 0
    assert progress.elapsed(tally, 9.0) == 0


@pytest.mark.parametrize(
    ("count", "suffix", "text"),
    [
        (0, "", "0 B"),
        (512, "", "512 B"),
        (1023, "", "1023 B"),
        (1024, "", "1.0 KB"),
        (1536, "", "1.5 KB"),
        (2 * MIB, "", "2.0 MB"),
        (1536 * MIB, "", "1.5 GB"),
        (5000 << 30, "", "5000.0 GB"),
        (1536, "/s", "1.5 KB/s"),
        (0.0, "/s", "0 B/s"),
    ],
)
def test_format_bytes(count, suffix, text):
    assert format_bytes(count, suffix) == text


def test_tracker_gives_all_its_numbers():
    clock = Clock()
    tracker = ProgressTracker(clock)
    tracker.increment_found()
    tracker.increment_found()
    tracker.increment_downloaded(3 * MIB)
    clock.now += 2
    assert tracker.get_stats() == {
        "objects_found": 2,
        "objects_downloaded": 1,
        "bytes_downloaded": 3 * MIB,
        "elapsed_time": 2.0,
        "download_speed_mbps": 1.5,
    }


def test_tracker_that_just_began_has_no_speed():
    assert ProgressTracker(Clock()).get_stats()["download_speed_mbps"] == 0.0


def test_tracker_loses_nothing_between_threads():
    tracker = ProgressTracker()

    def work():
        for _ in range(2000):
            tracker.increment_found()
            tracker.increment_downloaded(3)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = tracker.get_stats()
    assert (stats["objects_found"], stats["objects_downloaded"]) == (8000, 8000)
    assert stats["bytes_downloaded"] == 24000


def test_protocol_is_told_from_anything_else():
    class Half:
        def increment_found(self):
            """Only one of two."""

    assert isinstance(ProgressTracker(), ProgressProtocol)
    assert not isinstance(Half(), ProgressProtocol)
    assert not isinstance(None, ProgressProtocol)


def test_result_hides_its_error_when_it_is_printed():
    result = DownloadResult("k", Path("d/k"), success=False, error=OSError("secret"))
    assert "secret" not in repr(result)
    assert result.file_size == 0
