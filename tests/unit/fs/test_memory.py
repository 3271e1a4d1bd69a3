"""What a known name costs: memory that a table with many takes, their listings included, divided by how many."""

import hashlib
import tracemalloc

import pytest

from s3mount.fs.inodes import ROOT, InodeTable
from s3mount.fs.kernel_copies import KernelCopy
from s3mount.listing.directory import Directory, Entry
from s3mount.listing.shelf import Listing, Shelf, ShelfSettings
from s3mount.store.interface import ObjectMeta, Page

NAMES = 100_000
LIMIT = 300
"""Bytes for a name that the kernel knows: a million in 300 MiB, with room for what is not counted here."""
PAGE = 1000


def meta_of(prefix, index):
    etag = hashlib.md5(f"{prefix}{index}".encode(), usedforsecurity=False).hexdigest()
    key = f"{prefix}artifact-{index:08}.bin"
    return ObjectMeta(key, 4096 + index, etag, 1_700_000_000_000_000_000 + index)


def listed(prefix, count):
    """A directory, page by page, as a listing brings it."""
    directory = Directory(prefix)
    for start in range(0, count, PAGE):
        stop = min(start + PAGE, count)
        page = [meta_of(prefix, index) for index in range(start, stop)]
        directory.append(Page(page, [], "more" if stop < count else None))
    return directory


def show_all(table, directories, each):
    """Every name of a tree of directories as the kernel is told of it when it reads them."""
    root = table.own(ROOT)
    for number in range(directories):
        prefix = f"builds/2026-{number:05}/"
        known = table.child(root, Entry(prefix.encode(), prefix, True))
        directory = listed(prefix, each)
        for index, name, *_ in directory.rows(range(each)):
            table.shown(table.own(known), directory, index, name)


@pytest.mark.parametrize("directories", [1, 1000])
def test_a_known_name_takes_little_memory_however_often_it_was_listed(directories):
    table, taken = InodeTable(""), []
    tracemalloc.start()
    try:
        for _ in range(2):
            show_all(table, directories, NAMES // directories)
            taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(table) == 1 + directories + NAMES
    assert max(taken) <= LIMIT * NAMES, "bytes for all"
    table.check()


def test_a_name_in_a_small_directory_takes_little_memory_with_all_that_is_known_of_the_directory():
    """Listing, shelf, the copy that the kernel keeps: in a tree of small directories these are most of it."""
    directories, each = 2000, 10
    table, shelf = InodeTable(""), Shelf(ShelfSettings(60.0, 60.0))
    tracemalloc.start()
    try:
        root = table.own(ROOT)
        for number in range(directories):
            prefix = f"builds/2026-{number:05}/"
            inode = table.own(table.child(root, Entry(prefix.encode(), prefix, True)))
            listing = Listing(prefix)
            page = [meta_of(prefix, index) for index in range(each)]
            listing.append(Page(page, [], None), 1.0 + number)
            shelf.keep(listing)
            inode.copy = KernelCopy()
            inode.copy.closed(inode.copy.opened(listing.serial, is_plain=True))
            for index, name, *_ in listing.directory.rows(range(each)):
                table.shown(inode, listing.directory, index, name)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(table) == 1 + directories * (1 + each)
    assert taken <= 1.05 * LIMIT * directories * each
