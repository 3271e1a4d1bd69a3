"""Extents on their way: files without a name where the file system makes such, and otherwise under a temporary one.

A nameless file costs two changes of a directory less.
"""

import contextlib
import os

from s3mount.cache.layout import make_directory
from s3mount.store import nameless

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_MODE = 0o600


def makes_nameless(directory: str) -> bool:
    """Whether a file that is made in a directory without a name can be given one."""
    path = f"{directory}/probe-{os.urandom(6).hex()}"
    try:
        fd, _ = create(directory, "")
    except OSError:
        return False
    try:
        nameless.give_name(fd, path)
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def create(directory: str, name: str) -> tuple[int, str]:
    """A new file: its descriptor, and its temporary path, empty where it has none.

    Args:
        directory: where, on the file system of the cache.
        name: the temporary one, empty for none.

    Raises:
        OSError: the disk refuses.
    """
    if name:
        path = f"{directory}/{name}"
        return os.open(path, _NEW, _MODE), path
    return os.open(directory, os.O_RDWR | nameless.NAMELESS, _MODE), ""


def drop(path: str) -> None:
    """Take a temporary file away; an empty path is none. What stays is removed when the session is over."""
    if path:
        with contextlib.suppress(OSError):
            os.unlink(path)


def give_place(fd: int, temporary: str, path: str) -> bool:
    """`give_name` for the file of a whole object, whose shard may not be there yet."""
    try:
        return give_name(fd, temporary, path)
    except FileNotFoundError:
        make_directory(os.path.dirname(path))
        return give_name(fd, temporary, path)


def give_name(fd: int, temporary: str, path: str, *, directory: int | None = None) -> bool:
    """Give a file its name for good; False when that is taken.

    Args:
        fd: the file.
        temporary: its path until now, empty where it has none.
        path: from now on.
        directory: a descriptor of where ``path`` begins, when it is not absolute.

    Raises:
        OSError: the disk refuses.
    """
    if not temporary:
        try:
            nameless.give_name(fd, path, directory=directory)
        except FileExistsError:
            return False
        return True
    if os.access(path, os.F_OK, dir_fd=directory):
        return False
    try:
        os.rename(temporary, path, dst_dir_fd=directory)
    except IsADirectoryError:
        return False
    return True
