"""`s3mount status`: what is mounted, and how it does.

It finds the mounts in the kernel's table and asks each one, with a time limit, so that a dead or
stuck one is reported like any other. It arranges nothing itself.
"""

import json
import time
from pathlib import Path
from typing import Any

import click

from s3mount.cli import exits, live, mountpoint, status_view
from s3mount.cli.mountinfo import Mount, mount_above, mount_at, read_mounts
from s3mount.errors import MountError, S3MountError

_SECONDS = 5.0  # a mount answers from memory; who needs longer is stuck

_EPILOG = """\b
Examples:
  s3mount status                        every mount of this machine that you can see
  s3mount status ~/artifacts            one
  s3mount status --json | jq '.mounts[].requests'

Exit status 1 when a mount is dead or does not answer."""


@click.command(epilog=_EPILOG)
@click.argument("directory", required=False, metavar="[MOUNTPOINT]")
@click.option("--json", "as_json", is_flag=True, help='For programs: {"mounts": [...]}.')
@click.pass_context
def status(ctx: click.Context, directory: str | None, as_json: bool) -> None:
    """Show what is mounted: cache, requests, errors."""
    mounts = [_asked_for(directory)] if directory else _all()
    answers = [_ask(mount) for mount in mounts]
    if as_json:
        click.echo(json.dumps({"mounts": answers}, indent=2))
    elif answers:
        status_view.render(answers, time.time())  # noqa: TID251 -- a command has a clock
    else:
        click.echo("nothing is mounted")
    if any("error" in answer for answer in answers):
        ctx.exit(exits.FAILED)


def _all() -> list[Mount]:
    ours = [mount for mount in read_mounts() if mount.is_ours]
    return list({mount.point: mount for mount in ours}.values())  # of stacked mounts the topmost


def _asked_for(directory: str) -> Mount:
    path = mountpoint.absolute(directory)
    mounts = read_mounts()
    mount = mount_at(mounts, path) or mount_above(mounts, path)
    if mount is None or not mount.is_ours:
        raise MountError(
            f"{path} is not in an s3mount", hint="s3mount status shows what is mounted"
        )
    return mount


def _ask(mount: Mount) -> dict[str, Any]:
    answer: dict[str, Any] = {"mountpoint": mount.point, "source": mount.source}
    try:
        return answer | live.read_status(Path(mount.point), _SECONDS)
    except live.DaemonGone as error:
        return answer | {"error": f"dead: its daemon is gone; to clear it: {error.hint}"}
    except S3MountError as error:
        return answer | {"error": f"{error.message}; {error.hint}" if error.hint else error.message}
