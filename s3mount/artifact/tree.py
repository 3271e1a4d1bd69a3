"""The local files that a push means, found before the first one is sent.

Symbolic links are followed, those to directories as well; one that leads back into a directory that it lies in is
refused, and so is what is no file: pipes, sockets, devices.
"""

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from s3mount.artifact.failures import NotPushable, missing_locally
from s3mount.artifact.paths import join

STDIN = frozenset({"-", "/dev/stdin"})
"""Names of standard input."""

_Identity = tuple[int, int]


class LocalFile(NamedTuple):
    """A file that goes to a remote path.

    Attributes:
        path: as the operating system takes it.
        remote: where it goes.
        size: bytes.
        mode: its permissions.
        mtime_ns: its modification time, nanoseconds since the epoch.
    """

    path: str
    remote: str
    size: int
    mode: int
    mtime_ns: int


def local_files(source: str, remote: str) -> list[LocalFile]:
    """Every file that ``source`` is or holds, in the order of their names; empty directories hold none.

    Args:
        source: a file or a directory.
        remote: where it goes.

    Raises:
        LocalMissing: there is no such file.
        NotPushable: something in it cannot be an artifact; the message says what.
    """
    try:
        status = os.stat(source)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing_locally(source) from error
    except OSError as error:
        raise _unreadable(source, error) from error
    if stat.S_ISDIR(status.st_mode):
        return list(_below(source, remote, ((status.st_dev, status.st_ino),)))
    return [_file(source, remote, status)]


def is_stream(source: str) -> bool:
    """Whether a source is read once, from beginning to end: standard input, a pipe, a terminal."""
    if source in STDIN:
        return True
    try:
        mode = os.stat(source).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _below(directory: str, remote: str, above: tuple[_Identity, ...]) -> Iterator[LocalFile]:
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise _unreadable(directory, error) from error
    for name in names:
        path = os.path.join(directory, name)
        try:
            status = os.stat(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not stat.S_ISDIR(status.st_mode):
            yield _file(path, join(remote, name), status)
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            raise NotPushable(
                f"'{path}' is a link to a directory that it lies in",
                hint="remove the link, or push what it leads to by itself",
            )
        yield from _below(path, join(remote, name), (*above, identity))


def _file(path: str, remote: str, status: os.stat_result) -> LocalFile:
    if not stat.S_ISREG(status.st_mode):
        raise NotPushable(
            f"'{path}' is neither a file nor a directory",
            hint="push the files one by one, or move it elsewhere",
        )
    try:
        remote.encode()
    except UnicodeEncodeError as error:
        raise NotPushable(
            f"{path!r} has a name that is not UTF-8", hint="rename it, or push an archive of it"
        ) from error
    mode = stat.S_IMODE(status.st_mode)
    return LocalFile(path, remote, status.st_size, mode, status.st_mtime_ns)


def _unreadable(path: str, error: OSError) -> NotPushable:
    if os.path.islink(path):
        return NotPushable(
            f"'{path}' is a link that leads nowhere ({error.strerror})",
            hint="remove the link, or make what it leads to",
        )
    return NotPushable(f"'{path}' cannot be read: {error.strerror}")
