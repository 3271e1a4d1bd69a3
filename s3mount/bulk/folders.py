"""Open directories below one, found part by part without following a symbolic link.

Descriptors are kept for the directories that were used last, so that most files cost no walk. Concurrency rule: one
thread.
"""

import contextlib
import fcntl
import logging
import os
import stat
from collections import OrderedDict
from typing import NamedTuple

from s3mount.bulk.keys import TEMPORARY, encoded
from s3mount.errors import ConfigError, S3MountError

log = logging.getLogger(__name__)

KEPT = 128
"""Descriptors kept open: pages of 32 listings at once rarely name more directories than that."""
SWEPT = 10_000
"""Directories that are remembered to have been looked through; of more, some are looked through again."""
SERIALS = 1 << 28
"""Temporary names that each process of a run has before it takes those of the next."""
WALK = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
"""Opens a directory to go on from: that needs no permission to read it."""


class NotWritable(S3MountError):
    """A file cannot be written where its key says; the message says why."""


class Run(NamedTuple):
    """A run, as its temporary files are named; the processes of one run do not take each other's files for left ones.

    Attributes:
        name: the same in every process of the run.
        number: another one in each of them, from 0 to 15.
    """

    name: str
    number: int = 0

    @property
    def temporary(self) -> str:
        """How its temporary names begin."""
        return f".s3mount-{self.name}"

    @property
    def first_serial(self) -> int:
        """The number of its first temporary file."""
        return self.number * SERIALS


def new_run() -> Run:
    """A run that has no other process yet."""
    return Run(os.urandom(8).hex())


class Folders:
    """The directories below ``root``.

    Args:
        root: where they are; may be a symbolic link itself.
        kept: descriptors that stay open, at the most.
        sweeps: remove what a run that was killed has left, in every directory that is opened.
        run: the one that writes: its own temporary files are never left ones.

    Raises:
        ConfigError: it is not a directory.
    """

    def __init__(
        self, root: str, kept: int = KEPT, *, sweeps: bool = True, run: Run | None = None
    ) -> None:
        try:
            self._root = os.open(root, WALK)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it holds a NUL"
            hint = "name a directory that exists: mkdir -p makes one"
            raise ConfigError(f"{root!r}: {why}", hint=hint) from error
        self._kept = kept
        self._sweeps = sweeps
        self._own = (run or new_run()).temporary
        self._swept: set[str] = set()
        self._open: OrderedDict[str, int] = OrderedDict()
        if sweeps:
            _sweep(self._root, self._own)

    def close(self) -> None:
        """Close every descriptor."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        os.close(self._root)

    def open(self, path: str, *, make: bool) -> int:
        """The descriptor of a directory, good until the next call.

        Args:
            path: relative, without ``.`` and ``..``; empty for the root.
            make: make what is missing.

        Raises:
            FileNotFoundError: it is not there, and was not to be made.
            NotWritable: a part of it is no directory.
            OSError: the file system refuses.
        """
        found = self._open.get(path)
        if found is not None:
            self._open.move_to_end(path)
            return found
        if not path:
            return self._root
        return self._walk(path.split("/"), make=make)

    def _walk(self, parts: list[str], *, make: bool) -> int:
        known = len(parts) - 1
        while known and "/".join(parts[:known]) not in self._open:
            known -= 1
        at = self._open["/".join(parts[:known])] if known else self._root
        for number in range(known, len(parts)):
            path = "/".join(parts[: number + 1])
            at, is_new = _enter(at, parts, number, make=make)
            if self._sweeps and path not in self._swept:
                self._sweep_once(at, path, is_new=is_new)
            self._keep(path, at)
        return at

    def _sweep_once(self, descriptor: int, path: str, *, is_new: bool) -> None:
        if not is_new:
            _sweep(descriptor, self._own)
        if len(self._swept) < SWEPT:
            self._swept.add(path)

    def _keep(self, path: str, descriptor: int) -> None:
        self._open[path] = descriptor
        if len(self._open) > self._kept:
            _, oldest = self._open.popitem(last=False)
            os.close(oldest)


def _enter(parent: int, parts: list[str], number: int, *, make: bool) -> tuple[int, bool]:
    """Open one part of a path; its descriptor, and whether it was made."""
    name = encoded(parts[number])
    try:
        try:
            return os.open(name, WALK | os.O_NOFOLLOW, dir_fd=parent), False
        except FileNotFoundError:
            if not make:
                raise
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
            return os.open(name, WALK | os.O_NOFOLLOW, dir_fd=parent), True
    except NotADirectoryError:
        raise _no_directory(parent, parts, number) from None


def _no_directory(parent: int, parts: list[str], number: int) -> NotWritable:
    path = "/".join(parts[: number + 1])
    try:
        mode = os.stat(encoded(parts[number]), dir_fd=parent, follow_symlinks=False).st_mode
    except OSError:
        mode = 0
    if stat.S_ISLNK(mode):
        return NotWritable(
            f"{path!r} is a symbolic link, which is not followed",
            hint="put a directory in its place, or name its target with --download-dir",
        )
    return NotWritable(
        f"{path!r} is a file, and a directory is needed in its place",
        hint="a file cannot be a directory too: leave one of the keys out with --exclude",
    )


def _sweep(folder: int, own: str) -> None:
    """Remove what a run that was killed has left in a directory. What another run is writing stays: it is locked.

    Small files are too short-lived to be locked; a process of the same run leaves those of its siblings alone.
    """
    try:
        readable = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return
    try:
        left = [name for name in os.listdir(readable) if name.startswith(".s3mount-")]
    except OSError:
        return
    finally:
        os.close(readable)
    for name in left:
        if TEMPORARY.fullmatch(name) and not name.startswith(own):
            with contextlib.suppress(OSError):
                _remove_unlocked(name, folder)


def _remove_unlocked(name: str, folder: int) -> None:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.unlink(name, dir_fd=folder)
            log.info("removed %r, which a run that was killed has left", name)
    finally:
        os.close(descriptor)
