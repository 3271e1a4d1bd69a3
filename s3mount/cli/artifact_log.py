"""The lines that the artifact commands write to stderr: the time, then what happened. Scripts match on them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click

_STEP = 1024
_UNITS = ("KB", "MB", "GB", "TB", "PB", "EB")
_WIDTH = 19


def say(text: str) -> None:
    """Write a line with its time."""
    click.echo(line(text, datetime.now(UTC)), err=True)


def line(text: str, now: datetime) -> str:
    """A line as it is written: the time in UTC to the millisecond, padded, in brackets.

    Args:
        text: what happened.
        now: in UTC.
    """
    stamp = f"{now:%b} {now.day:2} {now:%H:%M:%S}.{now.microsecond // 1000:03}"
    return f"[{stamp:<{_WIDTH}}] {text}"


def size(count: int) -> str:
    """Bytes in steps of 1024: ``0 B``, ``512 B``, ``1.0 KB``, ``5.0 TB``."""
    if count < _STEP:
        return f"{count} B"
    power = min(len(_UNITS), (count.bit_length() - 1) // 10)
    return f"{count / _STEP**power:.1f} {_UNITS[power - 1]}"


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


@contextmanager
def everything_said() -> Iterator[None]:
    """Write everything that is logged, for ``--verbose``."""
    logger = logging.getLogger("s3mount")
    before, lines = logger.level, _Lines()
    logger.setLevel(logging.DEBUG)
    logger.addHandler(lines)
    try:
        yield
    finally:
        logger.removeHandler(lines)
        logger.setLevel(before)
