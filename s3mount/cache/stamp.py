"""The stamp of an object of which every byte is known to be good, in this boot of the machine.

A line in the file `NAME` beside the bytes: the boot, and which file with which times was proved. It is compared as a
whole, so one that is torn, old or another file's is no stamp. After a power cut the boot is another one; whoever writes
to the bytes changes their times. Plain functions: any thread may call them.
"""

import os

from s3mount.cache.boot import boot_id

NAME = "proved"
LONGEST = 256
"""Bytes; a boot has 36, four numbers have 20 each at the most."""


def text(proved: os.stat_result) -> bytes:
    """The stamp of a file as it is now; empty where no stamp can be trusted."""
    boot = boot_id()
    if not boot:
        return b""
    numbers = (proved.st_ino, proved.st_size, proved.st_mtime_ns, proved.st_ctime_ns)
    return f"{boot} {' '.join(map(str, numbers))}\n".encode("ascii")


def read(directory: int) -> bytes:
    """The stamp in a directory, by its descriptor; empty when there is none."""
    try:
        fd = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return b""
    try:
        return os.read(fd, LONGEST)
    except OSError:
        return b""
    finally:
        os.close(fd)


def remove(directory: int) -> bool:
    """Take a stamp away; whether there was one.

    Raises:
        OSError: the disk refuses.
    """
    try:
        os.unlink(NAME, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True
