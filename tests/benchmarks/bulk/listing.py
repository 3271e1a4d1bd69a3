"""The listings behind nginx: ``python -m tests.benchmarks.bulk.listing FULL|QUICK`` prints its port and serves.

One thread, HTTP/1.1 with connections that stay open, no signature checked. Ends when its standard input ends.
"""

import asyncio
import sys
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from tests.benchmarks.bulk.lines import BUCKET, FULL, QUICK, groups
from tests.benchmarks.bulk.pages import NAMESPACE, Shelf, ask_of
from tests.benchmarks.bulk.tree import MODIFIED

HEAD_END = b"\r\n\r\n"
LOCATION = f'<LocationConstraint xmlns="{NAMESPACE}"/>'.encode()


def reply(shelf: Shelf, method: str, target: str) -> bytes:
    """The whole reply to one request for the bucket."""
    query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    if method == "HEAD":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    if query.get("list-type") == "2":
        body, status = shelf.page(ask_of(query)), "200 OK"
    elif "location" in query:
        body, status = LOCATION, "200 OK"
    else:
        body, status = b"<Error><Code>NotImplemented</Code></Error>", "501 Not Implemented"
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Connection(asyncio.Protocol):
    """One connection of nginx."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._incoming = b""
        self._transport: asyncio.Transport = None  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._incoming += data
        while HEAD_END in self._incoming:
            head, _, self._incoming = self._incoming.partition(HEAD_END)
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
            self._transport.write(reply(self._shelf, method, target))


async def serve(shelf: Shelf) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(shelf), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main(size: str) -> None:
    """Make the shelf and serve."""
    shape = {"FULL": FULL, "QUICK": QUICK}[size]
    objects = [(key, group.size) for group in groups(shape) for key in group.each_key()]
    asyncio.run(serve(Shelf(BUCKET, sorted(objects), MODIFIED)))


if __name__ == "__main__":
    main(*sys.argv[1:])
