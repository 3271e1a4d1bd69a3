"""Room on disk: reserved before it is written, counted after.

This module keeps one process's part of the account: what it was granted, what it committed since
the last flush, what it used. It does not know files. Concurrency rule: any thread may call; a
short lock guards the numbers and is never held while the index is asked. Invariant: bytes granted
to this session in the index = available + reserved + committed and not flushed.
"""

import os
import sqlite3
import threading

from s3mount.cache.evict import Pressure
from s3mount.cache.index import TICK, Change, Index, Totals
from s3mount.cache.layout import Layout, ObjectId
from s3mount.cache.limits import Limits
from s3mount.cache.session import Session

GRANT = 64 * 1024 * 1024
"""Bytes reserved at a time: a tenth of a second of the fastest fill, so a look at the free space
follows every 64 MiB."""
BATCH = 1000
"""Rows a transaction, about 5 ms: another process waits no longer for its grant."""


class Space:
    """What this process may write, and what it wrote.

    Args:
        layout: which cache.
        limits: how much it may take.
        index: where all processes' accounts meet.
        attention: set where room is wanted at once.
    """

    def __init__(
        self, layout: Layout, limits: Limits, index: Index, attention: threading.Event
    ) -> None:
        self.limits = limits
        self.attention = attention
        self._layout = layout
        self._index = index
        self._grant = min(GRANT, limits.max_bytes // 16)
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._available = 0
        self._granted = 0
        self._busy = False
        self._wanted = 0
        self._pending: dict[str, Change] = {}  # in the order of their last use
        self._generation = 0

    def create(self) -> tuple[int, str]:
        """A fresh file for an extent that is being written; see `temporary.create`.

        Raises:
            OSError: it, or the session's file, cannot be made.
        """
        return self._own_session().create()

    def reserve(self, amount: int) -> bool:
        """Reserve bytes before writing them; False, soon, when there is no room right now.

        A refusal asks housekeeping for an eviction, so that a later call may succeed.
        """
        with self._lock:
            self._busy = True
            if self._available >= amount:
                self._available -= amount
                return True
            missing = amount - self._available
        if missing > self.limits.max_bytes:
            return False
        granted = self._ask(missing)
        with self._lock:
            self._available += granted
            self._granted += granted
            if self._available >= amount:
                self._available -= amount
                return True
            self._wanted = max(self._wanted, missing)
        self.attention.set()
        return False

    def release(self, amount: int) -> None:
        """Give back a reservation, or the part of it that was not needed."""
        with self._lock:
            self._available += amount

    def committed(self, digest: str, oid: ObjectId, amount: int) -> None:
        """Reserved bytes became part of the cache."""
        with self._lock:
            old = self._pending.pop(digest, None)
            self._pending[digest] = (
                Change(oid, old.added + amount, old.freed) if old else Change(oid, amount)
            )

    def lost(self, digest: str, oid: ObjectId, amount: int) -> None:
        """Bytes of the cache were found damaged and are gone."""
        with self._lock:
            old = self._pending.pop(digest, Change(oid))
            self._pending[digest] = old._replace(freed=old.freed + amount)

    def touch(self, digest: str, oid: ObjectId) -> None:
        """An object was used."""
        with self._lock:
            self._pending[digest] = self._pending.pop(digest, Change(oid))

    def flush(self, now: float) -> None:
        """Write what was committed and used to the index.

        Raises:
            OSError: the session's file cannot be made.
            sqlite3.Error: the index cannot be written; what was not counted stays for the next
            flush.
        """
        self._follow_new_index()
        with self._lock:
            if not self._pending:
                return
            pending, self._pending = list(self._pending.items()), {}
        name = self._own_session().name
        while pending:
            batch = pending[:BATCH]
            try:
                self._index.apply(name, batch, now - len(pending) * TICK)
            except sqlite3.Error:
                self._put_back(pending)
                raise
            del pending[:BATCH]
            with self._lock:
                self._granted -= sum(new.added for _, new in batch)

    def balance(self) -> None:
        """Give back a grant that nobody uses; get the next one before this one is used up."""
        with self._lock:
            idle, self._busy = not self._busy, False
            spare = self._available if idle else 0
            self._available -= spare
            self._granted -= spare
            low = not idle and self._available < self._grant // 2
        if spare:
            self._index.give_back(self._own_session().name, spare)
        if low:
            granted = self._ask(self._grant)
            with self._lock:
                self._available += granted
                self._granted += granted

    def pressure(self, totals: Totals) -> Pressure:
        """What stands for and against a grant.

        Raises:
            OSError: the file system does not answer.
        """
        system = os.statvfs(self._layout.home)
        free = system.f_bavail * system.f_frsize
        limits = self.limits
        return Pressure(totals.cached, totals.granted, limits.max_bytes, free, limits.min_free)

    def room_to_fill(self, totals: Totals, pinned: int) -> int:
        """Bytes that this process could add and keep, see `Pressure.room_to_fill`.

        Raises:
            OSError: the file system does not answer.
        """
        # A grant that is half used up is joined by the next one.
        return self.pressure(totals).room_to_fill(pinned, 2 * self._grant)

    def to_evict(self) -> int:
        """Bytes that should be evicted now.

        Raises:
            OSError: the file system does not answer.
            sqlite3.Error: the index does not.
        """
        with self._lock:
            wanted, self._wanted = self._wanted, 0
        return self.pressure(self._index.totals()).to_evict(wanted)

    def session_name(self) -> str:
        """The name of this process's session; empty when it has not written yet."""
        return self._session.name if self._session else ""

    def close(self, now: float) -> None:
        """Flush, and end the session.

        Raises:
            OSError: the session's file cannot be removed.
            sqlite3.Error: the index cannot be written; another process will count what is on
            disk.
        """
        self.flush(now)
        if self._session is not None:
            self._index.end_session(self._session.name)
            self._session.close()

    def _ask(self, missing: int) -> int:
        want = max(self._grant, missing)
        try:
            name = self._own_session().name
            return self._index.grant(
                name, want, missing, lambda totals: self.pressure(totals).room()
            )
        except (sqlite3.Error, OSError):
            return 0

    def _own_session(self) -> Session:
        with self._lock:
            if self._session is None:
                self._session = Session(self._layout)
            return self._session

    def _follow_new_index(self) -> None:
        generation = self._index.generation()
        if generation == self._generation:
            return
        with self._lock:
            granted = self._granted
        if self._generation and granted:
            self._index.restore(self._own_session().name, granted)
        self._generation = generation

    def _put_back(self, pending: list[tuple[str, Change]]) -> None:
        with self._lock:
            for digest, old in pending:
                new = self._pending.get(digest, Change(old.oid))
                self._pending[digest] = Change(
                    old.oid, old.added + new.added, old.freed + new.freed
                )
