"""The stream from a listing to outcomes: every object once, bounds, endings, and who leaves early."""

import threading
import time
from collections import Counter
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.bulk import pipeline
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.bulk.pipeline import Pipeline
from s3mount.errors import AccessDenied, StoreError
from s3mount.store.interface import ListPage
from s3mount.store.memory import MemoryStore
from s3mount.transfer.engine import Engine, EngineSettings
from tests.support.faulty_store import FaultyStore
from tests.unit.bulk.sessions import QUICK, SerialPages

PATIENCE = 0.02


class Now:
    """A task that ends everything before `begin` returns."""

    def __init__(self, wants=lambda meta: True):
        self.wants = wants
        self.begun = []

    def begin(self, meta, done):
        self.begun.append(meta.key)
        if not self.wants(meta):
            return False
        done(Outcome(meta, Ending.PRESENT))
        return True


class Later:
    """A task whose objects end on other threads, when the test says so or after a moment."""

    def __init__(self, delay=None):
        self.delay = delay
        self.open = {}
        self.most = 0
        self.begun = 0

    def begin(self, meta, done):
        assert threading.current_thread().name == "s3mount-engine"
        self.begun += 1
        self.open[meta.key] = lambda: (self.open.pop(meta.key), done(Outcome(meta, Ending.FETCHED)))
        self.most = max(self.most, len(self.open))
        if self.delay is not None:
            threading.Timer(self.delay, self.open[meta.key]).start()
        return True


@pytest.fixture
def store():
    return FaultyStore(MemoryStore())


@pytest.fixture
def engine(store):
    with Engine(store, EngineSettings(connections=8, retry=QUICK)) as engine:
        yield engine


def fill(store, count):
    for number in range(count):
        store.inner.put(f"k{number:04}")


def keys_of(batches):
    return [outcome.meta.key for batch in batches for outcome in batch]


def run(engine, task, *, jobs=4, **listing):
    pages = SerialPages(engine, **listing)
    return Pipeline(engine, pages, task, jobs=jobs).run(PATIENCE), pages


@pytest.mark.parametrize("count", [0, 1, 5, 6, 60])
@pytest.mark.parametrize("jobs", [1, 4])
def test_every_object_has_one_outcome(store, engine, count, jobs):
    fill(store, count)
    for task in (Now(), Later(delay=0.0)):
        batches, _ = run(engine, task, jobs=jobs, max_keys=5)
        assert sorted(keys_of(batches)) == store.inner.keys()


def test_what_is_not_wanted_is_passed_over(store, engine):
    fill(store, 20)
    task = Now(wants=lambda meta: meta.key.endswith("7"))
    batches, _ = run(engine, task, max_keys=3)
    assert keys_of(batches) == ["k0007", "k0017"]
    assert len(task.begun) == 20


def test_no_more_objects_than_jobs_and_no_more_pages_than_may_be_ahead(store, engine):
    fill(store, 100)
    task = Later(delay=0.02)
    batches, pages = run(engine, task, jobs=7, max_keys=5, ahead=3)
    assert len(keys_of(batches)) == 100
    assert task.most == 7
    assert pages.most <= 3


def test_objects_begin_while_the_listing_goes_on(store, engine):
    fill(store, 10)
    task = Later()
    batches, pages = run(engine, task, max_keys=2, ahead=1, jobs=4)
    with_time(lambda: next(batches) == [] and task.begun == 4)
    assert not pages.is_over
    batches.close()


def with_time(holds, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline


def test_nothing_begins_while_too_many_outcomes_wait(store, engine, monkeypatch):
    monkeypatch.setattr(pipeline, "OUTCOMES_MAX", 10)
    monkeypatch.setattr(pipeline, "BATCH_MAX", 3)
    fill(store, 200)
    task = Now()
    batches, _ = run(engine, task, jobs=4, max_keys=50)
    got = keys_of([next(batches)])
    for batch in batches:
        assert len(batch) <= 3
        got += keys_of([batch])
        assert len(task.begun) <= len(got) + 10
    assert got == store.inner.keys()


def test_a_listing_error_comes_after_all_that_had_begun(store, engine):
    fill(store, 20)
    token = store.inner.keys()[9]
    store.fail(AccessDenied("no"), matches=lambda r: isinstance(r, ListPage) and r.token == token)
    task = Later(delay=0.01)
    batches, _ = run(engine, task, max_keys=5, jobs=3, ahead=9)
    got = []
    with pytest.raises(AccessDenied):
        got.extend(keys_of([batch]) for batch in batches)
    assert sum(map(len, got)) == task.begun > 0
    assert not task.open


def test_an_error_of_the_first_listing_is_told(store, engine):
    store.fail(AccessDenied("no"))
    batches, _ = run(engine, Now())
    with pytest.raises(AccessDenied):
        list(batches)


def test_who_leaves_early_begins_no_more(store, engine):
    fill(store, 100)
    task = Later()
    batches, pages = run(engine, task, max_keys=5, jobs=3)
    with_time(lambda: next(batches) == [] and task.begun == 3)
    batches.close()
    flushed = threading.Event()
    engine.call(flushed.set)
    assert flushed.wait(5)
    for end in list(task.open.values()):
        end()
    engine.call(flushed.set)
    assert flushed.wait(5)
    assert task.begun == 3
    assert pages.is_over


def test_a_task_that_breaks_fails_its_object_and_no_other(store, engine):
    fill(store, 5)

    class Broken(Now):
        def begin(self, meta, done):
            if meta.key == "k0002":
                raise OSError("too many open files")
            return super().begin(meta, done)

    batches, _ = run(engine, Broken())
    outcomes = [outcome for batch in batches for outcome in batch]
    assert Counter(outcome.ending for outcome in outcomes) == {Ending.PRESENT: 4, Ending.FAILED: 1}
    (failed,) = [outcome for outcome in outcomes if outcome.ending is Ending.FAILED]
    assert failed.meta.key == "k0002"
    assert isinstance(failed.error, OSError)


class ByHand:
    """An engine and a listing whose every step is made when the test says."""

    released = 0

    def __init__(self, sizes):
        keys = iter(f"k{number}" for number in range(sum(sizes)))
        self.waiting = [[MemoryStore().put(next(keys)) for _ in range(size)] for size in sizes]
        self.words = []
        self.is_told = False

    def call(self, word):
        self.words.append(word)

    def start(self, deliver, finished):
        self.deliver, self.finished = deliver, finished

    def release(self):
        self.released += 1

    def stop(self):
        """Nothing goes on by itself."""

    def word(self):
        if self.words:
            self.words.pop(0)()

    def page(self):
        if self.waiting:
            self.deliver(self.waiting.pop(0))
        elif not self.is_told:
            self.is_told = True
            self.finished(None)


STEPS = st.lists(st.sampled_from(["word", "page", "end", "take"]), max_size=40)


@given(st.lists(st.integers(0, 7), max_size=8), st.integers(1, 5), STEPS)
def test_every_object_once_whatever_the_order_of_events(sizes, jobs, steps):
    hand, task = ByHand(sizes), ManualTask()
    batches = Pipeline(hand, hand, task, jobs=jobs).run(0.0)
    seen = keys_of([next(batches)])
    hand.word()
    make = {
        "word": hand.word,
        "page": hand.page,
        "end": task.end_one,
        "take": lambda: seen.extend(keys_of([next(batches, [])])),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "GATHER", 0.0)
        for step in steps:
            make[step]()
        while (batch := next(batches, None)) is not None:
            seen.extend(keys_of([batch]))
            for step in ("page", "word", "end"):
                make[step]()
    assert sorted(seen) == sorted(f"k{number}" for number in range(sum(sizes)))
    assert task.most <= jobs
    assert hand.released == len(sizes)


class ManualTask(Later):
    """Every second object ends at once, the others when the test says."""

    def begin(self, meta, done):
        self.begun += 1
        if self.begun % 2:
            done(Outcome(meta, Ending.PRESENT))
            return True
        self.open[meta.key] = lambda: done(Outcome(meta, Ending.FETCHED))
        self.most = max(self.most, len(self.open))
        return True

    def end_one(self):
        if self.open:
            self.open.pop(next(iter(self.open)))()


def test_a_listing_that_cannot_begin_is_an_error(engine):
    class Unable(SerialPages):
        def start(self, deliver, finished):
            finished(StoreError("cannot"))

    with pytest.raises(StoreError):
        list(Pipeline(engine, Unable(engine), Now(), jobs=1).run(PATIENCE))


class Groups(Later):
    """A task that takes groups, and ends what it has in groups of another size."""

    def __init__(self, engine, at_once):
        super().__init__()
        self.engine, self.at_once = engine, at_once
        self.held, self.sizes = [], []

    def begin_group(self, metas, done):
        assert threading.current_thread().name == "s3mount-engine"
        self.sizes.append(len(metas))
        self.held += metas
        self.most = max(self.most, len(self.held))
        self.engine.call(lambda: self.end(done))

    def end(self, done):
        while self.held:
            group, self.held = self.held[: self.at_once], self.held[self.at_once :]
            done([Outcome(meta, Ending.FETCHED) for meta in group])


@pytest.mark.parametrize("jobs", [1, 7, 5000])
@pytest.mark.parametrize("at_once", [1, 3, 4000])
def test_a_task_of_groups_has_every_object_once_within_the_bounds(store, engine, jobs, at_once):
    for number in range(2500):
        store.inner.put(f"k{number:04}")
    task = Groups(engine, at_once)
    batches = list(Pipeline(engine, SerialPages(engine), task, jobs=jobs).run(PATIENCE))
    keys = [each.meta.key for batch in batches for each in batch]
    assert sorted(keys) == [f"k{number:04}" for number in range(2500)]
    assert max(map(len, batches)) <= pipeline.BATCH_MAX
    assert task.most <= jobs
    assert task.begun == 0


def test_groups_wait_while_too_many_outcomes_do(store, engine, monkeypatch):
    monkeypatch.setattr(pipeline, "OUTCOMES_MAX", 10)
    for number in range(200):
        store.inner.put(f"k{number:04}")
    task = Groups(engine, 3)
    with closing(Pipeline(engine, SerialPages(engine), task, jobs=5).run(PATIENCE)) as batches:
        seen = []
        for batch in batches:
            seen += batch
            time.sleep(0.01)
            assert sum(task.sizes) - len(seen) <= 10 + 2 * 5 + len(batch)
    assert len(seen) == 200


def test_a_task_of_groups_that_breaks_fails_its_objects(store, engine):
    class Breaking(Groups):
        def begin_group(self, metas, done):
            raise RuntimeError("no")

    for number in range(20):
        store.inner.put(f"k{number:04}")
    task = Breaking(engine, 1)
    (*_, batch) = Pipeline(engine, SerialPages(engine), task, jobs=50).run(PATIENCE)
    assert {each.ending for each in batch} == {Ending.FAILED}
