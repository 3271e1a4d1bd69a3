"""What the kernel holds of a listing: numbers in blocks and a count for each, instead of an object for each name.

The listing itself says what a number stands for. So a block keeps a whole listing alive, and whoever holds few entries
of a long one is better off with inodes of their own: see `Listed.is_thin`. Plain data; it belongs to the event loop's
thread.
"""

from array import array
from collections.abc import Callable, Iterator

from s3mount.listing.directory import Directory

BITS = 8
SPAN = 1 << BITS
"""Numbers in a block: with fewer the blocks of a long directory weigh more, with more short directories waste them."""
MASK = SPAN - 1
THIN = 32
"""Entries of a listing for each that is held, at the most. An entry takes some 120 bytes, an inode of its own 700."""
LISTINGS = 4
"""Listings of one directory that are kept for what is held of them; with more, inodes replace the smallest."""


class Block:
    """Consecutive numbers of entries that stand together.

    Attributes:
        first: the number of the first entry.
        start: where it stands in the listing.
        listed: what the block is a part of.
        holds: how often each is held: by what the kernel was told, and by handles.
    """

    __slots__ = ("first", "holds", "listed", "start")

    def __init__(self, first: int, start: int, listed: "Listed") -> None:
        self.first = first
        self.start = start
        self.listed = listed
        self.holds = array("L")

    def grow(self) -> None:
        """Have room for what the listing shows by now."""
        room = min(SPAN, len(self.listed.directory) - self.start)
        self.holds.frombytes(bytes((room - len(self.holds)) * self.holds.itemsize))

    def is_still(self, directory: Directory) -> bool:
        """Whether a newer listing says the same of all that these numbers stand for, or stood for."""
        known, stop = self.listed.directory, self.start + len(self.holds)
        if stop > directory.settled() or known.twins.count or directory.twins.count:
            return False
        return all(known.is_alike(index, directory, index) for index in range(self.start, stop))


class Listed:
    """The entries of one listing of a directory that are held.

    Attributes:
        names: what else is held in the directory.
        directory: the listing.
        known: how many entries are held.
        blocks: by the upper bits of the entries' indexes, None where nothing is held. A list, for most have one block.
    """

    __slots__ = ("blocks", "directory", "known", "names")

    def __init__(self, names: "Names", directory: Directory) -> None:
        self.names = names
        self.directory = directory
        self.known = 0
        self.blocks: list[Block | None] = []

    def block(self, place: int) -> Block | None:
        """The block with these upper bits."""
        return self.blocks[place] if 0 <= place < len(self.blocks) else None

    def put(self, place: int, block: Block | None) -> None:
        """Have a block there, or none any more."""
        if place >= len(self.blocks):
            self.blocks += [None] * (place + 1 - len(self.blocks))
        self.blocks[place] = block

    @property
    def is_thin(self) -> bool:
        """Whether too few are held for the memory that the listing takes."""
        return self.known * THIN < len(self.directory)

    def held(self, index: int) -> int:
        """The number of an entry, 0 where it is not held."""
        block = self.block(index >> BITS)
        offset = index & MASK
        if block is None or offset >= len(block.holds) or not block.holds[offset]:
            return 0
        return block.first + offset

    def indexes(self) -> Iterator[int]:
        """The entries that are held."""
        for block in filter(None, self.blocks):
            for offset, count in enumerate(block.holds):
                if count:
                    yield block.start + offset

    def shown_names(self) -> Iterator[bytes]:
        """The names of the entries that are held."""
        if self.directory.twins.count:
            entries = map(self.directory.at, self.indexes())
            return (entry.name for entry in entries if entry is not None)
        return (name for _, name, *_ in self.directory.rows(self.indexes()))


_NONE_OWN: dict[bytes, tuple[int, ...]] = {}
"""Of most directories: all their names are in listings. Nothing is ever put in."""


class Names:
    """What is held in one directory.

    Args:
        parent: the number of the directory.

    Attributes:
        own: by name, the numbers that have an inode of their own: mostly one, more where older versions are held.
        listed: the rest by listing, the one that was begun last at the end.
    """

    __slots__ = ("listed", "own", "parent")

    def __init__(self, parent: int) -> None:
        self.parent = parent
        self.own = _NONE_OWN
        self.listed: list[Listed] = []

    def add(self, name: bytes, number: int) -> None:
        """A number has an inode of its own."""
        if self.own is _NONE_OWN:
            self.own = {}
        self.own[name] = (*self.own.get(name, ()), number)

    def remove(self, name: bytes, number: int) -> None:
        """It is held no more."""
        left = tuple(each for each in self.own.pop(name, ()) if each != number)
        if left:
            self.own[name] = left

    def of(self, directory: Directory) -> Listed | None:
        """What is held of a listing."""
        return next((each for each in self.listed if each.directory is directory), None)

    def begin(self, directory: Directory) -> Listed:
        """Nothing is held yet of a listing, but will be at once."""
        listed = Listed(self, directory)
        self.listed.append(listed)
        return listed

    def is_worth(self, directory: Directory) -> bool:
        """Whether a listing is kept anyway, or enough names were looked up one by one to keep it for the next."""
        return self.of(directory) is not None or (len(self.own) + 1) * THIN >= len(directory)

    def too_many(self) -> list[Listed]:
        """Listings that are to go when another one comes: those held for few names, and the smallest of many."""
        smallest_first = sorted(self.listed, key=lambda listed: listed.known)
        return [
            listed
            for place, listed in enumerate(smallest_first)
            if listed.is_thin or len(smallest_first) - place >= LISTINGS
        ]

    def kept(self, directory: Directory, index: int) -> tuple[int, bool]:
        """The number that is held of an entry's key, 0 where none is, and whether it stands for what the entry is."""
        for listed in reversed(self.listed):
            theirs = listed.directory
            place = index if theirs is directory else theirs.place_of(directory, index)
            number = listed.held(place) if place is not None else 0
            if number and place is not None:
                return number, not theirs.twins.count and theirs.is_alike(place, directory, index)
        return 0, True


class Blocks:
    """All blocks, by the upper bits of their numbers.

    Args:
        on_dropped: told of numbers that nobody holds and that are never given again.

    Attributes:
        held: how many numbers are held.
    """

    def __init__(self, on_dropped: Callable[[range], None]) -> None:
        self.held = 0
        self._on_dropped = on_dropped
        self._blocks: dict[int, Block] = {}
        self._spans = 0

    def new_span(self) -> int:
        """The first of `SPAN` numbers that were never given."""
        self._spans += 1
        return self._spans << BITS

    def has(self, number: int) -> bool:
        """Whether a number is in a block, held or not."""
        return number >> BITS in self._blocks

    def find(self, number: int) -> Block | None:
        """The block of a number that is held."""
        block = self._blocks.get(number >> BITS)
        offset = number & MASK
        if block is None or offset >= len(block.holds) or not block.holds[offset]:
            return None
        return block

    def number_at(self, listed: Listed, index: int) -> int:
        """The number of an entry by its place; who asks holds it at once, or has it as an inode."""
        block = listed.block(index >> BITS)
        if block is None:
            block = Block(self.new_span(), index & ~MASK, listed)
            self._blocks[block.first >> BITS] = block
            listed.put(index >> BITS, block)
        if index & MASK >= len(block.holds):
            block.grow()
        return block.first + (index & MASK)

    def hold(self, number: int) -> None:
        """A number in a block is held once more."""
        block = self._blocks[number >> BITS]
        if not block.holds[number & MASK]:
            block.listed.known += 1
            self.held += 1
        block.holds[number & MASK] += 1

    def release(self, number: int, count: int) -> None:
        """A number that is held is held less often; a listing that nothing is held of is dropped."""
        block = self._blocks[number >> BITS]
        left = block.holds[number & MASK] = max(0, block.holds[number & MASK] - count)
        if not left:
            self.held -= 1
            block.listed.known -= 1
            self._drop_unless_known(block.listed)

    def adopt(self, names: Names, directory: Directory, place: int) -> None:
        """Let a newer listing have a block of an older one where nothing has changed, so that the older can go."""
        newer = names.of(directory)
        if newer is not None and newer.block(place) is not None:
            return
        others = (each.block(place) for each in names.listed if each is not newer)
        block = next((each for each in others if each and each.is_still(directory)), None)
        if block is None:
            return
        known = sum(1 for count in block.holds if count)
        if not known:
            return
        older = block.listed
        newer = newer or names.begin(directory)
        older.put(place, None)
        newer.put(place, block)
        block.listed = newer
        newer.known += known
        older.known -= known
        self._drop_unless_known(older)

    def check(self) -> None:
        """Assert what must always be true."""
        counted = dict.fromkeys((block.listed for block in self._blocks.values()), 0)
        for key, block in self._blocks.items():
            assert block.first == key << BITS
            assert block.listed.block(block.start >> BITS) is block
            counted[block.listed] += sum(1 for count in block.holds if count)
        for listed, known in counted.items():
            assert listed.known == known > 0, listed.directory
            assert listed in listed.names.listed, listed.directory
        assert sum(counted.values()) == self.held

    def _drop_unless_known(self, listed: Listed) -> None:
        if listed.known:
            return
        listed.names.listed.remove(listed)
        for block in filter(None, listed.blocks):
            del self._blocks[block.first >> BITS]
            self._on_dropped(range(block.first, block.first + SPAN))
