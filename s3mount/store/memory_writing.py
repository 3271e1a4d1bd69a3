"""Writes into a store in memory, as S3 does them."""

import hashlib
import itertools
from typing import Protocol

from s3mount.errors import BadBody, NotFound, ObjectChanged
from s3mount.store.bodies import Body
from s3mount.store.interface import ObjectMeta
from s3mount.store.writing import (
    AbortUpload,
    Answer,
    Begun,
    CompleteUpload,
    Copy,
    CopyPart,
    CreateUpload,
    Delete,
    Facts,
    Gone,
    Look,
    Metadata,
    Put,
    PutPart,
    Write,
    Written,
)


class Stored(Protocol):
    """An object as it is kept."""

    meta: ObjectMeta
    body: bytes
    content_type: str
    metadata: Metadata


class Objects(Protocol):
    """A bucket in memory."""

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
        """Store an object."""

    def delete(self, key: str) -> None:
        """Delete an object."""

    def stored(self, key: str) -> Stored | None:
        """What is kept under a key."""


class MemoryWriter:
    """Does what is asked for; called on the thread that polls.

    Attributes:
        uploads: those in parts that are neither completed nor aborted: what was asked for, and the parts.
    """

    def __init__(self, objects: Objects) -> None:
        self.uploads: dict[str, tuple[CreateUpload, dict[int, bytes]]] = {}
        self._objects = objects
        self._numbers = itertools.count(1)

    def write(self, request: Write) -> Answer:
        """Do what is asked for.

        Raises:
            StoreError: as S3 would.
        """
        match request:
            case Put():
                return self._put(request, _read(request.body))
            case Look():
                return self._look(request.key)
            case Delete():
                self._objects.delete(request.key)
                return Gone(request.key)
            case Copy():
                return self._copy(request)
            case CreateUpload():
                upload_id = f"upload-{next(self._numbers)}"
                self.uploads[upload_id] = (request, {})
                return Begun(upload_id)
            case AbortUpload():
                self.uploads.pop(request.upload_id, None)
                return Gone(request.key)
            case _:
                return self._go_on(request)

    def _go_on(self, request: PutPart | CopyPart | CompleteUpload) -> Answer:
        if request.upload_id not in self.uploads:
            raise NotFound("no such upload", key=request.key, status=404, code="NoSuchUpload")
        created, parts = self.uploads[request.upload_id]
        if isinstance(request, CompleteUpload):
            return self._complete(request, created, parts)
        if isinstance(request, PutPart):
            body = _read(request.body)
        else:
            source = self._source(request.source_key, request.source_etag)
            body = source.body[request.start : request.stop]
        parts[request.number] = body
        return Written(_md5(body))

    def _complete(
        self, request: CompleteUpload, created: CreateUpload, parts: dict[int, bytes]
    ) -> Written:
        named = [(part.number, part.etag) for part in request.parts]
        if named != [(number, _md5(parts[number])) for number in sorted(parts)]:
            raise BadBody("other parts than were written", key=request.key, code="InvalidPart")
        digests = b"".join(bytes.fromhex(etag) for _, etag in named)
        meta = self._objects.put(
            request.key,
            b"".join(parts[number] for number in sorted(parts)),
            content_type=created.content_type,
            metadata=created.metadata,
            if_absent=request.if_absent,
            etag=f"{_md5(digests)}-{len(named)}",
        )
        del self.uploads[request.upload_id]
        return Written(meta.etag, mtime_ns=meta.mtime_ns)

    def _put(self, request: Put, body: bytes) -> Written:
        meta = self._objects.put(
            request.key,
            body,
            content_type=request.content_type,
            metadata=request.metadata,
            if_absent=request.if_absent,
        )
        return Written(meta.etag, mtime_ns=meta.mtime_ns)

    def _look(self, key: str) -> Facts:
        stored = self._source(key, "")
        meta = stored.meta
        return Facts(
            key,
            meta.size,
            meta.etag,
            meta.mtime_ns,
            stored.content_type,
            stored.metadata,
            storage_class=meta.storage_class,
        )

    def _copy(self, request: Copy) -> Written:
        source = self._source(request.source_key, request.source_etag)
        meta = self._objects.put(
            request.key,
            source.body,
            content_type=source.content_type,
            metadata=source.metadata,
            if_absent=request.if_absent,
        )
        return Written(meta.etag, mtime_ns=meta.mtime_ns)

    def _source(self, key: str, etag: str) -> Stored:
        stored = self._objects.stored(key)
        if stored is None:
            raise NotFound("no such key", key=key, status=404, code="NoSuchKey")
        if etag and etag != stored.meta.etag:
            raise ObjectChanged("another version", key=key, status=412)
        return stored


def _read(body: Body) -> bytes:
    reader = body.open()
    try:
        return b"".join(iter(lambda: reader.read(body.size or 1), b""))
    finally:
        reader.close()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
