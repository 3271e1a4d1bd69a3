"""How a command ends that is ended from outside."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ends_cleanly() -> Iterator[None]:
    """Who is ended from outside leaves no temporary file either."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
