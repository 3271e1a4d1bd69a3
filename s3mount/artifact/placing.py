"""Where fetched artifacts go on this machine, and how they get there: whole, with their mode, and over nothing unasked.

Which path an artifact gets is decided in plain functions; no name, whatever its parts, leads out of the directory.
"""

import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from errno import EMLINK, ENOSYS, ENOTSUP, EPERM
from typing import NamedTuple

from s3mount.artifact.attributes import Attributes, attributes_of
from s3mount.artifact.failures import LocalClash, exists_locally
from s3mount.bulk.folders import NotWritable
from s3mount.bulk.keys import FilePath, KeyMap, encoded
from s3mount.bulk.target import Target
from s3mount.bulk.wanted import Wanted
from s3mount.store.interface import Head

_NO_LINKS = frozenset({EPERM, ENOTSUP, ENOSYS, EMLINK})


class Plan(NamedTuple):
    """Where everything goes.

    Attributes:
        root: the directory that all of it is below.
        paths: of each remote path, below ``root``.
    """

    root: str
    paths: Mapping[str, FilePath]

    def place(self, remote: str) -> str:
        """The whole path of a file."""
        path = str(self.paths[remote])
        return path if self.root == "." else os.path.join(self.root, path)


def plan(remote: str, local: str, found: Sequence[str]) -> Plan:
    """Give every file its path.

    Args:
        remote: what was asked for.
        local: where it goes.
        found: ``remote`` alone, or remote paths below it.

    Raises:
        Unplaceable: a name cannot be that of a file here.
        LocalClash: one name is both a file and a directory.
    """
    if list(found) == [remote]:
        return Plan(
            os.path.dirname(local) or ".", {remote: FilePath("", os.path.basename(local), True)}
        )
    keys = KeyMap(f"{remote}/")
    paths = {each: keys.path_of(each) for each in found}
    _refuse_twins(paths)
    return Plan(local, paths)


def _refuse_twins(paths: Mapping[str, FilePath]) -> None:
    directories = {path.directory for path in paths.values()}
    above = {part for each in directories for part in _ancestors(each)}
    for remote, path in paths.items():
        if str(path) in above:
            raise LocalClash(
                f"{remote} is both a file and a directory", hint="pull what is below it by itself"
            )


def _ancestors(directory: str) -> Iterable[str]:
    while directory:
        yield directory
        directory = directory.rpartition("/")[0]


def refuse_clashes(planned: Plan, *, force: bool) -> None:
    """Look at every place before anything is written.

    Raises:
        LocalClash: something is there that may not, or cannot, be replaced.
    """
    for remote in planned.paths:
        place = planned.place(remote)
        try:
            mode = os.lstat(place).st_mode
        except OSError:
            continue
        if not force:
            raise exists_locally(place)
        if stat.S_ISDIR(mode):
            raise LocalClash(
                f"'{place}' is a directory, and a file is needed in its place",
                hint=f"remove it, or pull to another place: -d {os.path.join(place, 'NAME')}",
            )
    above = {part for path in planned.paths.values() for part in _ancestors(path.directory)}
    for part in sorted(above):
        place = os.path.join(planned.root, part)
        if os.path.lexists(place) and (os.path.islink(place) or not os.path.isdir(place)):
            raise LocalClash(
                f"'{place}' is no directory, and one is needed in its place",
                hint="remove it, or pull to another place with -d",
            )


def made_directory(path: str) -> str:
    """Make a directory and those above it, where they are missing.

    Raises:
        NotWritable: that cannot be.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise NotWritable(f"'{path}' cannot be a directory: {why}") from error
    return path


def with_attributes(wanted: Wanted, known: Attributes) -> Wanted:
    """A file with the mode and the time that are known of it; what is not known stays as it is."""
    mtime_ns = wanted.mtime_ns if known.mtime_ns is None else known.mtime_ns
    return wanted._replace(mtime_ns=mtime_ns, mode=known.mode)


class Placing(Target):
    """Files below a directory that get their mode with their place.

    Args:
        root: the directory, which must exist.
        taken: without it a file that is there is replaced; with it, it makes the error that says that one is there.

    Raises:
        ConfigError: ``root`` is not a directory.
    """

    def __init__(
        self,
        root: str,
        taken: Callable[[Wanted], Exception] | None = None,
    ) -> None:
        super().__init__(root)
        self._taken = taken
        self._beginning = threading.Lock()

    def described(self, wanted: Wanted, head: Head) -> Wanted:
        """With the mode and the time that were stored with the object."""
        return with_attributes(wanted, attributes_of(head.metadata))

    def give_place(self, folder: int, temporary: bytes, wanted: Wanted) -> None:
        """See `Target.give_place`."""
        if self._taken is None or not self._linked(self._taken, folder, temporary, wanted):
            super().give_place(folder, temporary, wanted)

    def receive(self, wanted: Wanted, chunks: Iterable[bytes]) -> None:
        """Write a file; from any thread.

        Args:
            wanted: which file; its size must be that of the chunks together.
            chunks: its bytes; where this raises, nothing is left of the file.

        Raises:
            NotWritable: it cannot be there.
        """
        with self._beginning:
            file = self.begin(wanted)
        at = 0
        try:
            for chunk in chunks:
                file.write([chunk], at)
                at += len(chunk)
        except BaseException:
            file.discard()
            raise
        file.commit()

    def _linked(
        self, taken: Callable[[Wanted], Exception], folder: int, temporary: bytes, wanted: Wanted
    ) -> bool:
        """A rename would replace what came there meanwhile; a link does not. False where there are none."""
        name = encoded(wanted.path.name)
        try:
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError as error:
            raise taken(wanted) from error
        except OSError as error:
            if error.errno in _NO_LINKS:
                return False
            raise
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        return True
