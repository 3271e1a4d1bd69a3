"""Extents on their way: files without a name where the file system makes such, and otherwise under a temporary one.

A nameless file costs two changes of a directory less, and is gone with the process that dies.
"""

import contextlib
import os
import secrets

_DESCRIPTORS = "/proc/self/fd/"
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NAMELESS = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
_MODE = 0o600


def makes_nameless(directory: str) -> bool:
    """Whether a file that is made in a directory without a name can be given one."""
    path = f"{directory}/probe-{secrets.token_hex(6)}"
    try:
        fd, temporary = create(directory, "")
    except OSError:
        return False
    try:
        _link(temporary, path)
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def create(directory: str, name: str) -> tuple[int, str]:
    """A new file: its descriptor, and the path that it has until `give_name`.

    Args:
        directory: where, on the file system of the cache.
        name: the temporary one, empty for none.

    Raises:
        OSError: the disk refuses.
    """
    if name:
        path = f"{directory}/{name}"
        return os.open(path, _NEW, _MODE), path
    fd = os.open(directory, _NAMELESS, _MODE)
    return fd, f"{_DESCRIPTORS}{fd}"


def give_name(temporary: str, path: str) -> bool:
    """Give a file its name for good; False when that is taken.

    Raises:
        OSError: the disk refuses.
    """
    if temporary.startswith(_DESCRIPTORS):
        try:
            _link(temporary, path)
        except FileExistsError:
            return False
        return True
    if os.access(path, os.F_OK):
        return False
    try:
        os.rename(temporary, path)
    except IsADirectoryError:
        return False
    return True


def _link(temporary: str, path: str) -> None:
    # Only with a descriptor to start from does this follow what /proc shows, a link; an absolute path ignores it.
    start = int(temporary.removeprefix(_DESCRIPTORS))
    os.link(temporary, path, src_dir_fd=start, follow_symlinks=True)


def remove(temporary: str) -> None:
    """Take the temporary name away, if there is one."""
    if not temporary.startswith(_DESCRIPTORS):
        with contextlib.suppress(OSError):
            os.unlink(temporary)
