"""Open files, and reads from them that give all the bytes or say why not.

It knows no format and no path. Concurrency rule: any thread; a buffer belongs to the thread that reads into it.
"""

import errno
import os

from s3mount.cache.trailer import Damaged


class OpenFile:
    """A descriptor that is closed when the last one who reads through it lets go.

    CPython closes it at once, with the last reference: a reader that holds a local reference can
    never find the number closed, or worse, given to another file, and needs no lock for that.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


def read_fully(fd: int, view: memoryview, at: int, flags: int = 0) -> bool:
    """Fill ``view`` from offset ``at``; False when the disk would have to be waited for.

    Raises:
        Damaged: the file ends too soon, or the disk could not read it.
    """
    done = 0
    while done < len(view):
        count = read_some(fd, view[done:] if done else view, at + done, flags)
        if count is None:
            return False
        if not count:
            raise Damaged("the file ends too soon")
        done += count
    return True


def read_some(fd: int, view: memoryview | bytearray, at: int, flags: int = 0) -> int | None:
    """One read at offset ``at``: how many bytes came, None when the disk would have to be waited for.

    Raises:
        Damaged: the disk could not read it.
    """
    try:
        return os.preadv(fd, [view], at, flags)
    except BlockingIOError:
        return None
    except OSError as error:
        if flags and error.errno == errno.EOPNOTSUPP:
            return read_some(fd, view, at)
        raise Damaged(f"cannot be read: {error.strerror}") from error
