"""The index: what is cached and when it was used, for accounting and eviction.

No read ever asks it. This module speaks SQL and nothing else; it knows no extents and decides nothing. Losing it loses
no bytes: it is filled again from the trailers. Concurrency rule: one connection under one lock,
held for one short transaction; other processes have their own connections, and a transaction that
they keep waiting longer than ``patience`` fails with sqlite3.OperationalError.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from s3mount.cache import schema
from s3mount.cache.evict import Row, Victim
from s3mount.cache.layout import Layout, ObjectId

_INSERT = (
    "INSERT INTO objects (digest, store, key, etag, size, cached_bytes, used_at)"
    " VALUES (?, ?, ?, ?, ?, max(0, ?), ?) ON CONFLICT (digest) DO "
)
_FOUND = _INSERT + "NOTHING"
_ADD = _INSERT + (
    "UPDATE SET cached_bytes = max(0, cached_bytes + ?), used_at = max(used_at, excluded.used_at)"
)
_SHRINK = "UPDATE objects SET cached_bytes = max(0, cached_bytes - ?) WHERE digest = ?"
_TOUCH = "UPDATE objects SET used_at = max(used_at, ?) WHERE digest = ?"
_TAKE_BACK = "UPDATE sessions SET granted = max(0, granted - ?) WHERE name = ?"
_DELETE = "DELETE FROM objects WHERE digest = ?"

LOG_LIMIT = 1024 * 1024
"""Bytes of log that call for a checkpoint: some 5,000 objects, or a second of the fastest warm."""

TICK = 1e-6
"""Seconds between the uses of two objects that are counted at once, so that their order stays known."""

T = TypeVar("T")


class Change(NamedTuple):
    """What became of an object since the last flush, in bytes on disk."""

    oid: ObjectId
    added: int = 0
    freed: int = 0


class Totals(NamedTuple):
    """The cache as a whole.

    Attributes:
        cached: bytes of all objects.
        objects: how many have bytes.
        granted: bytes reserved by all sessions and not yet cached.
        pinned: bytes of those that are pinned.
        swept: whether the objects directory was read to its end since the index was made.
    """

    cached: int
    objects: int
    granted: int
    pinned: int
    swept: bool


class StoreTotal(NamedTuple):
    """The objects of one store."""

    store: str
    cached: int
    objects: int


class Index:
    """One process's connection to the index, made at its first use.

    Args:
        layout: where it lies.
        patience: seconds to wait for another process's transaction.
    """

    def __init__(self, layout: Layout, *, patience: float = 0.05) -> None:
        self._layout = layout
        self._patience = patience
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def grant(self, session: str, want: int, least: int, room: Callable[[Totals], int]) -> int:
        """Reserve ``want`` bytes for a session, or ``least`` when there is room for no more.

        Args:
            session: who will write.
            want: bytes that would be good to have.
            least: bytes without which a smaller grant is of no use.
            room: how much may be promised, given the totals.

        Returns:
            The bytes granted; 0 when there is no room, or before the first sweep of a lost index
            is over.
        """

        def work(db: sqlite3.Connection) -> int:
            totals = _totals(db)
            free = room(totals)
            amount = want if free >= want else least
            if not totals.swept or free < amount:
                return 0
            db.execute(
                "INSERT INTO sessions VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET granted = granted + ?",
                (session, amount, amount),
            )
            return amount

        return self.transact(work)

    def give_back(self, session: str, amount: int) -> None:
        """Take back a part of a grant that was not used."""
        self.transact(lambda db: db.execute(_TAKE_BACK, (amount, session)))

    def restore(self, session: str, amount: int) -> None:
        """Write down again, in a new index, what a session was granted."""
        statement = "INSERT OR REPLACE INTO sessions VALUES (?, ?)"
        self.transact(lambda db: db.execute(statement, (session, amount)))

    def apply(self, session: str, changes: Sequence[tuple[str, Change]], now: float) -> None:
        """Count what a session committed or lost; both grant and total change in one step.

        Args:
            session: whose grant the added bytes came from.
            changes: digests and what became of them, in the order of their use.
            now: seconds since the epoch when the first was used; each counts as used a `TICK` after the one before.
        """

        def work(db: sqlite3.Connection) -> None:
            at = [(now + place * TICK, *change) for place, change in enumerate(changes)]
            grown = [(used, digest, new) for used, digest, new in at if new.added]
            db.executemany(_ADD, (_grown(digest, new, used) for used, digest, new in grown))
            others = [(used, digest, new) for used, digest, new in at if not new.added]
            db.executemany(_TOUCH, [(used, digest) for used, digest, _ in others])
            db.executemany(_SHRINK, [(new.freed, digest) for _, digest, new in others if new.freed])
            db.execute(_TAKE_BACK, (sum(new.added for _, _, new in grown), session))

        self.transact(work)

    def totals(self) -> Totals:
        """The cache as a whole."""
        return self.transact(_totals, write=False)

    def by_store(self) -> list[StoreTotal]:
        """The totals of each store; reads every row."""
        query = (
            "SELECT store, sum(cached_bytes), count(*) FROM objects GROUP BY store ORDER BY store"
        )
        return self.transact(
            lambda db: [StoreTotal(*row) for row in db.execute(query)], write=False
        )

    def oldest(self, count: int, *, before: float | None = None) -> list[Row]:
        """The ``count`` least recently used objects that are not pinned, oldest first."""
        query = (
            "SELECT digest, cached_bytes, used_at FROM objects WHERE pinned = 0 AND used_at < ?"
            " ORDER BY used_at LIMIT ?"
        )
        limit = 1e300 if before is None else before
        return self.transact(
            lambda db: [Row(*row) for row in db.execute(query, (limit, count))], write=False
        )

    def evicted(
        self,
        gone: Iterable[str],
        shrunk: Iterable[Victim],
        leased: Iterable[str],
        now: float,
    ) -> None:
        """Count an eviction.

        Args:
            gone: digests of which nothing is left.
            shrunk: objects and the bytes that they gave up.
            leased: digests that could not go; they are in use now.
            now: seconds since the epoch.
        """

        def work(db: sqlite3.Connection) -> None:
            db.executemany(_DELETE, [(digest,) for digest in gone])
            db.executemany(_SHRINK, [(victim.give_up, victim.digest) for victim in shrunk])
            db.executemany(_TOUCH, [(now, digest) for digest in leased])

        self.transact(work)

    def shard(self, shard: str) -> dict[str, int]:
        """Digests and cached bytes of one shard."""
        query = "SELECT digest, cached_bytes FROM objects WHERE digest >= ? AND digest < ?"
        bounds = (shard, shard + "g")  # "g" is behind every hexadecimal digit
        return self.transact(lambda db: dict(db.execute(query, bounds).fetchall()), write=False)

    def correct(
        self,
        found: Sequence[tuple[str, ObjectId, int, float]],
        drifted: Sequence[tuple[str, int, int]],
        gone: Sequence[str],
    ) -> None:
        """Bring rows in line with the disk.

        Args:
            found: digest, object, bytes and time of use of what has no row.
            drifted: digest, bytes on disk, and bytes that the row said; a row that says something
                else by now is right.
            gone: digests of which nothing is on disk.
        """

        def work(db: sqlite3.Connection) -> None:
            db.executemany(_FOUND, (_row(*each) for each in found))
            db.executemany(
                "UPDATE objects SET cached_bytes = ? WHERE digest = ? AND cached_bytes = ?",
                [(real, digest, said) for digest, real, said in drifted],
            )
            db.executemany(_DELETE, [(digest,) for digest in gone])

        self.transact(work)

    def sessions(self) -> list[str]:
        """The names of all sessions that were granted space."""
        return self.transact(
            lambda db: [name for (name,) in db.execute("SELECT name FROM sessions")], write=False
        )

    def end_session(self, name: str) -> None:
        """Take back all that a session still holds."""
        self.transact(lambda db: db.execute("DELETE FROM sessions WHERE name = ?", (name,)))

    def needs_sweep(self, boot: str) -> bool:
        """Whether rows may be missing: a new index, or a start of the machine since the sweep."""
        query = "SELECT swept = 0 OR boot <> ? FROM total"
        return self.transact(lambda db: bool(db.execute(query, (boot,)).fetchone()[0]), write=False)

    def note_swept(self, boot: str) -> None:
        """The objects directory was read to its end."""
        self.transact(lambda db: db.execute("UPDATE total SET swept = 1, boot = ?", (boot,)))

    def checkpoint(self) -> None:
        """Move a long log into the file, on a connection of its own: this waits for the disk."""
        log = self._layout.index + "-wal"
        if not os.path.exists(log) or os.path.getsize(log) < LOG_LIMIT:
            return
        with contextlib.closing(sqlite3.connect(self._layout.index, self._patience)) as db:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def generation(self) -> int:
        """Another number whenever this is a new index; reconnects when a process made one."""
        with self._lock:
            if self._connection is not None and self._inode != _inode(self._layout.index):
                self._disconnect()
        self.transact(lambda db: None, write=False)
        return self._inode

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            self._disconnect()

    def transact(self, work: Callable[[sqlite3.Connection], T], *, write: bool = True) -> T:
        """Do ``work`` in one short transaction.

        Args:
            work: statements on the connection it is given.
            write: whether it changes anything.

        Raises:
            sqlite3.Error: the index is busy or cannot be used; nothing was changed.
        """
        with self._lock:
            try:
                db = self._connection or self._connect()
                return _in_transaction(db, work) if write else work(db)
            except sqlite3.DatabaseError as error:
                if _is_corrupt(error):
                    self._discard()
                raise

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self._layout.index, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(
            self._layout.index, self._patience, isolation_level=None, check_same_thread=False
        )
        try:
            self._inode = _inode(self._layout.index)
            db.execute("PRAGMA journal_mode = WAL").fetchall()
            # A checkpoint waits for the disk: housekeeping asks for it, never the engine's thread.
            db.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
            db.execute("PRAGMA synchronous = NORMAL")
            if not schema.is_current(db):
                swept = not any(Path(self._layout.objects).iterdir())
                _in_transaction(db, lambda db: schema.prepare(db, swept=swept))
        except BaseException:
            db.close()
            raise
        self._connection = db
        return db

    def _discard(self) -> None:
        """Remove an index that cannot be read; the next use makes a new one and sweeps."""
        self._disconnect()
        for suffix in ("", "-wal", "-shm"):
            Path(self._layout.index + suffix).unlink(missing_ok=True)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _in_transaction(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result


def _totals(db: sqlite3.Connection) -> Totals:
    query = "SELECT bytes, objects, pinned_bytes, swept FROM total"
    cached, objects, pinned, swept = db.execute(query).fetchone()
    granted = db.execute("SELECT coalesce(sum(granted), 0) FROM sessions").fetchone()[0]
    return Totals(cached, objects, granted, pinned, bool(swept))


def _row(
    digest: str, oid: ObjectId, cached_bytes: int, used_at: float
) -> tuple[str, str, bytes, str, int, int, float]:
    key = oid.key.encode("utf-8", "surrogateescape")
    return (digest, oid.store, key, oid.etag, oid.size, cached_bytes, used_at)


def _grown(digest: str, new: Change, used_at: float) -> tuple[str | bytes | int | float, ...]:
    net = new.added - new.freed
    return (*_row(digest, new.oid, net, used_at), net)


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # A table that should be there and is not: somebody else's file, or the wreck of ours.
    missing = code == sqlite3.SQLITE_ERROR and "no such" in str(error)
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or missing
