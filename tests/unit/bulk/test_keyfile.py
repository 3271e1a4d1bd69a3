"""Keys that were written down: each is found or told to be missing, with few requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.bulk.keyfile import FEW, KeyLookup, KeyPages, read_keys, with_missing
from s3mount.bulk.outcome import Ending
from s3mount.bulk.selection import Selection
from s3mount.bulk.warm import prefetch_objects
from s3mount.errors import AccessDenied, NotFound, UnexpectedReply
from s3mount.store.interface import ListPage, Page
from s3mount.store.memory import MemoryStore
from s3mount.store.paging import byte_order, fold_page
from tests.support.faulty_store import FaultyStore
from tests.unit.bulk.sessions import session_over


def test_lines_are_keys_below_the_prefix():
    lines = [b"a\n", b"\n", b"  \n", b"b c \r\n", b"\xff\n", b"last"]
    assert list(read_keys(lines, "p/")) == ["p/a", "p/b c ", "p/\udcff", "p/last"]


def look_up(stored, keys, *, page_size=1000, choose=lambda questions: 0):
    """Drive a lookup against a bucket; found keys, missing keys, and the requests."""
    store = MemoryStore()
    metas = {key: store.put(key) for key in stored}
    ordered = sorted(stored, key=byte_order)
    lookup, found, missing, requests, open_questions = KeyLookup.of(keys), [], [], [], []
    while True:
        while (question := lookup.ask()) is not None:
            open_questions.append(question)
        if not open_questions:
            assert lookup.is_over
            return found, missing, requests
        question = open_questions.pop(choose(open_questions))
        requests.append(question.request)
        asked = question.request
        request = ListPage(
            asked.prefix, asked.delimiter, asked.token, max_keys=min(asked.max_keys, page_size)
        )
        answer = lookup.take(question, fold_page(ordered, request, metas.get))
        found += [meta.key for meta in answer.found]
        missing += answer.missing


KEYS = st.text(alphabet="ab/é", min_size=1, max_size=5)


@given(st.sets(KEYS, max_size=40), st.lists(KEYS, max_size=30), st.integers(1, 7), st.randoms())
def test_every_key_is_found_or_missing_once_whatever_the_bucket(stored, keys, page_size, chooser):
    found, missing, requests = look_up(
        stored, keys, page_size=page_size, choose=lambda open_: chooser.randrange(len(open_))
    )
    assert sorted(found) == sorted(set(keys) & stored)
    assert sorted(missing) == sorted(set(keys) - stored)
    # Besides one for each key at the most: a last page for each directory, and another look at what a page lacks.
    directories = {key[: key.rfind("/") + 1] for key in keys}
    assert len(requests) <= len(set(keys)) + len(directories) + len(missing)


def test_few_keys_are_asked_for_one_by_one_and_many_by_the_page():
    stored = [f"d/{number:04}" for number in range(2000)]
    assert len(look_up(stored, stored[:FEW])[2]) == FEW
    found, missing, requests = look_up(stored, stored)
    assert (len(found), missing, len(requests)) == (2000, [], 2)


def test_keys_far_apart_in_a_long_directory_are_not_searched_for_page_by_page():
    stored = [f"d/{number:06}" for number in range(50_000)]
    keys = stored[:: len(stored) // 10]
    found, _, requests = look_up(stored, keys)
    assert sorted(found) == keys
    assert len(requests) <= len(keys) + 1


@pytest.fixture
def store():
    return FaultyStore(MemoryStore())


def run(store, root, keys):
    with session_over(store, root) as session:
        pages = KeyPages(session.engine, keys)
        batches = prefetch_objects(session, "", Selection(), pages=pages, jobs=8)
        return [outcome for batch in with_missing(batches, pages) for outcome in batch]


def test_missing_keys_are_failures(store, tmp_path):
    for number in range(10):
        store.inner.put(f"d/{number}", b"x")
    store.inner.put("alone", b"x")
    keys = [f"d/{number}" for number in range(12)] + ["alone", "alone", "nope"]
    outcomes = {outcome.meta.key: outcome for outcome in run(store, tmp_path / "cache", keys)}
    assert len(outcomes) == 14
    failed = {key for key, outcome in outcomes.items() if outcome.ending is Ending.FAILED}
    assert failed == {"d/10", "d/11", "nope"}
    assert all(isinstance(outcomes[key].error, NotFound) for key in failed)
    assert "not found" in outcomes["nope"].error.message
    assert outcomes["nope"].error.hint


def test_no_keys_are_no_objects(store, tmp_path):
    assert run(store, tmp_path / "cache", []) == []
    assert store.requests == []


def test_an_error_of_a_lookup_ends_the_run(store, tmp_path):
    store.fail(AccessDenied("no"))
    with pytest.raises(AccessDenied):
        run(store, tmp_path / "cache", ["a", "b"])


def test_a_defect_in_a_lookup_ends_the_run(store, tmp_path, monkeypatch):
    def take(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr(KeyLookup, "take", take)
    with pytest.raises(UnexpectedReply, match="a defect"):
        run(store, tmp_path / "cache", ["a", "b"])


def test_the_answers_are_bounded(store, tmp_path):
    keys = [f"{number}/k" for number in range(300)]
    for key in keys:
        store.inner.put(key, b"x")
    assert len(run(store, tmp_path / "cache", keys)) == 300
    assert len(store.lists()) == 300


def test_a_page_is_a_page():
    assert KeyLookup.of(["k"]).take(KeyLookup.of(["k"]).ask(), Page((), (), None)) == ([], ["k"])
