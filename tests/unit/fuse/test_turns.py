"""Tasks that take turns to wait for requests: one always listens, each request is answered, and all end."""

import os
import socket
from collections.abc import Iterator
from itertools import pairwise

import pyfuse3
import pytest
import trio
import trio.testing

from s3mount.fuse import turns

SECONDS = 30.0
TASKS = 4


class Kernel:
    """Requests of one byte each, and the tasks that answer them as pyfuse3's do."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.answered = bytearray()
        self.may_go_on = trio.Event()
        self.lock = pyfuse3.trio.Lock()

    def send(self, requests: bytes) -> None:
        self.theirs.sendall(requests)

    async def serve(self) -> None:
        """Answer until the other side is closed."""
        with trio.fail_after(SECONDS):
            async with pyfuse3.trio.open_nursery() as nursery:
                for number in range(TASKS):
                    nursery.start_soon(self.work, name=f"worker-{number}")

    async def work(self) -> None:
        while True:
            async with self.lock:
                await pyfuse3.trio.lowlevel.wait_readable(self.ours.fileno())
            request = os.read(self.ours.fileno(), 1)
            if not request:
                return
            await self.answer(request)

    async def answer(self, request: bytes) -> None:
        if request == b"w":
            await self.may_go_on.wait()
        elif request == b"g":
            self.may_go_on.set()
        elif request == b"f":
            raise ValueError("an answer that failed")
        elif request == b"c":
            await trio.lowlevel.checkpoint()
        self.answered += request

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with turns.taken():
        made = Kernel()
        yield made
        made.close()


def test_requests_are_answered_and_all_tasks_end(kernel):
    kernel.send(b"a" * 1000)
    kernel.theirs.shutdown(socket.SHUT_WR)
    trio.run(kernel.serve)
    assert kernel.answered == b"a" * 1000


@pytest.mark.parametrize("waiting", range(1, TASKS))
def test_while_answers_wait_others_are_given(kernel, waiting):
    kernel.send(b"w" * waiting + b"ag")
    kernel.theirs.shutdown(socket.SHUT_WR)
    trio.run(kernel.serve)
    assert kernel.answered == b"ag" + b"w" * waiting


def test_answers_of_every_kind_lose_nothing(kernel):
    kernel.send(b"acwaaccaacg" * 300)
    kernel.theirs.shutdown(socket.SHUT_WR)
    trio.run(kernel.serve)
    assert sorted(kernel.answered) == sorted(b"acwaaccaacg" * 300)


def test_the_rest_of_the_event_loop_runs_in_between(kernel):
    rounds = []

    async def count() -> None:
        while True:
            rounds.append(len(kernel.answered))
            await trio.lowlevel.checkpoint()

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await kernel.serve()
            nursery.cancel_scope.cancel()

    kernel.send(b"a" * 1000)
    kernel.theirs.shutdown(socket.SHUT_WR)
    trio.run(both)
    steps = [later - earlier for earlier, later in pairwise(rounds)]
    assert max(steps) <= 2 * (turns.AT_ONCE + 1)


def test_a_task_that_fails_ends_all(kernel):
    kernel.send(b"af")
    with pytest.raises(ExceptionGroup):
        trio.run(kernel.serve)
    assert kernel.answered == b"a"


def test_who_waits_can_be_cancelled(kernel):
    async def cancelled() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.serve)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    kernel.send(b"w")
    trio.run(cancelled)
    assert kernel.answered == b""


def test_a_descriptor_that_is_closed_ends_all(kernel):
    async def closed() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.serve)
            await trio.testing.wait_all_tasks_blocked()
            pyfuse3.trio.lowlevel.notify_closing(kernel.ours.fileno())

    with pytest.raises(ExceptionGroup) as caught:
        trio.run(closed)
    assert caught.group_contains(trio.ClosedResourceError)


def test_afterwards_pyfuse3_has_trio_again():
    before = pyfuse3.trio
    with turns.taken():
        assert pyfuse3.trio is not before
        assert pyfuse3.trio.Event is trio.Event
    assert pyfuse3.trio is before
