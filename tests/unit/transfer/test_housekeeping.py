"""Chores, jobs and calls that may wait, on threads that end."""

import threading

import pytest

from s3mount.transfer.housekeeping import Chore, Housekeeper, Offload, Worker


def test_a_chore_runs_again_and_again():
    twice = threading.Semaphore(0)
    with Housekeeper([Chore("count", 0.01, twice.release)]):
        assert twice.acquire(timeout=5)
        assert twice.acquire(timeout=5)


def test_a_hurried_chore_does_not_wait_for_its_time():
    done = threading.Event()
    with Housekeeper([Chore("rare", 3600.0, done.set)]) as housekeeper:
        housekeeper.hurry("rare")
        assert done.wait(5)


def test_a_chore_that_calls_for_itself_is_run():
    called, done, wake = threading.Event(), threading.Event(), threading.Event()
    with Housekeeper([Chore("rare", 3600.0, done.set, called.is_set)], wake):
        called.set()
        wake.set()
        assert done.wait(5)


@pytest.mark.expects_log("housekeeping: bad failed")
def test_a_chore_that_fails_ends_nothing():
    done = threading.Event()
    with Housekeeper([Chore("bad", 0.01, lambda: 1 // 0), Chore("good", 0.02, done.set)]):
        assert done.wait(5)


@pytest.mark.expects_log("a job of writer failed")
def test_a_worker_does_its_jobs_in_order_and_to_the_last():
    done: list[int] = []
    with Worker("writer") as worker:
        worker.submit(lambda: 1 // 0)
        for number in range(1000):
            worker.submit(lambda number=number: done.append(number))
    assert done == list(range(1000))


def test_offloaded_calls_run_elsewhere():
    offload = Offload(1)
    try:
        assert offload.submit(threading.get_ident).result(5) != threading.get_ident()
    finally:
        offload.close()
