"""`mount.s3mount`: what mount(8) runs for ``mount -t s3mount`` and for lines of fstab.

It reads the words that mount(8) passes to any helper and runs ``s3mount mount`` with them in this
process; exit statuses are those of mount(8): 0 mounted, 1 asked for wrongly, 32 failed. It knows no
option by name.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from s3mount.cli import exits
from s3mount.cli.main import run
from s3mount.errors import ConfigError

WRONGLY_ASKED = 1
MOUNT_FAILED = 32

_USAGE = "mount.s3mount SOURCE DIRECTORY [-fnsv] [-t TYPE] [-o OPTIONS]"


@dataclass(frozen=True, slots=True)
class Order:
    """What mount(8) asks for.

    Attributes:
        is_fake: do everything but mount (``mount -f``).
    """

    source: str
    directory: str
    options: tuple[str, ...] = ()
    is_fake: bool = False


def read_order(arguments: Sequence[str]) -> Order:
    """Read the words of a helper: ``SOURCE DIR [-sfnv] [-N ns] [-t type] [-o opts]``, in any order."""
    words, options, is_fake = [], [], False
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            words.append(word)
        elif word in {"-o", "-t", "-N"}:
            value = _value_of(word, rest)
            options += [value] if word == "-o" else []
        elif set(word[1:]) <= set("sfnv"):
            is_fake = is_fake or "f" in word
        else:
            raise ConfigError(f"{word}: no such option", hint=_USAGE)
    if len(words) != 2:  # noqa: PLR2004 -- a source and a directory
        raise ConfigError("mount.s3mount needs a source and a directory", hint=_USAGE)
    return Order(words[0], words[1], tuple(options), is_fake)


def _value_of(flag: str, rest: list[str]) -> str:
    if flag == "-N":
        raise ConfigError("-N: mounting into another namespace is not possible", hint="use nsenter")
    if not rest:
        raise ConfigError(f"{flag} needs a value", hint=_USAGE)
    return rest.pop(0)


def mount_status(arguments: Sequence[str]) -> int:
    """Mount as mount(8) asks, and give its exit status."""
    try:
        order = read_order(arguments)
    except ConfigError as error:
        exits.say(error)
        return WRONGLY_ASKED
    if order.is_fake:
        return 0
    options = [word for text in order.options for word in ("-o", text)]
    status = run(["mount", *options, "--", order.source, order.directory])
    return {0: 0, exits.USAGE: WRONGLY_ASKED}.get(status, MOUNT_FAILED)


def main() -> None:
    """The entry point."""
    sys.exit(mount_status(sys.argv[1:]))
