"""`s3mount mount`: look at the mount point, then serve in the foreground or start a daemon that does.

The background is this same command, started again with ``--foreground`` and every setting as a
flag, so there is one way to mount. It imports the FUSE side only in the process that serves.
"""

import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

import click

from s3mount.cli import daemon, exits, logs, mountpoint
from s3mount.cli.flags import GroupedCommand, Said, with_options
from s3mount.cli.notify import notify
from s3mount.config import MountOptions, as_flags
from s3mount.config.options import GROUPS

_HELP = """Mount SOURCE, read-only, on the empty directory MOUNTPOINT.

\b
SOURCE is  bucket  bucket/prefix  s3://bucket/prefix  file:///directory  or  snapshot:NAME

The command returns when the files can be read, or says why they cannot.
"""

_EPILOG = """\b
Examples:
  s3mount my-bucket ~/artifacts
  s3mount my-bucket/nightly ~/nightly --cache-size 50GiB
  s3mount open-data /mnt/open --no-sign-request --allow-other
  s3mount snapshot:release-7 ~/release      what was prefetched, as it was; see s3mount snapshots
  s3mount builds /mnt/builds --endpoint-url http://minio:9000 --addressing-style path
  s3mount mount -f my-bucket ~/artifacts --log-level debug

\b
In /etc/fstab:
  my-bucket  /mnt/artifacts  fuse.s3mount  _netdev,nofail,allow_other,cache_size=50GiB  0 0

Each option is also S3MOUNT_NAME in the environment, a line of a TOML file, and -o name=value; the
first of command line, -o, environment, file wins. See docs/configuration.md."""

_log = logging.getLogger("s3mount.mount")


@click.command(cls=GroupedCommand, help=_HELP, epilog=_EPILOG, options_metavar="[OPTIONS]")
@click.argument("source")
@click.argument("directory", metavar="MOUNTPOINT")
@click.option("-f", "--foreground", is_flag=True, help="Stay, and log to stderr.")
@with_options(*GROUPS)
def mount(source: str, directory: str, foreground: bool, said: Said) -> None:
    """Mount SOURCE, read-only, on the empty directory MOUNTPOINT."""
    parent = daemon.Parent.of(os.environ)
    try:
        options = said.resolve(_bucket_of(source))
        point = mountpoint.absolute(directory)
        if cleared := mountpoint.prepare(point):
            click.echo(f"s3mount: {cleared}", err=True)
        if foreground:
            _serve(source, point, options, parent)
        else:
            _start_daemon(source, point, options)
    except Exception as error:
        parent.failed(exits.as_ours(error), exits.status_of(error))
        raise


def _bucket_of(source: str) -> str:
    from s3mount.store.open import parse_source

    parsed = parse_source(source)
    return "" if parsed.kind == "snapshot" else parsed.bucket_or_dir


def _start_daemon(source: str, point: Path, options: MountOptions) -> None:
    arguments = [*as_flags(options, os.environ), "--", source, str(point)]
    # The child has a session of its own: who stops this command must have stopped the child too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        daemon.start(arguments, environment=os.environ)
    except BaseException:
        # A child that was killed on the way leaves a dead mount behind.
        with contextlib.suppress(Exception):
            mountpoint.clear_if_dead(point)
        raise


def _serve(source: str, point: Path, options: MountOptions, parent: daemon.Parent) -> None:
    from s3mount.fuse.session import serve

    in_background = parent.is_there
    logs.set_up(level=options.log_level, file=options.log_file, foreground=not in_background)
    if in_background:
        os.chdir("/")  # a daemon must not keep another file system busy

    def ready() -> None:
        parent.ready()
        notify("READY=1", f"STATUS=mounted {source} on {point}")

    try:
        serve(source, point, options, ready=ready)
    except Exception as error:
        if in_background or options.log_file:
            _log.error("%s", exits.as_ours(error).message)
        raise
    finally:
        notify("STOPPING=1", f"STATUS=unmounted {point}")
