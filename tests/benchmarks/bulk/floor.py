"""What the server gives to the plainest client: ``python -m tests.benchmarks.bulk.floor URL SHAPE GROUP CONNECTIONS``.

Raw sockets in one thread, keys known beforehand, no signature, bodies dropped. No tool is this fast; a tool that comes
near it is held up by the server and not by itself.
"""

import selectors
import socket
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.benchmarks.bulk.lines import BUCKET, FULL, QUICK, groups

PIECE = 1 << 19
HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\nContent-Length: "


class Client:
    """One connection that asks for one key after the other."""

    def __init__(self, address: tuple[str, int], keys: Iterator[str]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setblocking(False)
        self._keys = keys
        self._head = b""
        self._left = 0

    def ask(self) -> bool:
        """Ask for the next key; False when there is none."""
        key = next(self._keys, None)
        if key is None:
            return False
        self.socket.send(f"GET /{BUCKET}/{key} HTTP/1.1\r\nHost: floor\r\n\r\n".encode())
        return True

    def receive(self, buffer: bytearray) -> bool:
        """Take what has come.

        Returns:
            Whether the reply is complete.

        Raises:
            ConnectionError: an error status, or the connection has ended.
        """
        got = self.socket.recv_into(buffer)
        if got == 0:
            raise ConnectionError("the server closed a connection")
        if self._left:
            self._left -= got
            return self._left == 0
        self._head += buffer[:got]
        head, end, body = self._head.partition(HEAD_END)
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(head.decode(errors="replace"))
        length = int(head.partition(LENGTH)[2].partition(b"\r\n")[0])
        self._head = b""
        self._left = length - len(body)
        return self._left == 0


def main(url: str, size: str, name: str, connections: str) -> None:
    """Ask for every key of a group once."""
    shape = {"FULL": FULL, "QUICK": QUICK}[size]
    keys = next(group.each_key() for group in groups(shape) if group.name == name)
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 80)
    buffer = bytearray(PIECE)
    open_clients = 0
    with selectors.DefaultSelector() as ready:
        for client in [Client(address, keys) for _ in range(int(connections))]:
            if client.ask():
                ready.register(client.socket, selectors.EVENT_READ, client)
                open_clients += 1
        while open_clients:
            for entry, _ in ready.select():
                client = entry.data
                if client.receive(buffer) and not client.ask():
                    ready.unregister(client.socket)
                    client.socket.close()
                    open_clients -= 1


if __name__ == "__main__":
    main(*sys.argv[1:])
