"""The command `s3mount`: finds the command that was meant, runs it, turns errors into exit statuses.

A first word that is no command is a source, so that ``s3mount BUCKET MOUNTPOINT`` mounts. Modules
of commands are imported when they are needed; a new command group is one file and one line in
`COMMANDS`.
"""

import gc
import importlib
import os
import sys
from collections.abc import Sequence

import click

from s3mount import __version__
from s3mount.cli import exits
from s3mount.errors import MountError
from s3mount.store.descriptors import raise_limit
from s3mount.store.heap import keep_freed

COMMANDS = {
    "mount": "s3mount.cli.mount:mount",
    "unmount": "s3mount.cli.unmount:unmount",
    "status": "s3mount.cli.status:status",
    "ls": "s3mount.cli.ls:ls",
    "refresh": "s3mount.cli.refresh:refresh",
    "doctor": "s3mount.cli.doctor:doctor",
    "prefetch": "s3mount.cli.prefetch:prefetch",
    "download": "s3mount.cli.download:download",
    "artifact": "s3mount.cli.artifact:artifact",
    "build": "s3mount.cli.build:build",
    "cache": "s3mount.cli.cache:cache",
    "snapshots": "s3mount.cli.snapshots:snapshots",
}
"""Name to module and attribute, in the order in which help shows them."""

ALIASES = {"umount": "unmount"}

COLLECT_EVERY = 50_000
"""Objects made and kept before the collector looks for cycles. Hundreds of requests at once keep more than the usual
700, so that it would look, and find nothing, all the time."""

_OWN_FLAGS = {"-h", "--help", "--version"}

_HELP = """Show the artifacts in an S3 bucket as files.

\b
SOURCE is  bucket  bucket/prefix  s3://bucket/prefix  or  file:///directory
To mount it may be  snapshot:NAME  as well.
"""

_EPILOG = """\b
To begin:
  mkdir -p ~/artifacts
  s3mount my-bucket ~/artifacts

\b
Then, or when that failed:
  ls ~/artifacts              read it with any program
  s3mount status              what is mounted, what the cache does
  s3mount doctor my-bucket    what is missing on this machine
  s3mount prefetch my-bucket  fetch what will be read, before it is
  s3mount unmount ~/artifacts

A bucket that is called like a command is written s3://NAME."""


class Commands(click.Group):
    """The commands, imported one by one, and the short way to mount."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name or alias."""
        where = COMMANDS.get(ALIASES.get(cmd_name, cmd_name))
        if where is None:
            return None
        module, _, attribute = where.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``mount`` in front of what begins with no command."""
        return super().parse_args(ctx, as_command(args))


def as_command(args: Sequence[str]) -> list[str]:
    """Arguments that begin with a command, or with a flag of s3mount itself."""
    if not args or args[0] in {*COMMANDS, *ALIASES, *_OWN_FLAGS}:
        return list(args)
    if len(args) == 1 and not args[0].startswith("-"):
        hint = _meant(args[0]) or f"to mount: s3mount {args[0]} MOUNTPOINT"
        raise click.UsageError(f'"{args[0]}" is no command\n  {hint}')
    return ["mount", *args]


def _meant(word: str) -> str:
    """Which command a word may have been meant to be; empty when it is like none, or is one."""
    import difflib  # help and commands do not wait for it

    known = [*COMMANDS, *ALIASES]
    near = [] if word in known else difflib.get_close_matches(word, known, 1)
    return f"did you mean s3mount {near[0]}?" if near else ""


@click.group(
    cls=Commands,
    help=_HELP,
    epilog=_EPILOG,
    subcommand_metavar="COMMAND ... | SOURCE MOUNTPOINT",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="",
)
@click.version_option(__version__, message="s3mount %(version)s")
def commands() -> None:
    """Show the artifacts in an S3 bucket as files."""


def run(args: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit status; errors are printed, never raised."""
    try:
        status = commands.main(args=args, prog_name="s3mount", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return exits.USAGE
    except click.UsageError as error:
        _say_usage(error)
        return exits.USAGE
    except (KeyboardInterrupt, click.Abort):
        return exits.INTERRUPTED
    except Exception as error:
        exits.say(error)
        first = (sys.argv[1:] if args is None else args)[:1]
        if isinstance(error, MountError) and first and (meant := _meant(first[0])):
            click.echo(f"  {meant}", err=True)
        return exits.status_of(error)
    return status if isinstance(status, int) else 0


def _say_usage(error: click.UsageError) -> None:
    click.echo(f"s3mount: {error.format_message()}", err=True)
    if error.ctx and error.ctx.command is not commands:
        click.echo(f"  {error.ctx.get_usage()}", err=True)
        click.echo(f"  more: {error.ctx.command_path} --help", err=True)
    elif "\n" not in error.format_message():
        click.echo("  more: s3mount --help", err=True)


def main(args: Sequence[str] | None = None) -> None:
    """The entry point.

    Args:
        args: what the process was called with; without, those of `sys.argv`.
    """
    gc.set_threshold(COLLECT_EVERY)
    raise_limit()
    keep_freed()
    status = run(args)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `s3mount status | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    gc.freeze()  # at its end the interpreter would look for cycles in all that it has loaded: 30 ms
    sys.exit(status)
