"""Files below a directory, each whole or not there at all, and none outside of it whatever its path says.

A small file is written without a name and then given the one of its place. A large one, one whose place is taken, and
every one on a file system without nameless files is written under a temporary name beside its place, and renamed. What
was written during this run is known by its change time, which no program sets back: so two keys with one path are
noticed without remembering every path.

Concurrency rule: everything is called on one thread, but for `PartFile`, whose methods are called on another, one after
the other.
"""

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Sequence
from itertools import count

from s3mount.bulk.folders import Folders, NotWritable, Run, new_run
from s3mount.bulk.keys import FilePath, encoded
from s3mount.bulk.wanted import (
    Wanted,
    collision,
    describe,
    fill,
    same_time,
    translated,
)
from s3mount.store.interface import Head
from s3mount.store.nameless import NAMELESS, give_name
from s3mount.store.pieces import drain_at, write_at
from s3mount.store.pipe import Pipe

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
NO_NAMELESS = frozenset(
    {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.EPERM, errno.EXDEV}
)
"""What file systems say that make no nameless files or give them no name later, and what a missing ``/proc`` says."""
ODD_KEPT = 100_000
"""Paths of keys that are not plain, remembered to name them when another key wants the same one."""
TRIES = 5
"""Times that a file is written anew after another run took its temporary one for a leftover."""


class Target:
    """The directory that files are written below.

    Args:
        root: the directory, which must exist.
        keeps_existing: files that are there already are kept when they look right; then a key that is not plain
            replaces no other file.
        sweeps: remove what a run that was killed has left, in every directory that is entered.
        run: which one writes; a new one where nobody says.

    Raises:
        ConfigError: it is not a directory.
    """

    def __init__(
        self,
        root: str,
        *,
        keeps_existing: bool = False,
        sweeps: bool = True,
        run: Run | None = None,
    ) -> None:
        run = run or new_run()
        self._folders = Folders(root, sweeps=sweeps, run=run)
        self._root = root if root.endswith("/") else f"{root}/"
        self._keeps_existing = keeps_existing
        self._makes_nameless = True
        self._temporary = run.temporary.encode()
        self._serial = count(run.first_serial)
        # Guarded by the lock: names are given by the thread of small files and by that of large ones.
        self._lock = threading.Lock()
        self._began_ns: int | None = None
        self._has_odd = False
        self._odd: dict[str, str] = {}

    def close(self) -> None:
        """Give descriptors back; files that are under way must have ended."""
        self._folders.close()

    def note_beginning(self) -> None:
        """What other processes write from now on counts as written during this run.

        Raises:
            NotWritable: nothing can be written.
        """
        try:
            folder = self._folders.open("", make=False)
            temporary, descriptor = self.create(folder)
            os.close(descriptor)
            os.unlink(temporary, dir_fd=folder)
        except OSError as error:
            raise translated(error, FilePath("", "", True)) from error

    def place(self, path: FilePath) -> str:
        """The whole path of a file, for people."""
        return (
            f"{self._root}{path.directory}/{path.name}"
            if path.directory
            else self._root + path.name
        )

    def holds(self, wanted: Wanted) -> bool:
        """Whether a file of the right size and time is in its place; a link to one is not."""
        path = wanted.path
        try:
            folder = self._folders.open(path.directory, make=False)
            found = os.stat(encoded(path.name), dir_fd=folder, follow_symlinks=False)
        except (OSError, NotWritable):
            return False
        if not stat.S_ISREG(found.st_mode) or found.st_size != wanted.size:
            return False
        if not same_time(found.st_mtime_ns, wanted.mtime_ns):
            return False
        if not path.is_plain:
            with self._lock:
                self._note_odd(wanted)
        return True

    def described(self, wanted: Wanted, head: Head) -> Wanted:
        """What a file is to be now that a reply tells of its object; the same unless a subclass reads more."""
        return wanted

    def write(self, wanted: Wanted, body: bytes) -> None:
        """Write a whole file at once.

        Raises:
            NotWritable: it cannot be there.
        """
        try:
            folder = self._folders.open(wanted.path.directory, make=True)
            if self._makes_nameless and self._write_nameless(folder, wanted, body):
                return
            for _ in range(TRIES):
                if self._write(folder, wanted, body):
                    return
        except OSError as error:
            raise translated(error, wanted.path) from error
        raise NotWritable(f"the temporary file of {str(wanted.path)!r} is removed again and again")

    def begin(self, wanted: Wanted) -> "PartFile":
        """Begin a file that is written piece by piece.

        Raises:
            NotWritable: it cannot be there.
        """
        try:
            folder = self._folders.open(wanted.path.directory, make=True)
            return PartFile(self, wanted, folder)
        except OSError as error:
            raise translated(error, wanted.path) from error

    def create(self, folder: int) -> tuple[bytes, int]:
        """A new temporary file: its name and its descriptor."""
        name = b"%s%08x.part" % (self._temporary, next(self._serial) & 0xFFFFFFFF)
        descriptor = os.open(name, CREATE, 0o666, dir_fd=folder)
        self._note_began(descriptor)
        return name, descriptor

    def give_place(self, folder: int, temporary: bytes, wanted: Wanted) -> None:
        """Rename a file to its place.

        Raises:
            Collision: another key's file is there.
            OSError: the file system refuses.
        """
        name = encoded(wanted.path.name)
        with self._lock:
            self._claim(folder, name, wanted)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _note_began(self, descriptor: int) -> None:
        if self._began_ns is None:
            self._began_ns = os.fstat(descriptor).st_ctime_ns

    def _write_nameless(self, folder: int, wanted: Wanted, body: bytes) -> bool:
        """False when there is a file in its place already, or when this file system wants another way."""
        try:
            descriptor = os.open(b".", os.O_WRONLY | NAMELESS, 0o666, dir_fd=folder)
        except OSError as error:
            self._refused_nameless(error)
            return False
        try:
            if self._began_ns is None:
                self._note_began(descriptor)
            fill(descriptor, wanted, body)
            name = encoded(wanted.path.name)
            with self._lock:
                if self._has_odd or not wanted.path.is_plain:
                    self._claim(folder, name, wanted)
                try:
                    give_name(descriptor, name, directory=folder)
                except FileExistsError:
                    return False
                except OSError as error:
                    self._refused_nameless(error)
                    return False
            return True
        finally:
            os.close(descriptor)

    def _refused_nameless(self, error: OSError) -> None:
        if error.errno not in NO_NAMELESS:
            raise error
        self._makes_nameless = False

    def _write(self, folder: int, wanted: Wanted, body: bytes) -> bool:
        """False when another run removed the temporary file."""
        temporary, descriptor = self.create(folder)
        try:
            try:
                fill(descriptor, wanted, body)
            finally:
                os.close(descriptor)
            self.give_place(folder, temporary, wanted)
        except FileNotFoundError:
            return False
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        return True

    # Under the lock.

    def _claim(self, folder: int, name: bytes, wanted: Wanted) -> None:
        if self._has_odd or not wanted.path.is_plain:
            self._check_free(folder, name, wanted)
            self._note_odd(wanted)

    def _check_free(self, folder: int, name: bytes, wanted: Wanted) -> None:
        first = self._odd.get(str(wanted.path))
        if first is not None and first != wanted.key:
            raise collision(wanted, f"as {first!r} has")
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            return  # the rename says so
        if self._began_ns is not None and found.st_ctime_ns >= self._began_ns:
            raise collision(wanted, "where a file was written during this run already")
        if self._keeps_existing and not wanted.path.is_plain:
            raise collision(wanted, "where another file is kept")

    def _note_odd(self, wanted: Wanted) -> None:
        if not wanted.path.is_plain:
            self._has_odd = True
            if len(self._odd) < ODD_KEPT:
                self._odd[str(wanted.path)] = wanted.key


class PartFile:
    """A file on its way: its pieces may come in any order. It is locked, so that no other run takes it for a leftover.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, target: Target, wanted: Wanted, folder: int) -> None:
        self._target = target
        self._wanted = wanted
        self._name, self._descriptor = target.create(folder)
        self._folder = -1
        try:
            self._folder = os.dup(folder)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.unlink(self._name, dir_fd=folder)
            self._close()
            raise

    def write(self, pieces: Sequence[bytes], start: int) -> None:
        """Write some bytes.

        Raises:
            NotWritable: the disk is full, or fails.
        """
        try:
            write_at(self._descriptor, pieces, start)
        except OSError as error:
            raise translated(error, self._wanted.path) from error

    def drain(self, pipe: Pipe, start: int) -> None:
        """Write all that a pipe holds.

        Raises:
            NotWritable: the disk is full, or fails.
        """
        try:
            drain_at(self._descriptor, pipe, start)
        except OSError as error:
            raise translated(error, self._wanted.path) from error

    def commit(self) -> None:
        """All bytes are written: give the file its time and its place. Closes it, whatever happens.

        Raises:
            NotWritable: it cannot be there; nothing is left of it.
        """
        try:
            self._finish(self._wanted)
        except OSError as error:
            self.discard()
            raise translated(error, self._wanted.path) from error
        except BaseException:
            self.discard()
            raise
        self._close()

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            os.unlink(self._name, dir_fd=self._folder)
        self._close()

    def _finish(self, wanted: Wanted) -> None:
        found = os.fstat(self._descriptor).st_size
        if found != wanted.size:
            raise NotWritable(f"{str(wanted.path)!r} has {found} bytes of {wanted.size}")
        describe(self._descriptor, wanted)
        self._target.give_place(self._folder, self._name, wanted)

    def _close(self) -> None:
        for descriptor in (self._descriptor, self._folder):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._descriptor = self._folder = -1
