"""What the artifact commands have in common: who is meant, which backend, how they go on and how they end."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from s3mount.artifact.paths import Level, Scope, scope_of
from s3mount.artifact.settings import Settings, config_file, read_file, read_settings
from s3mount.cli import exits, human
from s3mount.cli.artifact_log import everything_said, say, size
from s3mount.cli.ending import ends_cleanly
from s3mount.errors import S3MountError

if TYPE_CHECKING:
    from s3mount.artifact.backend import Told

_CONFIG = "s3mount.artifact.config"
_VERBOSE = "s3mount.artifact.verbose"


class Call(NamedTuple):
    """What every command was told.

    Attributes:
        scope: the job, workflow or project.
        settings: of the backend.
    """

    scope: Scope
    settings: Settings


def note_config(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    """Keep ``--config``, before or behind the command's name; see `call_of`."""
    if value is not None:
        ctx.meta[_CONFIG] = value


def note_verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Keep ``--verbose``, before or behind the command's name; see `call_of`."""
    if value:
        ctx.meta[_VERBOSE] = True


def call_of(ctx: click.Context, level: Level, ids: dict[str, str | None]) -> Call:
    """Read who is meant, and the configuration.

    Args:
        ctx: holds ``--config`` and ``--verbose``.
        level: of the command.
        ids: behind the flags, by level.

    Raises:
        UsageError: an ID of another level was given.
        ConfigError: there is no ID, or no backend.
    """
    ctx.with_resource(ends_cleanly())
    if ctx.meta.get(_VERBOSE):
        ctx.with_resource(everything_said())
    for other in Level:
        if other is not level and ids[other] is not None:
            raise click.UsageError(f"{other.flag} goes with {other}, not with {level}", ctx)
    scope = scope_of(level, ids[level] or "", os.environ.get(level.variable, ""))
    path = config_file(ctx.meta.get(_CONFIG), os.environ)
    return Call(scope, read_settings(read_file(path) if path else {}, os.environ))


@contextmanager
def refusing_early(ctx: click.Context, status: int = exits.FAILED) -> Iterator[None]:
    """Say what is wrong before anything is done, and end the command."""
    try:
        yield
    except S3MountError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        ctx.exit(status)


class Totals:
    """How many files went where they belong, and their bytes."""

    def __init__(self) -> None:
        self.files = 0
        self.size = 0

    @property
    def counted(self) -> str:
        """``1 file``, ``1204 files``: without commas, for scripts."""
        return f"{self.files} {'file' if self.files == 1 else 'files'}"

    def __str__(self) -> str:
        return f"{self.counted}. Total of {size(self.size)}"


@contextmanager
def failing(
    ctx: click.Context,
    doing: str,
    advice: str = "",
    *,
    totals: Totals | None = None,
    status: int = exits.FAILED,
) -> Iterator[None]:
    """Say that a command failed and why, and end it.

    Args:
        ctx: of the command.
        doing: what failed: ``pushing artifact``.
        advice: said after the reason.
        totals: what went well before.
        status: the exit status.
    """
    try:
        yield
    except click.exceptions.Exit:
        raise
    except Exception as error:
        ours = exits.as_ours(error)
        say(f"Error {doing}: {human.name(ours.message)}")
        part = f"{totals.counted} went well before that." if totals and totals.files else ""
        for text in filter(None, (advice, ours.hint, part)):
            say(human.name(text))
        ctx.exit(status)


@contextmanager
def progress(totals: Totals, noun: str) -> Iterator["Told"]:
    """Count files and, for a person, show them.

    Args:
        totals: what is added to.
        noun: what happens to a file: ``pushed``.
    """

    def count(_: str, size: int) -> None:
        totals.files += 1
        totals.size += size

    if not sys.stderr.isatty():
        yield count
        return
    with _shown(noun) as show:

        def told(remote: str, size: int) -> None:
            count(remote, size)
            show(remote, size)

        yield told


@contextmanager
def _shown(noun: str) -> Iterator["Told"]:
    from s3mount.bulk.outcome import Ending, Outcome
    from s3mount.cli import displays
    from s3mount.store.interface import ObjectMeta

    with displays.open(noun=noun, stream=sys.stderr) as shown:

        def told(remote: str, size: int) -> None:
            shown.found(1, size)
            shown.ended([Outcome(ObjectMeta(remote, size, "", 0), Ending.FETCHED, size)])

        yield told
