"""Names over an engine and a store that counts and fails: how many LISTs each question costs."""

import threading
import time

import pytest

from s3mount.errors import AccessDenied, ServerFault, Unreachable
from s3mount.listing.catalog import Catalog
from s3mount.listing.shelf import OLD_TTL, ShelfSettings
from s3mount.store.interface import MOST_ENTRIES
from s3mount.store.memory import MemoryStore
from s3mount.transfer.engine import Engine, EngineSettings
from s3mount.transfer.retry import RetryPolicy
from tests.support.faulty_store import FaultyStore

QUICK = EngineSettings(8, RetryPolicy(first=0.001, ceiling=0.002, patience=0.05))
NO_RETRY = EngineSettings(8, RetryPolicy(first=1.0, ceiling=1.0, patience=0.0))
PATIENCE = 5


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Ground:
    """A bucket, and a catalog that looks at it."""

    def __init__(self, engine, store, settings):
        self.store = store
        self.clock = Clock()
        self.catalog = Catalog(engine, settings, clock=self.clock)

    def put(self, *keys, body=b""):
        for key in keys:
            self.store.inner.put(key, body)

    def delete(self, key):
        self.store.inner.delete(key)

    def ask(self, prefix, name):
        return self.catalog.lookup(prefix, name)

    def lookup(self, prefix, name):
        """The kind of what a name is."""
        entry = self.ask(prefix, name).result(PATIENCE).entry
        return entry and (entry.key if entry.is_directory else (entry.key, entry.size))

    def read(self, prefix):
        """Every entry, as a reader goes through them."""
        listing = self.catalog.open_listing(prefix)
        names = []
        while True:
            pending = self.catalog.ensure(listing, len(names) + 1)
            if pending is not None:
                pending.result(PATIENCE)
            settled = listing.directory.settled()
            names += [listing.directory.at(index) for index in range(len(names), settled)]
            if listing.directory.is_complete and len(names) == len(listing.directory):
                return [entry.name for entry in names if entry]

    def lists(self):
        return len(self.store.lists())

    def names(self):
        """How many LISTs were of single names; long directories are also read on in the background."""
        return len([request for request in self.store.lists() if request.prefix not in ("", "d/")])

    def quiet(self):
        """Wait until the engine has nothing to do."""
        while not self.catalog._engine._queue.is_empty() or self.catalog._engine._inbox:
            time.sleep(0.001)


@pytest.fixture
def make():
    engines = []

    def ground(settings=ShelfSettings(), engine_settings=NO_RETRY):  # noqa: B008 - immutable
        store = FaultyStore(MemoryStore())
        engine = Engine(store, engine_settings)
        engine.__enter__()
        engines.append(engine)
        return Ground(engine, store, settings)

    yield ground
    for engine in engines:
        engine.__exit__(None, None, None)


@pytest.fixture
def ground(make):
    return make()


@pytest.fixture
def long(ground):
    """Over a page of names in a directory, and it is known to be long."""
    ground.put(*(f"d/{number:05}" for number in range(MOST_ENTRIES + 500)))
    assert ground.lookup("d/", b"00000") == ("d/00000", 0)
    assert ground.lists() == 1
    return ground


def test_one_list_answers_every_lookup_in_a_directory_of_a_page(ground):
    ground.put("d/a", "d/b/c", "d/t", "d/t/x", "e", body=b"12")
    assert ground.lookup("d/", b"a") == ("d/a", 2)
    assert ground.lookup("d/", b"b") == "d/b/"
    assert ground.lookup("d/", b"t") == "d/t/"
    assert ground.lookup("d/", b"t.s3object") == ("d/t", 2)
    assert ground.lookup("d/", b"nothing") is None
    assert ground.catalog.known("d/", b"nothing").entry is None
    assert ground.lists() == 1


def test_a_page_that_is_just_full_is_one_list(ground):
    ground.put(*(f"{number:05}" for number in range(MOST_ENTRIES)))
    assert ground.lookup("", b"00999") == ("00999", 0)
    assert ground.lookup("", b"nothing") is None
    assert len(ground.read("")) == MOST_ENTRIES
    assert ground.lists() == 1


def test_a_name_of_a_long_directory_is_one_list(long):
    assert long.lookup("d/", b"00005") == ("d/00005", 0)  # of the first page
    assert long.lookup("d/", b"000055") is None
    assert long.lists() == 1
    assert long.lookup("d/", b"01400") == ("d/01400", 0)
    assert long.lists() == 2
    assert long.catalog.known("d/", b"01400") is not None
    assert long.catalog.known("d/", b"01401") is None


def test_several_names_of_a_long_directory_read_its_listing_on(long):
    for number in range(1400, 1500):
        assert long.lookup("d/", b"%05d" % number) == (f"d/{number:05}", 0)
    assert long.lookup("d/", b"99999") is None
    # The first page, the second, and the names that were asked for before that had come.
    assert long.lists() < 20


def test_the_first_name_behind_the_first_page_costs_one_more(ground):
    ground.put(*(f"{number:05}" for number in range(MOST_ENTRIES + 500)))
    assert ground.lookup("", b"01200") == ("01200", 0)
    assert ground.lists() == 2


def crowd(start, count=MOST_ENTRIES + 10):
    return [f"{start}-{number:05}" for number in range(count)]


@pytest.mark.parametrize(
    ("keys", "name", "expected", "lists"),
    [
        (["n", "n/x"], b"n", "n/", 2),
        (["n/x"], b"n", "n/", 2),
        (["n/"], b"n", "n/", 2),
        (["n"], b"n", ("n", 0), 2),
        ([], b"n", None, 2),
        (["n0"], b"n", None, 2),
        (["n", "n/x"], b"n.s3object", ("n", 0), 4),
        (["n"], b"n.s3object", None, 4),
        (["n", "n/x", "n.s3object"], b"n.s3object", ("n.s3object", 0), 4),
        (["n", "n/x", "n.s3object/y"], b"n.s3object", "n.s3object/", 4),
        (["n.s3object"], b"n.s3object", ("n.s3object", 0), 3),
        (["n/x"], b"n.s3object", None, 3),
    ],
)
def test_a_name_with_a_thousand_siblings_before_its_directory(ground, keys, name, expected, lists):
    ground.put(*crowd("0"), *crowd("n"), *keys)
    ground.lookup("", b"0")
    before = ground.lists()
    assert ground.lookup("", name) == expected
    assert ground.lists() - before == lists
    assert ground.lookup("", name) == expected
    assert ground.lists() - before == lists


def test_reading_a_long_directory_is_one_list_a_page(long):
    assert long.read("d/") == [f"{number:05}".encode() for number in range(MOST_ENTRIES + 500)]
    assert long.lists() == 2
    assert long.read("d/")
    assert long.lookup("d/", b"01400") == ("d/01400", 0)
    assert long.lists() == 2


def test_the_next_page_is_on_its_way_while_the_first_is_read(ground):
    ground.put(*(f"{number:05}" for number in range(3 * MOST_ENTRIES)))
    listing = ground.catalog.open_listing("")
    ground.catalog.ensure(listing, 1).result(PATIENCE)
    assert ground.catalog.ensure(listing, 1) is None
    ground.quiet()
    assert ground.lists() == 2
    assert ground.catalog.ensure(listing, MOST_ENTRIES) is None
    ground.quiet()
    assert ground.lists() == 2  # a page ahead is enough
    assert ground.catalog.ensure(listing, MOST_ENTRIES + 1) is None
    ground.quiet()
    assert ground.lists() == 3


def test_concurrent_questions_share_one_list(ground):
    ground.put("d/a", "d/b")
    ground.store.hold()
    asked = [ground.ask("d/", name) for name in (b"a", b"b", b"a", b"c")]
    listings = [ground.catalog.open_listing("d/") for _ in range(2)]
    waits = [ground.catalog.ensure(listing, 1) for listing in listings]
    ground.store.let_go()
    assert [future.result(PATIENCE).entry and "there" for future in asked] == ["there"] * 3 + [None]
    for wait in waits:
        wait.result(PATIENCE)
    assert listings[0] is listings[1]
    assert ground.lists() == 1


def test_concurrent_questions_for_one_name_of_a_long_directory_share_one_list(long):
    long.store.hold()
    asked = [long.ask("d/", b"01400") for _ in range(3)]
    long.store.let_go()
    assert {future.result(PATIENCE).entry.key for future in asked} == {"d/01400"}
    assert long.lists() == 2


def test_lookups_in_order_cost_about_what_the_listing_does(ground):
    ground.put(*(f"d/{number:05}" for number in range(4 * MOST_ENTRIES)))
    for number in range(0, 4 * MOST_ENTRIES, 7):
        assert ground.lookup("d/", f"{number:05}".encode()) is not None
        ground.quiet()
    assert ground.lists() <= 20


@pytest.mark.parametrize("step", [1, 3])
def test_names_asked_for_in_the_order_of_the_listing_cost_its_pages_alone(ground, step):
    ground.put(*(f"d/{number:05}" for number in range(2 * MOST_ENTRIES)))
    for number in range(0, 2 * MOST_ENTRIES, step):
        known = ground.catalog.known("d/", b"%05d" % number)
        assert known or ground.lookup("d/", b"%05d" % number) == (f"d/{number:05}", 0)
    ground.quiet()
    assert ground.lists() == 2


def test_names_of_a_directory_that_was_listed_cost_nothing_more(ground):
    ground.put(*(f"d/{number:05}" for number in range(2 * MOST_ENTRIES)))
    names = ground.read("d/")
    assert all(ground.lookup("d/", name) for name in names)
    assert ground.lists() == 2


def test_who_goes_through_the_first_page_alone_reads_nothing_on(long):
    for number in range(MOST_ENTRIES // 2):
        assert long.catalog.known("d/", b"%05d" % number)
    long.quiet()
    assert long.lists() == 1


def test_a_name_that_the_next_page_does_not_have_is_asked_for_alone(ground):
    ground.put(*(f"d/{number:05}" for number in range(9 * MOST_ENTRIES)))
    assert ground.lookup("d/", b"00000")
    for number in range(20):
        assert ground.catalog.known("d/", b"%05d" % (MOST_ENTRIES - 30 + number))
    ground.quiet()
    assert ground.lists() == 2
    assert ground.lookup("d/", b"08500") == ("d/08500", 0)
    assert ground.names() == 1


def test_a_page_fetched_ahead_that_is_refused_is_asked_for_again(ground):
    ground.put(*(f"d/{number:05}" for number in range(2 * MOST_ENTRIES)))
    assert ground.lookup("d/", b"00000")
    ground.store.fail(AccessDenied("no"))
    for number in range(MOST_ENTRIES - 9, MOST_ENTRIES):
        ground.catalog.known("d/", b"%05d" % number)
    ground.quiet()
    assert ground.lookup("d/", b"01000") == ("d/01000", 0)


def test_lookups_far_behind_do_not_list_a_long_directory(ground):
    ground.put(*(f"d/{number:05}" for number in range(20 * MOST_ENTRIES)))
    for number in range(19 * MOST_ENTRIES, 19 * MOST_ENTRIES + 50):
        assert ground.lookup("d/", f"{number:05}".encode()) is not None
        ground.quiet()
    assert ground.names() == 50
    assert ground.lists() - ground.names() <= 8


def test_many_threads_ask_at_once(ground):
    ground.put(*(f"d{number}/x" for number in range(20)))
    answers = []

    def ask():
        for number in range(20):
            answers.append(ground.lookup(f"d{number}/", b"x"))
            answers.append(ground.lookup(f"d{number}/", b"y"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 320
    assert answers.count(None) == 160
    assert ground.lists() == 20


def test_ages_are_counted_from_the_listing(ground):
    ground.put("a")
    assert ground.ask("", b"a").result(PATIENCE).ttl == 60.0
    assert ground.ask("", b"b").result(PATIENCE).ttl == 10.0
    ground.clock.now += 10.0
    ground.put("b")
    assert ground.lookup("", b"a") == ("a", 0)
    assert ground.lists() == 1
    assert ground.lookup("", b"b") == ("b", 0)
    assert ground.lists() == 2
    ground.clock.now += 60.0
    assert ground.lookup("", b"a") == ("a", 0)
    assert ground.lists() == 3


def test_without_ttl_every_lookup_asks_and_sees_the_change(make):
    ground = make(ShelfSettings(metadata_ttl=0.0, negative_ttl=0.0))
    assert ground.lookup("", b"a") is None
    ground.put("a")
    assert ground.lookup("", b"a") == ("a", 0)
    ground.put("a", body=b"new")
    assert ground.lookup("", b"a") == ("a", 3)
    ground.put("a/x")
    assert ground.lookup("", b"a") == "a/"
    ground.delete("a")
    ground.delete("a/x")
    assert ground.lookup("", b"a") is None
    assert ground.lists() == 5
    assert ground.ask("", b"a").result(PATIENCE).ttl == 0.0


def test_without_ttl_a_long_directory_shows_changes_too(make):
    ground = make(ShelfSettings(metadata_ttl=0.0, negative_ttl=0.0))
    ground.put(*(f"{number:05}" for number in range(MOST_ENTRIES + 5)))
    assert ground.lookup("", b"01004") == ("01004", 0)
    ground.put("01004", "00000", body=b"new")
    assert ground.lookup("", b"01004") == ("01004", 3)
    assert ground.lookup("", b"00000") == ("00000", 3)
    assert ground.lists() == 4


def test_a_paused_reader_makes_nothing_young_again(ground):
    ground.put(*(f"{number:05}" for number in range(3 * MOST_ENTRIES)))
    listing = ground.catalog.open_listing("")
    ground.catalog.ensure(listing, 1).result(PATIENCE)
    ground.delete("00005")
    ground.clock.now += 3600.0
    ground.catalog.ensure(listing, MOST_ENTRIES + 1).result(PATIENCE)
    assert ground.lookup("", b"00005") is None


def test_a_name_seen_to_have_changed_is_asked_again(ground):
    ground.put("a", "b")
    ground.lookup("", b"a")
    ground.put("a", body=b"new")
    ground.catalog.outdate("", b"a")
    assert ground.catalog.known("", b"a") is None
    assert ground.catalog.known("", b"b") is not None
    ground.clock.now += 0.001
    assert ground.lookup("", b"a") == ("a", 3)
    assert ground.lists() == 2


def test_a_refusal_is_raised_and_not_remembered(ground):
    ground.put("a")
    ground.lookup("", b"a")
    ground.clock.now += 100.0
    ground.store.fail(AccessDenied("no"))
    with pytest.raises(AccessDenied):
        ground.lookup("", b"a")
    assert ground.lookup("", b"a") == ("a", 0)


def test_a_refused_name_of_a_long_directory_is_raised(long):
    long.store.fail(AccessDenied("no"))
    with pytest.raises(AccessDenied):
        long.lookup("d/", b"01400")
    assert long.lookup("d/", b"01400") == ("d/01400", 0)


def test_a_refusal_of_the_second_question_is_raised(ground):
    ground.put(*crowd("0"), *crowd("n"), "n/x")
    ground.lookup("", b"0")
    ground.store.fail(AccessDenied("no"), matches=lambda request: request.prefix == "n/")
    with pytest.raises(AccessDenied):
        ground.lookup("", b"n")
    assert ground.lookup("", b"n") == "n/"


def test_when_the_endpoint_is_gone_what_was_known_is_the_answer(make):
    ground = make(engine_settings=QUICK)
    ground.put("a", "d/b")
    ground.lookup("", b"a")
    ground.clock.now += 30.0
    ground.store.fail(Unreachable("gone"), times=10_000)
    answer = ground.ask("", b"nothing").result(PATIENCE)
    assert (answer.entry, answer.ttl) == (None, OLD_TTL)
    ground.clock.now += 100.0
    assert ground.lookup("", b"a") == ("a", 0)
    with pytest.raises(Unreachable):
        ground.lookup("", b"nothing")  # an outage must not look like a deletion
    with pytest.raises(Unreachable):
        ground.lookup("d/", b"b")  # never seen


def test_while_the_endpoint_is_gone_nobody_waits_for_it_and_it_recovers(ground):
    ground.put("a", "d/b")
    ground.lookup("", b"a")
    ground.clock.now += 100.0
    ground.store.fail(Unreachable("gone"))
    assert ground.lookup("", b"a") == ("a", 0)
    ground.quiet()
    ground.store.hold()  # it does not even say that it is gone
    assert ground.ask("", b"a").done()
    listing = ground.catalog.open_listing("")
    assert ground.catalog.ensure(listing, 1) is None
    assert not ground.ask("d/", b"b").done()  # nothing is known of that
    ground.put("a", body=b"new")
    ground.store.let_go()
    ground.quiet()
    assert ground.lookup("", b"a") == ("a", 3)
    assert ground.lookup("d/", b"b") == ("d/b", 0)


def test_a_long_directory_answers_with_what_was_known_too(make):
    ground = make()
    ground.put(*(f"{number:05}" for number in range(MOST_ENTRIES + 5)))
    ground.lookup("", b"01004")
    ground.clock.now += 100.0
    ground.store.fail(ServerFault("500"), times=2)
    assert ground.lookup("", b"01004") == ("01004", 0)
    ground.quiet()
    ground.store.faults.clear()
    ground.store.hold()
    assert ground.ask("", b"01004").done()


def test_pages_that_came_before_the_endpoint_went_away_are_kept(ground):
    ground.put(*(f"{number:05}" for number in range(3 * MOST_ENTRIES)))
    listing = ground.catalog.open_listing("")
    ground.catalog.ensure(listing, 1).result(PATIENCE)
    ground.store.fail(Unreachable("gone"))
    with pytest.raises(Unreachable):
        ground.catalog.ensure(listing, MOST_ENTRIES + 1).result(PATIENCE)
    assert ground.catalog.known("", b"00005") is not None
    assert len(ground.read("")) == 3 * MOST_ENTRIES
    assert ground.lists() == 4


def test_a_continuation_that_is_refused_is_begun_anew(ground):
    ground.put(*(f"{number:05}" for number in range(2 * MOST_ENTRIES)))
    listing = ground.catalog.open_listing("")
    ground.catalog.ensure(listing, 1).result(PATIENCE)
    ground.store.fail(AccessDenied("this token is too old"))
    with pytest.raises(AccessDenied):
        ground.catalog.ensure(listing, MOST_ENTRIES + 1).result(PATIENCE)
    assert len(ground.read("")) == 2 * MOST_ENTRIES
    assert ground.lists() == 4


def test_forgetting_makes_the_next_lookup_ask(ground):
    ground.put("a", "d/b", "e/c")
    for prefix, name in [("", b"a"), ("d/", b"b"), ("e/", b"c")]:
        ground.lookup(prefix, name)
    assert ground.catalog.forget("d/") == 1
    assert ground.catalog.known("d/", b"b") is None
    assert ground.catalog.known("", b"a") is not None
    assert ground.catalog.forget("") == 2
    assert ground.catalog.totals() == {"directories": 0, "entries": 0}


def wait_for_submission(ground, count):
    deadline = time.monotonic() + PATIENCE
    while len(ground.store.held) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_what_was_under_way_when_it_was_forgotten_answers_who_asked_and_nobody_else(ground):
    ground.put("a")
    ground.store.hold()
    earlier = ground.ask("", b"a")
    listing = ground.catalog.open_listing("")
    page = ground.catalog.ensure(listing, 1)
    wait_for_submission(ground, 1)
    ground.catalog.forget("")
    later = ground.ask("", b"a")
    wait_for_submission(ground, 2)
    ground.store.let_go()
    assert earlier.result(PATIENCE).entry.key == "a"
    page.result(PATIENCE)
    assert listing.directory.is_complete
    assert later.result(PATIENCE).entry.key == "a"
    assert ground.lists() == 2
    assert not ground.catalog._shelf.holds(listing)


def test_a_single_name_that_was_under_way_when_it_was_forgotten_is_not_remembered(long):
    long.store.hold()
    earlier = long.ask("d/", b"01400")
    wait_for_submission(long, 1)
    long.catalog.forget("d/")
    long.store.let_go()
    assert earlier.result(PATIENCE).entry.key == "d/01400"
    assert long.catalog.known("d/", b"01400") is None
    assert long.lookup("d/", b"01400") == ("d/01400", 0)


def test_a_reader_goes_on_through_a_listing_that_was_forgotten(ground):
    ground.put(*(f"{number:05}" for number in range(2 * MOST_ENTRIES)))
    listing = ground.catalog.open_listing("")
    ground.catalog.ensure(listing, 1).result(PATIENCE)
    ground.catalog.forget("")
    ground.catalog.ensure(listing, 2 * MOST_ENTRIES).result(PATIENCE)
    assert len(listing.directory) == 2 * MOST_ENTRIES
    assert ground.catalog.totals()["directories"] == 0


def test_listings_larger_than_the_memory_for_them_work_all_the_same(make):
    ground = make(ShelfSettings(max_bytes=5000))
    ground.put(*(f"{number:05}" for number in range(2 * MOST_ENTRIES + 1)))
    assert len(ground.read("")) == 2 * MOST_ENTRIES + 1
    assert ground.lookup("", b"00500") == ("00500", 0)
    assert ground.lookup("", b"nothing") is None


def test_leaving_the_engine_fails_who_waits(make):
    ground = make()
    ground.store.hold()
    asked = ground.ask("", b"a")
    ground.catalog._engine._post(ground.catalog._engine._stop)
    assert asked.exception(PATIENCE) is not None
