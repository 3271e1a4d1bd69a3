"""Taking a mount away: with fusermount3 where there is one, by system call where we are root.

It knows how to unmount and how to break a connection; who holds a mount and when its daemon is gone
is asked elsewhere. Blocking, one mount at a time.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import subprocess
from pathlib import Path

from s3mount.cli.mountinfo import Mount
from s3mount.errors import MountError

CONNECTIONS = Path("/sys/fs/fuse/connections")

_MNT_DETACH = 2
_PLACES = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # at boot there may be no PATH
)


class Busy(MountError):
    """Something still uses the mount."""


def find_program(name: str) -> str | None:
    """Where a program is, also without a PATH."""
    return shutil.which(name) or shutil.which(name, path=_PLACES)


def detach(path: Path, *, lazy: bool = False) -> None:
    """Unmount ``path``; ``lazy`` takes the name away at once and the rest when nothing uses it.

    Raises:
        Busy: something still uses it.
        MountError: it could not be unmounted, in the words of who refused.
    """
    if os.getuid() == 0:
        return _detach_as_root(path, lazy=lazy)
    program = find_program("fusermount3")
    if program is None:
        raise MountError("fusermount3 was not found", hint="apt-get install fuse3")
    done = subprocess.run(
        [program, "-uz" if lazy else "-u", "--", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    if done.returncode == 0:
        return None
    said = done.stderr.strip().removeprefix("fusermount3: ")
    raise _refusal(path, said, busy="busy" in said)


def _detach_as_root(path: Path, *, lazy: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), _MNT_DETACH if lazy else 0) != 0:
        number = ctypes.get_errno()
        raise _refusal(path, os.strerror(number), busy=number == errno.EBUSY)


def _refusal(path: Path, said: str, *, busy: bool) -> MountError:
    if busy:
        return Busy(f"{path} is in use")
    return MountError(f"{path} could not be unmounted: {said}")


def break_connection(mount: Mount) -> None:
    """Make every request of a mount fail at once, as far as we may; a stuck daemon cannot prevent it."""
    minor = mount.device.partition(":")[2]
    with contextlib.suppress(OSError):
        (CONNECTIONS / minor / "abort").write_text("1")
