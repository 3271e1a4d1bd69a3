"""`s3mount unmount`: take a mount away and wait until its daemon is gone.

What follows can count on it: the directory is free, and the cache is no longer written to. A mount
that is dead or stuck is never touched except by the system calls that take it away.
"""

from pathlib import Path

import click

from s3mount.cli import detach, mountpoint, processes
from s3mount.cli.live import DaemonGone, read_status
from s3mount.cli.mountinfo import Mount, mount_above, mount_at, read_mounts
from s3mount.errors import MountError, S3MountError

WAIT_SECONDS = (
    30.0  # requests under way are given up at once; a disk may be slow to take the last block
)
_ASK_SECONDS = 2.0
_SHOWN_HOLDERS = 5

_EPILOG = """\b
Examples:
  s3mount unmount ~/artifacts
  s3mount unmount --lazy ~/artifacts     now, for who still reads when they are done
  s3mount unmount --force ~/artifacts    readers get errors, the daemon is stopped

The command returns when the daemon is gone, so that the next mount finds a free directory."""


@click.command(epilog=_EPILOG)
@click.argument("directories", nargs=-1, required=True, metavar="MOUNTPOINT...")
@click.option(
    "-l", "--lazy", is_flag=True, help="Take the name away now, the rest when nothing uses it."
)
@click.option("--force", is_flag=True, help="Break the mount, also one that is stuck.")
@click.option(
    "--if-dead", is_flag=True, help="Only clear what a crashed daemon left; else do nothing."
)
def unmount(directories: tuple[str, ...], lazy: bool, force: bool, if_dead: bool) -> None:
    """End mounts and wait for their daemons."""
    for directory in directories:
        path = mountpoint.absolute(directory)
        if not if_dead:
            _unmount(path, lazy=lazy, force=force)
        elif said := mountpoint.clear_if_dead(path):
            click.echo(f"s3mount: {said}", err=True)


def _unmount(path: Path, *, lazy: bool, force: bool) -> None:
    mount = _ours_at(path)
    try:
        pid = _daemon_of(path)
    except DaemonGone:
        return detach.detach(path, lazy=True)
    # Afterwards nothing tells any more which mount a file of theirs is in.
    users = _users(path, pid) if lazy else []
    if force:
        detach.break_connection(mount)
    try:
        detach.detach(path, lazy=lazy or force)
    except detach.Busy as busy:
        raise _with_users(busy, path, pid) from busy
    if mount_at(read_mounts(), path) == mount:
        raise MountError(f"{path} is still mounted", hint=f"s3mount unmount --force {path}")
    if pid is None:
        return None
    if users:
        click.echo(f"s3mount: {path} is used on until {_named(users)} is done", err=True)
        return None
    return _wait_for(pid, path, force=force)


def _ours_at(path: Path) -> Mount:
    mounts = read_mounts()
    mount = mount_at(mounts, path)
    if mount and mount.is_ours:
        return mount
    if mount:
        raise MountError(f"{path} is no mount of s3mount but {mount.fstype}", hint=f"umount {path}")
    above = mount_above(mounts, path)
    if above and above.is_ours:
        raise MountError(
            f"{path} is not a mount point; it lies in {above.point}",
            hint=f"s3mount unmount {above.point}",
        )
    raise MountError(f"{path} is not mounted", hint="s3mount status shows what is")


def _daemon_of(path: Path) -> int | None:
    """The daemon's pid, None when it does not tell."""
    try:
        pid = read_status(path, _ASK_SECONDS).get("pid")
    except DaemonGone:
        raise
    except S3MountError:
        return None
    return pid if isinstance(pid, int) and processes.is_s3mount(pid) else None


def _users(path: Path, daemon: int | None) -> list[processes.Holder]:
    """Who uses a mount; its daemon holds the directory that lies under it, which is no use of the mount."""
    return [each for each in processes.holders(str(path)) if each.pid != daemon]


def _with_users(busy: detach.Busy, path: Path, daemon: int | None) -> detach.Busy:
    found = _users(path, daemon)
    by = f" by {_named(found)}" if found else ""
    ways = f"s3mount unmount --lazy {path} waits for them, --force does not"
    return detach.Busy(f"{busy.message}{by}", hint=ways)


def _named(found: list[processes.Holder]) -> str:
    shown = ", ".join(
        f"{each.name} (pid {each.pid}: {each.path})" for each in found[:_SHOWN_HOLDERS]
    )
    more = len(found) - _SHOWN_HOLDERS
    return f"{shown} and {more} more" if more > 0 else shown


def _wait_for(pid: int, path: Path, *, force: bool) -> None:
    if processes.wait_gone(pid, mountpoint.LOOK_SECONDS if force else WAIT_SECONDS):
        return
    if force and processes.is_s3mount(pid):
        processes.kill(pid)
        if processes.wait_gone(pid, mountpoint.LOOK_SECONDS):
            return
    raise MountError(
        f"{path} is unmounted, but its daemon (pid {pid}) has not ended", hint=f"kill {pid}"
    )
