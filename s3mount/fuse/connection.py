"""The conversation with the kernel: requests are read, answered at once or when what they wait for is there.

What an answer is, `operations` knows. Here is who may wait, who is interrupted, and when it is over. It belongs to the
event loop's thread, but for `tell`.
"""

import errno
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import trio

from s3mount.errors import MountError
from s3mount.fuse import protocol
from s3mount.fuse.interrupts import is_meant
from s3mount.fuse.protocol import HEADER_SIZE, Capabilities, Init, Opcode

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Requests that are answered without letting the rest of the event loop run: with more, waiters would wait for it."""
WATCHED_EVERY = 0.25
"""Seconds between two looks at the signals of a program that has had one: a person does not feel it."""
WANTED = (
    Init.ASYNC_READ
    | Init.DO_READDIRPLUS
    | Init.ASYNC_DIO
    | Init.PARALLEL_DIROPS
    | Init.MAX_PAGES
    | Init.INIT_EXT
    | Init.PASSTHROUGH
)
SILENT = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT, Opcode.DESTROY})
"""Requests without a reply."""

Body = bytes | bytearray | memoryview
Later = Coroutine[Any, Any, Body]


class Request(NamedTuple):
    """One request.

    Attributes:
        opcode: what is asked.
        node: the inode that is meant.
        body: what follows the head; valid until the handler returns.
    """

    opcode: int
    node: int
    body: memoryview


Handler = Callable[[Request], Body | Later]
"""Answers a request at once, or with what will be the answer; raises what `Answers.errno_of` knows."""


class Answers(NamedTuple):
    """What the kernel is answered.

    Attributes:
        handlers: by opcode; what is not there is answered ENOSYS, and the kernel does not ask it again.
        errno_of: the errno of what a handler of an opcode raised; it logs what deserves it.
    """

    handlers: dict[int, Handler]
    errno_of: Callable[[int, Exception], int]


class _Waiting(NamedTuple):
    """A request that waits."""

    unique: int
    thread: int
    scope: trio.CancelScope


class Connection:
    """One mount's descriptor, after the first exchange.

    Args:
        descriptor: of ``/dev/fuse``, not blocking; who gave it closes it.
        answers: see there.
    """

    def __init__(self, descriptor: int, answers: Answers) -> None:
        self.descriptor = descriptor
        self._answers = answers
        self._buffer = bytearray(protocol.REQUEST_BUFFER)
        self._view = memoryview(self._buffer)
        self._waiting: dict[int, _Waiting] = {}

    async def serve(self) -> None:
        """Answer until the mount is gone; what still waits then is answered with an error."""
        at_once = 0
        async with trio.open_nursery() as nursery:
            while (length := self._receive()) is not None:
                if length:
                    self._take(length, nursery)
                    at_once += 1
                if not length:
                    await trio.lowlevel.wait_readable(self.descriptor)
                    at_once = 0
                elif at_once == AT_ONCE:
                    await trio.lowlevel.checkpoint()
                    at_once = 0
            nursery.cancel_scope.cancel()

    def _receive(self) -> int | None:
        """The length of the next request, 0 where there is none now, None when there will be no more."""
        while True:
            try:
                return os.readv(self.descriptor, (self._buffer,))
            except BlockingIOError:
                return 0
            except OSError as error:
                # ENOENT: the request was taken back before it was read.
                if error.errno in (errno.ENOENT, errno.EINTR):
                    continue
                if error.errno in (errno.ENODEV, errno.ECONNABORTED):
                    return None
                raise

    def _take(self, length: int, nursery: trio.Nursery) -> None:
        _, opcode, unique, node, _, _, thread = protocol.header(self._buffer)
        body = self._view[HEADER_SIZE:length]
        if opcode == Opcode.INTERRUPT:
            waiting = self._waiting.get(protocol.interrupted(body))
            if waiting is not None:
                nursery.start_soon(self._watch, waiting)
            return
        handler = self._answers.handlers.get(opcode)
        if handler is None:
            if opcode not in SILENT:
                self._reply(unique, b"", errno.ENOSYS)
            return
        try:
            answer = handler(Request(opcode, node, body))
        except Exception as error:
            # The edge is total: what is raised here must not end the mount.
            self._reply(unique, b"", self._answers.errno_of(opcode, error))
            return
        if not isinstance(answer, bytes | bytearray | memoryview):
            waiting = self._waiting[unique] = _Waiting(unique, thread, trio.CancelScope())
            nursery.start_soon(self._answer_later, opcode, answer, waiting)
        elif opcode not in SILENT:
            self._reply(unique, answer)

    async def _answer_later(self, opcode: int, answer: Later, waiting: _Waiting) -> None:
        unique, _, scope = waiting
        body: Body = b""
        number = errno.ECONNABORTED
        try:
            with scope:
                body = await answer
                number = 0
            if scope.cancelled_caught:
                number = errno.EINTR
        except Exception as error:
            number = self._answers.errno_of(opcode, error)
        finally:
            del self._waiting[unique]
            # No step of the event loop lies between an answer and its reply: what was read is valid until the next.
            self._reply(unique, body, number)

    def _reply(self, unique: int, body: Body, error: int = 0) -> None:
        head = protocol.reply_head(unique, len(body), error)
        try:
            os.writev(self.descriptor, (head, body) if body else (head,))
        except OSError as failure:
            # The program was killed, or the mount is gone; who reads next hears of that.
            if failure.errno not in (errno.ENOENT, errno.ENODEV, errno.ECONNABORTED):
                log.exception("a reply of %d bytes was refused", len(body))

    async def _watch(self, waiting: _Waiting) -> None:
        """A signal has come to a program whose request waits; of more that come the kernel does not tell."""
        while self._waiting.get(waiting.unique) is waiting:
            if is_meant(waiting.thread):
                waiting.scope.cancel()
                return
            await trio.sleep(WATCHED_EVERY)


def greet(descriptor: int) -> Capabilities:
    """The first exchange, which the kernel begins when it mounts.

    Raises:
        MountError: the kernel speaks another protocol, or ended the mount.
    """
    buffer = bytearray(protocol.REQUEST_BUFFER)
    os.set_blocking(descriptor, True)
    try:
        length = os.readv(descriptor, (buffer,))
        head = protocol.header(buffer)
        offered = protocol.init_request(memoryview(buffer)[HEADER_SIZE:length])
        body = protocol.init_reply(offered, WANTED)
        os.writev(descriptor, (protocol.reply_head(head.unique, len(body)), body))
    except (OSError, ValueError) as error:
        raise MountError(f"the kernel and s3mount do not understand each other: {error}") from error
    finally:
        os.set_blocking(descriptor, False)
    return offered._replace(flags=offered.flags & WANTED)


def tell(descriptor: int, message: bytes) -> bool:
    """Send the kernel a message of our own, from a thread that may wait for one of our answers.

    Returns:
        Whether what the message is about was known.
    """
    try:
        os.write(descriptor, message)
    except FileNotFoundError:
        return False
    return True
