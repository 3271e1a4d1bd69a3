"""Writes into a local directory that is a store: each file is whole or not there at all.

Nothing is forced to the disk: a machine that loses its power may lose what was just written. A store has no directories
of its own, so those that lose their last file go with it.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

from s3mount.errors import BadBody, NotFound, ObjectChanged, UnexpectedReply
from s3mount.store.bodies import FilePart, stamp_of
from s3mount.store.directory_draft import (
    TEMPORARY,
    Draft,
    commit,
    describe,
    description,
    discard,
    etag_of,
    exists,
    fill,
    fill_from,
    is_temporary,
    missing,
    open_below,
    sweep,
)
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
    Put,
    PutPart,
    Write,
    Written,
)

_SWEPT_MAX = 10_000
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


class DirectoryWriter:
    """The files below a directory, as somebody who writes sees them. One thread.

    Args:
        root: the directory, without symbolic links.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._uploads: dict[str, Draft] = {}
        self._swept: set[str] = set()

    def close(self) -> None:
        """Throw away what was not completed."""
        while self._uploads:
            self._discard(self._uploads.popitem()[1])

    def write(self, request: Write) -> Answer:
        """Do what is asked for.

        Raises:
            StoreError: it cannot be done.
            OSError: the file system refuses.
        """
        match request:
            case Put():
                return self._put(request)
            case Look():
                return self._look(request.key)
            case Delete():
                return self._delete(request.key)
            case Copy():
                return self._copy(request)
            case CreateUpload():
                draft = self._draft(request.key)
                describe(draft, request.content_type, request.metadata)
                self._uploads[draft.temporary] = draft
                return Begun(draft.temporary)
            case _:
                return self._go_on(request)

    def _go_on(self, request: PutPart | CopyPart | CompleteUpload | AbortUpload) -> Answer:
        """The next step of an upload."""
        draft = self._uploads.get(request.upload_id)
        if isinstance(request, AbortUpload):
            if draft is not None:
                self._discard(self._uploads.pop(request.upload_id))
            return Gone(request.key)
        if draft is None:
            raise NotFound("no such upload", key=request.key, status=404, code="NoSuchUpload")
        match request:
            case PutPart():
                fill(draft, request.body, request.start)
                return Written(str(request.number))
            case CopyPart():
                self._copy_part(draft, request)
                return Written(str(request.number))
            case CompleteUpload():
                if os.fstat(draft.descriptor).st_size != request.size:
                    raise BadBody(f"{request.key!r}: parts are missing", key=request.key)
                del self._uploads[request.upload_id]
                return commit(draft, if_absent=request.if_absent)

    def _put(self, request: Put) -> Written:
        if request.key.endswith("/"):
            return self._make_directory(request)
        with self._drafted(request.key) as draft:
            fill(draft, request.body, 0)
            describe(draft, request.content_type, request.metadata)
        return commit(draft, if_absent=request.if_absent)

    def _make_directory(self, request: Put) -> Written:
        if request.body.size or request.metadata:
            what = f"{request.key!r} is a directory here and holds nothing"
            raise UnexpectedReply(what, key=request.key)
        path = self._place(request.key)
        try:
            os.makedirs(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
            if request.if_absent:
                raise exists(request.key) from None
        return Written("", mtime_ns=os.stat(path).st_mtime_ns)

    def _look(self, key: str) -> Facts:
        path = self._place(key)
        if key.endswith("/"):
            if not os.path.isdir(path):
                raise missing(key)
            return Facts(key, 0, "", os.stat(path).st_mtime_ns)
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno in _GONE:
                raise missing(key) from None
            raise
        if not S_ISREG(status.st_mode):
            raise missing(key)
        content_type, metadata = description(path)
        etag = etag_of(status)
        return Facts(key, status.st_size, etag, status.st_mtime_ns, content_type, metadata)

    def _delete(self, key: str) -> Gone:
        try:
            path = self._place(key)
        except UnexpectedReply:
            return Gone(key)
        try:
            if key.endswith("/"):
                os.rmdir(path)
            else:
                os.unlink(path)
        except OSError as error:
            # A directory that still holds something is not an object; nor is one where a file was meant.
            if error.errno not in _GONE | {errno.ENOTEMPTY, errno.EISDIR}:
                raise
            return Gone(key)
        self._remove_empty(os.path.dirname(path))
        return Gone(key)

    def _remove_empty(self, directory: str) -> None:
        with contextlib.suppress(OSError):
            while len(directory) > len(self._root):
                os.rmdir(directory)
                directory = os.path.dirname(directory)

    def _copy(self, request: Copy) -> Written:
        source = self._source(request.source_bucket, request.source_key, request.source_etag)
        with self._drafted(request.key) as draft:
            fill_from(draft, source, request.source_key)
            describe(draft, *description(source.path))
        return commit(draft, if_absent=request.if_absent)

    def _copy_part(self, draft: Draft, request: CopyPart) -> None:
        whole = self._source(request.source_bucket, request.source_key, request.source_etag)
        size = request.stop - request.start
        part = FilePart(whole.path, whole.stamp, request.start, size)
        fill_from(draft, part, request.source_key)

    def _source(self, bucket: str, key: str, etag: str) -> FilePart:
        """The file that a copy is made of."""
        where = DirectoryWriter(Path(bucket).resolve()) if bucket else self
        path = where._place(key)
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno in _GONE:
                raise missing(key) from None
            raise
        if etag and etag != etag_of(status):
            raise ObjectChanged("the file was changed", key=key)
        return FilePart(path, stamp_of(status), 0, status.st_size)

    def _place(self, key: str) -> str:
        """The path of a key.

        Raises:
            UnexpectedReply: no file can have it, or it leads out of the directory.
        """
        parts = key.removesuffix("/").split("/")
        if any(part in ("", ".", "..") or "\0" in part or is_temporary(part) for part in parts):
            raise UnexpectedReply(
                f"{key!r} cannot be a file below {self._root}",
                key=key,
                hint="leave out empty parts, dots and NULs",
            )
        path = os.path.join(self._root, *parts)
        parent = os.path.dirname(path)
        if os.path.realpath(parent) != parent:
            what = f"{key!r} lies behind a symbolic link, which is no part of {self._root}"
            raise UnexpectedReply(what, key=key)
        return path

    @contextlib.contextmanager
    def _drafted(self, key: str) -> Iterator[Draft]:
        draft = self._draft(key)
        try:
            yield draft
        except BaseException:
            self._discard(draft)
            raise

    def _discard(self, draft: Draft) -> None:
        discard(draft)
        self._remove_empty(os.path.dirname(draft.path))

    def _draft(self, key: str) -> Draft:
        path = self._place(key)
        parent = os.path.dirname(path)
        temporary = os.path.join(parent, TEMPORARY + os.urandom(8).hex())
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = open_below(parent, temporary, flags)
        except (FileExistsError, NotADirectoryError) as error:
            what = f"{key!r}: there is a file where it needs a directory"
            raise UnexpectedReply(what, key=key) from error
        draft = Draft(key, path, temporary, descriptor)
        if parent not in self._swept:
            if len(self._swept) >= _SWEPT_MAX:
                self._swept.clear()
            self._swept.add(parent)
            sweep(parent, os.fstat(descriptor).st_mtime_ns)
        return draft
