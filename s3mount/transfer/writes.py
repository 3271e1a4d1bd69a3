"""A write on its way: what is tried again, and what is asked when a reply was lost.

A write that must find no object is the hard case. Its reply is lost, it is sent again, and the store says that there is
an object: this very one, or another's. Then the object is looked at (`is_ours`) before anybody is told that it was
there already.
"""

import hashlib
import time
from base64 import b64decode
from collections.abc import Callable

from s3mount.errors import AlreadyExists, NotFound, ServerFault, StoreError, as_store_error
from s3mount.store.bodies import Body, Reader, digests_of
from s3mount.store.interface import Request
from s3mount.store.writing import (
    Answer,
    CompleteUpload,
    Copy,
    Facts,
    Look,
    Put,
    PutPart,
    Write,
    Written,
)
from s3mount.transfer.flight import Flight, Urgency

WATCHED = 1024 * 1024
"""Bytes from which the sending of a body counts as progress; smaller ones are gone in one go."""
_FIRST_SERVER_STATUS = 500

Deliver = Callable[[Answer | StoreError], None]


class WriteFlight(Flight):
    """A write, or a look, and every try of it. Nothing is told before its end.

    Args:
        asked: what is wanted.
        urgency: who wants it.
        on_end: told when a try is over.
        deliver: called once, on the engine's thread.
    """

    __slots__ = ("_answer", "_began_at", "_deliver", "_doubt", "_is_unsure", "_moved_at", "_write")

    def __init__(
        self,
        asked: Write,
        urgency: Urgency,
        *,
        on_end: Callable[[Flight, StoreError | None], None],
        deliver: Deliver,
    ) -> None:
        super().__init__(asked, urgency, on_end=on_end)
        self._write = asked
        self._deliver = deliver
        self._answer: Answer | None = None
        self._began_at = 0.0
        self._moved_at = 0.0
        # The reply to an earlier try was lost: it may have been done.
        self._is_unsure = False
        # What is told when a look says that the object is not ours.
        self._doubt: StoreError | None = None

    @property
    def kind(self) -> str:
        """The name of the request, for logs."""
        return type(self._write).__name__.lower()

    def next_request(self) -> Request:
        """The whole write, or a look where it is not known what became of it."""
        now = time.monotonic()
        if not self._began_at:
            self.last_progress = now
        self._began_at = self._moved_at = now
        if self._doubt is not None:
            return Look(self.key)
        write = self._write
        if isinstance(write, Put | PutPart) and write.body.size > WATCHED:
            return write._replace(body=_Watched(write.body, self))
        return write

    def note_progress(self, now: float) -> bool:
        """Leave the time in which bytes were sent out of the time that patience counts.

        The failures still count, so that a body that is never taken is given up.
        """
        self.last_progress += self._moved_at - self._began_at
        self._began_at = self._moved_at = now
        return False

    def sent(self) -> None:
        """Bytes of the body were taken."""
        self._moved_at = time.monotonic()

    def answer(self, answer: Answer) -> None:
        """Keep it; ``done`` follows."""
        self._answer = answer

    def done(self, error: StoreError | None) -> None:
        """Tell the engine, or that something must be looked at first."""
        self._on_end(self, self._looked(error) if self._doubt else self._judged(error))

    def _judged(self, error: StoreError | None) -> StoreError | None:
        if error is None:
            return None
        if self._is_unsure and _may_be_own_doing(self._write, error):
            self._doubt = error
            what = f"the reply to a write of {self.key!r} was lost, and it is looked at"
            return ServerFault(what, key=self.key)
        is_lost = error.status == 0 or error.status >= _FIRST_SERVER_STATUS
        self._is_unsure = self._is_unsure or (error.retryable and is_lost)
        return error

    def _looked(self, error: StoreError | None) -> StoreError | None:
        """What the look means for the write: done after all, the doubt, or another look."""
        facts, self._answer = self._answer, None
        if error is not None:
            return self._doubt if isinstance(error, NotFound) else error
        assert isinstance(facts, Facts)
        try:
            if not is_ours(self._write, facts):
                return self._doubt
        except Exception as problem:
            return as_store_error(problem, self.key)
        self._answer = Written(facts.etag, facts.version_id, facts.mtime_ns, facts.crc32)
        return None

    def finish(self) -> None:
        """Tell what it has come to."""
        assert self._answer is not None
        self._deliver(self._answer)

    def fail(self, error: StoreError) -> None:
        """Tell that it was not done, or that nobody knows."""
        self._deliver(error)


def _may_be_own_doing(write: Write, error: StoreError) -> bool:
    """Whether an earlier try that was done after all would have this error follow."""
    if isinstance(write, CompleteUpload):
        return isinstance(error, AlreadyExists | NotFound)
    return isinstance(write, Put | Copy) and isinstance(error, AlreadyExists)


def is_ours(write: Write, facts: Facts) -> bool:
    """Whether an object is what a write would have made, as far as a store can tell: its size and its checksum.

    Another's object with the very same bytes counts as ours. An ETag that is no MD5 (objects encrypted with a KMS key,
    some servers) and no checksum beside it leave it unknown, which counts as another's.

    Raises:
        SourceChanged: the file is not what it was.
        OSError: it cannot be read.
    """
    if isinstance(write, Put):
        if write.body.size != facts.size:
            return False
        digests = digests_of(write.body, crc32=True, md5=True)
        return facts.crc32 == digests.crc32 or facts.etag == b64decode(digests.md5).hex()
    if isinstance(write, CompleteUpload):
        return write.size == facts.size and facts.etag == _etag_of_parts(write)
    return isinstance(write, Copy) and bool(facts.etag) and facts.etag == write.source_etag


def _etag_of_parts(write: CompleteUpload) -> str:
    """The ETag that S3 gives an object of these parts; empty where theirs are no MD5."""
    try:
        joined = b"".join(bytes.fromhex(part.etag) for part in write.parts)
    except ValueError:
        return ""
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(write.parts)}"


class _Watched:
    """A body that tells when bytes of it are taken."""

    def __init__(self, body: Body, flight: WriteFlight) -> None:
        self.size = body.size
        self._body = body
        self._flight = flight

    def open(self) -> Reader:
        return _WatchedReader(self._body.open(), self._flight)


class _WatchedReader:
    def __init__(self, reader: Reader, flight: WriteFlight) -> None:
        self.close = reader.close
        self._reader = reader
        self._flight = flight

    def read(self, size: int, /) -> bytes:
        self._flight.sent()
        return self._reader.read(size)
