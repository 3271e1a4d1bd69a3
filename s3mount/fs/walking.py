"""Neighbours: when a program goes through a directory, what it will open next is on its way before it asks.

It joins the detector (`readahead.siblings`) with what is known of the directory, and orders listings and small files as
SOON; it never waits and never makes anybody wait. It runs on the event loop's thread.
"""

from s3mount.fs.inodes import Inode
from s3mount.fs.reading import Reader
from s3mount.listing.catalog import Catalog
from s3mount.listing.directory import Entry
from s3mount.metrics import Counters
from s3mount.readahead.siblings import Walk
from s3mount.readahead.window import WHOLE


class Walker:
    """Gets the neighbours of what is opened ready.

    Args:
        catalog: knows the directories.
        reader: fetches small files.
        limit: bytes ordered at one step at the most; 0 turns it off.
    """

    def __init__(self, catalog: Catalog, reader: Reader, *, limit: int) -> None:
        self.counters = Counters()
        self._catalog = catalog
        self._reader = reader
        self._limit = limit

    def opened_file(self, parent: Inode | None, entry: Entry) -> None:
        """A file of a directory was opened."""
        if parent is None or not self._limit:
            return
        directory = self._catalog.peek(parent.entry.key)
        index = directory.index_of(entry.key) if directory is not None else None
        if directory is None or index is None:
            return
        if parent.file_walk is None:
            parent.file_walk = Walk()
        walk = parent.file_walk
        ordered = 0
        for neighbour in walk.visit(index, directory.settled()):
            shown = directory.at(neighbour)
            if shown is None or not _is_small_file(shown):
                continue
            if ordered + shown.size > self._limit:
                walk.stop_at(neighbour)
                return
            if self._reader.warm(shown.meta, self._outdater(parent, shown)):
                ordered += shown.size
                walk.found_work()
                self.counters.add("siblings.files")
            else:
                walk.found_ready(neighbour)
                return

    def opened_directory(self, parent: Inode | None, inode: Inode) -> None:
        """A directory below ``parent`` was opened to be listed."""
        if parent is None or not self._limit:
            return
        directory = self._catalog.peek(parent.entry.key)
        rank = directory.directory_rank(inode.entry.key) if directory is not None else None
        if directory is None or rank is None:
            return
        if parent.directory_walk is None:
            parent.directory_walk = Walk()
        walk = parent.directory_walk
        for neighbour in walk.visit(rank, directory.directory_count()):
            if self._catalog.warm(directory.directory_key(neighbour)):
                self.counters.add("siblings.directories")
        if walk.is_on and inode.directory_walk is None:
            inode.directory_walk = Walk.within_a_walk()

    def _outdater(self, parent: Inode, entry: Entry) -> "_Outdate":
        return _Outdate(self._catalog, parent.entry.key, entry.name)


class _Outdate:
    """Tells the catalog that a neighbour is another version by now."""

    __slots__ = ("_catalog", "_name", "_prefix")

    def __init__(self, catalog: Catalog, prefix: str, name: bytes) -> None:
        self._catalog = catalog
        self._prefix = prefix
        self._name = name

    def __call__(self) -> None:
        self._catalog.outdate(self._prefix, self._name)


def _is_small_file(entry: Entry) -> bool:
    return not entry.is_directory and 0 < entry.size <= WHOLE and not entry.meta.archived
