"""A descriptor that wakes a thread out of its waiting, rung by any other.

Concurrency rule: `ring` belongs to every thread, also after `close`; everything else to the thread that waits.
"""

import contextlib
import os
import select
import threading


class Bell:
    """An eventfd that is never written to once it is closed: the number may be another file's by then."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._closed = False

    def ring(self) -> None:
        """Wake the thread that waits, or that waits next."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self.fd, 1)

    def silence(self) -> None:
        """Let the next wait wait again."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def wait(self, timeout: float) -> None:
        """Wait until it rings, at most ``timeout`` seconds."""
        poll = select.poll()  # select() fails where the number is over 1,023
        poll.register(self.fd, select.POLLIN)
        poll.poll(timeout * 1000)
        self.silence()

    def close(self) -> None:
        """Give the descriptor back; again it does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.fd)
