"""Whose turn it is to wait for the kernel's next request, with fewer steps of the event loop.

pyfuse3 has a few tasks that take turns: one waits for a request, lets another one wait, and answers. With trio's own
lock each request costs two rounds of the event loop and five checkpoints, which is more than most answers. Here a task
keeps its turn as long as it need not wait for anything else, and looks for the next request before it goes to sleep.
pyfuse3 finds trio by one name of its module, so that another event loop can stand there; this stands there instead.
"""

import select
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import pyfuse3
import trio
from trio.lowlevel import Abort, Task

AT_ONCE = 16
"""Requests that are answered without letting the rest of the event loop run: with more, waiters would wait for it."""

Steps = Coroutine[Any, Any, None]


class Turns:
    """The lock that pyfuse3's tasks take to wait for a request.

    A task that has heard one frees the lock without waking the next task: mostly it answers and is back before it has
    waited for anything. Whenever a task waits in the middle of an answer, or ends, the next one is woken; so there is
    always one that listens while the event loop sleeps.
    """

    def __init__(self) -> None:
        self._is_taken = False
        self._has_heard = False
        self._parked: deque[Task] = deque()
        self._at_once = 0
        self._poll = select.poll()
        self._polled = -1

    async def __aenter__(self) -> None:
        if self._is_taken:
            await self._park()
        self._is_taken = True

    async def __aexit__(self, *_: object) -> None:
        self._is_taken = False
        if self._has_heard:
            self._has_heard = False
        else:
            self.pass_on()

    def pass_on(self) -> None:
        """Let the next task listen where none does."""
        if self._parked and not self._is_taken:
            self._is_taken = True
            trio.lowlevel.reschedule(self._parked.popleft())

    async def wait_readable(self, descriptor: int) -> None:
        """Wait for a request; called by whoever has the turn."""
        if self._at_once < AT_ONCE and self._is_readable(descriptor):
            self._at_once += 1
        else:
            self._at_once = 0
            await trio.lowlevel.wait_readable(descriptor)
        self._has_heard = True

    def _is_readable(self, descriptor: int) -> bool:
        if descriptor != self._polled:
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)
            self._polled = descriptor
        return bool(self._poll.poll(0))

    async def _park(self) -> None:
        task = trio.lowlevel.current_task()
        self._parked.append(task)

        def abort(_: Callable[[], None]) -> Abort:
            # Who was woken already has the turn and cannot be cancelled any more: trio asks only those who wait.
            self._parked.remove(task)
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


class _Nursery:
    """A nursery whose tasks pass their turn on when they wait or end."""

    def __init__(self, nursery: trio.Nursery, turns: Turns) -> None:
        self._nursery = nursery
        self._turns = turns

    def start_soon(self, steps: Callable[..., Steps], *args: object, name: object = None) -> None:
        """Run a task."""
        self._nursery.start_soon(self._run, steps, args, name=name)

    async def _run(self, steps: Callable[..., Steps], args: tuple[object, ...]) -> None:
        try:
            await _passing_on(steps(*args), self._turns)
        finally:
            self._turns.pass_on()


@types.coroutine
def _passing_on(steps: Steps, turns: Turns) -> Generator[Any, Any, None]:
    """Run a coroutine, and pass the turn on each time before it waits."""
    step, value = steps.send, None
    while True:
        try:
            trap = step(value)
        except StopIteration:
            return
        turns.pass_on()
        step = steps.send
        try:
            value = yield trap
        except BaseException as error:
            step, value = steps.throw, error


@contextmanager
def taken() -> Iterator[None]:
    """pyfuse3's tasks take turns like this inside, and as trio has it afterwards."""
    turns = Turns()
    lowlevel = types.SimpleNamespace(**vars(trio.lowlevel))
    lowlevel.wait_readable = turns.wait_readable
    stand_in = types.SimpleNamespace(**vars(trio))
    stand_in.lowlevel = lowlevel
    stand_in.Lock = lambda: turns
    stand_in.open_nursery = lambda: _nursery(turns)
    module = vars(pyfuse3)
    module["trio"] = stand_in
    try:
        yield
    finally:
        module["trio"] = trio


def _nursery(turns: Turns) -> AbstractAsyncContextManager[_Nursery]:
    @asynccontextmanager
    async def opened() -> Any:  # noqa: ANN401
        async with trio.open_nursery() as nursery:
            yield _Nursery(nursery, turns)

    return opened()
