"""What it takes to write one object: the next request, and what an answer means. Nothing here sends anything.

A job says which request may be sent now, hears what became of each, and has a result at its end. It has no clock and no
thread: `bulk.errands` sends for it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from s3mount.store.writing import (
    AbortUpload,
    Answer,
    Begun,
    CompleteUpload,
    CreateUpload,
    Facts,
    Look,
    Metadata,
    Part,
    Write,
    Written,
)


class Job(ABC):
    """One object that is written, copied or deleted.

    Attributes:
        ended: what it has come to, None until it is over.
        failure: why it fails, as soon as that is known; requests under way are of no use any more.
    """

    def __init__(self) -> None:
        self.ended: Answer | Exception | None = None
        self.failure: Exception | None = None

    @abstractmethod
    def next(self, under_way: int) -> Write | None:
        """The request that may be sent now; None while nothing may, or when it is over.

        Args:
            under_way: requests of this job that have not been answered.
        """

    @abstractmethod
    def take(self, request: Write, answer: Answer | Exception) -> None:
        """What became of a request."""

    def give_up(self, reason: Exception) -> None:
        """Send nothing more than what leaves nothing behind."""
        self.failure = self.failure or reason


class OneRequest(Job):
    """A job of one request."""

    def __init__(self, request: Write) -> None:
        super().__init__()
        self._request: Write | None = request

    def next(self, under_way: int) -> Write | None:
        """The request, once."""
        request, self._request = self._request, None
        if request is not None and self.failure is not None:
            self.ended, request = self.failure, None
        return request

    def take(self, request: Write, answer: Answer | Exception) -> None:
        """It is over."""
        self.ended = answer


class Failed(Job):
    """A job that failed before its first request."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.ended = error

    def next(self, under_way: int) -> Write | None:
        """None."""
        return None

    def take(self, request: Write, answer: Answer | Exception) -> None:
        """Nothing was asked for."""


class InParts(Job):
    """An object that is written in parts at once; where anything fails, its upload is aborted.

    Args:
        key: of the object.
        size: of all parts, bytes.
        content_type: of the object.
        metadata: of the object.
        if_absent: end with `AlreadyExists` where there is an object in the end.
        looked: it has just been seen that there is none.
        described_by: an object of the same store whose content type and metadata are taken instead.
    """

    def __init__(
        self,
        key: str,
        size: int,
        *,
        content_type: str,
        metadata: Metadata,
        if_absent: bool,
        looked: bool = False,
        described_by: str = "",
    ) -> None:
        super().__init__()
        self._key = key
        self._size = size
        self._content_type = content_type
        self._metadata = metadata
        self._if_absent = if_absent
        self._looked = looked
        self._described_by = described_by
        self._has_created = False
        self._upload_id = ""
        self._left: Iterator[Write] = iter(())
        self._parts: list[Part] = []
        self._is_ending = False

    @abstractmethod
    def parts(self, upload_id: str) -> Iterator[Write]:
        """The requests that write the parts, in any order."""

    def next(self, under_way: int) -> Write | None:
        """A look where one is needed, the beginning, the parts, the end; or the abort."""
        if self.ended is not None or self._is_ending:
            return None
        if self.failure is not None:
            return self._clean_up(under_way)
        if not self._has_created:
            return self._first(under_way)
        if not self._upload_id:
            return None
        part = self._next_part()
        if part is not None or under_way or self.failure is not None:
            return part
        self._is_ending = True
        parts = tuple(sorted(self._parts))
        return CompleteUpload(
            self._key, self._upload_id, parts, self._size, self._if_absent, self._looked
        )

    def _first(self, under_way: int) -> Write | None:
        if self._described_by:
            return None if under_way else Look(self._described_by)
        self._has_created = True
        return CreateUpload(self._key, self._content_type, self._metadata)

    def _next_part(self) -> Write | None:
        try:
            return next(self._left, None)
        except Exception as error:
            self.failure = error
            return None

    def _clean_up(self, under_way: int) -> Write | None:
        if under_way:
            return None
        if not self._upload_id:
            self.ended = self.failure
            return None
        self._is_ending = True
        return AbortUpload(self._key, self._upload_id)

    def take(self, request: Write, answer: Answer | Exception) -> None:
        """Go on, or begin to clean up."""
        if isinstance(request, AbortUpload):
            self.ended = self.failure
        elif isinstance(answer, Exception):
            self._is_ending = False
            self.failure = self.failure or answer
        elif isinstance(request, CompleteUpload):
            self.ended = answer
        elif isinstance(answer, Facts):
            self._described_by = ""
            self._content_type, self._metadata = answer.content_type, answer.metadata
        elif isinstance(answer, Begun):
            self._upload_id = answer.upload_id
            self._left = self.parts(answer.upload_id)
        elif isinstance(answer, Written):
            self._parts.append(Part(_number_of(request), answer.etag, answer.crc32))


def _number_of(request: Write) -> int:
    return int(getattr(request, "number", 0))
