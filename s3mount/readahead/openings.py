"""How much of a large object is fetched when it is opened: learned from how objects of its kind were read before.

Readers of some formats begin at the end (a footer, a central directory): the head of such a file is fetched for
nothing. What kind a file is of, its name's suffix tells; nothing is known of any suffix before.
"""

from collections import OrderedDict

from s3mount.readahead.window import FIRST, HEAD, KIB

BRIEF = 64 * KIB
"""What is fetched of a file whose head will not be read: the open waits for its first byte all the same."""
SURE = 2
"""Readers in a row that left the head unread, before the next is taken for one of them."""
KINDS = 256
"""Suffixes that are remembered."""


class Openings:
    """What the readers of each kind of file did first."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, int] = OrderedDict()

    def first(self, key: str) -> int:
        """Bytes to fetch of a large object when it is opened."""
        return BRIEF if self._left.get(_suffix(key), 0) >= SURE else FIRST

    def note(self, key: str, read: int) -> None:
        """A reader has gone elsewhere, or on.

        Args:
            key: of the object.
            read: bytes that it has read from its start.
        """
        suffix = _suffix(key)
        if read >= HEAD:
            self._left.pop(suffix, None)
            return
        self._left[suffix] = min(SURE, self._left.pop(suffix, 0) + 1)
        while len(self._left) > KINDS:
            self._left.popitem(last=False)


def _suffix(key: str) -> str:
    """From the last dot on; files without one are one kind."""
    name = key.rpartition("/")[2]
    return "".join(name.rpartition(".")[1:]).lower() if "." in name else ""
