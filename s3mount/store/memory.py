"""A store in memory: the reference for what a store means, and the ground that tests stand on.

It behaves as a bucket of S3 does (versions, If-Match, archived objects, delimiter listings) and counts requests. Its
concurrency rule is every store's: receivers are called from ``poll`` only; the bucket may be changed from any thread.
"""

import hashlib
import threading
import zlib
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field

from s3mount.errors import AlreadyExists, NotFound, ObjectArchived, ObjectChanged, as_store_error
from s3mount.metrics import Counters
from s3mount.store.interface import (
    ARCHIVE_CLASSES,
    Get,
    Head,
    ListPage,
    ObjectMeta,
    Page,
    Receiver,
    Request,
    key_of,
)
from s3mount.store.memory_writing import MemoryWriter
from s3mount.store.paging import byte_order, fold_page
from s3mount.store.write_spelling import described
from s3mount.store.writing import Metadata

CHUNK = 256 * 1024
"""Bytes a receiver is given at a time, as a network would."""


@dataclass(slots=True)
class _Stored:
    meta: ObjectMeta
    body: bytes
    content_type: str = ""
    metadata: Metadata = ()


@dataclass(slots=True)
class _Pending:
    request: Request
    receiver: Receiver
    cancelled: bool = field(default=False)


class MemoryStore:
    """A bucket in memory.

    Args:
        name: the bucket's name, part of `identity`.
    """

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.counters = Counters()
        self.writer = MemoryWriter(self)
        self._objects: dict[str, _Stored] = {}
        self._order: list[bytes] = []
        self._lock = threading.Lock()
        self._pending: deque[_Pending] = deque()
        self._answering: _Pending | None = None
        self._woken = threading.Event()
        self._clock_ns = 1_700_000_000_000_000_000

    @property
    def identity(self) -> str:
        """The name of the bucket, and that it is in memory."""
        return f"memory:{self.name}"

    @property
    def description(self) -> str:
        """As a source would be written."""
        return f"memory://{self.name}"

    def put(
        self,
        key: str,
        body: bytes = b"",
        *,
        storage_class: str = "STANDARD",
        content_type: str = "",
        metadata: Metadata = (),
        if_absent: bool = False,
        etag: str = "",
    ) -> ObjectMeta:
        """Store an object, as a PUT from anywhere does; each put is one second after the last.

        Raises:
            AlreadyExists: there is one, and ``if_absent`` was asked for.
        """
        with self._lock:
            if if_absent and key in self._objects:
                raise AlreadyExists(f"there is an object {key!r} already", key=key, status=412)
            self._clock_ns += 1_000_000_000
            etag = etag or hashlib.md5(body, usedforsecurity=False).hexdigest()
            meta = ObjectMeta(key, len(body), etag, self._clock_ns, storage_class)
            if key not in self._objects:
                self._order.insert(bisect_left(self._order, byte_order(key)), byte_order(key))
            self._objects[key] = _Stored(meta, body, content_type, metadata)
            return meta

    def delete(self, key: str) -> None:
        """Delete an object; as in S3, one that is not there is no error."""
        with self._lock:
            if self._objects.pop(key, None) is not None:
                del self._order[bisect_left(self._order, byte_order(key))]

    def stored(self, key: str) -> _Stored | None:
        """What is kept under a key."""
        with self._lock:
            return self._objects.get(key)

    def restore(self, key: str) -> None:
        """Make an archived object readable, as a restore request does after some hours."""
        with self._lock:
            stored = self._objects[key]
            stored.meta = stored.meta._replace(restored=True)

    def keys(self) -> list[str]:
        """All keys in byte order."""
        with self._lock:
            return [key.decode("utf-8", "surrogateescape") for key in self._order]

    def submit(self, request: Request, receiver: Receiver) -> None:
        """Begin a request."""
        self._pending.append(_Pending(request, receiver))

    def cancel(self, receiver: Receiver) -> None:
        """Forget a request."""
        for pending in (*self._pending, self._answering):
            if pending is not None and pending.receiver is receiver:
                pending.cancelled = True

    def poll(self, timeout: float) -> None:
        """Answer everything that is pending; else wait."""
        if not self._pending:
            self._woken.wait(timeout)
            self._woken.clear()
        for _ in range(len(self._pending)):
            pending = self._answering = self._pending.popleft()
            if not pending.cancelled:
                self._answer(pending)
            self._answering = None

    def wake(self) -> None:
        """Make a waiting poll return."""
        self._woken.set()

    def renew(self) -> None:
        """Nothing wears out."""

    def close(self) -> None:
        """Forget what is pending; the objects stay."""
        self._pending.clear()

    def _answer(self, pending: _Pending) -> None:
        request, receiver = pending.request, pending.receiver
        try:
            if isinstance(request, ListPage):
                self.counters.add("requests.list")
                receiver.page(self._page(request))
            elif isinstance(request, Get):
                self.counters.add("requests.get")
                self._send(request, pending)
            else:
                self.counters.add("requests.write")
                receiver.answer(self.writer.write(request))
        except Exception as error:
            receiver.done(as_store_error(error, key_of(request)))
        else:
            if not pending.cancelled:
                receiver.done(None)

    def _page(self, request: ListPage) -> Page:
        with self._lock:
            after = request.token or request.start_after
            first = max(byte_order(request.prefix), byte_order(after))
            begin = bisect_left(self._order, first)
            prefix = byte_order(request.prefix)
            end = bisect_right(self._order, prefix, key=lambda key: key[: len(prefix)])
            keys = (k.decode("utf-8", "surrogateescape") for k in self._order[begin:end])
            return fold_page(keys, request, lambda key: self._objects[key].meta)

    def _send(self, request: Get, pending: _Pending) -> None:
        with self._lock:
            stored = self._objects.get(request.key)
        if stored is None:
            raise NotFound("no such key", key=request.key, status=404, code="NoSuchKey")
        meta, body = stored.meta, stored.body
        if request.etag and request.etag != meta.etag:
            raise ObjectChanged("another version", key=request.key, status=412)
        if meta.storage_class in ARCHIVE_CLASSES and not meta.restored:
            raise ObjectArchived("archived", key=request.key, status=403, code="InvalidObjectState")
        crc32 = zlib.crc32(body) if request.whole else None
        headers = dict(described("", stored.metadata))
        pending.receiver.head(Head(meta.etag, meta.size, crc32=crc32, headers=headers))
        for start in range(request.start, request.stop, CHUNK):
            if pending.cancelled:
                return
            chunk = body[start : min(start + CHUNK, request.stop)]
            self.counters.add("bytes.received", len(chunk))
            pending.receiver.data(chunk)
