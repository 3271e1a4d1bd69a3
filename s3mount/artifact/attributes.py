"""The mode and the modification time of a file, as metadata of an object: plain functions.

They are spelled as rclone spells them, ``mode`` in octal digits and ``mtime`` in seconds, so that either reads the
other's.
"""

from typing import NamedTuple

_MODE = "mode"
_MTIME = "mtime"
_PERMISSIONS = 0o777
"""No set-user-id bit comes out of a bucket."""
_SECOND = 1_000_000_000
_LATEST = (1 << 62) - 1
"""Nanoseconds: what file systems and their calls agree on."""


class Attributes(NamedTuple):
    """What is known of a file; None where nothing is.

    Attributes:
        mode: its permissions.
        mtime_ns: nanoseconds since the epoch.
    """

    mode: int | None
    mtime_ns: int | None


def metadata_of(mode: int, mtime_ns: int) -> tuple[tuple[str, str], ...]:
    """What is stored with an object."""
    seconds, rest = divmod(abs(mtime_ns), _SECOND)
    sign = "-" if mtime_ns < 0 else ""
    return ((_MODE, f"{mode & _PERMISSIONS:04o}"), (_MTIME, f"{sign}{seconds}.{rest:09}"))


def attributes_of(metadata: tuple[tuple[str, str], ...]) -> Attributes:
    """What is stored with an object; what cannot be read counts as missing."""
    told = dict(metadata)
    return Attributes(_mode(told.get(_MODE, "")), _mtime(told.get(_MTIME, "")))


def _mode(text: str) -> int | None:
    try:
        return int(text, 8) & _PERMISSIONS
    except ValueError:
        return None


def _mtime(text: str) -> int | None:
    seconds, _, rest = text.partition(".")
    is_ours = len(rest) == len("123456789") and f"{seconds}{rest}".isdecimal()
    nanoseconds = int(seconds + rest) if is_ours else _nanoseconds_of(text)
    return nanoseconds if nanoseconds is not None and abs(nanoseconds) <= _LATEST else None


def _nanoseconds_of(text: str) -> int | None:
    from decimal import Decimal, InvalidOperation  # what we write ourselves does not wait for it

    try:
        return int(Decimal(text) * _SECOND)
    except (InvalidOperation, ValueError, OverflowError):
        return None
