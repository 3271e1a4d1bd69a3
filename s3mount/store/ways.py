"""By which bytes leave a socket."""

from s3mount.store.buffers import page_aligned
from s3mount.store.pipe import Pipe

PIECE = 512 * 1024
"""Bytes of a body that are read at once: beyond this it no longer gets cheaper."""


class Ways:
    """What all streams of a thread share.

    Attributes:
        scratch: memory that a socket is read to, `PIECE` bytes. What came is copied from there, while it is in the
            processor's cache: memory that is taken for half a MiB and given back but for some bytes is torn.
        pipe: for bodies that somebody drains; None where there can be none.
    """

    def __init__(self) -> None:
        self.scratch = page_aligned(PIECE)
        self.pipe: Pipe | None = None
        self._may_have_pipe = True

    def open_pipe(self) -> None:
        """Have a pipe, if that is possible and was not found to be useless."""
        if self.pipe is None and self._may_have_pipe:
            try:
                self.pipe = Pipe()
            except OSError:
                self._may_have_pipe = False

    def give_up_pipe(self) -> None:
        """This kernel does not move bytes like that."""
        self._may_have_pipe = False
        self.close()

    def close(self) -> None:
        """Give the pipe back."""
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None
