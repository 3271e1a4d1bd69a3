"""What became of one object of a bulk command."""

import enum
from typing import NamedTuple

from s3mount.store.interface import ObjectMeta


class Ending(enum.Enum):
    """How an object ended."""

    FETCHED = "fetched"
    """It came over the network, all of it or what was missing."""
    PRESENT = "present"
    """It was there already; no request was made."""
    COPIED = "copied"
    """It was taken from the cache; no request was made."""
    LISTED = "listed"
    """A dry run: it would have been fetched."""
    FAILED = "failed"
    """It is not there; ``error`` says why."""


class Outcome(NamedTuple):
    """One object and how it ended.

    Attributes:
        meta: as the listing described it.
        ending: see `Ending`.
        fetched: bytes that came over the network for it.
        seconds: from its first request to its end, 0 where none was made.
        error: why it failed, None unless it did.
        place: where it is now, for commands that write files; empty otherwise.
        version_id: as a reply named it; empty where none did.
    """

    meta: ObjectMeta
    ending: Ending
    fetched: int = 0
    seconds: float = 0.0
    error: Exception | None = None
    place: str = ""
    version_id: str = ""
