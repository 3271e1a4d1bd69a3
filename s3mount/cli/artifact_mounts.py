"""Mounts of this machine that show what was just pushed or yanked: they are made to look again.

A mount believes a listing for a while; whoever pushes knows better. Nothing here fails the command: a mount that does
not answer shows what is new when its listing is too old.
"""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from s3mount.cli import live
from s3mount.cli.mountinfo import read_mounts
from s3mount.cli.patience import within
from s3mount.errors import MountError, S3MountError

if TYPE_CHECKING:
    from s3mount.artifact.choose import Shelf

log = logging.getLogger(__name__)

_SECONDS = 10.0
"""A mount answers from memory, or with one listing."""


def refresh_mounts(shelf: "Shelf", directory: str) -> None:
    """Make every mount of a store forget a directory; what vanished with it as well.

    Args:
        shelf: where the artifacts are.
        directory: the remote path of the lowest directory in which something came or went.
    """
    for point in sorted({mount.point for mount in read_mounts() if mount.is_ours}):
        try:
            _refresh_mount(Path(point), shelf, f"{shelf.prefix}{directory}/")
        except (S3MountError, OSError) as error:
            log.debug("%s was not refreshed: %s", point, error)


def _refresh_mount(point: Path, shelf: "Shelf", prefix: str) -> None:
    source = str(live.read_status(point, _SECONDS).get("source", ""))
    below = below_mount(source, shelf, prefix)
    if below is not None:
        _refresh_up(point, point / below)


def below_mount(source: str, shelf: "Shelf", prefix: str) -> str | None:
    """Which directory of a mount shows a prefix.

    Args:
        source: what is mounted, as it says itself.
        shelf: where the artifacts are.
        prefix: of keys; ends in ``/``.

    Returns:
        A path below the mount point, empty for all of it; None when the mount does not show it.
    """
    root = f"{shelf.kind}://{shelf.place}"
    if source != root and not source.startswith(f"{root}/"):
        return None
    shown = source[len(root) + 1 :]
    shown = f"{shown}/" if shown else ""
    if prefix.startswith(shown):
        return prefix[len(shown) :]
    return "" if shown.startswith(prefix) else None


def _refresh_up(point: Path, path: Path) -> None:
    """Refresh a directory; where it is not known, or nothing is left of it, the one above as well."""
    while not _is_fresh(point, path) and path != point:
        path = path.parent


def _is_fresh(point: Path, path: Path) -> bool:
    try:
        live.refresh(path, point, _SECONDS)
        return within(_SECONDS, lambda: _has_entries(path))
    except TimeoutError as error:
        raise MountError(f"{point} does not answer") from error
    except FileNotFoundError:
        return False
    except MountError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return False
        raise


def _has_entries(path: Path) -> bool:
    with os.scandir(path) as entries:
        return next(entries, None) is not None
