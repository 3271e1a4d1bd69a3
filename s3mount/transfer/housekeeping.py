"""Work that nobody waits for, and work that may block: the only other threads besides the engine's.

`Worker` does one job after the other (what is written to the cache).
`Housekeeper` runs chores by the clock on one thread (credentials that are renewed before they end, a cache's books).
`Offload` runs what may wait for a disk on a few threads, so that the event loop never does.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

from s3mount.transfer.own_thread import OwnThread

log = logging.getLogger(__name__)

T = TypeVar("T")


class Chore(NamedTuple):
    """Something to do again and again.

    Attributes:
        name: for logs.
        every: seconds between two runs.
        run: what to do.
        is_urgent: asked at every wake-up: whether to do it before its time.
    """

    name: str
    every: float
    run: Callable[[], None]
    is_urgent: Callable[[], bool] = lambda: False


class Housekeeper(OwnThread):
    """Runs chores on one thread while the context is open, and each once more at its end.

    A chore that fails is logged and run again at its next time: it never ends the others.

    Args:
        chores: what to do.
        wake: set by others when a chore has to run before its time.
    """

    def __init__(self, chores: Sequence[Chore], wake: threading.Event | None = None) -> None:
        super().__init__("s3mount-housekeeping")
        self._chores = list(chores)
        self._wake = wake or threading.Event()
        self._urgent: set[str] = set()
        self._stopping = False

    def _end_soon(self) -> None:
        self._stopping = True
        self._wake.set()

    def hurry(self, name: str) -> None:
        """Run a chore now instead of at its time. From any thread."""
        self._urgent.add(name)
        self._wake.set()

    def _run(self) -> None:
        due = {chore.name: time.monotonic() + chore.every for chore in self._chores}
        while not self._stopping:
            now = time.monotonic()
            self._wake.wait(max(0.0, min(due.values(), default=now + 60.0) - now))
            urgent, self._urgent = self._urgent, set()
            called = [chore for chore in self._chores if chore.name in urgent or chore.is_urgent()]
            self._wake.clear()
            for chore in self._chores:
                if chore in called or time.monotonic() >= due[chore.name]:
                    _run_quietly(chore)
                    due[chore.name] = time.monotonic() + chore.every


def _run_quietly(chore: Chore) -> None:
    try:
        chore.run()
    except Exception:
        log.exception("housekeeping: %s failed", chore.name)


class Worker(OwnThread):
    """One thread that does what it is handed, job after job; leaving the context waits for the last one.

    A job that fails is logged and ends nothing.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def _end_soon(self) -> None:
        self._jobs.put(None)

    def submit(self, job: Callable[[], None]) -> None:
        """Do ``job`` after those that were handed in before. From any thread."""
        self._jobs.put(job)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                log.exception("a job of %s failed", self._thread.name)
            del job  # what it holds must not stay until there is another one


class Offload:
    """A few threads for calls that may wait for a disk.

    Args:
        threads: how many at once; a disk serves few requests at a time, so more would only queue elsewhere.
    """

    def __init__(self, threads: int = 8) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="s3mount-disk")

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run ``call`` on one of the threads."""
        return self._pool.submit(call)

    def close(self) -> None:
        """Wait for what runs, and end the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
