"""Neighbours: when a program goes through a directory, what it will open next is on its way before it asks.

It joins the detector (`readahead.siblings`) with what is known of the directory, and orders listings and small files as
SOON; it never waits and never makes anybody wait. It runs on the event loop's thread.
"""

from collections.abc import Iterator
from itertools import islice

from s3mount.fs.flat_walks import FlatWalks
from s3mount.fs.following import Following, files_behind, files_from
from s3mount.fs.inodes import Inode
from s3mount.fs.reading import Reader
from s3mount.listing.catalog import Catalog
from s3mount.listing.directory import Directory, Entry
from s3mount.metrics import Counters
from s3mount.readahead.siblings import Walk
from s3mount.readahead.visits import Nearby, Visits
from s3mount.readahead.window import WHOLE
from s3mount.store.paging import byte_order

SAMPLES = 4
"""Files of a stretch that are looked for in the cache before all of it is: to look for each costs a tenth of reading a
tree that was read before."""
FLAT_STEPS = 2
"""Steps of a walk over directories after which all that is below them is listed flat."""


class Walker:
    """Gets the neighbours of what is opened ready.

    Args:
        catalog: knows the directories.
        reader: fetches small files.
        limit: bytes ordered at one step at the most; 0 turns it off.
        root: prefix of the mount.
    """

    def __init__(self, catalog: Catalog, reader: Reader, *, limit: int, root: str = "") -> None:
        self.counters = Counters()
        self._catalog = catalog
        self._reader = reader
        self._limit = limit
        self._flat = FlatWalks(catalog)
        self._last: tuple[Directory, Visits] | None = None
        self._root = root
        self._here = b""
        self._front = b""

    def opened_file(self, parent: Inode | None, entry: Entry) -> None:
        """A file of a directory was opened."""
        if parent is None or not self._limit:
            return
        directory = self._catalog.peek(parent.entry.key)
        index = directory.index_of(entry.key) if directory is not None else None
        if directory is None or index is None:
            return
        if parent.visits is None:
            parent.visits = self._first_visit(parent)
        self._last = directory, parent.visits
        walk = parent.visits.walk_of(index)
        neighbours = walk.visit(index, directory.settled())
        if not walk.is_on:
            self._look_around(parent, directory, parent.visits.nearby, index)
            return
        beyond = index + 1 + walk.depth - directory.settled()
        is_in_order = parent.is_read_on and walk.direction > 0
        if is_in_order and directory.directory_count():
            if neighbours or beyond > 0:
                files = files_from(self._catalog, directory, index + 1, self._root)
                self._read_tree(parent.entry.key, files, walk.depth)
            return
        self._read_on(parent, directory, walk, neighbours)
        if is_in_order and directory.is_complete and beyond > 0:
            files = files_behind(self._catalog, parent.entry.key, self._root)
            self._read_tree(parent.entry.key, files, beyond)

    def _read_tree(self, prefix: str, files: Iterator[Following], count: int) -> None:
        """Get the next files of a tree ready that is read in order.

        Args:
            prefix: of the directory that is being read.
            files: what follows, as far as it is known.
            count: how many of them are worth being on their way.
        """
        here = byte_order(prefix)
        if here < self._here:
            self._front = here
        self._here = here
        ordered = 0
        for prefix_of_it, entry in islice(files, count):
            key = byte_order(entry.key)
            if key <= self._front:
                continue
            if _is_small_file(entry):
                ordered += entry.size
                if ordered > self._limit:
                    return
            self._front = key
            if _is_small_file(entry):
                self._warm_file(prefix_of_it, entry)

    def _first_visit(self, parent: Inode) -> Visits:
        parent.is_read_on = parent.is_walked and self._was_read(parent.entry.key)
        return Visits(Walk.within_a_walk() if parent.is_read_on else None)

    def _was_read(self, prefix: str) -> bool:
        """Whether most of the files were read of the directory that was read before this one."""
        if self._last is None:
            return False
        directory, visits = self._last
        # Who goes down from the middle of a directory has not come to what is behind.
        is_left = not prefix.startswith(directory.prefix)
        files = len(directory) - directory.directory_count() if is_left else visits.reached + 1
        return 2 * visits.opened >= files

    def _read_on(self, parent: Inode, directory: Directory, walk: Walk, neighbours: range) -> None:
        """Get the next files of a walk ready."""
        if self._are_at_rest(directory, neighbours):
            return
        ordered = 0
        for neighbour in neighbours:
            shown = directory.at(neighbour)
            if shown is None or not _is_small_file(shown):
                continue
            if ordered + shown.size > self._limit:
                walk.stop_at(neighbour)
                return
            if self._warm_file(parent.entry.key, shown):
                ordered += shown.size

    def _are_at_rest(self, directory: Directory, neighbours: range) -> bool:
        """Whether some files of a stretch are in the cache, so that all of them are taken to be."""
        if not neighbours:
            return True
        last = len(neighbours) - 1
        samples = {neighbours[last * part // (SAMPLES - 1)] for part in range(SAMPLES)}
        entries = [entry for entry in map(directory.at, samples) if entry is not None]
        return all(self._reader.is_at_rest(each.meta) for each in entries if _is_small_file(each))

    def _look_around(self, parent: Inode, directory: Directory, nearby: Nearby, index: int) -> None:
        """Get files ready that are near to one that belongs to no walk."""
        ordered = 0
        for neighbour in nearby.around(index, directory.settled()):
            shown = directory.at(neighbour)
            if shown is None or not _is_small_file(shown):
                nearby.found_ready(neighbour)
                continue
            ordered += shown.size
            if ordered > self._limit:
                return
            if self._warm_file(parent.entry.key, shown):
                nearby.ordered(neighbour, shown.size)
            else:
                nearby.found_ready(neighbour)

    def _warm_file(self, prefix: str, shown: Entry) -> bool:
        is_news = self._reader.warm(shown.meta, _Outdate(self._catalog, prefix, shown.name))
        if is_news:
            self.counters.add("siblings.files")
        return is_news

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
        neighbours = walk.visit(rank, directory.directory_count())
        if not self._flat.has(inode.entry.key):
            if walk.direction > 0 and self._goes_on(walk, directory, rank):
                self._begin_flat(parent, inode, directory, neighbours)
            self._warm(directory, neighbours)
        inode.is_walked = walk.is_on
        if walk.is_on and inode.directory_walk is None:
            inode.directory_walk = Walk.within_a_walk()

    def _goes_on(self, walk: Walk, directory: Directory, rank: int) -> bool:
        """Whether a walk over directories is worth a flat listing: one step is enough after a walk below the last."""
        if walk.steps >= FLAT_STEPS:
            return True
        return walk.steps > 0 and self._flat.ran_below(directory.directory_key(rank - 1))

    def _begin_flat(
        self, parent: Inode, inode: Inode, directory: Directory, neighbours: range
    ) -> None:
        keys = map(directory.directory_key, neighbours)
        is_news = self._has_news_below(inode.entry.key)
        if not is_news and all(self._catalog.peek(key) is not None for key in keys):
            return
        if self._flat.begin(parent.entry.key, inode.entry.key):
            self.counters.add("siblings.flat")

    def _has_news_below(self, prefix: str) -> bool:
        """Whether a directory that is known has directories that are not."""
        known = self._catalog.peek(prefix)
        if known is None or not known.directory_count():
            return False
        return self._catalog.peek(known.directory_key(0)) is None

    def _warm(self, directory: Directory, neighbours: range) -> None:
        for neighbour in neighbours:
            if self._catalog.warm(directory.directory_key(neighbour)):
                self.counters.add("siblings.directories")


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
