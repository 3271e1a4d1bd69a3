"""Exit statuses: 0 done, 1 it failed, 2 it was asked for wrongly, 3 nothing is there, 130 stopped by Ctrl-C.

One total table from errors to statuses, and the two lines in which an error is said. It prints to
stderr and knows no command.
"""

import logging
import os
import sys

import click

from s3mount.errors import ConfigError, S3MountError

FAILED = 1
USAGE = 2
NOTHING_FOUND = 3
INTERRUPTED = 130

_log = logging.getLogger("s3mount")


class ChildFailed(S3MountError):
    """A process in the background could not do it; its own words and its own exit status."""

    def __init__(self, message: str, *, hint: str = "", status: int = FAILED) -> None:
        super().__init__(message, hint=hint)
        self.status = status


def status_of(error: BaseException) -> int:
    """The exit status of an error; any error has one."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    if isinstance(error, ChildFailed):
        return error.status
    if isinstance(error, ConfigError | click.UsageError):
        return USAGE
    return FAILED


def as_ours(error: Exception) -> S3MountError:
    """Any error as one that can be said in a message and a hint."""
    if isinstance(error, S3MountError):
        return error
    if isinstance(error, OSError) and error.strerror:
        where = (
            f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        )
        return S3MountError(f"{where}{error.strerror}")
    named = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return S3MountError(f"internal error: {named}", hint="--log-level debug logs where it happened")


def say(error: Exception) -> None:
    """Print an error in one or two lines; the traceback goes to the log, for who asked for it."""
    _log.debug("%s", error, exc_info=error)
    ours = as_ours(error)
    click.echo(f"s3mount: {ours.message}", err=True)
    if ours.hint:
        click.echo(f"  {ours.hint}", err=True)
    sys.stderr.flush()
