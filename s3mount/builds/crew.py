"""The processes that unpack, as many at once as were asked for; they start when they are needed.

Unpacking xz takes a whole core for each archive, most of it under the interpreter's lock. Concurrency rule: `Crew` is
used by one thread; its own threads wait for one process each.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Self, TypeVar

from s3mount.builds.worker import Answer, Job, answer_in, as_line, error_of
from s3mount.errors import S3MountError

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds in which a process must end that was told to."""


class Crew:
    """Unpacks.

    Args:
        processes: at once at the most; as many as there are cores where nobody says.
    """

    def __init__(self, processes: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(
            processes or len(os.sched_getaffinity(0)), thread_name_prefix="s3mount-unpack"
        )
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._lock = threading.Lock()
        self._all: list[subprocess.Popen[bytes]] = []
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Have some work done when there is a process for it: what does one job by `do`, and little else."""
        return self._pool.submit(work)

    def do(self, job: Job) -> None:
        """Do a job; in some work that was submitted.

        Raises:
            S3MountError: what went wrong.
        """
        process = self._process()
        answer = _ask(process, job)
        if answer is None:
            raise self._lost(process, job)
        self._idle.put(process)
        error = error_of(answer)
        if error is not None:
            raise error

    def close(self) -> None:
        """End every process, also those that are busy: their jobs fail."""
        with self._lock:
            self._is_closed = True
            processes, self._all = self._all, []
        for process in processes:
            process.terminate()
        self._pool.shutdown(cancel_futures=True)
        for process in processes:
            _bury(process)

    def _process(self) -> "subprocess.Popen[bytes]":
        try:
            return self._idle.get_nowait()
        except Empty:
            pass
        with self._lock:
            if self._is_closed:
                raise S3MountError("unpacking was broken off")
            process = _start()
            self._all.append(process)
        return process

    def _lost(self, process: "subprocess.Popen[bytes]", job: Job) -> S3MountError:
        with self._lock:
            if self._is_closed:
                return S3MountError("unpacking was broken off")
            self._all.remove(process)
        status = _bury(process)
        return S3MountError(
            f"{os.path.basename(job.archive)}: the process that unpacked it ended with status {status}",
            hint="was there too little memory? try again with --extract-concurrency 1",
        )


def _ask(process: "subprocess.Popen[bytes]", job: Job) -> Answer | None:
    """What a process answers; None when it has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    line = b""
    with contextlib.suppress(OSError, ValueError):  # its pipes may be closed meanwhile
        process.stdin.write(as_line(job))
        process.stdin.flush()
        line = process.stdout.readline()
    return answer_in(line) if line.endswith(b"\n") else None


def _start() -> "subprocess.Popen[bytes]":
    # In a group of its own: Ctrl-C is for the command, which then ends it.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "s3mount.builds.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    )


def _bury(process: "subprocess.Popen[bytes]") -> int:
    """Wait for a process that is ending, and give its pipes back; its status."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
