"""Inode numbers: one for a version of a name, for as long as somebody holds it, and never again."""

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from s3mount.errors import NotFound
from s3mount.fs.inodes import ROOT, InodeTable
from s3mount.listing.directory import Entry

NAMES = [b"a", b"b", b"c"]


def file_entry(parent, name, etag="e", **facts):
    return Entry(name, parent.entry.key + name.decode(), False, etag, **facts)


def directory_entry(parent, name):
    return Entry(name, parent.entry.key + name.decode() + "/", True)


@pytest.fixture
def table():
    return InodeTable("")


@pytest.fixture
def root(table):
    return table.get(ROOT)


def test_the_root_is_always_there(table, root):
    table.forget(ROOT, 100)
    table.drop_unused(root)
    assert table.get(ROOT) is root
    assert table.parent(root) is None


def test_a_number_that_is_not_known_is_an_error(table):
    with pytest.raises(NotFound):
        table.get(77)
    table.forget(77, 1)


def test_a_version_keeps_its_number_and_another_gets_its_own(table, root):
    first = table.child(root, file_entry(root, b"a", "e1"))
    first.lookups = 1
    assert table.child(root, file_entry(root, b"a", "e1")) is first
    second = table.child(root, file_entry(root, b"a", "e2"))
    second.lookups = 1
    assert second.number != first.number
    assert table.get(first.number) is first
    assert table.known_child(root, b"a") is second
    table.forget(first.number, 1)
    assert table.known_child(root, b"a") is second
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
    inode = table.child(root, file_entry(root, b"a"))
    inode.lookups = 1
    assert table.child(root, other(root)) is not inode


def test_an_outdated_inode_is_replaced_even_by_the_same_version(table, root):
    inode = table.child(root, file_entry(root, b"a"))
    inode.lookups = 1
    inode.is_outdated = True
    assert table.child(root, file_entry(root, b"a")) is not inode


def test_the_same_bytes_put_again_are_the_same_inode_with_new_times(table, root):
    inode = table.child(root, file_entry(root, b"a", mtime_ns=1))
    inode.lookups, inode.reply = 1, object()
    assert table.child(root, file_entry(root, b"a", mtime_ns=1)).reply is not None
    assert table.child(root, file_entry(root, b"a", mtime_ns=2)) is inode
    assert inode.entry.mtime_ns == 2
    assert inode.reply is None, "the kernel would be told the old time"


class TableModel(RuleBasedStateMachine):
    """Against counts: an inode is there exactly while it is held."""

    inodes = Bundle("inodes")

    def __init__(self):
        super().__init__()
        self.table = InodeTable("p/")
        self.held = {}
        self.given = {ROOT: (0, "directory")}
        self.latest = {}

    @rule(
        target=inodes,
        parent=st.one_of(st.none(), inodes),
        name=st.sampled_from(NAMES),
        kind=st.sampled_from(["directory", "e1", "e2"]),
        opens=st.booleans(),
    )
    def look_up(self, parent, name, kind, opens):
        if parent not in self.held or self.given[parent][1] != "directory":
            parent = ROOT
        above = self.table.get(parent)
        entry = (
            directory_entry(above, name) if kind == "directory" else file_entry(above, name, kind)
        )
        inode = self.table.child(above, entry)
        known = self.latest.get((parent, name))
        if known in self.held and self.given[known][1] == kind and known not in self.outdated():
            assert inode.number == known
        else:
            assert inode.number not in self.given, "a number was used again"
        self.given[inode.number] = (parent, kind)
        self.latest[parent, name] = inode.number
        counts = self.held.setdefault(inode.number, [0, 0])
        counts[opens] += 1
        if opens:
            inode.opens += 1
        else:
            inode.lookups += 1
        return inode.number

    def outdated(self):
        return {number for number in self.held if self.table.get(number).is_outdated}

    @rule(number=inodes, all_of_them=st.booleans())
    def forget(self, number, all_of_them):
        counts = self.held.get(number)
        if counts and counts[0]:
            lookups = counts[0] if all_of_them else 1
            self.table.forget(number, lookups)
            counts[0] -= lookups
            self.settle(number)

    @rule(number=inodes)
    def close(self, number):
        counts = self.held.get(number)
        if counts and counts[1]:
            inode = self.table.get(number)
            inode.opens -= 1
            self.table.drop_unused(inode)
            counts[1] -= 1
            self.settle(number)

    @rule(number=inodes)
    def outdate(self, number):
        if number in self.held:
            self.table.get(number).is_outdated = True

    def settle(self, number):
        if self.held[number] == [0, 0]:
            del self.held[number]

    @invariant()
    def exactly_what_is_held_is_there(self):
        self.table.check()
        assert len(self.table) == len(self.held) + 1
        for number in self.held:
            assert self.table.get(number).number == number
            parent = self.given[number][0]
            above = self.table.parent(self.table.get(number))
            assert (above.number if above else None) == (
                parent if parent in self.held or parent == ROOT else None
            )


TestTableModel = TableModel.TestCase
