"""Making the kernel forget names.

From another thread than the event loop's: the kernel may wait for one of our answers before it forgets.
"""

from collections.abc import Sequence
from contextlib import suppress

import pyfuse3

from s3mount.fs.awaiting import settled
from s3mount.transfer.housekeeping import Offload


async def forget_names(offload: Offload, names: Sequence[tuple[int, bytes]]) -> None:
    """Have the kernel ask again for each name, and wait until it knows.

    Args:
        offload: runs the calls; the event loop goes on answering meanwhile.
        names: each with the inode number of its directory.
    """
    await settled(offload.submit(lambda: _forget_all(names)))


def forget_soon(parent: int, name: bytes) -> None:
    """The same for one name, without waiting. From any thread."""
    pyfuse3.invalidate_entry_async(parent, name, ignore_enoent=True)


def _forget_all(names: Sequence[tuple[int, bytes]]) -> None:
    for parent, name in names:
        # The kernel may have dropped the name by itself.
        with suppress(FileNotFoundError):
            pyfuse3.invalidate_entry(parent, name)
