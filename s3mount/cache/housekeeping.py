"""What a cache does beside serving: counting, evicting, and clearing up after dead processes.

This module decides when each of these is due and acts through `space`, `index` and `reclaim`; it
knows no open object. Concurrency rule: one thread. Whatever passing trouble it meets, a full disk or
a busy index, it leaves for the next round.
"""

import contextlib
import logging
import sqlite3
import time

from s3mount.cache import pins, reclaim, session
from s3mount.cache.boot import boot_id
from s3mount.cache.evict import Victim, choose
from s3mount.cache.former import Former
from s3mount.cache.index import Index, Totals
from s3mount.cache.layout import SHARDS, Layout
from s3mount.cache.shared import Shared
from s3mount.metrics import Counters, Incident

log = logging.getLogger(__name__)

CLEAR_UP_EVERY = 30.0
"""Seconds between two looks for dead processes."""
SLICE = 4000
"""Entries of the objects directory looked at in one round: about 40 ms."""
ROWS = 500
"""Candidates for eviction read at once."""
ROUNDS = 40
"""Times that candidates are read in vain in one eviction, lest it never end where all are leased."""


class Housekeeping:
    """The work of `Cache.maintain`.

    Args:
        shared: the parts of the cache.
        index: of the same cache.
        counters: where the tally goes, and incidents.
    """

    def __init__(self, shared: Shared, index: Index, counters: Counters) -> None:
        self._shared = shared
        self._layout: Layout = shared.layout
        self._space = shared.space
        self._index = index
        self._counters = counters
        self._now = 0.0
        self._next_clear_up = 0.0
        self._sweep: list[str] = []
        self._sweeping = False
        self._settled = reclaim.SETTLED
        self._due_to_end: dict[str, float] = {}
        self._ending: set[str] = set()
        self._last_totals: Totals | None = None
        self._former: Former | None = None

    def run(self, now: float) -> None:
        """One round."""
        self._now = now
        self._space.attention.clear()
        for step in (
            self._shared.deferred.run,
            self._flush,
            self._evict,
            self._space.balance,
            self._clear_up,
            self._step_sweep,
            self._remove_former,
        ):
            try:
                step()
            except (sqlite3.Error, OSError) as error:
                self._note(error)
        self._shared.tally.move_to(self._counters)

    def totals(self) -> Totals | None:
        """The newest totals; the last known ones while the index is busy."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self._last_totals = self._index.totals()
        return self._last_totals

    def close(self) -> None:
        """Count what is not counted yet, as used just now, and end the session."""
        self._now = max(self._now, time.clock_gettime(time.CLOCK_REALTIME))
        try:
            self._space.close(self._now)
        except (sqlite3.Error, OSError) as error:
            self._note(error)
        self._shared.tally.move_to(self._counters)

    def _flush(self) -> None:
        self._space.flush(self._now)
        self._index.checkpoint()

    def _evict(self) -> None:
        need = self._space.to_evict()
        if need > 0:
            freed, leased = evict_bytes(self._layout, self._index, need, self._now)
            self._shared.tally.add("cache.evicted_bytes", freed)
            self._shared.tally.add("cache.eviction_skips", leased)

    def _clear_up(self) -> None:
        if self._now < self._next_clear_up:
            return
        self._next_clear_up = self._now + CLEAR_UP_EVERY
        own = self._space.session_name()
        reclaim.remove_leftovers(self._layout, own)
        self._former = Former(self._layout)
        for name in reclaim.dead_sessions(self._layout, self._index, own):
            # What it committed and did not count must be found first, or the limit is passed.
            self._due_to_end.setdefault(name, self._now + reclaim.SETTLED)
        due = {name for name, at in self._due_to_end.items() if at <= self._now}
        if not self._sweeping and (due or self._index.needs_sweep(boot_id())):
            self._sweeping, self._ending = True, due
            self._sweep = list(SHARDS)
            # A new index knows nothing: better to count young files twice than never.
            self._settled = reclaim.SETTLED if self._index.totals().swept else 0.0

    def _step_sweep(self) -> None:
        seen = 0
        while self._sweep and seen < SLICE:
            seen += reclaim.sweep_shard(
                self._layout, self._index, self._sweep[-1], self._now, settled=self._settled
            )
            self._sweep.pop()
        if self._sweep:
            self._space.attention.set()
        elif self._sweeping:
            self._index.note_swept(boot_id())
            for name in self._ending:
                self._index.end_session(name)
                session.forget(self._layout, name)
                self._due_to_end.pop(name, None)
            self._sweeping = False

    def _remove_former(self) -> None:
        if self._former is not None:
            if self._former.remove(SLICE):
                self._former = None
            else:
                self._space.attention.set()

    def _note(self, error: Exception) -> None:
        log.info("cache housekeeping left something for the next round: %s", error)
        self._shared.tally.add("cache.trouble")
        self._counters.note(Incident(self._now, "cache", "", str(error), ""))


def evict_bytes(
    layout: Layout, index: Index, need: int, now: float, *, before: float | None = None
) -> tuple[int, int]:
    """Evict what was least recently used until ``need`` bytes are free or nothing is left.

    Args:
        layout: which cache.
        index: its index.
        need: bytes.
        now: seconds since the epoch; leased objects count as used now.
        before: only objects that were used before this time.

    Returns:
        Bytes freed, and how many objects were leased.

    Raises:
        sqlite3.Error: the index is busy or cannot be used.
        OSError: a pin cannot be read, so that nothing may go.
    """
    freed = 0
    leased: set[str] = set()
    in_vain = 0
    while in_vain < ROUNDS:
        pins.catch_up(layout, index)  # the index may be new and know of no pin
        rows = index.oldest(ROWS, before=before)
        victims = choose(rows, need - freed, leased)
        if not victims:
            break
        some = _take(layout, index, victims, now, leased)
        freed += some
        in_vain = 0 if some else in_vain + 1
        if freed >= need:
            break
    return freed, len(leased)


def _take(layout: Layout, index: Index, victims: list[Victim], now: float, leased: set[str]) -> int:
    outcomes = [(victim, reclaim.evict(layout, victim)) for victim in victims]
    skipped = [victim.digest for victim, outcome in outcomes if outcome.leased]
    gone = [victim.digest for victim, outcome in outcomes if outcome.gone]
    shrunk = [
        victim._replace(give_up=outcome.freed)
        for victim, outcome in outcomes
        if not outcome.gone and not outcome.leased
    ]
    index.evicted(gone, shrunk, skipped, now)
    leased.update(skipped)
    return sum(outcome.freed for _, outcome in outcomes)
