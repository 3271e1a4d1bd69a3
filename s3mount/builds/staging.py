"""A tree that is made beside its place, and given its place when it is whole.

The directory is locked while somebody fills it, so what a killed run has left is known by its missing lock and removed
by the next. Concurrency rule: each `Staging` belongs to one thread at a time.
"""

import contextlib
import ctypes
import fcntl
import logging
import os
import re
import shutil
import stat
from pathlib import Path

from s3mount.bulk.folders import Folders, NotWritable
from s3mount.bulk.keys import encoded
from s3mount.errors import S3MountError

log = logging.getLogger(__name__)

_NAME = re.compile(r"\.s3mount-[0-9a-f]{24}\.tree")
_TRIES = 5
_AT_FDCWD = -100
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)


class Staging:
    """A new, empty, locked directory.

    Attributes:
        path: of it.

    Args:
        beside: the directory that it is made in.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, beside: Path) -> None:
        for _ in range(_TRIES):
            self.path = beside / f".s3mount-{os.urandom(12).hex()}.tree"
            self.path.mkdir()
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another run may have taken it for a leftover before it was locked.
            if os.fstat(self._lock).st_nlink:
                return
            os.close(self._lock)
        raise FileNotFoundError(f"{beside}: a new directory is removed again and again")

    def give_place(self, place: Path) -> None:
        """Put the tree where it belongs, in one step; what was there before is removed.

        Raises:
            OSError: the file system refuses; what was there is still there.
        """
        try:
            os.rename(self.path, place)
        except OSError:
            if not os.path.lexists(place):
                raise
            _exchange(self.path, place)
        finally:
            self.discard()

    def merge_into(self, output: Path) -> int:
        """Move every file below another directory, in the place of what has the same path.

        Args:
            output: an existing directory; no symbolic link below it is followed.

        Returns:
            How many files took the place of another.

        Raises:
            S3MountError: a directory and a file have the same path; files that were moved before stay.
            OSError: the file system refuses.
        """
        folders = Folders(os.fspath(output), sweeps=False)
        try:
            return _merge(self.path, "", folders)
        except NotWritable as error:
            raise S3MountError(
                error.message, hint="flatten into an empty directory: --output-dir"
            ) from error
        finally:
            folders.close()
            self.discard()

    def discard(self) -> None:
        """Leave nothing behind; again it does nothing."""
        if self._lock >= 0:
            remove(self.path)
            os.close(self._lock)
            self._lock = -1


def remove(path: Path) -> None:
    """Remove what is at a path, whatever it is; what cannot be removed is told to the log."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s could not be removed: %s", path, error.strerror or error)


def sweep(directory: Path) -> None:
    """Remove what killed runs have left in a directory."""
    for name in os.listdir(directory):
        if _NAME.fullmatch(name):
            with contextlib.suppress(OSError):
                _remove_unlocked(directory / name)


def _remove_unlocked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
        log.info("removed %s, which a run that was killed has left", path)
    finally:
        os.close(descriptor)


def _merge(folder: Path, below: str, folders: Folders) -> int:
    replaced = 0
    with os.scandir(folder) as entries:
        found = list(entries)  # what is moved while a directory is read may hide what follows
    for entry in found:
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir(follow_symlinks=False):
            replaced += _merge_folder(folder / entry.name, path, folders)
        else:
            # Asked for each time: descriptors that were not used lately are closed.
            replaced += _move(entry, folders.open(below, make=True))
    return replaced


def _merge_folder(folder: Path, path: str, folders: Folders) -> int:
    """A directory that was there before keeps its mode."""
    try:
        folders.open(path, make=False)
    except FileNotFoundError:
        descriptor = folders.open(path, make=True)
        os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(os.stat(folder).st_mode))
    return _merge(folder, path, folders)


def _move(entry: "os.DirEntry[str]", folder: int) -> bool:
    """Whether something was in its place before."""
    name = encoded(entry.name)
    try:
        was_there = stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode) != 0
    except FileNotFoundError:
        was_there = False
    try:
        os.rename(entry.path, name, dst_dir_fd=folder)
    except IsADirectoryError as error:
        raise NotWritable(
            f"{entry.name!r} is a directory, and a file is needed in its place"
        ) from (error)
    return was_there


def _exchange(first: Path, second: Path) -> None:
    """Swap two names in one step, where the file system can; else there is a moment without the second."""
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = (os.fsencode(first), os.fsencode(second))
    if swap is not None and not swap(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE):
        return
    aside = first.with_name(first.name.replace(".tree", ".old"))
    os.rename(second, aside)
    try:
        os.rename(first, second)
    except OSError:
        os.rename(aside, second)
        raise
    os.rename(aside, first)
