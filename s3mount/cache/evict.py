"""Whom to evict.

This module decides from rows and a need alone; it touches no disk and has no clock. Plain
functions: any thread may call them.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

PIECEWISE = 64 * 1024 * 1024
"""Bytes from which an object loses its end first instead of all at once: a smaller one is fetched
again in one or two seconds on a slow line, a larger one is worth keeping in part."""


HEADROOM = 256 * 1024 * 1024
"""Bytes kept free for what comes next, a twentieth in a small cache: evicted in under a second."""


class Row(NamedTuple):
    """What the index knows of an object, as far as eviction cares.

    Attributes:
        used_at: seconds since the epoch.
        pinned: kept by the user's wish.
    """

    digest: str
    cached_bytes: int
    used_at: float
    pinned: bool = False


class Victim(NamedTuple):
    """An object that must give up bytes, from its end; all of it when ``whole``."""

    digest: str
    give_up: int
    whole: bool


def choose(rows: Iterable[Row], need: int, leased: Collection[str] = ()) -> list[Victim]:
    """Victims that together give up at least ``need`` bytes, the least recently used first.

    Fewer bytes come together only when everything that is neither pinned nor leased is a victim.
    """
    victims: list[Victim] = []
    for row in sorted(rows, key=lambda row: (row.used_at, row.digest)):
        if need <= 0:
            break
        if row.pinned or row.digest in leased:
            continue
        partly = row.cached_bytes > PIECEWISE and need < row.cached_bytes
        give_up = need if partly else row.cached_bytes
        victims.append(Victim(row.digest, give_up, whole=not partly))
        need -= give_up
    return victims


class Pressure(NamedTuple):
    """What stands for and against a grant, all in bytes.

    Attributes:
        cached: of all objects.
        granted: reserved by all processes and not yet cached.
        max_bytes: the limit of the cache.
        free: on the file system, for us.
        min_free: of which so many must stay.
    """

    cached: int
    granted: int
    max_bytes: int
    free: int
    min_free: int

    def room(self) -> int:
        """Bytes that can still be promised; negative when too many already are."""
        return min(self.max_bytes - self.cached, self.free - self.min_free) - self.granted

    def headroom(self) -> int:
        """Room that should always be there, so that eviction runs ahead of need."""
        capacity = min(self.max_bytes, max(0, self.free - self.min_free) + self.cached)
        return min(HEADROOM, capacity // 20)

    def room_to_fill(self, pinned: int, reserved: int) -> int:
        """Bytes that something new could take and keep, when all goes for it that may be evicted.

        Args:
            pinned: of ``cached``, bytes that stay.
            reserved: bytes that whoever fetches it reserves ahead.
        """
        evictable = self.cached - pinned
        most = min(self.max_bytes - pinned, self.free - self.min_free + evictable)
        # Where less than the headroom is left, what came first would be evicted for what comes last.
        return max(0, most - self.headroom() - reserved)

    def to_evict(self, wanted: int = 0) -> int:
        """Bytes that must go: none while the headroom is left, then what makes it twice that.

        Args:
            wanted: room that somebody asked for in vain.
        """
        room, headroom = self.room(), self.headroom()
        return 0 if room >= max(headroom, wanted) else max(2 * headroom, wanted) - room
