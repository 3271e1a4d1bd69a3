"""Files that are made without a name and get one when they are whole: they are gone with the process that dies."""

import os

NAMELESS = os.O_TMPFILE | os.O_CLOEXEC
"""Beside the way of access: opening a directory so makes a file in its file system, where that can do it."""


def give_name(fd: int, path: str | bytes, *, directory: int | None = None) -> None:
    """Give a nameless file its name.

    Args:
        fd: the file.
        path: its name from now on.
        directory: a descriptor of where a path that is not absolute begins.

    Raises:
        FileExistsError: the name is taken; nothing is ever replaced.
        OSError: the file system refuses, or there is no ``/proc``.
    """
    # What /proc shows is a link, followed only with a descriptor to start from; an absolute path ignores that one.
    os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, dst_dir_fd=directory, follow_symlinks=True)
