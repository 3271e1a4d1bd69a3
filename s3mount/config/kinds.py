"""What sorts of options there are: how a value of each is read, written and described.

A kind joins a reader and a writer with the words that help and errors use; it knows no option by
name and no default. Relative paths are made absolute while they are read, because the daemon leaves
the directory that the command was given in. Plain functions.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from s3mount.config import quantities

_SIZES = "a size such as 10GiB, 512M or 1048576"
_DURATIONS = "a duration such as 60s, 5m, 1h30m or 250ms; a bare number is seconds"
_MODES = "an octal mode from 0000 to 0777"
_YES_OR_NO = "yes or no"
_PATHS = "a path"


Value = Any
"""A value of an option; its type is that of the field in `MountOptions`."""


class Kind(NamedTuple):
    """What options of one sort share.

    Attributes:
        metavar: what help shows behind the flag.
        allowed: what may be written, as a phrase.
        read: text to value; raises ValueError with a phrase.
        write: value to text, such that ``read`` gives the value again.
    """

    metavar: str
    allowed: str
    read: Callable[[str], Value]
    write: Callable[[Value], str]


def _read_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL in it")
    return text


def _read_path(text: str) -> Path:
    # Made absolute at once: the daemon leaves the directory that the command was given in.
    if not text:
        raise ValueError("is empty")
    return Path(os.path.abspath(os.path.expanduser(_read_text(text))))


def _read_path_or_nothing(text: str) -> Path | None:
    return _read_path(text) if text else None


def _read_path_text(text: str) -> str:
    return str(_read_path(text)) if text else ""


def _read_url(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if text and not (separator and scheme.lower() in {"http", "https"} and rest.strip("/")):
        raise ValueError("is not an http:// or https:// URL")
    return text.rstrip("/")


def _read_prefix(text: str) -> str:
    text = _read_text(text)
    return f"{text}/" if text and not text.endswith("/") else text


def one_of(*words: str) -> Kind:
    """A kind whose values are these words."""

    def read(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError("is not one of them")
        return text.strip().lower()

    return Kind("|".join(words), f"{', '.join(words[:-1])} or {words[-1]}", read, str)


TEXT = Kind("TEXT", "any text", _read_text, str)
PATH = Kind("PATH", _PATHS, _read_path, str)
SIZE = Kind("SIZE", _SIZES, quantities.read_size, quantities.write_size)
SHARE = Kind(
    "SIZE|N%",
    f"{_SIZES}, or a share of the disk such as 20%",
    quantities.read_size_or_share,
    quantities.write_size,
)
DURATION = Kind("TIME", _DURATIONS, quantities.read_duration, quantities.write_duration)
COUNT = Kind("N", "a whole number", quantities.read_count, str)
MODE = Kind("MODE", _MODES, quantities.read_mode, quantities.write_mode)
SWITCH = Kind("", _YES_OR_NO, quantities.read_yes_or_no, quantities.write_yes_or_no)
USER = Kind("USER", "a user's name or number", quantities.read_user, str)
GROUP = Kind("GROUP", "a group's name or number", quantities.read_group, str)
URL = Kind("URL", "an http:// or https:// URL", _read_url, str)
PREFIX = Kind("TEXT", "the beginning of keys, up to a slash", _read_prefix, str)
CA_BUNDLE = Kind("PATH", _PATHS, _read_path_text, str)
LOG_FILE = Kind("PATH", _PATHS, _read_path_or_nothing, lambda path: str(path or ""))
