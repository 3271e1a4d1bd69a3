"""What is measured: groups of objects, and the lines of the table that move or list them."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

BUCKET = "bench"
PER_DIRECTORY = 1000  # keys
SMALL = 4 << 10  # bytes
MEDIUM = 1 << 20  # bytes
ENDING = ".bin"
ROUND_TRIP = 0.030  # seconds that the far place adds to each request

Place = Literal["near", "far"]
Work = Literal["download", "list"]


class Group(NamedTuple):
    """Objects of one size below one prefix.

    Attributes:
        name: the prefix, without its slash.
        amount: how many there are.
        size: bytes of each.
        stored: whether there are files; a group that is only listed has none.
    """

    name: str
    amount: int
    size: int
    stored: bool = True

    @property
    def total(self) -> int:
        """Bytes of all objects."""
        return self.amount * self.size

    def each_key(self) -> Iterator[str]:
        """All keys, in byte order. The last part of a key is unique within its group."""
        for number in range(self.amount):
            yield f"{self.name}/{number // PER_DIRECTORY:04d}/part-{number:07d}{ENDING}"


class Line(NamedTuple):
    """One line of the table.

    Attributes:
        name: as shown.
        place: loopback, or behind the round trip.
        work: what the tools do.
        group: with what.
        own: for s3mount alone: it shows how a figure grows, not who is faster.
    """

    name: str
    place: Place
    work: Work
    group: Group
    own: bool = False


class Shape(NamedTuple):
    """How much of everything there is: counts of objects, and bytes of a large one."""

    small: int
    few: int
    far: int
    medium: int
    large: int
    large_size: int
    listed: int


FULL = Shape(50_000, 5_000, 20_000, 2_000, 4, 1 << 30, 200_000)
QUICK = Shape(5_000, 500, 2_000, 200, 2, 256 << 20, 20_000)


def lines(shape: Shape) -> list[Line]:
    """Every line, in the order in which they are measured."""
    small = Group("small", shape.small, SMALL)
    few = Group("few", shape.few, SMALL)
    far = Group("far", shape.far, SMALL)
    medium = Group("medium", shape.medium, MEDIUM)
    large = Group("large", shape.large, shape.large_size)
    listed = Group("listed", shape.listed, SMALL, stored=False)
    return [
        Line("few", "near", "download", few, own=True),
        Line("small", "near", "download", small),
        Line("medium", "near", "download", medium),
        Line("large", "near", "download", large),
        Line("small-far", "far", "download", far),
        Line("list-far", "far", "list", listed),
    ]


def groups(shape: Shape) -> list[Group]:
    """Every group once, in byte order of their names."""
    return sorted({line.group for line in lines(shape)})


def size_text(size: int) -> str:
    """Bytes in the largest binary unit that leaves a whole number."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size and size % (1 << bits) == 0:
            return f"{size >> bits} {unit}"
    return f"{size} bytes"


def describe(line: Line) -> str:
    """What a line does, in a few words."""
    group = line.group
    if line.work == "list":
        return f"{group.amount:,} keys listed"
    return f"{group.amount:,} x {size_text(group.size)}"
