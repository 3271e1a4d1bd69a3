"""Inode numbers for as long as the kernel knows them.

A number stands for one name and, for a file, one version: when the object changes the name gets a new number, so that
pages and sizes of two versions never meet. It stands for nothing else in the life of a mount. Most names are only
listed: they have a number in a block (`fs/listed.py`). An `Inode` is for directories that are entered and for what no
listing tells. Plain data structure; it belongs to the event loop's thread, but for `InodeTable.outdate`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from s3mount.errors import NotFound
from s3mount.fs.kernel_copies import KernelCopy
from s3mount.fs.listed import BITS, MASK, Block, Blocks, Listed, Names
from s3mount.listing.directory import Directory, Entry
from s3mount.readahead.siblings import Walk
from s3mount.readahead.visits import Visits

ROOT: Final = 1
"""The number that FUSE gives to the root."""


@dataclass(slots=True, eq=False)
class Inode:
    """One name that is more than listed.

    Attributes:
        holds: how often it is held: by what the kernel was told and has not forgotten yet, and by handles.
        names: of a directory: what is held in it.
        visits: of a directory: how its files are gone through.
        directory_walk: of a directory: how its subdirectories are gone through.
        copy: of a directory: what the kernel keeps of it by itself.
        is_walked: of a directory: whether a walk over the directory above came to it.
        is_read_on: of a directory: whether files were read in the directories before it.
    """

    number: int
    parent: int
    entry: Entry
    holds: int = 0
    names: Names | None = None
    visits: Visits | None = None
    directory_walk: Walk | None = None
    copy: KernelCopy | None = None
    is_walked: bool = False
    is_read_on: bool = False


class InodeTable:
    """All inodes that the kernel knows, by number.

    Args:
        prefix: of the root.
    """

    def __init__(self, prefix: str) -> None:
        self._inodes = {ROOT: Inode(ROOT, ROOT, Entry(b"", prefix, True), holds=1)}
        self._outdated: set[int] = set()
        self._blocks = Blocks(self._forget_outdated)
        self._last = ROOT

    def __len__(self) -> int:
        return len(self._inodes) + self._blocks.held

    def entry(self, number: int) -> Entry:
        """What a number stands for.

        Raises:
            NotFound: the kernel was never told of it, or has forgotten it.
        """
        inode = self._inodes.get(number)
        if inode is not None:
            return inode.entry
        block = self._block(number)
        return _entry(block.listed.directory, block.start + (number & MASK))

    def own(self, number: int) -> Inode:
        """The inode of a number, made where it has none of its own; it has it until it is forgotten.

        Raises:
            NotFound: as `entry`.
        """
        return self._inodes.get(number) or self._detach(self._block(number), number)

    def parent(self, number: int) -> Inode | None:
        """The directory that a name was found in, None for the root and where the kernel has forgotten it."""
        return None if number == ROOT else self._inodes.get(self.parent_number(number))

    def parent_number(self, number: int) -> int:
        """The number of the directory that a name was found in, known or not."""
        inode = self._inodes.get(number)
        return self._block(number).listed.names.parent if inode is None else inode.parent

    def outdate(self, number: int) -> None:
        """The store was seen to have another version by now: the number is given to nobody again. From any thread."""
        # In this order, because it may be dropped meanwhile: that removes the number first, and then from here.
        self._outdated.add(number)
        if number not in self._inodes and not self._blocks.has(number):
            self._outdated.discard(number)

    def is_outdated(self, number: int) -> bool:
        """Whether the store was seen to have another version by now."""
        return number in self._outdated

    def told(self, parent: Inode, entry: Entry) -> int:
        """The number that stands for an entry of a directory, 0 where none is held."""
        names = _names(parent)
        for number in names.own.get(entry.name, ()):
            own = self._inodes.get(number)
            if own and number not in self._outdated and _is_version(own.entry, entry):
                own.entry = entry  # the same bytes may have been put again, or been restored
                return number
        for listed in reversed(names.listed):
            index = listed.directory.index_of(entry.key)
            number = listed.held(index) if index is not None else 0
            if not number or index is None or number in self._outdated:
                continue
            known = _entry(listed.directory, index)
            if known.name == entry.name and _is_version(known, entry):
                if known != entry:
                    self._detach(self._block(number), number).entry = entry
                return number
        return 0

    def child(self, parent: Inode, entry: Entry, directory: Directory | None = None) -> int:
        """The number of an entry, held once more: that of the version if it is held, or a new one.

        Args:
            parent: where it is.
            entry: what it is by now.
            directory: the listing that probably says so.
        """
        number = self.told(parent, entry) or self.given(parent, entry, directory)
        self.hold(number)
        return number

    def given(self, parent: Inode, entry: Entry, directory: Directory | None = None) -> int:
        """A number for an entry that `told` has none for; hold it at once. The arguments are those of `child`."""
        names = _names(parent)
        if directory is not None and names.is_worth(directory):
            number = self._reserve(names, directory, entry)
            if number:
                return number
        number = self._new_number()
        self._inodes[number] = Inode(number, parent.number, entry)
        names.add(entry.name, number)
        return number

    def shown(self, parent: Inode, directory: Directory, index: int, name: bytes) -> int:
        """The same for an entry that is shown as it stands in a listing without twins."""
        names = parent.names
        if names is not None and names.listed and name not in names.own:
            listed = names.listed[-1]
            place = index >> BITS
            block = listed.blocks[place] if place < len(listed.blocks) else None
            offset = index & MASK
            if listed.directory is directory and block is not None and offset < len(block.holds):
                number, count = block.first + offset, block.holds[offset]
                # What is not held here may be in an older listing.
                is_known = count or len(names.listed) == 1
                if is_known and number not in self._outdated:
                    self._blocks.hold(number)
                    return number
        return self._shown_first(parent, directory, index, name)

    def hold(self, number: int) -> None:
        """A number that is known, or was just given, is held once more."""
        inode = self._inodes.get(number)
        if inode is not None:
            inode.holds += 1
        else:
            self._blocks.hold(number)

    def forget(self, number: int, count: int) -> None:
        """A number is held ``count`` times less; what is held by nobody is dropped."""
        inode = self._inodes.get(number)
        if inode is not None:
            inode.holds -= count
            if inode.holds <= 0 and number != ROOT:
                self._drop(inode)
            return
        block = self._blocks.find(number)
        if block is not None:
            self._blocks.release(number, count)
            if block.listed.known and block.listed.is_thin:
                self._scatter(block.listed)

    def trim(self, parent: Inode) -> None:
        """A reader has gone: no long listing stays for the few entries that it took."""
        for listed in list(parent.names.listed) if parent.names else []:
            if listed.is_thin:
                self._scatter(listed)

    def children(self, parent: Inode) -> Iterator[tuple[bytes, Inode | None]]:
        """The names that are held in a directory, and their inodes where they have one."""
        if parent.names is not None:
            for name, numbers in parent.names.own.items():
                yield from ((name, self._inodes[number]) for number in numbers)
            for listed in parent.names.listed:
                for name in listed.shown_names():
                    yield name, None

    def check(self) -> None:
        """Assert what must always be true."""
        for number, inode in self._inodes.items():
            assert number == ROOT or inode.holds > 0, inode
            for name, numbers in inode.names.own.items() if inode.names else ():
                assert numbers, name
                assert {self._inodes[child].entry.name for child in numbers} == {name}, inode
            assert self._blocks.find(number) is None, inode
        self._blocks.check()
        assert all(each in self._inodes or self._blocks.has(each) for each in self._outdated)

    def _shown_first(self, parent: Inode, directory: Directory, index: int, name: bytes) -> int:
        names = _names(parent)
        if not index & MASK and names.listed:
            # The block before may have been shown when the listing had not come to its end.
            for place in ((index >> BITS) - 1, index >> BITS):
                self._blocks.adopt(names, directory, place)
        number, is_same = (0, False) if name in names.own else names.kept(directory, index)
        if is_same and not number:
            number = self._place(names, directory, index)
        if not number or not is_same or number in self._outdated:
            entry = _entry(directory, index)
            number = (
                self.told(parent, entry)
                or self._place(names, directory, index)
                or self.given(parent, entry)
            )
        self.hold(number)
        return number

    def _reserve(self, names: Names, directory: Directory, entry: Entry) -> int:
        """The number of an entry that stands in a listing as it is; 0 where it does not."""
        index = directory.index_of(entry.key)
        is_there = (
            index is not None and index < directory.settled() and directory.at(index) == entry
        )
        return self._place(names, directory, index) if is_there and index is not None else 0

    def _place(self, names: Names, directory: Directory, index: int) -> int:
        """The number that an entry has by its place, 0 where that may not be given any more."""
        listed = names.of(directory)
        if listed is None:
            for older in names.too_many():
                self._scatter(older)
            listed = names.begin(directory)
        number = self._blocks.number_at(listed, index)
        return 0 if number in self._outdated else number

    def _scatter(self, listed: Listed) -> None:
        """Give each entry that is held of a listing an inode of its own, so that the listing can go."""
        for index in list(listed.indexes()):
            number = listed.held(index)
            self._detach(self._block(number), number)

    def _detach(self, block: Block, number: int) -> Inode:
        """Give a number in a block an inode of its own."""
        names, holds = block.listed.names, block.holds[number & MASK]
        entry = _entry(block.listed.directory, block.start + (number & MASK))
        inode = self._inodes[number] = Inode(number, names.parent, entry, holds)
        self._blocks.release(number, holds)
        names.add(entry.name, number)
        return inode

    def _forget_outdated(self, numbers: range) -> None:
        if self._outdated:
            self._outdated.difference_update(set(numbers) - self._inodes.keys())

    def _drop(self, inode: Inode) -> None:
        del self._inodes[inode.number]
        if not self._blocks.has(inode.number):
            self._outdated.discard(inode.number)
        above = self._inodes.get(inode.parent)
        if above is not None and above.names is not None:
            above.names.remove(inode.entry.name, inode.number)

    def _block(self, number: int) -> Block:
        """The block of a number that is held in one."""
        block = self._blocks.find(number)
        if block is None:
            raise NotFound(f"no inode {number}")
        return block

    def _new_number(self) -> int:
        self._last += 1
        if not self._last & MASK:
            self._last = self._blocks.new_span()
        return self._last


def _names(parent: Inode) -> Names:
    if parent.names is None:
        parent.names = Names(parent.number)
    return parent.names


def _entry(directory: Directory, index: int) -> Entry:
    entry = directory.at(index)
    assert entry is not None, (directory, index)  # what was given is shown, and stays as it is
    return entry


def _is_version(known: Entry, entry: Entry) -> bool:
    """Whether an entry of a newer listing is what is known still."""
    facts = (entry.key, entry.is_directory, entry.etag, entry.size)
    return facts == (known.key, known.is_directory, known.etag, known.size)
