"""Pins in the index: rows that say which object versions a pin holds, and how far its file was read.

This module speaks SQL and nothing else. Plain functions on a connection, each for one transaction of
`Index.transact`.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from s3mount.cache.layout import ObjectId
from s3mount.cache.pin_file import State
from s3mount.cache.trailer import charge, file_size, identity_prefix


class PinInfo(NamedTuple):
    """One pin; sizes in bytes on disk.

    Attributes:
        name: what it is called.
        objects: object versions that it holds.
        cached_bytes: what is cached of them.
        wanted_bytes: what all of them take when they are cached whole.
    """

    name: str
    objects: int
    cached_bytes: int
    wanted_bytes: int


class Step(NamedTuple):
    """A part of a pin's file.

    Attributes:
        name: of the pin.
        tag: of the file.
        start: the first byte.
        stop: the byte behind the last.
    """

    name: str
    tag: str
    start: int
    stop: int


class Cached(NamedTuple):
    """An object version of which bytes are here."""

    oid: ObjectId
    cached_bytes: int


def row(name: str, oid: ObjectId) -> tuple[str, str, int]:
    """What is kept of one object version of a pin."""
    return oid.digest(), name, whole_cost(oid)


def whole_cost(oid: ObjectId) -> int:
    """Bytes on disk that an object version takes as one extent."""
    return charge(file_size(identity_prefix(oid), 0, oid.size)) if oid.size else 0


def files(db: sqlite3.Connection) -> dict[str, State]:
    """How far the file of each pin was read."""
    rows = db.execute("SELECT name, tag, applied FROM pin_files")
    return {name: State(tag, applied) for name, tag, applied in rows}


def begin(db: sqlite3.Connection, name: str, tag: str) -> None:
    """Note a pin of whose file nothing was read yet."""
    db.execute("INSERT OR IGNORE INTO pin_files VALUES (?, ?, 0)", (name, tag))


def apply(db: sqlite3.Connection, step: Step, rows: Sequence[tuple[str, str, int]]) -> bool:
    """Take in a part of a file; False when the part before it was not the last one."""
    moved = db.execute(
        "UPDATE pin_files SET applied = ? WHERE name = ? AND tag = ? AND applied = ?",
        (step.stop, step.name, step.tag, step.start),
    )
    if not moved.rowcount:
        return False
    db.executemany("INSERT OR IGNORE INTO pins VALUES (?, ?, ?)", rows)
    return True


def among(db: sqlite3.Connection, name: str, digests: Sequence[str]) -> list[str]:
    """Those of ``digests`` that a pin holds."""
    query = "SELECT 1 FROM pins WHERE digest = ? AND name = ?"
    return [each for each in digests if db.execute(query, (each, name)).fetchone()]


def count(db: sqlite3.Connection, name: str) -> int:
    """How many object versions a pin holds; reads every row."""
    return int(db.execute("SELECT count(*) FROM pins WHERE name = ?", (name,)).fetchone()[0])


def drop_shard(db: sqlite3.Connection, name: str, shard: str) -> None:
    """Forget the object versions of a pin whose digests begin with ``shard``."""
    query = "DELETE FROM pins WHERE digest >= ? AND digest < ? AND name = ?"
    db.execute(query, (shard, shard + "g", name))


def end(db: sqlite3.Connection, name: str) -> None:
    """Forget a pin that holds nothing any more."""
    db.execute("DELETE FROM pin_files WHERE name = ?", (name,))


def infos(db: sqlite3.Connection) -> list[PinInfo]:
    """All pins, by name; reads every row."""
    held = (
        "SELECT name, count(*) AS objects, sum(cached_bytes) AS cached, sum(cost) AS wanted"
        " FROM pins LEFT JOIN objects USING (digest) GROUP BY name"
    )
    query = (
        "SELECT name, coalesce(objects, 0), coalesce(cached, 0), coalesce(wanted, 0)"
        f" FROM pin_files LEFT JOIN ({held}) USING (name) ORDER BY name"
    )
    return [PinInfo(*found) for found in db.execute(query)]


def wanted_bytes(db: sqlite3.Connection) -> int:
    """Bytes on disk that all pinned objects take when they are cached whole."""
    each = "SELECT max(cost) AS cost FROM pins GROUP BY digest"
    return int(db.execute(f"SELECT coalesce(sum(cost), 0) FROM ({each})").fetchone()[0])


def of_shard(db: sqlite3.Connection, shard: str) -> set[str]:
    """The pinned digests that begin with ``shard``."""
    query = "SELECT DISTINCT digest FROM pins WHERE digest >= ? AND digest < ?"
    return {digest for (digest,) in db.execute(query, (shard, shard + "g"))}


def pinned_objects(db: sqlite3.Connection, before: float) -> int:
    """How many cached object versions are pinned and were not used since ``before``."""
    query = "SELECT count(*) FROM objects WHERE pinned = 1 AND used_at < ?"
    return int(db.execute(query, (before,)).fetchone()[0])


def cached_below(db: sqlite3.Connection, store: str, prefix: str) -> list[Cached]:
    """The object versions of a store of which bytes are here, their keys beginning with ``prefix``."""
    start = prefix.encode("utf-8", "surrogateescape")
    query = (
        "SELECT store, key, etag, size, cached_bytes FROM objects"
        " WHERE store = ? AND substr(key, 1, ?) = ?"
    )
    return [
        Cached(ObjectId(store, key.decode("utf-8", "surrogateescape"), etag, size), cached_bytes)
        for store, key, etag, size, cached_bytes in db.execute(query, (store, len(start), start))
    ]


def held_bytes(db: sqlite3.Connection, digests: Callable[[], Iterable[str]]) -> int:
    """Bytes on disk of those of some objects that are pinned; ``digests`` is not called when nothing is."""
    if not db.execute("SELECT 1 FROM pins LIMIT 1").fetchone():
        return 0
    query = "SELECT cached_bytes FROM objects WHERE digest = ? AND pinned = 1"
    found = (db.execute(query, (digest,)).fetchone() for digest in digests())
    return sum(row[0] for row in found if row)
