"""A crew: how it is divided, what crosses its pipes, who brings which object, and how members end."""

import os
import pickle
import signal
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount import errors
from s3mount.bulk import crew as crews
from s3mount.bulk.copying import NotCached
from s3mount.bulk.crew import hired
from s3mount.bulk.crew_member import Feed, packed, sendable, unpacked
from s3mount.bulk.dealing import Dealt
from s3mount.bulk.dividing import HEAVY, SMALL, is_worth_it, shares, weight
from s3mount.bulk.folders import NotWritable
from s3mount.bulk.keys import Unplaceable
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.bulk.pipeline import Pipeline
from s3mount.bulk.receiving import Damaged
from s3mount.bulk.wanted import Collision, DiskFull
from s3mount.cache.fill import Unsound
from s3mount.store.interface import ObjectMeta
from s3mount.store.memory import MemoryStore
from s3mount.transfer.engine import Engine, EngineSettings
from tests.unit.bulk.sessions import QUICK, SerialPages

OURS = [
    *(each for each in vars(errors).values() if isinstance(each, type)),
    *(Collision, Damaged, DiskFull, NotCached, NotWritable, Unplaceable, Unsound),
]
SETTINGS = EngineSettings(connections=8, retry=QUICK)


class Endings:
    """A task that ends objects at once, and says in ``place`` which process did."""

    def __init__(self, act=lambda meta: None):
        self.act = act

    def begin(self, meta, done):
        self.act(meta)
        done(Outcome(meta, Ending.FETCHED, place=str(os.getpid())))
        return True


def working(act=lambda meta: None):
    """What members do: end everything, ``act`` before each."""

    def work(share, feed):
        with Engine(MemoryStore(), SETTINGS) as engine:
            yield from Pipeline(engine, feed.through(engine), Endings(act), jobs=share.jobs).run(
                0.02
            )

    return work


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """The runner of the tests has threads of its own, which hold no lock of ours."""
    monkeypatch.setattr(crews.threading, "active_count", lambda: 1)


def deal(work, count=2000, **options):
    """Run objects through a crew of two; their outcomes, and the error of the run."""
    store = MemoryStore()
    for number in range(count):
        store.put(f"k{number:05}")
    said = []
    with hired(work, 8, cores=2) as crew, Engine(store, SETTINGS) as engine:
        options = {"is_worth_it": lambda: True, "jobs": 8} | options
        dealt = Dealt(engine, Endings(), crew, **options)
        pages = SerialPages(engine)
        with closing(Pipeline(engine, pages, dealt, jobs=crew.ahead).run(0.02)) as batches:
            for batch in batches:
                said += batch
                if dealt.error is not None:
                    break
        crew.dismiss()
    return said, dealt.error


@given(st.integers(1, 2000), st.integers(1, 64))
def test_requests_are_divided_and_none_is_lost(jobs, cores):
    divided = shares(jobs, cores)
    assert len(divided) != 1
    assert len({each.number for each in divided}) == len(divided) <= min(cores, 8)
    assert all(each.jobs >= 1 and each.of == len(divided) for each in divided)
    assert sum(each.jobs for each in divided) == (jobs if divided else 0)
    assert bool(divided) == (min(jobs, cores) > 1)


def test_a_crew_is_for_many_small_objects_or_much_in_large_ones():
    assert not is_worth_it(0, 0)
    assert not is_worth_it(999, 999)
    assert is_worth_it(1000, 0)
    assert is_worth_it(1000, 1000 * SMALL - 1)
    assert not is_worth_it(999, 999 * SMALL - 1)
    assert is_worth_it(2, HEAVY)
    assert not is_worth_it(2, HEAVY - 1)
    assert not is_worth_it(1, 100 * HEAVY)
    assert weight(0) == weight(4096) == 1 < weight(256 * 1024)


@pytest.mark.parametrize("kind", OURS)
def test_errors_cross_the_pipe_whole(kind):
    error = kind("words", hint="do this")
    if isinstance(error, errors.StoreError):
        error = kind("words", hint="do this", key="k", status=418, code="C", request_id="r")
    meta = ObjectMeta("k\udce9", 1, "e", 2, "GLACIER", True)
    outcome = Outcome(meta, Ending.FAILED, 3, 0.5, error, "place", "v")
    (told,) = unpacked(packed([outcome]))
    assert told._replace(error=None) == outcome._replace(error=None)
    assert type(told.meta) is ObjectMeta
    assert (type(told.error), str(told.error)) == (kind, "words")
    assert vars(told.error) == vars(error)


def test_an_error_of_the_system_crosses_the_pipe():
    error = pickle.loads(sendable(OSError(28, "No space left", "/a")))
    assert (error.errno, error.strerror, error.filename) == (28, "No space left", "/a")


def test_an_error_that_cannot_cross_keeps_its_words():
    class Local(Exception):
        pass

    assert str(unpacked(sendable(Local("words")))) == "words"
    (told,) = unpacked(packed([Outcome(ObjectMeta("k", 1, "e", 2), Ending.FAILED, error=Local())]))
    assert str(told.error) == "Local"


def test_the_crew_brings_every_object_once():
    said, error = deal(working())
    assert error is None
    assert len(said) == len({each.meta.key for each in said}) == 2000
    assert len({each.place for each in said} - {str(os.getpid())}) == 2


@pytest.mark.parametrize("delay", [None, 0.02])
def test_a_member_is_over_when_nothing_more_comes(delay):
    """With this patience, one that only looks from time to time whether it is over would never end."""
    metas = [ObjectMeta(f"k{number}", 1, "e", 1) for number in range(2)]

    def feed_all():
        feed.put(metas)
        feed.end()

    with Engine(MemoryStore(), SETTINGS) as engine:
        feed = Feed().through(engine)
        if delay is None:
            feed_all()
        else:
            threading.Timer(delay, feed_all).start()
        with closing(Pipeline(engine, feed, Endings(), jobs=4).run(patience=600)) as batches:
            assert [each.meta for batch in batches for each in batch] == metas


def test_what_is_not_worth_it_is_brought_here():
    said, _ = deal(working(), is_worth_it=lambda: False)
    assert {each.place for each in said} == {str(os.getpid())}


def test_from_an_object_on_that_only_this_process_can_bring_it_brings_all():
    said, _ = deal(working(), count=5000, only_here=lambda meta: meta.key == "k03000")
    places = {each.meta.key: each.place for each in said}
    assert len(places) == 5000
    here = {key for key, place in places.items() if place == str(os.getpid())}
    assert {f"k{number:05}" for number in range(3000, 5000)} <= here
    assert here != set(places)


def test_objects_of_a_member_that_is_killed_fail_and_the_others_go_on():
    def act(meta):
        if meta.key == "k00100":
            os.kill(os.getpid(), signal.SIGKILL)

    said, error = deal(working(act), count=5000)
    assert error is None
    failed = [each for each in said if each.ending is Ending.FAILED]
    assert len(said) == len({each.meta.key for each in said}) == 5000
    assert "k00100" in {each.meta.key for each in failed}
    assert 0 < len(failed) < 1000
    assert "was killed" in str(failed[0].error)
    assert failed[0].error.hint


def test_without_a_member_all_comes_back():
    def work(share, feed):
        os._exit(7)
        yield []

    said, _ = deal(work, count=5000)
    assert len({each.meta.key for each in said}) == 5000
    assert {each.ending for each in said} == {Ending.FAILED, Ending.FETCHED}
    assert said[-1].place == str(os.getpid())


def test_an_error_of_a_member_ends_the_run():
    def work(share, feed):
        raise DiskFull("the disk is full", hint="make room")
        yield []

    _, error = deal(work)
    assert isinstance(error, DiskFull)
    assert error.hint == "make room"


def test_where_the_crew_cannot_begin_the_run_ends():
    def refuse():
        raise NotWritable("read-only")

    _, error = deal(working(), at_first=refuse)
    assert isinstance(error, NotWritable)


def test_who_leaves_early_leaves_no_process():
    before = time.monotonic()
    with hired(working(lambda meta: time.sleep(0.001)), 8, cores=2) as crew:
        pids = [each.pid for each in crew._processes]
        with Engine(MemoryStore(), SETTINGS) as engine:
            dealt = Dealt(engine, Endings(), crew, is_worth_it=lambda: True, jobs=8)
            for number in range(1000):
                engine.call(
                    lambda number=number: dealt.begin(
                        ObjectMeta(f"k{number}", 1, "e", 1), lambda outcome: None
                    )
                )
            time.sleep(0.1)
            crew.dismiss()
    assert time.monotonic() - before < 5
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not [each for each in threading.enumerate() if "crew" in each.name]


def test_signals_of_the_terminal_are_left_to_the_command():
    def act(meta):
        if meta.key == "k00000":
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)

    said, _ = deal(working(act))
    assert {each.ending for each in said} == {Ending.FETCHED}


def test_there_is_none_where_it_cannot_help(monkeypatch):
    with hired(working(), 8, cores=1) as crew:
        assert crew is None
    with hired(working(), 1, cores=8) as crew:
        assert crew is None
    monkeypatch.setattr(crews.threading, "active_count", lambda: 2)
    with hired(working(), 8, cores=8) as crew:
        assert crew is None
