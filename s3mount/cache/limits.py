"""How much a cache may take; apart from the cache, so that saying so does not load it."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Sizes in bytes.

    Attributes:
        max_bytes: on disk, all processes together.
        min_free: to be left free on the file system.
        memory: of this process, for bytes that the disk has no room for.
    """

    max_bytes: int
    min_free: int
    memory: int
