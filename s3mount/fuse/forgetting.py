"""Making the kernel forget names.

From another thread than the event loop's: the kernel may wait for one of our answers before it forgets.
"""

import os
from collections.abc import Sequence
from contextlib import suppress

from s3mount.fs.awaiting import settled
from s3mount.fuse.connection import tell
from s3mount.fuse.protocol import forget_name
from s3mount.transfer.housekeeping import Offload


class Forgetting:
    """Sends messages to the kernel while a mount is there; from any thread.

    Args:
        offload: runs them; the event loop goes on answering meanwhile.
    """

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._descriptor = -1

    def begin(self, descriptor: int) -> None:
        """There is a mount. Its descriptor is held until `close`, so that its number means nothing else meanwhile."""
        self._descriptor = os.dup(descriptor)

    def close(self) -> None:
        """Let the descriptor go; nothing runs on the offload any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)

    async def forget(self, names: Sequence[tuple[int, bytes]]) -> None:
        """Have the kernel ask again for each name, and wait until it knows.

        Args:
            names: each with the inode number of its directory.
        """
        await settled(self._offload.submit(lambda: self._forget_all(names)))

    def forget_soon(self, parent: int, name: bytes) -> None:
        """The same for one name, without waiting."""
        with suppress(RuntimeError):  # the mount is ending, and the kernel forgets all
            self._offload.submit(lambda: self._forget_all([(parent, name)]))

    def _forget_all(self, names: Sequence[tuple[int, bytes]]) -> None:
        for parent, name in names:
            # The kernel may have dropped the name by itself.
            tell(self._descriptor, forget_name(parent, name))
