"""How far ahead of each reader, and in which parts: what the line needs, what the reader takes, what is its share.

It joins the estimate of the line, the pace of each reader and the share of each. No clock: times are arguments.
"""

from dataclasses import dataclass

from s3mount.readahead.pace import MARGIN, Pace, bytes_ahead, higher, part_size
from s3mount.readahead.sharing import Sharing
from s3mount.readahead.window import FIRST_WINDOW, GAIN, Depth, Window

SAMPLE = 0.25
"""Seconds over which a reader's pace is taken at the least: within less, the kernel's bursts are all there is."""
SAMPLE_MOST = 2.0
"""Seconds after which it is taken in any case. Until then a sample is as long as the window: parts of it come together,
and a reader leaps through them."""


@dataclass(slots=True, eq=False)
class Stream:
    """The pace of one open file's reader.

    Attributes:
        rate: bytes per second, 0 while it is not known.
    """

    rate: float = 0.0
    _began_at: int = -1
    _since: float = 0.0

    def moved(self, position: int, ahead: int, now: float) -> None:
        """Take note of how far it has read.

        Args:
            position: behind the last byte that it has read.
            ahead: bytes of its window.
            now: seconds.
        """
        if self._began_at >= 0:
            advanced, elapsed = position - self._began_at, now - self._since
            if elapsed < SAMPLE or (advanced < ahead and elapsed < SAMPLE_MOST):
                return
            self.rate = higher(self.rate, advanced / elapsed)
        self._began_at, self._since = position, now

    def jumped(self) -> None:
        """It goes on elsewhere: its pace is what it was, but the next sample begins anew."""
        self._began_at = -1


class Depths:
    """The depths of all windows of a mount.

    Args:
        limit: bytes ahead of one reader at the most.
        total: bytes ahead of all readers together.
    """

    def __init__(self, limit: int, total: int) -> None:
        self.pace = Pace()
        self._limit = limit
        self._sharing = Sharing(total)

    def of(self, stream: Stream, window: Window, now: float) -> Depth:
        """How deep a window may be from the next read on.

        Args:
            stream: the window's reader.
            window: as it is after a sequential read.
            now: seconds, on the clock of all calls.
        """
        holds = max(0, window.asked_to - window.expected)
        stream.moved(window.expected, holds, now)
        # Nothing is known of a new reader but the line that it is on, and how much of that others could use.
        rate = stream.rate or MARGIN * self.pace.total
        is_known = rate > 0 and self.pace.is_known()
        # No window grows faster than this, so no more is taken from the others.
        wants = min(self._limit, max(FIRST_WINDOW, GAIN * window.ahead))
        if is_known:
            wants = min(wants, bytes_ahead(self.pace, rate))
        ahead = self._sharing.grant(stream, wants=wants, holds=holds, now=now)
        return Depth(ahead, part_size(self.pace, rate, ahead) if is_known else 0)

    def jumped(self, stream: Stream) -> None:
        """A reader is not sequential now."""
        stream.jumped()
        self._sharing.leave(stream)

    def closed(self, stream: Stream) -> None:
        """A reader is gone."""
        self._sharing.leave(stream)
