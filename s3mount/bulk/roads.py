"""What all objects of a download share: the ways to the store and to the disk, and room for bytes between them.

Concurrency rule: everything here belongs to the engine's thread.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from s3mount.bulk.target import Target
from s3mount.transfer.engine import Engine
from s3mount.transfer.housekeeping import Worker


class End(NamedTuple):
    """How the way of an object ended.

    Attributes:
        error: what went wrong, None when the file is in its place.
        fetched: bytes that came.
        seconds: from the first request to the end.
        version_id: as a reply named it; empty where none did.
    """

    error: Exception | None
    fetched: int = 0
    seconds: float = 0.0
    version_id: str = ""


class Stoppable(Protocol):
    """An object on its way."""

    def stop(self) -> None:
        """Leave nothing behind, and tell the end soon. On the engine's thread."""


Over = Callable[[Stoppable, End], None]


class Sender(Protocol):
    """An object that waits for room."""

    @property
    def next_size(self) -> int:
        """Bytes of the part that is sent next, 0 when there is none."""

    def send(self) -> None:
        """Take room and send."""


class Room:
    """Bytes that may be in memory between the store and the disk.

    Args:
        limit: bytes; one part alone may be more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[Sender] = deque()

    def take(self, size: int) -> bool:
        """Take room for a part, if there is some."""
        if self._taken and self._taken + size > self._limit:
            return False
        self._taken += size
        return True

    def wait(self, waiting: Sender) -> None:
        """Let an object send once there is room for its next part."""
        self._waiting.append(waiting)

    def give(self, size: int) -> None:
        """Give room back."""
        self._taken -= size
        while self._waiting:
            needed = self._waiting[0].next_size
            if needed and self._taken and self._taken + needed > self._limit:
                return
            self._waiting.popleft().send()


class Roads(NamedTuple):
    """What all objects of a run share.

    Attributes:
        engine: sends requests.
        worker: does what takes long, job after job.
        target: where files are.
        room: for bytes on their way.
        part: bytes in one GET at the most.
        parts_each: GETs of one object at once, at the most.
    """

    engine: Engine
    worker: Worker
    target: Target
    room: Room
    part: int
    parts_each: int
