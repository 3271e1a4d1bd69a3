"""Files and bytes into a store, and objects looked at, deleted and copied in it.

Everything goes through the session's engine, many requests at once; memory stays flat whatever the number of uploads.
A file that changes while it is sent fails; nothing is ever made of two versions of it. Uploads in parts that fail, or
are broken off, are aborted; only a process that is killed leaves parts behind, for the bucket's lifecycle rules.

What is written is at once seen by everybody who asks the store. Listings that were kept on this machine's disk and
cover a key that was written are forgotten. A mount that has a listing in its memory believes it until its TTL is over,
or until ``s3mount refresh``.
"""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import NamedTuple, TypeVar

from s3mount.bulk.errands import Errands
from s3mount.bulk.jobs import Job, OneRequest
from s3mount.bulk.session import Session
from s3mount.bulk.uploading import CopyOf, Upload, job_of_copy, job_of_upload
from s3mount.errors import StoreError, UnexpectedReply
from s3mount.store.interface import ObjectMeta
from s3mount.store.listing_files import forget_covering, listings_directory
from s3mount.store.writing import Answer, Delete, Facts, Look, Written
from s3mount.transfer.flight import Urgency

T = TypeVar("T")

JOBS = 64
"""Requests at once, where nobody says."""

__all__ = [
    "JOBS",
    "Copied",
    "CopyOf",
    "Facts",
    "Looked",
    "Removed",
    "Sent",
    "Upload",
    "copy",
    "forget_listings",
    "look",
    "look_at",
    "remove",
    "send",
]


class Sent(NamedTuple):
    """How an upload ended.

    Attributes:
        upload: which one.
        meta: what is there now; None when it failed. Its time is the server's, mostly to the second.
        error: why it failed, None unless it did. A `StoreError`, or an `OSError` of the file.
    """

    upload: Upload
    meta: ObjectMeta | None
    error: Exception | None


class Looked(NamedTuple):
    """What a look has seen; ``error`` is None where there is an object, `NotFound` where there is none."""

    key: str
    error: Exception | None


class Removed(NamedTuple):
    """How a deletion ended; ``error`` is None when there is no such object now."""

    key: str
    error: Exception | None


class Copied(NamedTuple):
    """How a copy ended; see `Sent`."""

    copy: CopyOf
    meta: ObjectMeta | None
    error: Exception | None


def send(
    session: Session, uploads: Iterable[Upload], *, jobs: int = JOBS
) -> Generator[list[Sent], None, None]:
    """Write objects.

    Each upload has one `Sent`. They come in batches, in the order in which they end; an empty batch comes about four
    times a second when nothing ends. ``uploads`` is read as fast as they are sent. Leaving early (``close``, an
    exception, Ctrl-C) cancels what is under way, and returns when no upload in parts is left.

    Args:
        session: an open one; it must outlive the generator.
        uploads: what to send.
        jobs: requests under way at once at the most; those of the session, where they are fewer.
    """
    begun = (((upload, size), job) for upload, size, job in map(job_of_upload, uploads))
    with closing(_run(session, begun, jobs)) as batches:
        for batch in batches:
            sent = [
                Sent(upload, *_outcome(job.ended, upload.key, size))
                for (upload, size), job in batch
            ]
            forget_listings(session, [each.upload.key for each in sent])
            yield sent


def look(session: Session, key: str) -> Facts:
    """What the store knows of an object now.

    Raises:
        NotFound: there is none.
        StoreError: the class that says why it cannot be told.
    """
    answer: Future[Answer | StoreError] = Future()
    session.engine.send(Look(key), answer.set_result, Urgency.NEEDED)
    facts = answer.result()
    if isinstance(facts, Exception):
        raise facts
    assert isinstance(facts, Facts)
    return facts


def look_at(
    session: Session, keys: Iterable[str], *, jobs: int = JOBS
) -> Generator[list[Looked], None, None]:
    """See which objects are there. Batches are those of `send`.

    Args:
        session: an open one; it must outlive the generator.
        keys: what to look at.
        jobs: requests under way at once at the most; those of the session, where they are fewer.
    """
    begun = ((key, OneRequest(Look(key))) for key in keys)
    with closing(_run(session, begun, jobs)) as batches:
        for batch in batches:
            yield [Looked(key, _error_of(job.ended)) for key, job in batch]


def remove(
    session: Session, keys: Iterable[str], *, jobs: int = JOBS
) -> Generator[list[Removed], None, None]:
    """Delete objects; one that is not there is as good as deleted. Batches are those of `send`.

    Args:
        session: an open one; it must outlive the generator.
        keys: what to delete.
        jobs: requests under way at once at the most; those of the session, where they are fewer.
    """
    begun = ((key, OneRequest(Delete(key))) for key in keys)
    with closing(_run(session, begun, jobs)) as batches:
        for batch in batches:
            removed = [Removed(key, _error_of(job.ended)) for key, job in batch]
            forget_listings(session, [each.key for each in removed])
            yield removed


def copy(
    session: Session, copies: Iterable[CopyOf], *, jobs: int = JOBS
) -> Generator[list[Copied], None, None]:
    """Copy objects within the store's servers, without their bytes coming here. Batches are those of `send`.

    Content type and metadata go with the object.

    Args:
        session: of the store that is written to; it must outlive the generator.
        copies: what to copy.
        jobs: requests under way at once at the most; those of the session, where they are fewer.
    """
    begun = ((each, job_of_copy(each)) for each in copies)
    with closing(_run(session, begun, jobs)) as batches:
        for batch in batches:
            copied = [
                Copied(each, *_outcome(job.ended, each.key, each.size)) for each, job in batch
            ]
            forget_listings(session, [each.copy.key for each in copied])
            yield copied


def forget_listings(session: Session, keys: Iterable[str]) -> None:
    """Make every mount on this machine ask the store for what it would have taken from a listing on disk.

    Listings in a mount's memory stay until their TTL is over; ``s3mount refresh`` reaches those.

    Args:
        session: of the store that was written to.
        keys: that were written or deleted.
    """
    forget_covering(listings_directory(session.cache_dir), session.store.identity, keys)


def _run(
    session: Session, begun: Iterator[tuple[T, Job]], jobs: int
) -> Generator[list[tuple[T, Job]], None, None]:
    return Errands(session.engine, begun, jobs).run()


def _outcome(
    ended: Answer | Exception | None, key: str, size: int
) -> tuple[ObjectMeta | None, Exception | None]:
    if isinstance(ended, Written):
        return ObjectMeta(key, size, ended.etag, ended.mtime_ns), None
    return None, _error_of(ended) or UnexpectedReply(f"{key!r}: {ended!r}", key=key)


def _error_of(ended: Answer | Exception | None) -> Exception | None:
    return ended if isinstance(ended, Exception) else None
