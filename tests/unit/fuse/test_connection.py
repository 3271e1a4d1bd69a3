"""The conversation with a kernel that is played by the other end of a socket: each request is answered, once."""

import errno
import os
import signal
import socket
import struct
from itertools import pairwise

import pytest
import trio
import trio.testing

from s3mount.errors import MountError
from s3mount.fuse.connection import (
    AT_ONCE,
    WANTED,
    WATCHED_EVERY,
    Answers,
    Connection,
    greet,
    tell,
)
from s3mount.fuse.protocol import HEADER_SIZE, REPLY_SIZE, Init, Opcode, forget_name
from tests.support.deaf import deaf_program

SECONDS = 30.0
MANY = 200


class Kernel:
    """Requests, and the replies to them by their number."""

    def __init__(self) -> None:
        # Like the device, such a socket keeps messages apart.
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.ours, self.theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            end.setblocking(False)
        self.answered: list[bytes] = []
        self.has_answered_many = trio.Event()
        self.may_go_on = trio.Event()
        handlers = {Opcode.LOOKUP: self.answer, Opcode.FORGET: self.forget}
        self.forgotten: list[int] = []
        self.connection = Connection(
            self.ours.fileno(), Answers(handlers, lambda opcode, error: errno.EREMOTEIO)
        )

    def send(self, opcode: int, unique: int, body: bytes = b"", thread: int = 0) -> None:
        head = struct.pack(
            "=IIQQIIIHH", HEADER_SIZE + len(body), opcode, unique, 1, 0, 0, thread, 0, 0
        )
        self.theirs.send(head + body)

    def ask(self, kinds: str) -> None:
        """A LOOKUP for each letter, numbered from 1."""
        for unique, kind in enumerate(kinds, 1):
            self.send(Opcode.LOOKUP, unique, kind.encode())

    def replies(self) -> dict[int, tuple[int, bytes]]:
        """Errno and body of each request that was answered since the last call."""
        found = {}
        while True:
            try:
                message = self.theirs.recv(1 << 16)
            except BlockingIOError:
                return found
            length, error, unique = struct.unpack_from("=IiQ", message)
            assert length == len(message)
            assert unique not in found, "answered twice"
            found[unique] = -error, message[REPLY_SIZE:]

    def answer(self, request):
        kind = bytes(request.body)
        if kind == b"f":
            raise ValueError("an answer that failed")
        if kind in b"wcl":
            return self.later(kind)
        if kind == b"g":
            self.may_go_on.set()
        self.answered.append(kind)
        if len(self.answered) == MANY:
            self.has_answered_many.set()
        return kind

    async def later(self, kind: bytes) -> bytes:
        if kind == b"w":
            await self.may_go_on.wait()
        await trio.lowlevel.checkpoint()
        if kind == b"l":
            raise ValueError("an answer that failed later")
        return kind

    def forget(self, request) -> bytes:
        self.forgotten.append(request.node)
        return b""

    async def serve(self, *steps) -> None:
        """Serve until all is answered that can be; ``steps`` run between."""
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.connection.serve)
                await trio.testing.wait_all_tasks_blocked()
                for step in steps:
                    step()
                    await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.cancel_scope.cancel()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def kernel():
    made = Kernel()
    yield made
    made.close()


def test_requests_are_answered(kernel):
    kernel.ask("a" * 100)
    trio.run(kernel.serve)
    assert kernel.replies() == dict.fromkeys(range(1, 101), (0, b"a"))


def test_while_answers_wait_others_are_given(kernel):
    kernel.ask("wwa")
    seen = []
    trio.run(kernel.serve, lambda: seen.append(kernel.replies()), kernel.may_go_on.set)
    assert seen == [{3: (0, b"a")}]
    assert kernel.replies() == {1: (0, b"w"), 2: (0, b"w")}


def test_what_fails_is_an_errno_and_ends_nothing(kernel):
    kernel.ask("fla")
    trio.run(kernel.serve)
    failed = (errno.EREMOTEIO, b"")
    assert kernel.replies() == {1: failed, 2: failed, 3: (0, b"a")}


def test_answers_of_every_kind_lose_nothing(kernel):
    kinds = "acwaflccaacf" * 20 + "g"
    kernel.ask(kinds)
    trio.run(kernel.serve)
    failed = (errno.EREMOTEIO, b"")
    assert kernel.replies() == {
        unique: failed if kind in "fl" else (0, kind.encode())
        for unique, kind in enumerate(kinds, 1)
    }


def test_what_nobody_handles_is_not_there(kernel):
    kernel.send(Opcode.STATFS, 1)
    kernel.send(4000, 2)
    trio.run(kernel.serve)
    assert kernel.replies() == {1: (errno.ENOSYS, b""), 2: (errno.ENOSYS, b"")}


def test_what_wants_no_reply_gets_none(kernel):
    for unique, opcode in enumerate((Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.DESTROY), 1):
        kernel.send(opcode, unique, struct.pack("=QQ", 0, 0))
    kernel.send(Opcode.INTERRUPT, 9, struct.pack("=Q", 77))
    trio.run(kernel.serve)
    assert kernel.replies() == {}
    assert kernel.forgotten == [1]


def test_the_rest_of_the_event_loop_runs_in_between(kernel):
    rounds = []

    async def count() -> None:
        while True:
            rounds.append(len(kernel.answered))
            await trio.lowlevel.checkpoint()

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            nursery.start_soon(kernel.connection.serve)
            with trio.fail_after(SECONDS):
                await kernel.has_answered_many.wait()
            nursery.cancel_scope.cancel()

    kernel.ask("a" * MANY)
    trio.run(both)
    assert max(later - earlier for earlier, later in pairwise(rounds)) <= 2 * AT_ONCE


@pytest.mark.parametrize(("number", "is_ended"), [(signal.SIGINT, True), (signal.SIGALRM, False)])
def test_who_is_told_to_end_waits_no_longer(kernel, number, is_ended):
    with deaf_program() as program:
        kernel.send(Opcode.LOOKUP, 1, b"w", thread=program)
        os.kill(program, number)
        seen = []
        trio.run(
            kernel.serve,
            lambda: kernel.send(Opcode.INTERRUPT, 0, struct.pack("=Q", 1)),
            lambda: seen.append(kernel.replies()),
            kernel.may_go_on.set,
        )
    assert seen == [{1: (errno.EINTR, b"")} if is_ended else {}]
    assert kernel.replies() == ({} if is_ended else {1: (0, b"w")})


def test_who_was_disturbed_before_can_be_ended(kernel):
    """The kernel tells of the first signal only."""
    with deaf_program() as program:
        kernel.send(Opcode.LOOKUP, 1, b"w", thread=program)
        os.kill(program, signal.SIGALRM)
        seen = []

        async def both() -> None:
            with trio.fail_after(SECONDS):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(kernel.connection.serve)
                    await trio.testing.wait_all_tasks_blocked()
                    kernel.send(Opcode.INTERRUPT, 0, struct.pack("=Q", 1))
                    await trio.sleep(2 * WATCHED_EVERY)
                    seen.append(kernel.replies())
                    os.kill(program, signal.SIGINT)
                    while not seen[-1]:
                        await trio.sleep(WATCHED_EVERY)
                        seen.append(kernel.replies())
                    nursery.cancel_scope.cancel()

        trio.run(both)
    assert seen[0] == {}
    assert seen[-1] == {1: (errno.EINTR, b"")}


def test_who_waits_at_the_end_is_told_so(kernel):
    kernel.ask("ww")
    trio.run(kernel.serve)
    ended = (errno.ECONNABORTED, b"")
    assert kernel.replies() == {1: ended, 2: ended}


def init_request(major: int = 7, minor: int = 45) -> bytes:
    body = struct.pack("=IIIII44x", major, minor, 131072, 0xFFFFFFFF, 0xFFFFFFFF)
    return (
        struct.pack("=IIQQIIIHH", HEADER_SIZE + len(body), Opcode.INIT, 1, 0, 0, 0, 0, 0, 0) + body
    )


def test_the_first_exchange(kernel):
    kernel.theirs.send(init_request())
    offered = greet(kernel.ours.fileno())
    assert offered.flags == WANTED
    assert offered.flags & Init.PASSTHROUGH
    assert kernel.replies()[1][0] == 0
    assert not os.get_blocking(kernel.ours.fileno())


def test_a_kernel_that_speaks_otherwise_is_an_error(kernel):
    kernel.theirs.send(init_request(major=9))
    with pytest.raises(MountError, match=r"FUSE 9\.45"):
        greet(kernel.ours.fileno())


def test_the_kernel_is_told(kernel):
    assert tell(kernel.ours.fileno(), forget_name(1, b"name"))
    assert kernel.theirs.recv(100) == forget_name(1, b"name")
