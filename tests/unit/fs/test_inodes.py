"""Inode numbers: one for a version of a name, for as long as somebody holds it, and never for anything else."""

from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from s3mount.errors import NotFound
from s3mount.fs.inodes import ROOT, InodeTable
from s3mount.fs.listed import LISTINGS, SPAN, THIN
from s3mount.listing.directory import Directory, Entry
from s3mount.store.interface import ObjectMeta, Page

NAMES = [f"n{number:03}" for number in range(4 * THIN)]


def file_entry(parent, name, etag="e", **facts):
    return Entry(name, parent.entry.key + name.decode(), False, etag, **facts)


def directory_entry(parent, name):
    return Entry(name, parent.entry.key + name.decode() + "/", True)


def listing(bucket, prefix="", length=10**9):
    """The directory of a bucket: for each name ``None`` for a directory, or an ETag and a time; the first page only."""
    found = Directory(prefix)
    names = sorted(bucket, key=lambda name: name + "/" * (bucket[name] is None))
    page = names[:length]
    files = [
        ObjectMeta(prefix + name, 1, bucket[name][0], bucket[name][1])
        for name in page
        if bucket[name] is not None
    ]
    directories = [f"{prefix}{name}/" for name in page if bucket[name] is None]
    found.append(Page(files, directories, "more" if length < len(names) else None))
    return found


def show(table, parent, directory, start=0, stop=None):
    """Show entries as a reader of a directory sees them: name to number."""
    settled = directory.settled()
    indexes = range(start, settled if stop is None else min(stop, settled))
    if not directory.twins.count:
        return {
            name: table.shown(parent, directory, index, name)
            for index, name, *_ in directory.rows(indexes)
        }
    entries = filter(None, map(directory.at, indexes))
    return {entry.name: table.child(parent, entry, directory) for entry in entries}


@pytest.fixture
def table():
    return InodeTable("")


@pytest.fixture
def root(table):
    return table.own(ROOT)


def many(count, etag="e"):
    return {f"{number:05}": (etag, 0) for number in range(count)}


def test_the_root_is_always_there(table, root):
    table.forget(ROOT, 100)
    assert table.own(ROOT) is root
    assert table.parent(ROOT) is None


def test_a_number_that_is_not_known_is_an_error(table):
    for number in (77, 7 * SPAN):
        for ask in (table.entry, table.own, table.parent):
            with pytest.raises(NotFound):
                ask(number)
        table.forget(number, 1)


def test_a_version_keeps_its_number_and_another_gets_its_own(table, root):
    first = table.child(root, file_entry(root, b"a", "e1"))
    assert table.child(root, file_entry(root, b"a", "e1")) == first
    second = table.child(root, file_entry(root, b"a", "e2"))
    assert second != first
    assert table.entry(first).etag == "e1"
    table.forget(first, 2)
    assert table.child(root, file_entry(root, b"a", "e2")) == second
    with pytest.raises(NotFound):
        table.entry(first)
    table.check()


@pytest.mark.parametrize(
    "other",
    [
        lambda root: file_entry(root, b"a", size=1),
        lambda root: directory_entry(root, b"a"),
        lambda root: Entry(b"a", "b", False, "e"),
    ],
)
def test_what_makes_another_version(table, root, other):
    number = table.child(root, file_entry(root, b"a"))
    assert table.child(root, other(root)) != number


def test_an_outdated_number_is_replaced_even_by_the_same_version(table, root):
    number = table.child(root, file_entry(root, b"a"))
    table.outdate(number)
    assert table.is_outdated(number)
    assert table.child(root, file_entry(root, b"a")) != number


def test_an_outdated_number_of_a_listing_is_not_given_again(table, root):
    directory = listing(many(3))
    first = show(table, root, directory)
    table.outdate(first[b"00001"])
    table.forget(first[b"00001"], 1)
    second = show(table, root, directory)
    assert second[b"00001"] != first[b"00001"]
    assert second[b"00002"] == first[b"00002"]
    table.check()


def test_an_outdated_number_stays_so_with_an_inode_of_its_own(table, root):
    (number,) = show(table, root, listing({"a": ("e", 0)})).values()
    table.outdate(number)
    assert table.own(number).number == number
    assert table.is_outdated(number)
    table.check()


def test_what_is_outdated_when_nobody_holds_it_is_not_remembered(table, root):
    number = table.child(root, file_entry(root, b"a"))
    table.forget(number, 1)
    table.outdate(number)
    assert not table.is_outdated(number)


@pytest.mark.parametrize("is_listed", [True, False])
def test_the_same_bytes_put_again_are_the_same_number_with_new_times(table, root, is_listed):
    bucket = {"a": ("e", 1), "b": ("e", 1)}
    if is_listed:
        number = show(table, root, listing(bucket))[b"a"]
    else:
        number = table.child(root, file_entry(root, b"a", size=1, mtime_ns=1))
    assert show(table, root, listing({**bucket, "a": ("e", 2)}))[b"a"] == number
    assert table.entry(number).mtime_ns == 2
    table.check()


def test_a_new_listing_keeps_the_numbers_of_what_is_unchanged(table, root):
    before = many(3 * SPAN)
    first = show(table, root, listing(before))
    after = {**before, "00001": ("other", 0), "00500+": ("new", 0)}
    second = show(table, root, listing(after))
    assert second[b"00001"] != first[b"00001"]
    assert second[b"00500+"] not in first.values()
    unchanged = first.keys() - {b"00001"}
    assert {name: second[name] for name in unchanged} == {name: first[name] for name in unchanged}
    table.check()


@pytest.mark.parametrize("length", [3 * SPAN, 2 * SPAN + 7, 5])
def test_the_old_listing_goes_when_nothing_has_changed(table, root, length):
    """Else two listings would stay in memory for as long as the kernel knows the names."""
    first = show(table, root, listing(many(length)))
    new = listing(many(length))
    assert show(table, root, new) == first
    assert [listed.directory for listed in root.names.listed] == [new]
    table.check()


def test_the_old_listing_goes_though_the_new_one_came_in_pages(table, root):
    bucket = many(4 * SPAN)
    first = show(table, root, listing(bucket))
    new = listing(bucket, length=SPAN + 100)
    second = show(table, root, new)
    rest = sorted(bucket)[SPAN + 100 :]
    new.append(Page([ObjectMeta(name, 1, "e", 0) for name in rest], [], None))
    second |= show(table, root, new, len(second))
    assert second == first
    assert [listed.directory for listed in root.names.listed] == [new]
    table.check()


def test_a_number_that_was_forgotten_is_not_given_to_another_version(table, root):
    before = many(10)
    first = show(table, root, listing(before))
    table.forget(first[b"00005"], 1)
    second = show(table, root, listing({**before, "00005": ("other", 0)}))
    assert second[b"00005"] not in first.values()
    assert second[b"00006"] == first[b"00006"]
    table.check()


def test_a_long_listing_does_not_stay_for_a_few_names(table, root):
    directory = listing(many(10 * THIN))
    numbers = show(table, root, directory)
    for number in list(numbers.values())[9:]:
        table.forget(number, 1)
    assert not root.names.listed
    assert len(table) == 1 + 9
    for name, number in list(numbers.items())[:9]:
        assert table.entry(number).name == name
        assert table.child(root, file_entry(root, name, size=1)) == number
    table.check()


def test_a_reader_who_leaves_early_does_not_keep_a_long_listing(table, root):
    numbers = show(table, root, listing(many(10 * THIN)), 0, 5)
    assert root.names.listed
    table.trim(root)
    assert not root.names.listed
    assert [table.entry(number).name for number in numbers.values()] == list(numbers)
    table.check()


def test_names_that_are_looked_up_one_by_one_keep_their_listing_when_they_are_many(table, root):
    directory = listing(many(10 * THIN))
    for index in range(9):
        table.child(root, directory.at(index), directory)
    assert not root.names.listed
    for index in range(9, 30):
        table.child(root, directory.at(index), directory)
    assert root.names.listed[0].known == 21
    table.check()


def test_what_was_learned_since_is_not_taken_for_what_is_listed(table, root):
    directory = listing(many(3))
    learned = directory.at(1)._replace(etag="newer")
    number = table.child(root, learned, directory)
    assert table.entry(number) == learned
    assert show(table, root, directory)[b"00001"] != number
    table.check()


def test_few_listings_are_kept_however_often_a_directory_changes(table, root):
    told = [
        show(table, root, listing(many(2 * THIN, f"e{change}"))) for change in range(3 * LISTINGS)
    ]
    assert len(root.names.listed) <= LISTINGS
    assert len(table) == 1 + sum(map(len, told))
    for change, numbers in enumerate(told):
        for name, number in numbers.items():
            entry = table.entry(number)
            assert (entry.name, entry.etag) == (name, f"e{change}")
    table.check()


def test_a_directory_that_is_entered_has_an_inode_of_its_own(table, root):
    numbers = show(table, root, listing({"a": ("e", 0), "d": None}))
    inode = table.own(numbers[b"d"])
    assert inode is table.own(numbers[b"d"])
    below = show(table, inode, listing({"x": ("e", 0)}, "d/"))
    assert table.parent(below[b"x"]) is inode
    assert dict(table.children(root)) == {b"a": None, b"d": inode}
    table.forget(numbers[b"d"], 1)
    assert table.parent(below[b"x"]) is None
    assert table.entry(below[b"x"]).key == "d/x"
    table.check()


class Told(NamedTuple):
    """What a number was told to stand for."""

    parent: int
    entry: Entry


def is_same(first, second):
    """Whether two entries are one version of one name."""
    return first._replace(mtime_ns=0) == second._replace(mtime_ns=0)


class TableModel(RuleBasedStateMachine):
    """Against a dict of counts: a number is there exactly while it is held, and stands for one version of one name."""

    versions = st.one_of(
        st.none(), st.tuples(st.sampled_from(["1" * 32, "2" * 32, "odd"]), st.integers(0, 1))
    )
    picks = st.integers(0, 10**6)

    def __init__(self):
        super().__init__()
        self.table = InodeTable("")
        self.held = {}
        self.told = {}
        self.found = {}
        self.outdated = set()
        self.ever_outdated = set()
        self.bucket = {}
        self.listings = {}

    @initialize(stop=st.integers(0, len(NAMES)))
    def begin(self, stop):
        self.change(0, stop, ("1" * 32, 0))
        self.relist(0)

    @rule(start=st.integers(0, len(NAMES)), count=st.integers(1, 5), version=versions)
    def change(self, start, count, version):
        for name in NAMES[start : start + count]:
            self.bucket[name] = version

    @rule(start=st.integers(0, len(NAMES)), count=st.integers(1, 60))
    def delete(self, start, count):
        for name in NAMES[start : start + count]:
            self.bucket.pop(name, None)

    @rule(place=picks)
    def make_a_twin(self, place):
        """An object that has a directory's name, too, is shown under a longer one."""
        name = NAMES[place % len(NAMES)]
        self.bucket[name] = ("1" * 32, 0)
        self.bucket[name + "/"] = None

    @rule(place=picks, length=st.one_of(st.just(10**9), st.integers(1, len(NAMES))))
    def relist(self, place, length=10**9):
        parent = self.a_directory(place)
        plain = {name: kind for name, kind in self.bucket.items() if not name.endswith("/")}
        found = listing(plain, self.prefix(parent), length)
        if any(name.endswith("/") for name in self.bucket) and found.is_complete:
            twins = [self.prefix(parent) + name for name in self.bucket if name.endswith("/")]
            files = [
                ObjectMeta(self.prefix(parent) + name, 1, *kind)
                for name, kind in sorted(plain.items())
                if kind is not None
            ]
            folders = {self.prefix(parent) + name + "/" for name in plain if plain[name] is None}
            found = Directory(self.prefix(parent))
            found.append(Page(files, sorted(folders | set(twins)), None))
        self.listings.setdefault(parent, []).append(found)
        del self.listings[parent][:-4]

    @rule(
        place=picks,
        which=picks,
        start=st.integers(0, len(NAMES)),
        count=st.one_of(st.integers(1, 8), st.just(1000)),
    )
    def read(self, place, which, start, count):
        parent = self.a_directory(place)
        for directory in self.a_listing(parent, which):
            inode = self.table.own(parent)
            for name, number in show(self.table, inode, directory, start, start + count).items():
                self.note(parent, directory.find(name), number)

    @rule(place=picks, which=picks, index=picks, is_from=st.booleans(), is_changed=st.booleans())
    def look_up(self, place, which, index, is_from, is_changed):
        parent = self.a_directory(place)
        for directory in self.a_listing(parent, which):
            entry = directory.at(index % directory.settled()) if directory.settled() else None
            if entry is None:
                continue
            if is_changed and not entry.is_directory:
                entry = entry._replace(etag="learned")
            number = self.table.child(self.table.own(parent), entry, directory if is_from else None)
            self.note(parent, entry, number)

    @rule(start=picks, count=st.sampled_from([1, 3, 100, 1000]), is_all=st.booleans())
    def forget(self, start, count, is_all):
        numbers = list(self.held)
        for number in numbers[start % (len(numbers) or 1) :][:count]:
            less = self.held[number] if is_all else 1
            self.table.forget(number, less)
            self.held[number] -= less
            if not self.held[number]:
                del self.held[number]
                self.outdated.discard(number)
                self.listings.pop(number, None)
                told = self.told[number]
                self.found.get((told.parent, told.entry.name), set()).discard(number)
                # What is in a directory that was forgotten is found anew.
                self.found = {
                    pair: known for pair, known in self.found.items() if pair[0] != number
                }

    @rule(place=picks)
    def open(self, place):
        for number in self.a_number(place):
            self.table.hold(number)
            self.held[number] += 1

    @rule(place=picks)
    def enter(self, place):
        for number in self.a_number(place):
            assert self.table.own(number).number == number

    @rule(place=picks)
    def outdate(self, place):
        for number in self.a_number(place):
            self.table.outdate(number)
            self.outdated.add(number)
            self.ever_outdated.add(number)

    @rule(place=picks)
    def leave(self, place):
        self.table.trim(self.table.own(self.a_directory(place)))

    def a_number(self, place):
        return [list(self.held)[place % len(self.held)]] if self.held else []

    def a_directory(self, place):
        entered = [number for number in self.held if self.told[number].entry.is_directory][:3]
        return [ROOT, *entered][place % (len(entered) + 1)]

    def a_listing(self, parent, which):
        known = self.listings.get(parent, [])
        return [known[which % len(known)]] if known else []

    def prefix(self, parent):
        return "" if parent == ROOT else self.told[parent].entry.key

    def note(self, parent, entry, number):
        """A number was given: that of the version if one is held, else none that stands for anything else."""
        told = Told(parent, entry)
        for known in self.found.get((parent, entry.name), ()):
            if known not in self.outdated and is_same(self.told[known].entry, entry):
                assert number == known, "an unchanged entry lost its number"
        known = self.told.get(number)
        assert known is None or (known.parent == parent and is_same(known.entry, entry)), (
            "a number was used again"
        )
        assert number not in self.ever_outdated, "an outdated number was given"
        self.told[number] = told
        self.found.setdefault((parent, entry.name), set()).add(number)
        self.held[number] = self.held.get(number, 0) + 1

    @invariant()
    def exactly_what_is_held_is_there(self):
        self.table.check()
        assert len(self.table) == len(self.held) + 1
        for number in self.held:
            told = self.told[number]
            assert self.table.entry(number) == told.entry
            assert self.table.is_outdated(number) == (number in self.outdated)
            above = self.table.parent(number)
            assert (above.number if above else None) == (
                told.parent if told.parent in self.held or told.parent == ROOT else None
            )
        for number in self.told.keys() - self.held.keys():
            with pytest.raises(NotFound):
                self.table.entry(number)

    @invariant()
    def what_a_directory_holds_is_named(self):
        named = {name for name, _ in self.table.children(self.table.own(ROOT))}
        here = {told.entry.name for told in map(self.told.get, self.held) if told.parent == ROOT}
        assert named == here


TestTableModel = TableModel.TestCase
TestTableModel.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
