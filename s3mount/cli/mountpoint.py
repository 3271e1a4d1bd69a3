"""Whether a directory can be mounted on, and what to say when it cannot.

`look` gathers facts without ever waiting on a dead or stuck mount, `complaint` judges them without
touching anything, and `prepare` joins the two and clears away what a crashed daemon left behind.
Runs before anything is mounted.
"""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from s3mount.cli import detach
from s3mount.cli.mountinfo import Mount, mount_above, mount_at, read_mounts
from s3mount.cli.patience import within
from s3mount.errors import MountError

LOOK_SECONDS = (
    5.0  # a local directory answers in microseconds; only a stuck file system takes longer
)

_DEAD = frozenset({errno.ENOTCONN, errno.ECONNABORTED})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a directory.

    Attributes:
        problem: the errno of looking at it, 0 when that went well.
        at: the mount whose root it is.
        above: the mount that it lies in.
        stuck: looking at it took too long.
    """

    path: Path
    problem: int = 0
    stuck: bool = False
    is_directory: bool = True
    is_empty: bool = True
    may_write: bool = True
    at: Mount | None = None
    above: Mount | None = None

    @property
    def is_dead(self) -> bool:
        """Whether a daemon died and left its mount behind here."""
        return self.at is not None and self.problem in _DEAD


def absolute(path: str | Path) -> Path:
    """The path without links and dots; a mount point is never touched, it may be dead or stuck."""
    plain = Path(os.path.abspath(path))
    if mount_at(read_mounts(), plain):
        return plain
    try:
        return Path(within(LOOK_SECONDS, lambda: os.path.realpath(plain)))
    except TimeoutError:
        return plain


def look(path: Path) -> Facts:
    """Gather the facts about ``path``, which is absolute."""
    mounts = read_mounts()
    facts = Facts(path, at=mount_at(mounts, path), above=mount_above(mounts, path))
    try:
        return within(LOOK_SECONDS, lambda: _look_inside(facts))
    except TimeoutError:
        return Facts(path, stuck=True, at=facts.at, above=facts.above)


def _look_inside(facts: Facts) -> Facts:
    path, problem, is_directory, is_empty = facts.path, 0, True, True
    try:
        is_directory = stat.S_ISDIR(os.stat(path).st_mode)
        if facts.at is not None:
            os.statvfs(
                path
            )  # the kernel knows the root's attributes by heart; this goes to the daemon
        if is_directory and facts.at is None:
            with os.scandir(path) as entries:
                is_empty = next(entries, None) is None
    except OSError as error:
        problem = error.errno or errno.EIO
    # The kernel lets a user mount only where that user could also write.
    may_write = os.getuid() == 0 or problem != 0 or os.access(path, os.W_OK)
    return Facts(
        path,
        problem=problem,
        is_directory=is_directory,
        is_empty=is_empty,
        may_write=may_write,
        at=facts.at,
        above=facts.above,
    )


def complaint(facts: Facts) -> MountError | None:
    """Why nothing can be mounted here, or None."""
    return _about_mounts(facts) or _about_directory(facts)


def _about_mounts(facts: Facts) -> MountError | None:
    path, at, above = facts.path, facts.at, facts.above
    if at is None and facts.problem in _DEAD:
        where = above.point if above else path
        return MountError(
            f"{path} lies in {where}, a mount whose daemon is gone", hint=f"s3mount unmount {where}"
        )
    if above and above.is_ours:
        return MountError(
            f"{path} lies inside the s3mount of {above.source} at {above.point}",
            hint="mount on a directory outside of it",
        )
    if at is None:
        return None
    if facts.stuck:
        return MountError(
            f"{path} is a mount of {at.source} ({at.fstype}) that does not answer",
            hint=f"s3mount unmount --force {path}" if at.is_ours else f"umount --lazy {path}",
        )
    if facts.is_dead:
        return MountError(
            f"{path} is a dead mount of {at.source} ({at.fstype})", hint=f"fusermount3 -uz {path}"
        )
    if at.is_ours:
        return MountError(
            f"{path} is already mounted: {at.source}", hint=f"to end that: s3mount unmount {path}"
        )
    return MountError(
        f"{path} is already a mount point, of {at.source} ({at.fstype})",
        hint="mount on an empty directory",
    )


def _about_directory(facts: Facts) -> MountError | None:
    path = facts.path
    if facts.stuck:
        return MountError(f"{path} does not answer", hint="is it on a network that is down?")
    if facts.problem:
        missing = facts.problem == errno.ENOENT
        hint = f"mkdir -p {path}" if missing else "mount on a directory of your own"
        return MountError(f"{path}: {os.strerror(facts.problem)}", hint=hint)
    if not facts.is_directory:
        return MountError(f"{path} is not a directory", hint="mount on an empty directory")
    if not facts.is_empty:
        hint = "its files would be hidden: mount on an empty directory"
        return MountError(f"{path} is not empty", hint=hint)
    if not facts.may_write:
        hint = f'mount on a directory of your own, or: sudo chown "$USER" {path}'
        return MountError(f"{path}: you may not write there, so you may not mount there", hint=hint)
    return None


def clear_if_dead(path: Path) -> str:
    """Take away what a crashed daemon of ours left at ``path``; says what in a line, empty for nothing."""
    facts = look(path)
    if not (facts.is_dead and facts.at and facts.at.is_ours):
        return ""
    detach.detach(path, lazy=True)
    return f"cleared a dead mount of {facts.at.source} from {path}"


def prepare(path: Path) -> str:
    """See to it that ``path`` can be mounted on.

    Returns:
        One line about what was cleared away, empty when nothing was.

    Raises:
        MountError: it cannot be mounted on.
    """
    said = clear_if_dead(path)
    if error := complaint(look(path)):
        raise error
    return said
