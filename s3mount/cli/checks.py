"""Whether this machine can mount: one plain answer per question, each with what to do about it.

The functions here judge facts that `cli/doctor.py` gathers; they open nothing and ask nobody, so
every answer can be tested. What a store's error means for the three checks of a bucket is decided
here too.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from s3mount.cli import human
from s3mount.errors import (
    AccessDenied,
    ConfigError,
    CredentialsExpired,
    CredentialsMissing,
    NoSuchBucket,
    S3MountError,
    StoreError,
    StoreTimeout,
    Unreachable,
)

_OLDEST_KERNEL = (5, 4)  # readdirplus, 1 MiB requests and cached symlinks are all there since
_OTHERS_WRITE = 0o022
_MEMORY_DISKS = frozenset({"tmpfs", "ramfs"})
_DISTANT_DISKS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p"})


class Check(NamedTuple):
    """One answer.

    Attributes:
        what: the question, in a word or two.
        level: ``FAIL`` stops a mount, ``warn`` does not.
        found: what was found.
        advice: what to do about it; empty when all is well.
    """

    what: str
    level: Literal["ok", "warn", "FAIL"]
    found: str
    advice: str = ""


def fuse_device(problem: str) -> Check:
    """``/dev/fuse``, by what opening it said; empty when it opened."""
    if not problem:
        return Check("/dev/fuse", "ok", "can be opened")
    advice = "modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"
    if problem == "Permission denied":
        advice = "sudo chmod 666 /dev/fuse, as udev does on most machines"
    return Check("/dev/fuse", "FAIL", problem, advice)


def fusermount(path: str | None, *, is_setuid: bool, is_root: bool) -> Check:
    """``fusermount3``, which mounts and unmounts for users; root needs it where a system call is refused."""
    if path is None and is_root:
        return Check("fusermount3", "ok", "not found; root does without")
    if path is None:
        return Check("fusermount3", "FAIL", "not found", "apt-get install fuse3")
    if not is_setuid and not is_root:
        return Check("fusermount3", "FAIL", f"{path} is not setuid root", f"sudo chmod u+s {path}")
    return Check("fusermount3", "ok", path)


def allow_other(fuse_conf: str, *, is_asked: bool, is_root: bool) -> Check | None:
    """Whether ``--allow-other`` is allowed to this user; None when it is not asked for."""
    if not is_asked:
        return None
    if is_root or re.search(r"^\s*user_allow_other\s*$", fuse_conf, re.MULTILINE):
        return Check("allow-other", "ok", "allowed")
    advice = "put the line user_allow_other into /etc/fuse.conf"
    return Check("allow-other", "FAIL", "not allowed to users", advice)


def kernel(release: str) -> Check:
    """The kernel, by ``uname -r``."""
    match = re.match(r"(\d+)\.(\d+)", release)
    if match and (int(match[1]), int(match[2])) < _OLDEST_KERNEL:
        return Check("kernel", "FAIL", release, "mounts need Linux 5.4 or newer")
    return Check("kernel", "ok", release)


class Place(NamedTuple):
    """What is known of the cache directory.

    Attributes:
        problem: why it cannot be written, empty when it can.
        mode: permission bits; None when it does not exist yet.
        owner: user id.
        fstype: of the file system that holds it.
        total: bytes of that file system.
        free: bytes of it that we may use.
    """

    path: str
    problem: str
    mode: int | None
    owner: int
    fstype: str
    total: int
    free: int


def cache_directory(place: Place, *, user: int) -> Check:
    """Whether bytes can be kept there, and safely."""
    path = human.name(place.path)
    if place.problem:
        advice = "name a directory of your own with --cache-dir"
        return Check("cache directory", "FAIL", f"{path}: {place.problem}", advice)
    if place.mode is None:
        return Check("cache directory", "ok", f"{path} will be made")
    if place.owner != user:
        advice = "name a directory of your own with --cache-dir"
        return Check("cache directory", "FAIL", f"{path} belongs to user {place.owner}", advice)
    if place.mode & _OTHERS_WRITE:
        found = f"{path} can be written by others (mode {place.mode:04o})"
        return Check("cache directory", "FAIL", found, f"chmod 700 {path}")
    return Check("cache directory", "ok", path)


def cache_disk(place: Place, *, most: int, min_free: int) -> Check:
    """Whether the disk holds what the cache may take."""
    found = f"{human.size(place.free)} of {human.size(place.total)} free ({place.fstype})"
    if place.fstype in _MEMORY_DISKS:
        advice = "what is cached takes memory and is gone after a restart: --cache-dir on a disk"
        return Check("cache disk", "warn", found, advice)
    if place.fstype in _DISTANT_DISKS:
        advice = "a cache on the network is slow: --cache-dir on a local disk"
        return Check("cache disk", "warn", found, advice)
    if place.free <= min_free:
        advice = f"less than --cache-min-free {human.size(min_free)}: nothing will be cached"
        return Check("cache disk", "warn", found, advice)
    if place.total < most + min_free:
        advice = f"too small for --cache-size {human.size(most)}: it will hold less"
        return Check("cache disk", "warn", found, advice)
    return Check("cache disk", "ok", found)


def bucket_failed(bucket: str, error: S3MountError) -> list[Check]:
    """What a probe's error tells about credentials, endpoint and bucket."""
    message, advice = human.name(error.message), error.hint or _advice(error)
    if isinstance(error, CredentialsMissing | CredentialsExpired):
        return [Check("credentials", "FAIL", message, advice)]
    if isinstance(error, Unreachable | StoreTimeout | ConfigError):
        return [Check("endpoint", "FAIL", message, advice)]
    answered = isinstance(error, StoreError) and error.status
    reached = [Check("endpoint", "ok", "answers")] if answered else []
    return [*reached, Check("bucket", "FAIL", f"{bucket}: {message}", advice)]


def _advice(error: S3MountError) -> str:
    if isinstance(error, StoreError) and error.code == "RequestTimeTooSkewed":
        return "the clock of this machine is wrong: timedatectl set-ntp true"
    if isinstance(error, CredentialsMissing):
        return "aws configure, AWS_PROFILE, or --no-sign-request for a public bucket"
    if isinstance(error, CredentialsExpired):
        return "log in again (aws sso login), or renew what AWS_SESSION_TOKEN holds"
    if isinstance(error, AccessDenied):
        return "the policy must allow s3:ListBucket on the bucket and s3:GetObject on its objects"
    if isinstance(error, NoSuchBucket):
        return "is the name right, and the --endpoint-url?"
    if isinstance(error, Unreachable | StoreTimeout):
        return "check --endpoint-url, the network and the proxy settings"
    return ""


def has_failed(checks: Sequence[Check]) -> bool:
    """Whether anything stops a mount."""
    return any(check.level == "FAIL" for check in checks)
