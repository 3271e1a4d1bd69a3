"""What is to be written, and the job that it makes: one request for what is small, parts for what is not."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from s3mount.bulk.content_types import content_type_of
from s3mount.bulk.jobs import Failed, InParts, Job, OneRequest
from s3mount.errors import StoreError, UnexpectedReply
from s3mount.store.bodies import Body, Bytes, FilePart, changed, open_regular, stamp_of
from s3mount.store.writing import (
    MIB,
    PUT_MOST,
    Copy,
    CopyPart,
    Metadata,
    Put,
    PutPart,
    Write,
    part_bounds,
    part_size,
)

SMALL = 128 * 1024
"""Bytes of a file that is read before it is its turn."""
PART = 16 * MIB
"""Bytes of a part, and of the largest file that is sent in one request."""
COPY_PART = 512 * MIB
"""Bytes of a part that the servers copy."""


class Upload(NamedTuple):
    """What is to become an object.

    Attributes:
        path: a local regular file, or the bytes themselves. A symbolic link to a file is followed.
        key: of the object.
        content_type: empty to tell it by the end of the key.
        metadata: names and values; see `store.writing.Metadata`.
        if_absent: end with `AlreadyExists` where there is an object.
        looked: it has just been seen that there is none; see `store.writing.Put`.
    """

    path: Path | str | bytes
    key: str
    content_type: str = ""
    metadata: Metadata = ()
    if_absent: bool = False
    looked: bool = False


class CopyOf(NamedTuple):
    """An object that is to be copied by the store's servers.

    Attributes:
        source_key: what is copied.
        key: what it becomes.
        size: of the source, bytes.
        source_etag: the version that is meant: another ends with `ObjectChanged`. Empty for any, up to 5 GiB.
        source_bucket: empty for the store's own. Of a directory: the path of another directory.
        content_type: of a source in another bucket that is larger than 5 GiB; all others keep their own.
        metadata: the same.
        if_absent: end with `AlreadyExists` where there is an object.
    """

    source_key: str
    key: str
    size: int
    source_etag: str = ""
    source_bucket: str = ""
    content_type: str = ""
    metadata: Metadata = ()
    if_absent: bool = False


def job_of_upload(upload: Upload) -> tuple[Upload, int, Job]:
    """An upload, the bytes that it has now, and what is to be done. Small files are read."""
    try:
        body = _body_of(upload.path)
    except (OSError, StoreError) as error:
        return upload, 0, Failed(error)
    content_type = upload.content_type or content_type_of(upload.key)
    if isinstance(body, FilePart) and body.size > PART:
        return upload, body.size, _FileInParts(upload, body, content_type)
    put = Put(upload.key, body, content_type, upload.metadata, upload.if_absent, upload.looked)
    return upload, body.size, OneRequest(put)


def _body_of(path: Path | str | bytes) -> Body:
    """The bytes of a small file, or where those of a large one are.

    Raises:
        SourceChanged: it changed meanwhile.
        OSError: it cannot be read, or is no regular file.
    """
    if isinstance(path, bytes):
        return Bytes(path)
    name = os.fspath(path)
    descriptor, status = open_regular(name)
    try:
        stamp = stamp_of(status)
        if stamp.size > SMALL:
            return FilePart(name, stamp, 0, stamp.size)
        data = os.read(descriptor, stamp.size + 1)
        if len(data) != stamp.size or stamp_of(os.fstat(descriptor)) != stamp:
            raise changed(name)
        return Bytes(data)
    finally:
        os.close(descriptor)


class _FileInParts(InParts):
    """A large file."""

    def __init__(self, upload: Upload, body: FilePart, content_type: str) -> None:
        super().__init__(
            upload.key,
            body.size,
            content_type=content_type,
            metadata=upload.metadata,
            if_absent=upload.if_absent,
            looked=upload.looked,
        )
        self._body = body

    def parts(self, upload_id: str) -> Iterator[Write]:
        """Stretches of the file."""
        bounds = part_bounds(self._body.size, part_size(self._body.size, PART))
        for number, (start, stop) in enumerate(bounds, 1):
            body = self._body._replace(start=start, size=stop - start)
            yield PutPart(self._key, upload_id, number, start, body)


def job_of_copy(each: CopyOf) -> Job:
    """What is to be done for a copy."""
    if each.size <= PUT_MOST:
        return OneRequest(
            Copy(each.source_bucket, each.source_key, each.key, each.source_etag, each.if_absent)
        )
    if not each.source_etag:
        hint = "name the ETag of the source, so that all parts are of one version"
        return Failed(UnexpectedReply(f"{each.source_key!r} is copied in parts", hint=hint))
    return _CopyInParts(each)


class _CopyInParts(InParts):
    """A large object that the servers copy."""

    def __init__(self, each: CopyOf) -> None:
        super().__init__(
            each.key,
            each.size,
            content_type=each.content_type,
            metadata=each.metadata,
            if_absent=each.if_absent,
            described_by="" if each.source_bucket else each.source_key,
        )
        self._copy = each

    def parts(self, upload_id: str) -> Iterator[Write]:
        """Stretches of the source."""
        each = self._copy
        bounds = part_bounds(each.size, part_size(each.size, COPY_PART))
        for number, (start, stop) in enumerate(bounds, 1):
            yield CopyPart(
                each.key,
                upload_id,
                number,
                each.source_bucket,
                each.source_key,
                each.source_etag,
                start,
                stop,
            )
