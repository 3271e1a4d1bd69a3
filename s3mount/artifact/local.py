"""Artifacts in a directory of this machine, or one that it shares with others: each a plain file.

Files keep their mode and modification time. Links that others put there are not followed.
"""

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import BinaryIO

from s3mount.artifact import parallel
from s3mount.artifact.backend import JOBS, Artifact, Told
from s3mount.artifact.failures import NotPushable, already_exists, exists_locally, not_found
from s3mount.artifact.placing import Placing, made_directory, plan, refuse_clashes
from s3mount.artifact.tree import LocalFile
from s3mount.bulk.keys import TEMPORARY, KeyMap
from s3mount.bulk.wanted import Wanted
from s3mount.errors import ConfigError

CHUNK = 1 << 20


class LocalBackend:
    """The files below a directory; a `Backend`.

    Args:
        directory: must exist.

    Raises:
        ConfigError: it is not a directory.
    """

    def __init__(self, directory: str) -> None:
        if not os.path.isdir(directory):
            raise ConfigError(
                f"there is no directory {directory!r}", hint="ARTIFACT_LOCAL_DIR must name one"
            )
        self._root = os.path.realpath(directory)
        self._is_over = threading.Event()

    def push(self, files: Sequence[LocalFile], *, force: bool, told: Told) -> None:
        """See `Backend.push`."""
        for file in files:
            self._refuse_taken(file.remote, force=force)
        taken = None if force else _taken_here
        keys = KeyMap("")
        with closing(Placing(self._root, taken)) as target:

            def store(file: LocalFile) -> LocalFile:
                path = keys.path_of(file.remote)
                wanted = Wanted(file.remote, path, file.size, file.mtime_ns, file.mode)
                chunks = read_whole(file.path, file.size, file.mtime_ns)
                target.receive(wanted, parallel.until(self._is_over, chunks))
                return file

            with closing(parallel.in_parallel(store, files, JOBS, self._is_over)) as done:
                for file in done:
                    told(file.remote, file.size)

    def pull(self, remote: str, local: str, *, force: bool, told: Told) -> None:
        """See `Backend.pull`."""
        found = dict(self._found(remote))
        if not found:
            raise not_found(remote)
        planned = plan(remote, local, list(found))
        refuse_clashes(planned, force=force)
        taken = None if force else partial(_taken_there, planned.root)
        with closing(Placing(made_directory(planned.root), taken)) as target:

            def fetch(each: str) -> str:
                status = found[each]
                size, mode = status.st_size, status.st_mode & 0o777
                wanted = Wanted(each, planned.paths[each], size, status.st_mtime_ns, mode)
                chunks = read_whole(self._path(each), status.st_size, status.st_mtime_ns)
                target.receive(wanted, parallel.until(self._is_over, chunks))
                return each

            with closing(parallel.in_parallel(fetch, found, JOBS, self._is_over)) as done:
                for each in done:
                    told(each, found[each].st_size)

    def yank(self, remote: str) -> int:
        """See `Backend.yank`."""
        found = [each for each, _ in self._found(remote)]
        if not found:
            raise not_found(remote)
        for each in found:
            with suppress(FileNotFoundError):
                os.unlink(self._path(each))
        for directory in sorted({os.path.dirname(each) for each in found}, reverse=True):
            self._prune(directory)
        return len(found)

    def exists(self, remote: str) -> bool:
        """See `Backend.exists`."""
        return next(self._found(remote), None) is not None

    def list(self, remote: str) -> Sequence[Artifact]:
        """See `Backend.list`."""
        found = self._found(remote)
        # The modification time is that of the file that was pushed.
        return [Artifact(each, status.st_size, status.st_ctime_ns) for each, status in found]

    def close(self) -> None:
        """See `Backend.close`."""

    def _path(self, remote: str) -> str:
        return os.path.join(self._root, remote)

    def _refuse_taken(self, remote: str, *, force: bool) -> None:
        path = self._path(remote)
        if os.path.lexists(path) and not force:
            raise already_exists(remote)
        if os.path.isdir(path):
            raise NotPushable(
                f"{remote} is a directory, and a file is needed in its place",
                hint="yank it first, or push to another name with -d",
            )

    def _found(self, remote: str) -> Iterator[tuple[str, os.stat_result]]:
        """Files and their facts, in the order of their paths within each directory."""
        path = self._path(remote)
        if os.path.realpath(path) != path:
            return
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISREG(status.st_mode):
            yield remote, status
        elif stat.S_ISDIR(status.st_mode):
            yield from self._below(remote)

    def _below(self, remote: str) -> Iterator[tuple[str, os.stat_result]]:
        for name in sorted(os.listdir(self._path(remote))):
            each = f"{remote}/{name}"
            with suppress(FileNotFoundError):
                status = os.lstat(self._path(each))
                if stat.S_ISDIR(status.st_mode):
                    yield from self._below(each)
                elif stat.S_ISREG(status.st_mode) and not TEMPORARY.fullmatch(name):
                    yield each, status

    def _prune(self, directory: str) -> None:
        """Remove directories that are empty now, from the innermost on."""
        while directory:
            try:
                os.rmdir(self._path(directory))
            except OSError:
                return
            directory = os.path.dirname(directory)


def read_whole(path: str, size: int, mtime_ns: int) -> Iterator[bytes]:
    """The bytes of a file that was seen with a certain size and time; the last of them only when it still has those.

    Raises:
        NotPushable: it was changed since, or cannot be read.
    """
    left = size
    try:
        with open(path, "rb") as file:
            chunk = file.read(CHUNK)
            while chunk:
                left -= len(chunk)
                following = file.read(CHUNK)
                is_last = left <= 0 or not following
                if is_last and not _is_whole(file, left, following, mtime_ns):
                    left = left or -1
                    break
                yield chunk
                chunk = following
    except OSError as error:
        raise NotPushable(f"'{path}' cannot be read: {error.strerror}") from error
    if left:
        raise NotPushable(f"'{path}' changed while it was read", hint="run the same command again")


def _is_whole(file: BinaryIO, left: int, following: bytes, mtime_ns: int) -> bool:
    return not left and not following and os.fstat(file.fileno()).st_mtime_ns == mtime_ns


def _taken_here(wanted: Wanted) -> Exception:
    return already_exists(wanted.key)


def _taken_there(root: str, wanted: Wanted) -> Exception:
    return exists_locally(os.path.join(root, str(wanted.path)))
