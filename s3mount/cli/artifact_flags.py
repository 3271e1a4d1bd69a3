"""The arguments and flags of the artifact commands, and the help that they share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from s3mount.artifact.paths import Level
from s3mount.cli.artifact_run import note_config, note_verbose

EPILOG = """\b
Examples:
  s3mount artifact push job build/app.tar.gz
  s3mount artifact push workflow logs -d logs/web    a directory, under another name
  tar c dist | s3mount artifact push job - -d dist.tar
  s3mount artifact pull job app.tar.gz -f            overwrite the local file
  s3mount artifact pull workflow logs/web -j 1 -d /tmp/logs
  s3mount artifact list project --json
  s3mount artifact exists job app.tar.gz && echo there
  s3mount artifact yank job logs                     or: artifact delete job logs

\b
Which job, workflow or project: -j, -w, -p, or SEMAPHORE_JOB_ID, SEMAPHORE_WORKFLOW_ID,
SEMAPHORE_PROJECT_ID. Where they are kept:
  ARTIFACT_BACKEND=s3     ARTIFACT_S3_BUCKET, and _REGION, _ENDPOINT, _PREFIX, _FORCE_PATH_STYLE
  ARTIFACT_BACKEND=local  ARTIFACT_LOCAL_DIR
  ARTIFACT_BACKEND=hub    SEMAPHORE_ORGANIZATION_URL, SEMAPHORE_ARTIFACT_TOKEN; this is the default
or the same in ~/.artifact.yaml. The command  artifact  takes the same words.

\b
Exit status: 0 done, 1 it failed, 2 it was asked for wrongly. exists: 0 there, 1 not there,
2 it could not find out."""


class Commands(click.Group):
    """In the order in which they were written; ``delete`` is ``yank``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In their order."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """By name or alias."""
        return super().get_command(ctx, "yank" if cmd_name == "delete" else cmd_name)


def global_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--config`` and ``--verbose``, before or behind the command's name."""
    config = click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=note_config,
        help="YAML file. [~/.artifact.yaml]",
    )
    verbose = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=note_verbose,
        help="Say everything that is done.",
    )
    return config(verbose(command))


def common(path: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The arguments and flags of every command; ``path`` says whether PATH must be given."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for level in reversed(Level):
            command = click.option(
                f"-{level[0]}",
                level.flag,
                metavar="ID",
                help=f"Of another {level}. [{level.variable}]",
            )(command)
        argument = click.argument(
            "path", callback=_not_empty, required=path, default=None if path else "."
        )
        level_argument = click.argument(
            "level",
            type=click.Choice([each.value for each in Level]),
            metavar="job|workflow|project",
            callback=_level,
        )
        return level_argument(argument(global_flags(command)))

    return decorate


def _not_empty(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    if value is None:
        raise click.MissingParameter(ctx=ctx, param=param)
    if not value:
        # An unset variable must not mean all artifacts.
        raise click.UsageError("PATH is empty; . means all artifacts")
    return value


def _level(_: click.Context, __: click.Parameter, value: str) -> Level:
    return Level(value)


DESTINATION = click.option("-d", "--destination", default="", metavar="PATH", help="Another name.")
