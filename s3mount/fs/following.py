"""Which files come next for a program that reads a whole tree in order, as far as the tree is known.

Such programs (tar, cp -r, grep -r) go through a directory in the order of its listing and into each directory where it
stands, which is the order of the keys. Nothing is requested here.
"""

from collections.abc import Iterator
from typing import NamedTuple

from s3mount.listing.catalog import Catalog
from s3mount.listing.directory import Directory, Entry


class Unknown(Exception):
    """What comes next is not known."""


class Following(NamedTuple):
    """A file, and the directory that it is in."""

    prefix: str
    entry: Entry


def above(prefix: str) -> str:
    """The directory that a directory is in."""
    return prefix[: prefix.rfind("/", 0, -1) + 1]


def files_behind(catalog: Catalog, prefix: str, root: str) -> Iterator[Following]:
    """The files behind a directory; they end where a directory comes that is not known, or the root does.

    Args:
        catalog: what is known.
        prefix: of the directory.
        root: of the mount; nothing is looked for above it.
    """
    try:
        yield from _behind(catalog, prefix, root)
    except Unknown:
        return


def files_from(
    catalog: Catalog, directory: Directory, start: int, root: str
) -> Iterator[Following]:
    """The files of a directory from an entry on, those below it among them, and then those behind it.

    Args:
        catalog: what is known.
        directory: which one.
        start: the entry's place in it.
        root: see `files_behind`.
    """
    try:
        yield from _files(catalog, directory, start)
        yield from _behind(catalog, directory.prefix, root)
    except Unknown:
        return


def _behind(catalog: Catalog, prefix: str, root: str) -> Iterator[Following]:
    while prefix != root:
        outer = above(prefix)
        directory = _known(catalog, outer)
        index = directory.index_of(prefix)
        if index is None:
            return
        yield from _files(catalog, directory, index + 1)
        prefix = outer


def _files(catalog: Catalog, directory: Directory, start: int) -> Iterator[Following]:
    for index in range(start, directory.settled()):
        entry = directory.at(index)
        if entry is None:
            continue
        if entry.is_directory:
            yield from _files(catalog, _known(catalog, entry.key), 0)
        else:
            yield Following(directory.prefix, entry)
    if not directory.is_complete:
        raise Unknown


def _known(catalog: Catalog, prefix: str) -> Directory:
    directory = catalog.peek(prefix)
    if directory is None:
        raise Unknown
    return directory
