"""One client connection of the proxy and its connection to the server.

Latency without a rate: a request's bytes are held back for the round trip before they go to the server (the first
request of a connection for one more, which stands for the TCP handshake), and replies pass as fast as they come.
Everything runs on the proxy's event loop; nothing here is called from another thread.
"""

import asyncio
import socket
import struct
from collections import deque
from typing import Protocol, cast

from tests.support.faults import Damage, Fault
from tests.support.wire import (
    HEAD_END,
    Body,
    Request,
    parse_head,
    parse_request,
    reply_body,
    reply_status,
    request_body,
)

WRITE_LIMIT = 1 << 20  # bytes waiting for a slow reader before the sender is paused
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Hub(Protocol):
    """What a connection asks the proxy for."""

    upstream: tuple[str, int]
    delay: float

    def admit(self, request: Request) -> Fault | None:
        """Count a request and say what is to go wrong with it."""

    def count_bytes(self, amount: int) -> None:
        """Count payload bytes on their way to the client."""

    def opened(self, connection: "ClientSide") -> None:
        """A client has connected."""

    def closed(self, connection: "ClientSide") -> None:
        """A client has gone."""


class ClientSide(asyncio.Protocol):
    """Reads requests, delays them, and owns the connection to the server."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._incoming = bytearray()
        self._body: Body | None = None
        self._held: deque[tuple[float, bytes, Fault | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._muted = False  # a fault has ended this connection: requests are read and dropped
        self._drop_body = False
        self._setup = hub.delay  # the handshake, paid by the first request
        self.server = ServerSide(self, hub)
        self.transport: asyncio.Transport = None  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        prepare(self.transport)
        self._hub.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._muted:
            return
        self._incoming += data
        while self._incoming and self._take():
            pass

    def _take(self) -> bool:
        """Take one head or one stretch of body from what came in; False when more is needed."""
        if self._body is not None:
            raw = bytes(self._incoming)
            taken, _ = self._body.feed(raw)
            if not self._drop_body:
                self._hold(0.0, raw[:taken], None)
            if self._body.done:
                self._body = None
            del self._incoming[:taken]
            return True
        end = self._incoming.find(HEAD_END)
        if end < 0:
            return False
        raw = bytes(self._incoming[: end + len(HEAD_END)])
        del self._incoming[: len(raw)]
        self._request(raw)
        return True

    def _request(self, raw: bytes) -> None:
        head = parse_head(raw)
        request = parse_request(head)
        body = request_body(head)
        self._body = None if body.done else body
        fault = self._hub.admit(request)
        self._drop_body = fault is not None and fault.status is not None
        wait = self._hub.delay + self._setup + (fault.delay if fault else 0.0)
        self._setup = 0.0
        if fault is not None and fault.hang:
            self._muted = True
            return
        if fault is not None and fault.status is not None:
            self._hold(wait, b"", fault)
            return
        self.server.expect(request, fault)
        self._hold(wait, raw, None)

    def _hold(self, wait: float, data: bytes, answer: Fault | None) -> None:
        self._held.append((self._loop.time() + wait if wait else 0.0, data, answer))
        if self._timer is None:
            self._release()

    def _release(self) -> None:
        """Pass on what is due, in order, and set the timer for what is not."""
        self._timer = None
        while self._held:
            due = self._held[0][0]
            if due > self._loop.time():
                self._timer = self._loop.call_at(due, self._release)
                return
            _, data, answer = self._held.popleft()
            if answer is not None:
                self.transport.write(answer.reply())
            else:
                self.server.send(data)

    def mute(self) -> None:
        """Read no more requests."""
        self._muted = True

    def reset(self) -> None:
        """End the connection with RST, as a broken middlebox does."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.transport.abort()

    def pause_writing(self) -> None:
        self.server.hold_back(True)

    def resume_writing(self) -> None:
        self.server.hold_back(False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.server.close()
        self._hub.closed(self)


class ServerSide(asyncio.Protocol):
    """Connects when the first request is due, and passes replies on."""

    def __init__(self, client: ClientSide, hub: Hub) -> None:
        self._client = client
        self._hub = hub
        self._waiting: deque[tuple[Request, Fault | None]] = deque()
        self._pending = bytearray()  # sent once the connection stands
        self._head = bytearray()
        self._body: Body | None = None
        self._damage: Damage | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._closed = False

    def expect(self, request: Request, fault: Fault | None) -> None:
        """The next reply belongs to this request."""
        self._waiting.append((request, fault))

    def send(self, data: bytes) -> None:
        """Send request bytes, connecting first when needed."""
        if self._transport is not None:
            self._transport.write(data)
            return
        self._pending += data
        if self._connecting is None and not self._closed:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, *self._hub.upstream)
        except OSError:
            self._client.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        prepare(self._transport)
        if self._closed:
            self._transport.abort()
            return
        self._transport.write(bytes(self._pending))
        self._pending.clear()

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        if self._body is not None and self._damage is None:
            taken, spans = self._body.feed(data)
            if taken == len(data):  # the fast path: a piece of a large body
                self._pass_on(data, sum(stop - start for start, stop in spans))
                self._finish_if_done()
                return
            self._pass_on(data[:taken], sum(stop - start for start, stop in spans))
            self._finish_if_done()
            data = data[taken:]
        while data and not self._closed:
            data = self._body_piece(data) if self._body is not None else self._head_piece(data)

    def _pass_on(self, data: bytes, payload: int) -> None:
        self._hub.count_bytes(payload)
        self._client.transport.write(data)

    def _body_piece(self, data: bytes) -> bytes:
        assert self._body is not None
        taken, spans = self._body.feed(data)
        piece = data[:taken]
        if self._damage is not None:
            piece = self._damage.apply(piece, spans)
        self._pass_on(piece, min(len(piece), sum(stop - start for start, stop in spans)))
        if self._damage is not None and self._damage.reached:
            self._end_early(self._damage)
        else:
            self._finish_if_done()
        return data[taken:]

    def _head_piece(self, data: bytes) -> bytes:
        self._head += data
        end = self._head.find(HEAD_END)
        if end < 0:
            return b""
        raw = bytes(self._head[: end + len(HEAD_END)])
        rest = bytes(self._head[len(raw) :])
        self._head.clear()
        head = parse_head(raw)
        lost = self._waiting[0][1]
        if lost is not None and lost.lose_reply and reply_status(head) >= 200:
            self._client.mute()
            self._client.reset()
            self.close()
            return b""
        self._client.transport.write(raw)
        if reply_status(head) < 200:  # an interim reply: the real one follows
            return rest
        request, fault = self._waiting[0]
        self._body = reply_body(head, request.method)
        self._damage = Damage(fault) if fault is not None else None
        if self._damage is not None and self._damage.reached:
            self._end_early(self._damage)
        else:
            self._finish_if_done()
        return rest

    def _finish_if_done(self) -> None:
        if self._body is not None and self._body.done:
            self._body = None
            self._damage = None
            self._waiting.popleft()

    def _end_early(self, damage: Damage) -> None:
        self._client.mute()
        if damage.ending == "reset":
            self._client.reset()
        elif damage.ending == "truncate":
            self._client.transport.close()
        self.close()

    def hold_back(self, paused: bool) -> None:
        """Stop or continue reading from the server, for a client that does not keep up."""
        if self._transport is None or self._transport.is_closing():
            return
        if paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._client.transport.pause_reading()

    def resume_writing(self) -> None:
        self._client.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed:
            self._client.transport.close()

    def close(self) -> None:
        """Let go of the server."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()


def prepare(transport: asyncio.Transport) -> None:
    """Small messages go at once; large ones may queue up to a bound."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport.set_write_buffer_limits(high=WRITE_LIMIT)
