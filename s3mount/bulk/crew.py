"""Several processes for many small objects: a crew that is made when a command starts, before it has a thread.

One process brings a small object in some 100 us of processor time, half of it under the interpreter's lock; so a second
core helps only another process. Large objects wait for the network and the disk, and gain nothing.

The command lists, selects and shows; `dealing.Dealt` hands objects to the members. Concurrency rule: `hired` belongs to
a process of one thread; everything on a `Member` to the engine's thread, but for `Crew.close`.
"""

import contextlib
import logging
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from typing import NamedTuple

from s3mount.bulk.crew_member import Work, serve, unpacked
from s3mount.bulk.dividing import CHUNK, Share, shares, weight
from s3mount.bulk.outcome import Outcome
from s3mount.bulk.pipeline import GroupDone
from s3mount.errors import S3MountError
from s3mount.store.interface import ObjectMeta

log = logging.getLogger(__name__)

PATIENCE = 35.0
"""Seconds in which a member must end that was told to: its disk has 30 for the last write."""

Told = Callable[[list[Outcome] | Exception | None], None]
Dealing = tuple[ObjectMeta, GroupDone]
"""An object, and who is told of it."""


class _Process(NamedTuple):
    pid: int
    pipe: Connection
    share: Share


class Member:
    """A process of the crew, as the command sees it.

    Args:
        process: it.
        call: runs something on the engine's thread.
        told: told on that thread of batches whose outcomes were handed on, of an error that ends the run, and with None
            when the process is gone.
    """

    def __init__(
        self, process: _Process, call: Callable[[Callable[[], None]], None], told: Told
    ) -> None:
        self.pid = process.pid
        self.is_gone = False
        self.load = 0
        self._limit = 3 * CHUNK + process.share.jobs
        self._out: dict[ObjectMeta, list[GroupDone]] = {}
        self._pipe = process.pipe
        self._call = call
        self._told = told
        self._chunks: SimpleQueue[list[ObjectMeta] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=run, name=f"s3mount-crew-{name}-{process.share.number}")
            for name, run in (("send", self._send_all), ("hear", self._hear_all))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def has_room(self) -> bool:
        """Whether another chunk may be sent."""
        return not self.is_gone and self.load <= self._limit - CHUNK

    @property
    def is_busy(self) -> bool:
        """Whether something was sent that has no outcome."""
        return bool(self._out)

    def send(self, chunk: Sequence[Dealing], load: int) -> None:
        """Have some objects brought; who dealt them is told of their outcomes.

        Args:
            chunk: which.
            load: their weight.
        """
        out = self._out
        for meta, done in chunk:
            out.setdefault(meta, []).append(done)
        self.load += load
        self._chunks.put([meta for meta, _ in chunk])

    def unfinished(self) -> list[Dealing]:
        """What was sent and has no outcome; it is forgotten."""
        left = [(meta, done) for meta, dones in self._out.items() for done in dones]
        self._out.clear()
        self.load = 0
        return left

    def hang_up(self) -> None:
        """Let it end, soon. From any thread."""
        self._chunks.put(None)
        with contextlib.suppress(OSError):
            # A close alone would not wake the thread that reads.
            _shut(self._pipe)

    def join(self) -> None:
        """Wait for the threads; after `hang_up`."""
        for thread in self._threads:
            thread.join()
        self._pipe.close()

    def _take(self, batch: list[Outcome]) -> None:
        out = self._out
        ended: dict[GroupDone, list[Outcome]] = {}
        for outcome in batch:
            meta = outcome[0]
            self.load -= weight(meta[1])
            dones = out[meta]
            ended.setdefault(dones.pop(), []).append(outcome)
            if not dones:
                del out[meta]
        for done, outcomes in ended.items():
            done(outcomes)
        self._told(batch)

    def _gone(self) -> None:
        self.is_gone = True
        self._told(None)

    # Each on its own thread.

    def _send_all(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            try:
                self._pipe.send_bytes(pickle.dumps(list(map(tuple, chunk))))
            except OSError:
                return  # the other thread notices as well

    def _hear_all(self) -> None:
        try:
            while True:
                self._hear(unpacked(self._pipe.recv_bytes()))
        except (EOFError, OSError):
            self._chunks.put(None)
            self._call(self._gone)

    def _hear(self, said: list[Outcome] | Exception) -> None:
        if isinstance(said, Exception):
            self._call(lambda: self._told(said))
        else:
            self._call(lambda: self._take(said))


class Crew:
    """Processes that wait for work.

    Args:
        processes: at least two.
    """

    def __init__(self, processes: Sequence[_Process]) -> None:
        self._processes = processes
        self._members: list[Member] = []
        self._lock = threading.Lock()
        self.jobs = sum(each.share.jobs for each in processes)

    @property
    def ahead(self) -> int:
        """Objects that may have begun at once, so that no member waits for any."""
        return self.jobs + len(self._processes) * 4 * CHUNK

    def muster(
        self,
        call: Callable[[Callable[[], None]], None],
        told: Callable[[Member, list[Outcome] | Exception | None], None],
    ) -> list[Member]:
        """Begin to speak with the members; once.

        Args:
            call: runs something on the engine's thread.
            told: see `Member`.
        """

        def begin(process: _Process) -> Member:
            member = Member(process, call, lambda said: told(member, said))
            return member

        with self._lock:
            self._members = [begin(each) for each in self._processes]
            return self._members

    def dismiss(self) -> None:
        """Let all members end, and wait until they have; they leave nothing behind. Again it does nothing."""
        with self._lock:
            processes, self._processes = self._processes, ()
            members, self._members = self._members, []
        for member in members:
            member.hang_up()
        if not members:
            for process in processes:
                process.pipe.close()
        deadline = time.monotonic() + PATIENCE
        for process in processes:
            _wait(process.pid, deadline)
        for member in members:
            member.join()


@contextmanager
def hired(work: Work, jobs: int, *, cores: int | None = None) -> Generator[Crew | None, None, None]:
    """Fork a crew that is gone at the end of the block; None where one process is all that can be used.

    A process that has threads is not forked: locks that they hold would be held for ever in the copy.

    Args:
        work: what each member does.
        jobs: requests at once at the most, of all together.
        cores: how many processes can run at once; as many as this one may use where nobody says.
    """
    cores = len(os.sched_getaffinity(0)) if cores is None else cores
    divided = shares(jobs, cores) if threading.active_count() == 1 else []
    if not divided:
        yield None
        return
    processes: list[_Process] = []
    crew: Crew | None = None
    try:
        for share in divided:
            processes.append(_fork(work, share, processes))
        crew = Crew(processes)
        yield crew
    finally:
        (Crew(processes) if crew is None else crew).dismiss()


def _fork(work: Work, share: Share, others: Sequence[_Process]) -> _Process:
    ours, theirs = Pipe()
    pid = os.fork()
    if pid:
        theirs.close()
        return _Process(pid, ours, share)
    status = 1
    try:
        ours.close()
        for other in others:
            other.pipe.close()  # or its process would not notice that the command is gone
        serve(theirs, work, share)
        status = 0
    finally:
        os._exit(status)


def _wait(pid: int, deadline: float) -> None:
    """Wait for a process that was told to end; one that does not is killed."""
    pause = 0.0005
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                log.error("a process of this command did not end, and was killed")
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            time.sleep(pause)
            pause = min(pause * 2, 0.01)


def _shut(pipe: Connection) -> None:
    with socket.socket(fileno=os.dup(pipe.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def lost(meta: ObjectMeta) -> S3MountError:
    """Why an object failed whose process is gone."""
    return S3MountError(
        f"the process that was bringing {meta.key!r} was killed",
        hint="was there too little memory? run the same command again",
    )
