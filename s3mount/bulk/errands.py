"""Runs jobs over an engine, for a thread that waits: a bounded number of requests at once, whatever the jobs are."""

from collections.abc import Callable, Generator, Iterator
from queue import Empty, SimpleQueue
from time import sleep
from typing import Generic, NamedTuple, TypeVar

from s3mount.bulk.jobs import Job
from s3mount.store.writing import AbortUpload, Answer, CreateUpload, Write
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Cancelled, Flight, Urgency

AHEAD = 4
"""Requests that wait in the engine for each one that may be under way, so that none of its connections idles."""
GATHER = 0.005
"""Seconds in which more answers are waited for: waking for each one costs more than all else that is done with it."""
FEW = 8
"""Requests under way up to which nobody gathers: then it is the waiting that costs."""
PATIENCE = 0.25
"""Seconds after which an empty batch is given when nothing ends."""
BATCH_MAX = 1000

T = TypeVar("T")


class _UnderWay(NamedTuple):
    job: Job
    request: Write
    flight: Flight


class Errands(Generic[T]):
    """Sends what jobs ask for.

    Args:
        engine: whose requests they are.
        jobs: with what each is about; taken one after the other, when there is room, on the thread of `run`.
        at_once: requests under way at the most.
    """

    def __init__(self, engine: Engine, jobs: Iterator[tuple[T, Job]], at_once: int) -> None:
        self._engine = engine
        self._jobs = jobs
        self._limit = at_once * AHEAD
        self._serial = 0
        self._under_way: dict[int, _UnderWay] = {}
        self._counts: dict[Job, int] = {}
        self._about: dict[Job, T] = {}
        # Jobs that could send more if there were room.
        self._hungry: dict[Job, None] = {}
        self._cancelled: set[Job] = set()
        self._is_exhausted = False
        self._answers: SimpleQueue[tuple[int, Answer | Exception]] = SimpleQueue()

    def run(self) -> Generator[list[tuple[T, Job]], None, None]:
        """Give the jobs that are over in batches; an empty one whenever a quarter of a second passed without any.

        Who leaves early (an exception in the caller, Ctrl-C, ``close``) cancels what is under way and waits until what
        was begun in parts is aborted.
        """
        try:
            while True:
                over = self._fill()
                if not over and not self._counts:
                    return
                if not over:
                    over = self._take(PATIENCE)
                yield over
        finally:
            self._break_off()

    def _fill(self) -> list[tuple[T, Job]]:
        """Send what may be sent; the jobs that are over without another answer."""
        over: list[tuple[T, Job]] = []
        hungry, self._hungry = self._hungry, {}
        for job in hungry:
            self._send_for(job, over)
        while not self._is_exhausted and len(self._under_way) < self._limit:
            begun = next(self._jobs, None)
            if begun is None:
                self._is_exhausted = True
                break
            about, job = begun
            self._about[job], self._counts[job] = about, 0
            self._send_for(job, over)
            if len(over) >= BATCH_MAX:
                break
        return over

    def _send_for(self, job: Job, over: list[tuple[T, Job]]) -> None:
        if job.failure is not None and self._counts[job]:
            self._cancel(job)
        while job.ended is None:
            if len(self._under_way) >= self._limit:
                self._hungry[job] = None
                break
            request = job.next(self._counts[job])
            if request is None:
                break
            self._send(job, request)
        if job.ended is not None and not self._counts[job]:
            del self._counts[job]
            self._cancelled.discard(job)
            self._hungry.pop(job, None)
            over.append((self._about.pop(job), job))

    def _send(self, job: Job, request: Write) -> None:
        self._serial += 1
        serial = self._serial
        self._counts[job] += 1
        flight = self._engine.send(request, self._deliver(serial), Urgency.WARM)
        self._under_way[serial] = _UnderWay(job, request, flight)

    def _deliver(self, serial: int) -> Callable[[Answer | Exception], None]:
        answers = self._answers
        return lambda answer: answers.put((serial, answer))

    def _cancel(self, job: Job) -> None:
        if job in self._cancelled:
            return
        self._cancelled.add(job)
        for each in self._under_way.values():
            # An upload whose beginning was cancelled could not be aborted: nobody would know its name.
            if each.job is job and not isinstance(each.request, CreateUpload | AbortUpload):
                self._engine.cancel(each.flight)

    def _take(self, patience: float) -> list[tuple[T, Job]]:
        """Wait for answers and hand them to their jobs; the jobs that are over."""
        touched: dict[Job, None] = {}
        try:
            serial, answer = self._answers.get(timeout=patience)
            if len(self._under_way) > FEW and self._answers.qsize() < BATCH_MAX:
                sleep(GATHER)
            while True:
                job, request, _ = self._under_way.pop(serial)
                self._counts[job] -= 1
                job.take(request, answer)
                touched[job] = None
                serial, answer = self._answers.get_nowait()
        except Empty:
            pass
        over: list[tuple[T, Job]] = []
        for job in touched:
            self._send_for(job, over)
        return over

    def _break_off(self) -> None:
        self._is_exhausted = True
        for job in self._counts:
            job.give_up(Cancelled("broken off"))
            self._hungry[job] = None
        while self._counts:
            if not self._fill() and self._counts:
                self._take(PATIENCE)
