"""From threads to the event loop: what the engine and the disk threads finish, awaited in trio.

The only place where the two worlds touch. A waiter may be cancelled at any time; the work it waited for goes on.
"""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import trio

from s3mount.errors import DeadlineExceeded, StoreError

T = TypeVar("T")


class Waiter(Protocol):
    """A registration that can be taken back."""

    def cancel(self) -> None:
        """Do not call back any more."""


Ready = Callable[[StoreError | None], None]


async def settled(future: "Future[T]") -> T:
    """The result of a future, or its exception."""
    if not future.done():
        event, set_event = _event()
        future.add_done_callback(lambda _: set_event())
        await event.wait()
    return future.result()


async def called_back(register: Callable[[Ready], Waiter]) -> None:
    """Wait until a callback that is registered now is called.

    Raises:
        StoreError: what the callback was given.
    """
    event, set_event = _event()
    errors: list[StoreError | None] = []

    def ready(error: StoreError | None) -> None:
        errors.append(error)
        set_event()

    waiter = register(ready)
    try:
        if not errors:
            await event.wait()
    finally:
        waiter.cancel()
    if errors[0] is not None:
        raise errors[0]


@asynccontextmanager
async def in_time(seconds: float, what: str) -> AsyncIterator[None]:
    """Wait inside for so long at the most.

    Args:
        seconds: the deadline.
        what: is waited for, for the message.

    Raises:
        DeadlineExceeded: it took longer.
    """
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise DeadlineExceeded(f"{what} took longer than {seconds:g} s")


def _event() -> tuple[trio.Event, Callable[[], None]]:
    event = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def set_event() -> None:
        try:
            token.run_sync_soon(event.set)
        except trio.RunFinishedError:
            return  # the mount has ended; nobody waits any more

    return event, set_event
