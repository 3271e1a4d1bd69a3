"""Talking to a mount that runs: two extended attributes of its files.

A mount answers ``user.s3mount.status`` with JSON about itself, and ``user.s3mount.refresh`` by
forgetting a directory. It knows nothing of what the answers say. Every question has a time limit.
"""

import errno
import json
import os
from pathlib import Path
from typing import Any

from s3mount.cli.patience import within
from s3mount.errors import MountError

STATUS_NAME = "user.s3mount.status"
REFRESH_NAME = "user.s3mount.refresh"

_DEAD = frozenset({errno.ENOTCONN, errno.ECONNABORTED})


class DaemonGone(MountError):
    """The daemon of a mount ended and left the mount behind."""


class NotOurs(MountError):
    """The path is not in an s3mount."""


def read_status(point: Path, seconds: float) -> dict[str, Any]:
    """What a mount says of itself; fields that it does not send are absent."""
    answer = _ask(point, STATUS_NAME, seconds, point)
    try:
        status = json.loads(answer)
    except ValueError as error:
        raise MountError(f"{point} gave a status that is not JSON") from error
    if not isinstance(status, dict):
        raise MountError(f"{point} gave a status that is not a table")
    return status


def refresh(path: Path, point: Path, seconds: float) -> str:
    """Make the mount at ``point`` forget what it knows of a directory; its answer in its own words."""
    return _ask(path, REFRESH_NAME, seconds, point).decode(errors="replace").strip()


def _ask(path: Path, name: str, seconds: float, point: Path) -> bytes:
    try:
        return within(seconds, lambda: os.getxattr(path, name))
    except TimeoutError as error:
        raise MountError(
            f"{path} does not answer within {seconds:g} s", hint=f"s3mount unmount --force {point}"
        ) from error
    except OSError as error:
        if error.errno in _DEAD:
            raise DaemonGone(
                f"{point}: the daemon is gone", hint=f"s3mount unmount {point}"
            ) from error
        if error.errno in {errno.ENODATA, errno.EOPNOTSUPP}:
            raise NotOurs(
                f"{path} is not in an s3mount", hint="s3mount status shows mounts"
            ) from error
        raise MountError(f"{path}: {error.strerror}") from error
