"""Pins: named sets of object versions that are not evicted.

A file for each pin is the truth: it survives a lost index. The index holds the same in the form
that eviction asks for, and follows the files: `catch_up` reads what was added to them, and is called
before anything is evicted. This module speaks of files and order; the SQL is in `pin_rows`, the lines
in `pin_file`. Concurrency rule: any thread and any process may call anything here at any time.
"""

import logging
import os
import sqlite3
from collections.abc import Iterable
from itertools import islice

from s3mount.cache import pin_file, pin_rows
from s3mount.cache.index import Index
from s3mount.cache.layout import SHARDS, Layout, ObjectId
from s3mount.cache.pin_file import State
from s3mount.cache.pin_rows import PinInfo, Step
from s3mount.errors import CacheError

log = logging.getLogger(__name__)

BATCH = 1000
"""Objects of a pin written in one step, about 20 ms."""


def add(layout: Layout, index: Index, name: str, oids: Iterable[ObjectId]) -> int:
    """Add object versions to a pin, cached or not; the pin is made at the first.

    What was added before is left out. A crash in the middle leaves a beginning of ``oids`` pinned.

    Args:
        layout: which cache.
        index: its index; one that is busy follows later.
        name: of the pin.
        oids: taken as they come, a batch at a time.

    Returns:
        How many were not in the pin before.

    Raises:
        ConfigError: a pin cannot be called so.
        CacheError: the pin could not be written.
    """
    pin_file.check_name(name)
    oids = iter(oids)
    added = 0
    while batch := list(islice(oids, BATCH)):
        new = _not_yet_pinned(layout, index, name, batch)
        if not new:
            continue
        try:
            pin_file.append(layout, name, new)
        except OSError as error:
            raise CacheError(
                f"cannot write the pin {name}: {error.strerror}",
                hint="make room on the disk of the cache and try again",
            ) from error
        added += len(new)
        _try_to_follow(layout, index, name)
    return added


def remove(layout: Layout, index: Index, name: str) -> int:
    """Forget a pin; its objects stay until they are evicted, unless another pin holds them.

    Returns:
        How many objects were in it.

    Raises:
        ConfigError: a pin cannot be called so.
        CacheError: there is no such pin.
        OSError: the file cannot be removed.
        sqlite3.Error: the index is busy, and nothing was done.
    """
    pin_file.check_name(name)
    follow(layout, index, name)
    count = index.transact(lambda db: pin_rows.count(db, name), write=False)
    if not pin_file.remove(layout, name):
        raise CacheError(
            f"there is no pin {name!r}", hint="s3mount cache pins shows those that there are"
        )
    try:
        _drop(index, name)
    except sqlite3.Error as error:
        log.info("the index forgets the pin %s later: %s", name, error)
    return count


def infos(layout: Layout, index: Index) -> list[PinInfo]:
    """All pins, by name.

    Raises:
        sqlite3.Error: the index is busy or cannot be read.
    """
    catch_up(layout, index)
    return index.transact(pin_rows.infos, write=False)


def catch_up(layout: Layout, index: Index) -> None:
    """Bring the index in line with the files of all pins; next to nothing when it is.

    Raises:
        sqlite3.Error: the index is busy or cannot be used.
        OSError: a file cannot be read.
    """
    names = [name for name in os.listdir(layout.pins) if pin_file.is_name(name)]
    known = index.transact(pin_rows.files, write=False)
    for name in names:
        state = pin_file.state(layout, name)
        if state is not None and known.get(name) != state:
            follow(layout, index, name)
    for name in known.keys() - set(names):
        _drop(index, name)


def follow(layout: Layout, index: Index, name: str) -> None:
    """Bring the index in line with the file of one pin.

    Raises:
        sqlite3.Error: the index is busy or cannot be used.
        OSError: the file cannot be read.
    """
    while (state := pin_file.state(layout, name)) is not None:
        if _read_on(layout, index, name, state):
            return


def _read_on(layout: Layout, index: Index, name: str, state: State) -> bool:
    """Take in what was added to a file; False when somebody else was at it and may be half-way."""
    applied = _applied(index, name, state)
    for oids, end in pin_file.read(layout, name, state, applied, BATCH):
        if not _apply(index, pin_rows.Step(name, state.tag, applied, end), oids):
            return False
        applied = end
        index.checkpoint()  # a million rows would make a log of gigabytes
    return True


def _applied(index: Index, name: str, state: State) -> int:
    """How far a file was read before."""
    before = index.transact(pin_rows.files, write=False).get(name)
    if before is not None and before.tag == state.tag and before.size <= state.size:
        return before.size
    if before is not None:
        _drop(index, name)  # another file of the same name, or what a power cut left of this one
    index.transact(lambda db: pin_rows.begin(db, name, state.tag))
    return 0


def _apply(index: Index, step: Step, oids: list[ObjectId]) -> bool:
    rows = [pin_rows.row(step.name, oid) for oid in oids]
    return index.transact(lambda db: pin_rows.apply(db, step, rows))


def _not_yet_pinned(
    layout: Layout, index: Index, name: str, oids: list[ObjectId]
) -> list[ObjectId]:
    by_digest = {oid.digest(): oid for oid in oids}
    try:
        follow(layout, index, name)
        for digest in index.transact(
            lambda db: pin_rows.among(db, name, list(by_digest)), write=False
        ):
            del by_digest[digest]
    except sqlite3.Error as error:
        log.info("the pin %s is written without the index: %s", name, error)
    return list(by_digest.values())


def _try_to_follow(layout: Layout, index: Index, name: str) -> None:
    try:
        follow(layout, index, name)
    except sqlite3.Error as error:
        # The file holds the pin, and it is read before anything is evicted.
        log.info("the index follows the pin %s later: %s", name, error)


def _drop(index: Index, name: str) -> None:
    for shard in SHARDS:
        _drop_shard(index, name, shard)
    index.transact(lambda db: pin_rows.end(db, name))
    index.checkpoint()


def _drop_shard(index: Index, name: str, shard: str) -> None:
    index.transact(lambda db: pin_rows.drop_shard(db, name, shard))
