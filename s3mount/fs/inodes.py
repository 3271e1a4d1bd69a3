"""Inode numbers for as long as the kernel knows them.

A number stands for one name and, for a file, one version: when the object changes the name gets a new number, so that
pages and sizes of two versions never meet. Numbers are never used again in the life of a mount. Plain data structure;
it belongs to the event loop's thread.
"""

from dataclasses import dataclass, field
from typing import Final

from s3mount.errors import NotFound
from s3mount.listing.directory import Directory, Entry
from s3mount.readahead.siblings import Walk
from s3mount.readahead.visits import Visits

ROOT: Final = 1
"""The number that FUSE gives to the root."""
_NONE: Final[dict[bytes, int]] = {}
"""The children of every inode that has none yet: most are files, and an empty dict of their own would be 64 bytes."""


@dataclass(slots=True, eq=False)
class Inode:
    """One name that the kernel holds.

    Attributes:
        lookups: how often the kernel was told of it and has not forgotten it yet.
        opens: handles that use it.
        is_outdated: the store was seen to have another version by now.
        seen_in: the listing that showed it last.
        reply: what the edge tells the kernel of it; made once, for it does not change.
        children: of a directory: the inodes of names that the kernel knows.
        visits: of a directory: how its files are gone through.
        directory_walk: of a directory: how its subdirectories are gone through.
        is_walked: of a directory: whether a walk over the directory above came to it.
        is_read_on: of a directory: whether files were read in the directories before it.
    """

    number: int
    parent: int
    entry: Entry
    lookups: int = 0
    opens: int = 0
    is_outdated: bool = False
    seen_in: Directory | None = None
    reply: object = None
    children: dict[bytes, int] = field(default_factory=lambda: _NONE)
    visits: Visits | None = None
    directory_walk: Walk | None = None
    is_walked: bool = False
    is_read_on: bool = False

    def is_version(self, entry: Entry) -> bool:
        """Whether an entry of a newer listing is this inode still."""
        mine = self.entry
        return (
            mine.etag == entry.etag
            and mine.is_directory == entry.is_directory
            and mine.key == entry.key
            and mine.size == entry.size
            and not self.is_outdated
        )


class InodeTable:
    """All inodes that the kernel knows, by number.

    Args:
        prefix: of the root.
    """

    def __init__(self, prefix: str) -> None:
        root = Inode(ROOT, ROOT, Entry(b"", prefix, True), lookups=1)
        self._inodes = {ROOT: root}
        self._last = ROOT

    def __len__(self) -> int:
        return len(self._inodes)

    def get(self, number: int) -> Inode:
        """The inode of a number.

        Raises:
            NotFound: the kernel was never told of it, or has forgotten it.
        """
        try:
            return self._inodes[number]
        except KeyError:
            raise NotFound(f"no inode {number}") from None

    def child(self, parent: Inode, entry: Entry) -> Inode:
        """The inode of an entry of a directory: the known one, or a new one for a new version."""
        known = self._inodes.get(parent.children.get(entry.name, 0))
        if known is not None and known.is_version(entry):
            if known.entry != entry:  # the same bytes were put again, or have been restored
                known.entry, known.reply = entry, None
            return known
        self._last += 1
        inode = self._inodes[self._last] = Inode(self._last, parent.number, entry)
        if parent.children is _NONE:
            parent.children = {}
        parent.children[entry.name] = self._last
        return inode

    def known_child(self, parent: Inode, name: bytes) -> Inode | None:
        """The inode that a name had last."""
        return self._inodes.get(parent.children.get(name, 0))

    def parent(self, inode: Inode) -> Inode | None:
        """The directory that an inode was found in, None for the root and where the kernel has forgotten it."""
        return self._inodes.get(inode.parent) if inode.number != ROOT else None

    def forget(self, number: int, lookups: int) -> None:
        """The kernel forgets ``lookups`` of what it was told."""
        inode = self._inodes.get(number)
        if inode is not None and number != ROOT:
            inode.lookups -= lookups
            self.drop_unused(inode)

    def drop_unused(self, inode: Inode) -> None:
        """Drop an inode that neither the kernel nor a handle holds."""
        if inode.lookups > 0 or inode.opens > 0 or inode.number == ROOT:
            return
        self._inodes.pop(inode.number, None)
        parent = self._inodes.get(inode.parent)
        if parent is not None and parent.children.get(inode.entry.name) == inode.number:
            del parent.children[inode.entry.name]

    def check(self) -> None:
        """Assert what must always be true: every inode is held, every child is known or was replaced."""
        assert not _NONE
        for inode in self._inodes.values():
            assert inode.number == ROOT or inode.lookups > 0 or inode.opens > 0, inode
            for name, number in inode.children.items():
                child = self._inodes.get(number)
                assert child is not None, (inode, name)
                assert child.entry.name == name, (inode, name)
