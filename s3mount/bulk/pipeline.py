"""Objects are worked on while they are still being listed: a bounded stream from a listing to outcomes.

It decides only when the next object begins; what is done with an object is the task's business. Nothing is held whole:
a few pages of the listing, the objects under way, and outcomes that nobody has taken yet, each under a bound.

Concurrency rule: `Task.begin` is called on the engine's thread only; its ``done`` may be called from any thread.
`Pipeline.run` belongs to the thread that wants the outcomes.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

from s3mount.bulk.outcome import Ending, Outcome
from s3mount.errors import StoreError
from s3mount.store.interface import ObjectMeta
from s3mount.transfer.engine import Engine

OUTCOMES_MAX = 10_000
"""Outcomes that may wait for whoever prints them; then no object begins until some are taken."""
BATCH_MAX = 1000
"""Outcomes that are given at once."""
GATHER = 0.005
"""Seconds in which more outcomes are waited for: waking for each one costs more than all else that is done with it."""


class Task(Protocol):
    """What is done with each object."""

    def begin(self, meta: ObjectMeta, done: Callable[[Outcome], None]) -> bool:
        """Begin with an object; on the engine's thread, must not wait for the network.

        Returns:
            Whether the object is wanted. Then ``done`` is called once, at any time from now on (also before this
            returns) and from any thread. One that is not wanted is passed over without an outcome.
        """


class Pages(Protocol):
    """A listing that pushes its pages. Calls come on the engine's thread."""

    def start(
        self,
        deliver: Callable[[Sequence[ObjectMeta]], None],
        finished: Callable[[StoreError | None], None],
    ) -> None:
        """Begin: every page goes to ``deliver``, then ``finished`` is called once. On the engine's thread."""

    def release(self) -> None:
        """One delivered page has been worked off: another one may be listed. On the engine's thread."""

    def stop(self) -> None:
        """List no more; ``finished`` is not called any more. On the engine's thread."""


class _End(NamedTuple):
    error: StoreError | None


class Pipeline:
    """Runs a task over a listing.

    Args:
        engine: whose thread begins objects.
        pages: the listing.
        task: what is done with each object.
        jobs: objects under way at once at the most.
    """

    def __init__(self, engine: Engine, pages: Pages, task: Task, *, jobs: int) -> None:
        self._engine = engine
        self._pages = pages
        self._task = task
        self._jobs = jobs
        # Of the engine's thread.
        self._waiting: deque[Sequence[ObjectMeta]] = deque()
        self._at = 0
        self._begun = 0
        self._pumping = False
        self._end: _End | None = None
        self._stopped = False
        self._running = 0
        self._ended: deque[None] = deque()
        # Set by any thread before it asks for a pump; cleared by the pump before it looks at what has ended.
        self._is_asked = False
        # Set where too many outcomes wait, cleared by who takes them.
        self._is_held_up = False
        # Shared: outcomes are put in by any thread and taken by the one that runs.
        self._outcomes: SimpleQueue[Outcome | _End] = SimpleQueue()

    def run(self, patience: float = 0.25) -> Generator[list[Outcome], None, None]:
        """Start, and give what has ended in batches; an empty one whenever ``patience`` seconds passed without any.

        Who leaves early (an exception in the caller, Ctrl-C, ``close``) begins no more objects.

        Raises:
            StoreError: the listing failed; every object that had begun has been given before.
        """
        self._engine.call(lambda: self._pages.start(self._deliver, self._finished))
        end: _End | None = None
        try:
            while end is None:
                batch, end = self._take(patience)
                if batch or end is None:
                    yield batch
        finally:
            self._engine.call(self._stop)
        if end.error is not None:
            raise end.error

    def _take(self, patience: float) -> tuple[list[Outcome], _End | None]:
        batch: list[Outcome] = []
        try:
            each = self._outcomes.get(timeout=patience)
            if not isinstance(each, _End) and self._outcomes.qsize() < BATCH_MAX:
                time.sleep(GATHER)
            while True:
                if isinstance(each, _End):
                    return batch, each
                batch.append(each)
                if len(batch) == BATCH_MAX:
                    return batch, None
                each = self._outcomes.get_nowait()
        except Empty:
            return batch, None
        finally:
            if self._is_held_up:
                self._is_held_up = False
                self._engine.call(self._pump)

    # On the engine's thread.

    def _deliver(self, page: Sequence[ObjectMeta]) -> None:
        if page:
            self._waiting.append(page)
            self._pump()
        else:
            self._pages.release()

    def _finished(self, error: StoreError | None) -> None:
        self._end = _End(error)
        if error is not None:
            self._drop_waiting()
        self._pump()

    def _stop(self) -> None:
        self._stopped = True
        self._drop_waiting()
        self._pages.stop()

    def _drop_waiting(self) -> None:
        self._waiting.clear()
        self._at = 0

    def _pump(self) -> None:
        """Begin what may begin; the last one to end says that all is over."""
        if self._pumping:
            return
        self._is_asked = False
        self._pumping = True
        try:
            self._begin_some()
        finally:
            self._pumping = False
        if self._end is not None and not self._waiting and not self._running:
            self._outcomes.put(self._end)
            self._end = None

    def _begin_some(self) -> None:
        while True:
            while self._ended:
                self._ended.popleft()
                self._running -= 1
            if self._running >= self._jobs:
                return
            if self._outcomes.qsize() >= OUTCOMES_MAX:
                self._is_held_up = True
                return
            meta = self._next()
            if meta is None:
                return
            self._running += 1
            if not self._begin(meta):
                self._running -= 1

    def _begin(self, meta: ObjectMeta) -> bool:
        try:
            return self._task.begin(meta, self._done)
        except Exception as error:
            # Without an end of this object the run would never end.
            self._done(Outcome(meta, Ending.FAILED, error=error))
            return True

    def _next(self) -> ObjectMeta | None:
        while self._waiting:
            page = self._waiting[0]
            if self._at < len(page):
                self._at += 1
                return page[self._at - 1]
            self._waiting.popleft()
            self._at = 0
            self._pages.release()
        return None

    # On any thread.

    def _done(self, outcome: Outcome) -> None:
        self._outcomes.put(outcome)
        self._ended.append(None)
        if not self._is_asked:
            self._is_asked = True
            self._engine.call(self._pump)
