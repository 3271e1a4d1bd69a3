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
from typing import NamedTuple, Protocol, runtime_checkable

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


GroupDone = Callable[[Sequence[Outcome]], None]


@runtime_checkable
class GroupTask(Task, Protocol):
    """A task that takes as many objects at once as may begin: where little is done with each, calls are most of it."""

    def begin_group(self, metas: Sequence[ObjectMeta], done: GroupDone) -> None:
        """Begin with some objects, all of which are wanted; on the engine's thread.

        ``done`` is called there, once with each, as many at a time as there are.
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
        self._group_task = task if isinstance(task, GroupTask) else None
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
        # Shared: outcomes are put in by any thread and taken by the one that runs; so are groups of them, of which the
        # engine's thread counts what it puts, and the other what it takes.
        self._outcomes: SimpleQueue[Outcome | Sequence[Outcome] | _End] = SimpleQueue()
        self._grouped = 0
        self._taken = 0
        self._rest: Sequence[Outcome] = ()

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
            if self._rest:
                each: Outcome | Sequence[Outcome] | _End = self._rest
                self._rest = ()
            else:
                each = self._outcomes.get(timeout=patience)
                if not isinstance(each, _End) and self._held < BATCH_MAX:
                    time.sleep(GATHER)
            while True:
                if isinstance(each, _End):
                    return batch, each
                if isinstance(each, Outcome):
                    batch.append(each)
                else:
                    self._take_group(each, batch)
                if len(batch) == BATCH_MAX:
                    return batch, None
                each = self._outcomes.get_nowait()
        except Empty:
            return batch, None
        finally:
            if self._is_held_up:
                self._is_held_up = False
                self._engine.call(self._pump)

    def _take_group(self, group: Sequence[Outcome], batch: list[Outcome]) -> None:
        """As much of a group as there is room for."""
        room = BATCH_MAX - len(batch)
        batch += group[:room]
        self._rest = group[room:]
        self._taken += min(room, len(group))

    @property
    def _held(self) -> int:
        """Outcomes that nobody has taken, a few more perhaps: a group counts one too much."""
        return self._outcomes.qsize() + self._grouped - self._taken

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
            if self._held >= OUTCOMES_MAX:
                self._is_held_up = True
                return
            if self._group_task is not None:
                group = self._next_group(self._jobs - self._running)
                if not group:
                    return
                self._running += len(group)
                self._begin_group(self._group_task, group)
                continue
            group = self._next_group(1)
            if not group:
                return
            self._running += 1
            if not self._begin(group[0]):
                self._running -= 1

    def _begin(self, meta: ObjectMeta) -> bool:
        try:
            return self._task.begin(meta, self._done)
        except Exception as error:
            # Without an end of this object the run would never end.
            self._done(Outcome(meta, Ending.FAILED, error=error))
            return True

    def _next_group(self, most: int) -> Sequence[ObjectMeta]:
        """As many as are left of a page."""
        while self._waiting:
            page, at = self._waiting[0], self._at
            if at < len(page):
                group = page[at : at + most]
                self._at += len(group)
                return group
            self._waiting.popleft()
            self._at = 0
            self._pages.release()
        return ()

    def _begin_group(self, task: GroupTask, group: Sequence[ObjectMeta]) -> None:
        try:
            task.begin_group(group, self._done_group)
        except Exception as error:
            self._done_group([Outcome(meta, Ending.FAILED, error=error) for meta in group])

    def _done_group(self, outcomes: Sequence[Outcome]) -> None:
        self._grouped += len(outcomes)
        self._outcomes.put(outcomes)
        self._running -= len(outcomes)
        self._ask()

    # On any thread.

    def _ask(self) -> None:
        if not self._is_asked:
            self._is_asked = True
            self._engine.call(self._pump)

    def _done(self, outcome: Outcome) -> None:
        self._outcomes.put(outcome)
        self._ended.append(None)
        self._ask()
