"""A local directory as a store: ``file:///dir``, no server needed.

Keys are the paths below the directory; an empty directory is a directory marker. The version of a file is made of its
inode, size and modification time, so a file that is replaced or written to has another ETag. Symbolic links to files
are followed, those to directories are not (they could run in circles), and no key leads out of the directory.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from stat import S_ISREG

from s3mount.errors import (
    AccessDenied,
    BadBody,
    NotFound,
    ObjectChanged,
    StoreError,
    UnexpectedReply,
    as_store_error,
)
from s3mount.metrics import Counters
from s3mount.store.bell import Bell
from s3mount.store.buffers import read_at
from s3mount.store.directory_draft import etag_of, is_temporary
from s3mount.store.directory_writing import DirectoryWriter
from s3mount.store.interface import (
    Get,
    Head,
    ListPage,
    ObjectMeta,
    Page,
    Receiver,
    Request,
    key_of,
)
from s3mount.store.paging import byte_order, fold_page

KEPT_WALKS = 16
"""Listings that may be continued without sorting the directory again."""

CHUNK = 1024 * 1024
"""Bytes read at a time: one read call of the kernel's largest FUSE request."""


class DirectoryStore:
    """The files below a directory, as objects.

    Args:
        root: the directory.

    Raises:
        NotFound: it does not exist or is no directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.counters = Counters()
        if not self.root.is_dir():
            raise NotFound(f"{root} is not a directory", hint="Name a directory that exists.")
        self._pending: deque[tuple[Request, Receiver]] = deque()
        self._bell = Bell()
        self._writer = DirectoryWriter(self.root)
        self._walks: dict[tuple[str, str, str], Iterator[str]] = {}

    @property
    def identity(self) -> str:
        """The directory's path: two mounts of one directory share their cache."""
        return f"file://{self.root}"

    @property
    def description(self) -> str:
        """As the source is written."""
        return f"file://{self.root}"

    def submit(self, request: Request, receiver: Receiver) -> None:
        """Begin a request."""
        self._pending.append((request, receiver))

    def cancel(self, receiver: Receiver) -> None:
        """Forget a request."""
        self._pending = deque(entry for entry in self._pending if entry[1] is not receiver)

    def poll(self, timeout: float) -> None:
        """Answer the oldest request; else wait."""
        if not self._pending:
            self._bell.wait(timeout)
            return
        request, receiver = self._pending.popleft()
        try:
            self._answer(request, receiver)
        except OSError as error:
            receiver.done(_translate(error, request))
        except Exception as error:
            receiver.done(as_store_error(error, key_of(request)))
        else:
            receiver.done(None)

    def wake(self) -> None:
        """Make a waiting poll return. From any thread, also after ``close``."""
        self._bell.ring()

    def renew(self) -> None:
        """Nothing wears out."""

    def close(self) -> None:
        """Give the wake-up descriptor back."""
        self._pending.clear()
        self._writer.close()
        self._bell.close()

    def _answer(self, request: Request, receiver: Receiver) -> None:
        if isinstance(request, ListPage):
            self.counters.add("requests.list")
            receiver.page(self._page(request))
        elif isinstance(request, Get):
            self.counters.add("requests.get")
            self._send(request, receiver)
        else:
            self.counters.add("requests.write")
            receiver.answer(self._writer.write(request))

    def _page(self, request: ListPage) -> Page:
        keys = None
        if request.token is not None:
            keys = self._walks.pop((request.prefix, request.delimiter, request.token), None)
        if keys is None:
            keys = self._keys(request.prefix, deep=request.delimiter != "/")
        page, rest = _take_page(keys, request, self._meta)
        if page.next_token is not None:
            # A listing that is continued goes on where it stood instead of sorting the directory again.
            self._walks[(request.prefix, request.delimiter, page.next_token)] = rest
            while len(self._walks) > KEPT_WALKS:
                self._walks.pop(next(iter(self._walks)))
        return page

    def _keys(self, prefix: str, *, deep: bool) -> Iterator[str]:
        parent = prefix[: prefix.rfind("/") + 1]
        yield from (key for key in self._walk(parent, prefix, deep=deep) if key.startswith(prefix))

    def _walk(self, parent: str, prefix: str, *, deep: bool) -> Iterator[str]:
        try:
            names = self._names(parent)
        except (NotFound, FileNotFoundError, NotADirectoryError):
            return
        if not names and parent:
            yield parent
        for name in names:
            key = parent + name
            may_match = key.startswith(prefix) or prefix.startswith(key)
            if deep and name.endswith("/"):
                if may_match:
                    yield from self._walk(key, prefix, deep=True)
            else:
                yield key

    def _names(self, parent: str) -> list[str]:
        path = self._path(parent)
        self._refuse_links(path, parent)
        with os.scandir(path) as entries:
            names = [
                entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry in entries
                if not is_temporary(entry.name)
            ]
        return sorted(names, key=byte_order)

    def _meta(self, key: str) -> ObjectMeta | None:
        try:
            status = os.stat(self._path(key))
        except OSError:
            return None
        if key.endswith("/"):
            return ObjectMeta(key, 0, "", status.st_mtime_ns)
        if not S_ISREG(status.st_mode):
            return None
        return ObjectMeta(key, status.st_size, etag_of(status), status.st_mtime_ns)

    def _path(self, key: str) -> str:
        parts = key.removesuffix("/").split("/") if key else []
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise NotFound("no such key", key=key, status=404)
        return os.path.join(self.root, *parts)

    def _refuse_links(self, path: str, key: str) -> None:
        """Symbolic links to directories are no part of the bucket, whoever asks for what is behind them."""
        if os.path.realpath(path) != path:
            raise NotFound("no such key", key=key, status=404)

    def _send(self, request: Get, receiver: Receiver) -> None:
        path = self._path(request.key)
        self._refuse_links(os.path.dirname(path), request.key)
        # A pipe that has taken the place of a file would make a plain open wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            before = os.fstat(descriptor)
            if not S_ISREG(before.st_mode) or request.key.endswith("/"):
                raise NotFound("not a file", key=request.key)
            if request.etag and request.etag != etag_of(before):
                raise ObjectChanged("the file was changed", key=request.key)
            receiver.head(Head(etag_of(before), before.st_size))
            for start in range(request.start, request.stop, CHUNK):
                chunk = read_at(descriptor, min(CHUNK, request.stop - start), start)
                # A writer that changes the file in place shows in its time or size; bytes read before that are good.
                if etag_of(os.fstat(descriptor)) != etag_of(before):
                    raise ObjectChanged("the file was changed", key=request.key)
                if len(chunk) != min(CHUNK, request.stop - start):
                    raise BadBody("the file is shorter than its size", key=request.key)
                self.counters.add("bytes.received", len(chunk))
                receiver.data(chunk)
        finally:
            os.close(descriptor)


def _take_page(
    keys: Iterator[str], request: ListPage, meta_of: Callable[[str], ObjectMeta | None]
) -> tuple[Page, Iterator[str]]:
    """One page, and the keys behind it with the one that was read too far put back."""
    last_read: list[str] = []

    def noted() -> Iterator[str]:
        for key in keys:
            last_read[:] = [key]
            yield key

    page = fold_page(noted(), request, meta_of)
    return page, chain(last_read, keys)


def _translate(error: OSError, request: Request) -> StoreError:
    key = key_of(request)
    text = os.strerror(error.errno or 0)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
        return NotFound(text, key=key)
    if error.errno in (errno.EACCES, errno.EPERM):
        return AccessDenied(text, key=key, hint="The user that mounts must be able to read it.")
    return UnexpectedReply(text, key=key)
