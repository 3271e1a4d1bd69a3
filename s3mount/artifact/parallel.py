"""The same work for many items, some at once."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stopped(Exception):
    """The run is over: another item has failed, or the caller has left."""


def in_parallel(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    jobs: int,
    is_over: threading.Event,
) -> Generator[Result, None, None]:
    """Give the results in the order in which they come; the first error ends it.

    Then, and when the caller leaves early, nothing more is begun, and what is under way is waited for.

    Args:
        work: called on other threads; may raise `Stopped` once ``is_over`` is set.
        items: what it is called with.
        jobs: threads at the most.
        is_over: set at the end, until nothing is under way any more.
    """

    def guarded(item: Item) -> Result:
        if is_over.is_set():
            raise Stopped
        try:
            return work(item)
        except BaseException:
            is_over.set()
            raise

    pool = ThreadPoolExecutor(jobs, "s3mount-artifact")
    try:
        for future in as_completed([pool.submit(guarded, item) for item in items]):
            if not isinstance(future.exception(), Stopped):
                yield future.result()
    finally:
        is_over.set()
        pool.shutdown()
        is_over.clear()


def until(is_over: threading.Event, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Chunks as long as they are wanted.

    Raises:
        Stopped: they are not wanted any more.
    """
    for chunk in chunks:
        if is_over.is_set():
            raise Stopped
        yield chunk
