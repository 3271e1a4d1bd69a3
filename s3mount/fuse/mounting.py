"""Putting a mount into the file tree and taking it out again: by system call where we may, else through fusermount3.

It knows mount options and descriptors; it reads no request. Blocking calls, one mount at a time.
"""

import array
import contextlib
import ctypes
import errno
import os
import select
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from s3mount.errors import MountError
from s3mount.fuse.protocol import ROOT_PERMISSIONS

DEVICE = "/dev/fuse"
SUBTYPE = "s3mount"
SECONDS = 30.0
"""How long fusermount3 may take; it only makes one system call."""

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOATIME = 1, 2, 4, 1024
_MNT_FORCE, _MNT_DETACH = 1, 2


@dataclass(frozen=True, slots=True)
class MountRequest:
    """What is mounted where.

    Attributes:
        mountpoint: an empty directory.
        source: what the mount table shows.
        allow_other: whether other users may read it.
    """

    mountpoint: Path
    source: str
    allow_other: bool


def mount(request: MountRequest) -> int:
    """Mount, read-only, and let the kernel check permissions by mode.

    Returns:
        The descriptor that requests come from; it does not block.

    Raises:
        MountError: it is refused, in the words of who refused.
    """
    try:
        descriptor = _mount_directly(request)
    except PermissionError:
        descriptor = _mount_through_helper(request)
    os.set_blocking(descriptor, False)
    return descriptor


def unmount(descriptor: int, mountpoint: Path) -> None:
    """Take the mount away if it is still there, and close its descriptor. Requests that wait fail at once."""
    is_there = not _is_gone(descriptor)
    if is_there and os.geteuid() == 0:
        # In this order: what waits will never be answered, and the name goes although somebody uses it.
        for flags in (_MNT_FORCE, _MNT_DETACH):
            if _libc().umount2(os.fsencode(mountpoint), flags) == 0:
                break
    os.close(descriptor)
    if is_there and os.geteuid() != 0:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                [_helper(), "-u", "-q", "-z", "--", os.fspath(mountpoint)],
                check=False,
                timeout=SECONDS,
                capture_output=True,
            )


def _is_gone(descriptor: int) -> bool:
    """Whether the kernel has ended the connection: it was unmounted or aborted."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _mount_directly(request: MountRequest) -> int:
    descriptor = _open_device()
    options = {
        "fd": str(descriptor),
        "rootmode": f"{ROOT_PERMISSIONS:o}",
        "user_id": str(os.geteuid()),
        "group_id": str(os.getegid()),
        "default_permissions": "",
    }
    if request.allow_other:
        options["allow_other"] = ""
    data = ",".join(f"{name}={value}" if value else name for name, value in options.items())
    done = _libc().mount(
        os.fsencode(request.source),
        os.fsencode(request.mountpoint),
        f"fuse.{SUBTYPE}".encode(),
        _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOATIME,
        data.encode(),
    )
    if done == 0:
        return descriptor
    number = ctypes.get_errno()
    os.close(descriptor)
    if number == errno.EPERM:
        raise PermissionError(number, os.strerror(number))
    raise _refused(request.mountpoint, os.strerror(number))


def _open_device() -> int:
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError as error:
        raise MountError(
            f"{DEVICE} cannot be opened: {error.strerror}",
            hint="Run `s3mount doctor`: it says what is missing.",
        ) from error


def _mount_through_helper(request: MountRequest) -> int:
    """Have fusermount3 mount, which may, and get the descriptor from it through a socket (its manual page, COMMFD)."""
    shown = request.source.replace("\\", "\\\\").replace(",", "\\,")
    options = [f"fsname={shown}", f"subtype={SUBTYPE}", "ro", "nosuid", "nodev", "noatime"]
    options += ["default_permissions", *(["allow_other"] if request.allow_other else [])]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(SECONDS)
        try:
            done = subprocess.run(
                [_helper(), "-o", ",".join(options), "--", os.fspath(request.mountpoint)],
                env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno()), "LC_ALL": "C"},
                pass_fds=(theirs.fileno(),),
                check=False,
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise _refused(request.mountpoint, str(error)) from error
        if done.returncode:
            raise _refused(request.mountpoint, done.stderr.strip().removeprefix("fusermount3: "))
        return _received(ours, request.mountpoint)


def _received(ours: socket.socket, mountpoint: Path) -> int:
    numbers = array.array("i", [-1])
    _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(numbers.itemsize))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: numbers.itemsize])
            descriptor = numbers[-1]
            os.set_inheritable(descriptor, False)
            return descriptor
    raise _refused(mountpoint, "fusermount3 gave no descriptor")


def _helper() -> str:
    found = shutil.which("fusermount3") or shutil.which("fusermount3", path="/usr/bin:/bin")
    if found is None:
        raise FileNotFoundError("fusermount3 was not found: apt-get install fuse3")
    return found


def _refused(mountpoint: Path, said: str) -> MountError:
    return MountError(
        f"FUSE refuses to mount on {mountpoint}: {said}",
        hint="Run `s3mount doctor`: it says what is missing.",
    )


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
