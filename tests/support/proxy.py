"""A proxy in front of an S3 server on loopback: it counts, it adds distance, and it breaks things on order.

``ProxyServer`` runs its event loop in a thread of the test; ``ProxyProcess`` in a process of its own, for benchmarks,
where its work must not take the interpreter lock from anybody who is measured.
"""

import asyncio
import json
import subprocess
import sys
import threading
from collections import Counter, deque
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.connection import ClientSide
from tests.support.faults import KINDS, Fault, Match
from tests.support.wire import Request

REMEMBERED = 10_000  # requests kept for a look at them


class ProxyServer:
    """Use as a context manager; ``url`` takes the place of the server's.

    Args:
        upstream: ``http://127.0.0.1:PORT`` of the real server.
        delay: seconds of round trip added to each request, and once more to each connection.
    """

    def __init__(self, upstream: str, delay: float = 0.0) -> None:
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.delay = delay
        self.url = ""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._requests: deque[Request] = deque(maxlen=REMEMBERED)
        self._faults: list[Fault] = []
        self._connections: set[ClientSide] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    # What a test sees.

    @property
    def counts(self) -> Counter[str]:
        """Requests by kind since the last ``reset``, and ``bytes_down``, the payload sent to clients."""
        with self._lock:
            return Counter({name: self._counts[name] for name in (*KINDS, "bytes_down")})

    @property
    def total(self) -> int:
        """All requests since the last ``reset``."""
        counts = self.counts
        return sum(counts[kind] for kind in KINDS)

    @property
    def requests(self) -> list[Request]:
        """The requests since the last ``reset``, oldest first, the last ten thousand at most."""
        with self._lock:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """Client connections that are open now."""
        return len(self._connections)

    def reset(self) -> None:
        """Count from zero. Rules stay."""
        with self._lock:
            self._counts.clear()
            self._requests.clear()

    def fault(
        self,
        match: Match = None,
        times: int | None = 1,
        *,
        status: int | None = None,
        code: str = "",
        reset_after: int | None = None,
        truncate_after: int | None = None,
        stall_after: int | None = None,
        corrupt_at: int | None = None,
        delay: float = 0.0,
        hang: bool = False,
        lose_reply: bool = False,
    ) -> Fault:
        """Add a rule; the first one that matches a request is used. See ``Fault`` for the words."""
        rule = Fault(
            match,
            times,
            status=status,
            code=code,
            reset_after=reset_after,
            truncate_after=truncate_after,
            stall_after=stall_after,
            corrupt_at=corrupt_at,
            delay=delay,
            hang=hang,
            lose_reply=lose_reply,
        )
        with self._lock:
            self._faults.append(rule)
        return rule

    def heal(self) -> None:
        """Forget every rule. Connections that already hang stay so."""
        with self._lock:
            self._faults.clear()

    def disconnect(self) -> None:
        """Reset every client connection that is open."""
        self._loop.call_soon_threadsafe(self._reset_all)

    # What a connection asks for, on the event loop.

    def admit(self, request: Request) -> Fault | None:
        with self._lock:
            self._counts[request.kind] += 1
            self._requests.append(request)
            return next((rule for rule in self._faults if rule.takes(request)), None)

    def count_bytes(self, amount: int) -> None:
        with self._lock:
            self._counts["bytes_down"] += amount

    def opened(self, connection: ClientSide) -> None:
        self._connections.add(connection)

    def closed(self, connection: ClientSide) -> None:
        self._connections.discard(connection)

    def _reset_all(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: ClientSide(self), "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        self._reset_all()
        await asyncio.sleep(0)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)


class ProxyProcess:
    """The same proxy in its own process: counts and ``reset`` only, no faults."""

    def __init__(self, upstream: str, delay: float = 0.0) -> None:
        self._command = [sys.executable, "-m", "tests.support.proxy", upstream, str(delay)]
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = str(self._ask(""))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=10)

    @property
    def counts(self) -> Counter[str]:
        """As ``ProxyServer.counts``."""
        answer = self._ask("counts")
        assert isinstance(answer, dict)
        return Counter(answer)

    def reset(self) -> None:
        """Count from zero."""
        self._ask("reset")

    def _ask(self, question: str) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if question:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def main(upstream: str, delay: str) -> None:
    """Serve until standard input ends: ``counts`` and ``reset``, one a line, one JSON line back."""
    with ProxyServer(upstream, float(delay)) as proxy:
        print(json.dumps(proxy.url), flush=True)
        for line in sys.stdin:
            if line.strip() == "reset":
                proxy.reset()
            print(json.dumps(proxy.counts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
