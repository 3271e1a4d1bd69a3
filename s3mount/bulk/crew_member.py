"""One process of a crew, from the inside: chunks of objects come through a pipe, batches of outcomes go back.

A member ends when its pipe does, whatever the reason: the run is over, was broken off, or the command was killed.
Signals that a terminal sends to all processes of a command are left to the command. Concurrency rule: `serve` belongs
to the process's first thread; another one reads the pipe; a `Feed` belongs to the engine's thread.
"""

import logging
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from functools import partial
from multiprocessing.connection import Connection

from s3mount.bulk.dividing import Share
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.errors import S3MountError, StoreError
from s3mount.store.interface import ObjectMeta
from s3mount.transfer.engine import Engine

log = logging.getLogger(__name__)

LEFT_TO_THE_COMMAND = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Chunk = list[tuple[object, ...]]
"""Objects as plain tuples: a pipe takes those for a third of what named ones cost."""


class Feed:
    """Objects that come from the command; a `pipeline.Pages` that ends with `end`."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._early: list[Sequence[ObjectMeta]] = []
        self._deliver: Callable[[Sequence[ObjectMeta]], None] | None = None
        self._finished: Callable[[StoreError | None], None] | None = None
        self._is_over = False
        self._lock = threading.Lock()

    def through(self, engine: Engine) -> "Feed":
        """Say whose thread hands the objects on."""
        self._engine = engine
        return self

    def start(
        self,
        deliver: Callable[[Sequence[ObjectMeta]], None],
        finished: Callable[[StoreError | None], None],
    ) -> None:
        """See `Pages.start`."""
        with self._lock:
            self._deliver, self._finished = deliver, finished
            early, self._early = self._early, []
            is_over = self._is_over
        for page in early:
            deliver(page)
        if is_over:
            finished(None)

    def release(self) -> None:
        """Nothing: the command knows from the outcomes how much is here."""

    def stop(self) -> None:
        """Nothing: what comes now is not looked at."""

    def put(self, page: Sequence[ObjectMeta]) -> None:
        """Hand some objects on. From any thread."""
        with self._lock:
            deliver, engine = self._deliver, self._engine
            if deliver is None or engine is None:
                self._early.append(page)
                return
        engine.call(lambda: deliver(page))

    def end(self) -> None:
        """Nothing more will come. From any thread."""
        with self._lock:
            self._is_over = True
            finished, engine = self._finished, self._engine
        if finished is not None and engine is not None:
            engine.call(lambda: finished(None))


Work = Callable[[Share, Feed], Generator[list[Outcome], None, None]]
"""What a member does: opens what it needs, and gives the outcome of everything that is fed to it."""


def serve(pipe: Connection, work: Work, share: Share) -> None:
    """Work until the pipe ends.

    Nothing is opened before the first objects come. An error that ends the run is sent as it is.
    """
    for number in LEFT_TO_THE_COMMAND:
        signal.signal(number, signal.SIG_IGN)
    feed, is_over = Feed(), threading.Event()
    if not _read_one(pipe, feed):
        return
    reader = threading.Thread(target=_read_all, args=(pipe, feed, is_over), daemon=True)
    reader.start()
    try:
        _work(pipe, work(share, feed), is_over)
    except (BrokenPipeError, ConnectionResetError):
        pass  # nobody is there who wants to know
    except Exception as error:
        log.debug("a process of the crew ends: %s", error, exc_info=error)
        with suppress(OSError):
            pipe.send_bytes(sendable(error))


def _work(
    pipe: Connection, batches: Generator[list[Outcome], None, None], is_over: threading.Event
) -> None:
    with closing(batches):
        for batch in batches:
            if is_over.is_set():
                return
            if batch:
                pipe.send_bytes(packed(batch))


def _read_all(pipe: Connection, feed: Feed, is_over: threading.Event) -> None:
    while _read_one(pipe, feed):
        pass
    is_over.set()
    feed.end()  # who works on need not wait to see that


def _read_one(pipe: Connection, feed: Feed) -> bool:
    try:
        chunk: Chunk = pickle.loads(pipe.recv_bytes())
    except (EOFError, OSError):
        return False
    feed.put(list(map(_META, chunk)))
    return True


def packed(batch: Sequence[Outcome]) -> bytes:
    """Outcomes as the pipe takes them."""
    rows = [(tuple(each[0]), _NAMES[each[1]], *each[2:]) for each in batch]
    try:
        return pickle.dumps(rows)
    except Exception:
        return pickle.dumps([(*row[:4], _plain(row[4]), *row[5:]) for row in rows])


def unpacked(message: bytes) -> list[Outcome] | Exception:
    """What a member has sent: outcomes, or the error that ends the run."""
    rows = pickle.loads(message)
    if isinstance(rows, Exception):
        return rows
    return [_OUTCOME((_META(meta), _ENDINGS[name], *rest)) for meta, name, *rest in rows]


def sendable(error: Exception) -> bytes:
    """An error as the pipe takes it; one that does not survive that keeps its words."""
    message = pickle.dumps(_plain(error))
    try:
        whole = pickle.dumps(error)
        pickle.loads(whole)
    except Exception:
        return message
    return whole


def _plain(error: Exception | None) -> Exception | None:
    if error is None:
        return None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return S3MountError(str(error) or type(error).__name__)
    return error


_ENDINGS = {each.value: each for each in Ending}
_NAMES = {each: each.value for each in Ending}
# A named tuple's own constructor takes longer than all that goes into it.
_META: Callable[[tuple[object, ...]], ObjectMeta] = partial(tuple.__new__, ObjectMeta)
_OUTCOME: Callable[[tuple[object, ...]], Outcome] = partial(tuple.__new__, Outcome)
