"""How several sequential readers share what may be fetched ahead. No clock: times are arguments.

Max-min fair: who wants less than an equal share gets what it wants, and the others share the rest.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

IDLE = 5.0
"""Seconds after which a reader that asks for nothing counts no more: it has stopped, or its window is all it needs."""


def fair_level(wants: Iterable[int], total: int) -> int:
    """The most that anybody gets so that all together get no more than ``total``, and as much of it as they want.

    Args:
        wants: bytes that each wants.
        total: bytes that there are.
    """
    rest = total
    ascending = sorted(wants)
    for number, want in enumerate(ascending):
        share = rest // (len(ascending) - number)
        if want > share:
            return share
        rest -= want
    return total


@dataclass(slots=True)
class _Claim:
    wants: int
    holds: int
    seen: float


@dataclass(slots=True)
class Sharing:
    """Who reads in sequence now, and how far each may be read ahead.

    Args:
        total: bytes ahead of all readers together.
    """

    total: int
    _claims: dict[object, _Claim] = field(default_factory=dict)

    def grant(self, reader: object, *, wants: int, holds: int, now: float) -> int:
        """Bytes that a reader may have ahead, those that it has included.

        Args:
            reader: whoever asks; the same object each time.
            wants: bytes ahead that it has a use for.
            holds: bytes ahead that it has asked for already.
            now: seconds.
        """
        self._claims.pop(reader, None)
        # The order is that of asking, so the first who is not idle ends the search.
        for oldest, claim in list(self._claims.items()):
            if now - claim.seen <= IDLE:
                break
            del self._claims[oldest]
        self._claims[reader] = _Claim(wants, holds, now)
        others = sum(claim.holds for claim in self._claims.values()) - holds
        level = fair_level((claim.wants for claim in self._claims.values()), self.total)
        granted = max(0, min(wants, level, self.total - others))
        # What is granted is asked for at the next read, before anybody is told of it.
        self._claims[reader].holds = max(holds, granted)
        return granted

    def leave(self, reader: object) -> None:
        """A reader has jumped, or is gone."""
        self._claims.pop(reader, None)
