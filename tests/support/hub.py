"""A hub and the storage that it names, over real HTTP on loopback: what the real one says, its refusals included.

Artifacts are kept in memory. Faults are ordered by the test and used up one by one; every request is remembered.
"""

import json
import re
import sys
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

API = "/api/v1/artifacts"
TOKEN = "not.a.bearer"
KINDS = {"PUSH": 0, "PUSHFORCE": 1, "PULL": 2, "YANK": 3}
METHODS = {0: ["HEAD", "PUT"], 1: ["PUT"], 2: ["GET"], 3: ["DELETE"]}
RESOURCE = re.compile(r"artifacts/(projects|workflows|jobs)/([a-z0-9-]+)/*")
MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request: header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """What is answered instead. ``cut`` sends so many bytes of the right answer and closes."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"fault"
    cut: int | None = None


class Hub:
    """Use as a context manager; ``url`` is the organization's.

    Args:
        spelling: of replies: ``gateway`` as the real one writes them, ``client`` as its client reads them.
        names_methods: whether DELETE is named; older ones leave it out.
        storage_path: what stands before a remote path in the URLs of the storage.
        tells_size: whether the storage says how long its replies are.
    """

    def __init__(
        self,
        spelling: str = "gateway",
        *,
        names_methods: bool = True,
        storage_path: str = "/",
        tells_size: bool = True,
    ) -> None:
        self.spelling = spelling
        self.names_methods = names_methods
        self.storage_path = storage_path
        self.tells_size = tells_size
        self.objects: dict[str, bytes] = {}
        self.seen: list[Seen] = []
        self.reply: bytes | None = None
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def url(self) -> str:
        """Of the organization."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What lets a client in."""
        return {"SEMAPHORE_ORGANIZATION_URL": self.url, "SEMAPHORE_ARTIFACT_TOKEN": TOKEN}

    def fail(self, method: str, *faults: Fault | int) -> None:
        """Answer the next requests of a method with faults; a number is a status. ``POST`` is the hub itself."""
        self.faults[method] += [Fault(each) if isinstance(each, int) else each for each in faults]

    def sent(self, method: str) -> list[Seen]:
        """The requests of a method, oldest first."""
        return [each for each in self.seen if each.method == method]

    def told(self) -> list[dict[str, Any]]:
        """What the hub was asked, as JSON."""
        return [json.loads(each.body) for each in self.sent("POST")]

    # What a handler asks.

    def note(self, seen: Seen) -> Fault | None:
        with self._lock:
            self.seen.append(seen)
            waiting = self.faults[seen.method]
            return waiting.popleft() if waiting else None

    def sign(self, token: str | None, body: bytes) -> tuple[int, bytes]:
        if self.reply is not None:
            return 200, self.reply
        if not token:
            return _refused(401, 16, "Unauthenticated")
        if token != TOKEN:
            return _refused(403, 7, "permission denied")
        asked = json.loads(body)
        paths, kind = asked.get("paths", []), asked.get("type", 0)
        kind = KINDS.get(kind, kind)
        found = [RESOURCE.search(path) for path in paths]
        for path, match in zip(paths, found, strict=True):
            if match is None:
                return _refused(400, 3, f"invalid path {path}")
            if match.groups() != found[0].groups():
                return _refused(400, 3, f"invalid resource in path {path}")
        objects = self._objects(paths, kind)
        if paths and not objects:
            return _refused(404, 5, "artifact not found")
        return 200, self._spell([(each, how) for each in objects for how in METHODS[kind]])

    def _objects(self, paths: list[str], kind: int) -> list[str]:
        if kind in {0, 1} or not paths:
            return paths
        first = paths[0]
        if first in self.objects:
            return [first]
        return sorted(each for each in self.objects if each.startswith(f"{first}/"))

    def _spell(self, rows: list[tuple[str, str]]) -> bytes:
        urls = [
            (f"{self.url}{self.storage_path}{quote(path)}?Expires=1&for={how}", how)
            for path, how in rows
        ]
        if self.spelling == "client":
            named = [{"url": url, "method": how} for url, how in urls]
            return json.dumps({"urls": named, "error": ""}).encode()
        named = [{"URL": url, "method": how} for url, how in urls]
        if not self.names_methods:
            for row in named:
                if row["method"] == "DELETE":
                    del row["method"]
        return json.dumps({"URLs": named}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(_Handler):
            owner = hub

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asks for a first byte only may leave before the rest."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _refused(status: int, code: int, message: str) -> tuple[int, bytes]:
    return status, json.dumps({"code": code, "message": message, "details": []}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Hub

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        fault = self._noted()
        if fault is not None:
            self._answer(fault.status, fault.body, fault.headers)
        elif not urlsplit(self.path).path.endswith(API):
            self._answer(404, b"no such page")
        else:
            self._answer(*self.owner.sign(self.headers.get("authorization"), self.body))

    def do_PUT(self) -> None:
        self._store()

    def do_GET(self) -> None:
        self._store()

    def do_HEAD(self) -> None:
        self._store()

    def do_DELETE(self) -> None:
        self._store()

    def _noted(self) -> Fault | None:
        length = self.headers.get("content-length")
        self.body = self.rfile.read(int(length)) if length else b""
        headers = {name.lower(): value for name, value in self.headers.items()}
        return self.owner.note(Seen(self.command, self.path, headers, self.body))

    def _store(self) -> None:
        fault = self._noted()
        if fault is not None and fault.cut is None:
            self._answer(fault.status, fault.body, fault.headers)
            return
        parts = urlsplit(self.path)
        if parse_qs(parts.query).get("for") != [self.command]:
            self._answer(403, b"<Code>SignatureDoesNotMatch</Code>")
            return
        remote = unquote(parts.path).removeprefix(self.owner.storage_path)
        objects = self.owner.objects
        if self.command == "PUT":
            if "content-length" not in self.headers:
                self._answer(501, b"<Code>NotImplemented</Code>")
                return
            if len(self.body) < int(self.headers["content-length"]):
                self.close_connection = True  # who leaves early has stored nothing
                return
            objects[remote] = self.body
            self._answer(200, b"")
        elif remote not in objects:
            self._answer(404, b"<Code>NoSuchKey</Code>")
        elif self.command == "DELETE":
            del objects[remote]
            self._answer(204, b"")
        else:
            self._send(objects[remote], fault.cut if fault else None)

    def _send(self, body: bytes, cut: int | None) -> None:
        modified = {"Last-Modified": MODIFIED}
        if cut is not None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])
            self.close_connection = True
        elif self.headers.get("range") == "bytes=0-0":
            status, piece = (206, body[:1]) if body else (416, b"")
            span = "bytes 0-0" if body else "bytes *"
            self._answer(status, piece, modified | {"Content-Range": f"{span}/{len(body)}"})
        elif self.owner.tells_size or self.command == "HEAD":
            self._answer(200, body, modified)
        else:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n")

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)
