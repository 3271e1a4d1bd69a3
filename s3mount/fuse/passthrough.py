"""Files that the kernel reads by itself: it is given the cache's file once, and no read comes to us any more.

The kernel reads an inode in one way at a time, ordinary or passed through, for all who have it open; an open that says
otherwise fails. So which way it is, is remembered for each inode from its first handle to its last. It belongs to the
event loop's thread.
"""

import fcntl
import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

log = logging.getLogger(__name__)

ORDINARY: Final = 0
"""Instead of a backing's number: reads come to us."""

_OPEN: Final = struct.Struct("=iIQ")
_CLOSE: Final = struct.Struct("=I")
_WRITE, _FUSE = 1, 229


def _ioctl_number(number: int, size: int) -> int:
    """``_IOW(229, number, size)`` of the kernel's ioctl.h."""
    return _WRITE << 30 | size << 16 | _FUSE << 8 | number


BACKING_OPEN: Final = _ioctl_number(1, _OPEN.size)
BACKING_CLOSE: Final = _ioctl_number(2, _CLOSE.size)


class File(Protocol):
    """An open file; it stays open for as long as somebody holds this object."""

    @property
    def fd(self) -> int:
        """Its descriptor."""


class Backings(Protocol):
    """Who tells the kernel of files."""

    def open(self, file: File) -> int:
        """The number of a file that is told to the kernel.

        Raises:
            OSError: it cannot be passed through.
        """

    def close(self, backing: int) -> None:
        """The kernel may let go of it when the last handle on it is closed."""


class DeviceBackings:
    """Tells through the mount's descriptor (`linux/fuse.h`, FUSE_DEV_IOC_BACKING_OPEN and _CLOSE)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def open(self, file: File) -> int:
        """See `Backings`; needs CAP_SYS_ADMIN, and a file that is not on an overlay."""
        # A buffer that can be changed: only then the answer is what the call returned, and not the buffer.
        request = bytearray(_OPEN.pack(file.fd, 0, 0))
        return int(fcntl.ioctl(self._descriptor, BACKING_OPEN, request))

    def close(self, backing: int) -> None:
        """See `Backings`."""
        fcntl.ioctl(self._descriptor, BACKING_CLOSE, _CLOSE.pack(backing))


@dataclass(slots=True)
class _Way:
    """How an inode is read that is open."""

    backing: int
    handles: int = 0


class Passthrough:
    """Which inodes are passed through.

    Args:
        backings: None where the kernel cannot do it.
    """

    def __init__(self, backings: Backings | None) -> None:
        self._backings = backings
        self._ways: dict[int, _Way] = {}

    def opened(self, inode: int, file: Callable[[], File | None]) -> int:
        """A handle more on an inode.

        Args:
            inode: its number.
            file: asked where it matters: what the kernel may read instead, None for nothing.

        Returns:
            The backing to name in the reply, or `ORDINARY`.
        """
        if self._backings is None:
            return ORDINARY
        way = self._ways.get(inode)
        if way is None:
            way = self._ways[inode] = _Way(self._backing(file()))
        way.handles += 1
        return way.backing

    def closed(self, inode: int) -> None:
        """A handle less."""
        way = self._ways.get(inode)
        if way is None:
            return
        way.handles -= 1
        if not way.handles:
            del self._ways[inode]
            if way.backing and self._backings is not None:
                self._backings.close(way.backing)

    def _backing(self, file: File | None) -> int:
        if file is None or self._backings is None:
            return ORDINARY
        try:
            return self._backings.open(file)
        except OSError as error:
            # One refusal is like the next: no permission, or a cache on a file system that is stacked on others.
            log.debug("files of the cache are not passed through: %s", error)
            self._backings = None
            return ORDINARY
