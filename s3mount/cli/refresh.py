"""`s3mount refresh`: make a mount forget what it knows of a directory and what is below.

The next look at it asks the store again, whatever the TTL says. The mount does the work; this
command asks for it.
"""

from pathlib import Path

import click

from s3mount.cli import live, mountpoint
from s3mount.cli.mountinfo import mount_above, mount_at, read_mounts

_SECONDS = 30.0  # forgetting a million entries takes seconds

_EPILOG = """\b
Examples:
  s3mount refresh ~/artifacts                 the whole mount
  s3mount refresh ~/artifacts/nightly/latest  one directory and below

Listings are believed for --metadata-ttl; this is for who knows that something is new. Files that
are open stay the version that was opened."""


@click.command(epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
def refresh(paths: tuple[str, ...]) -> None:
    """Look at the bucket again, without waiting for a TTL."""
    for each in paths:
        path = mountpoint.absolute(each)
        mounts = read_mounts()
        mount = mount_at(mounts, path) or mount_above(mounts, path)
        if mount is None or not mount.is_ours:
            raise live.NotOurs(f"{path} is not in an s3mount", hint="s3mount status shows mounts")
        if answer := live.refresh(path, Path(mount.point), _SECONDS):
            click.echo(answer)
