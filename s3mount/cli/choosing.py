"""What `download` and `prefetch` ask and show alike: which objects are wanted, and how a run goes on and ends."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from s3mount.cli import displays, human
from s3mount.config import quantities
from s3mount.errors import ConfigError

if TYPE_CHECKING:
    from s3mount.bulk.ledger import Ledger
    from s3mount.bulk.outcome import Outcome
    from s3mount.bulk.selection import Selection

P = ParamSpec("P")
T = TypeVar("T")

SIZE = "allowed: a size such as 100KiB, 2GiB or 1048576"
_NEWER = "allowed: a length of time such as 7d or 12h, or a date such as 2026-01-31"

_FLAGS = (
    click.option(
        "-r", "--regex", default="", metavar="REGEX", help="Only keys in which this is found."
    ),
    click.option(
        "--include", multiple=True, metavar="GLOB", help="Only keys that match one of these."
    ),
    click.option(
        "--exclude", multiple=True, metavar="GLOB", help="No keys that match one of these."
    ),
    click.option("--larger", metavar="SIZE", help="Only objects of more bytes."),
    click.option("--smaller", metavar="SIZE", help="Only objects of fewer bytes."),
    click.option("--newer", metavar="TIME", help="Only what changed since: 7d, 12h, 2026-01-31."),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What these flags say, as it was written."""

    regex: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    larger: str | None
    smaller: str | None
    newer: str | None


def choosing_flags(command: Callable[P, T]) -> Callable[P, T]:
    """Give a command the flags of a `Choice`."""
    for flag in reversed(_FLAGS):
        command = flag(command)
    return command


def selection(choice: Choice, prefix: str) -> "Selection":
    """Which objects are wanted.

    Args:
        choice: the flags.
        prefix: what globs are not held against.

    Raises:
        ConfigError: a flag cannot be read.
    """
    from s3mount.bulk.selection import Selection, read_newer

    now = time.time()  # noqa: TID251 -- a command has a clock
    return Selection(
        choice.regex,
        choice.include,
        choice.exclude,
        larger=read("--larger", choice.larger, quantities.read_size, SIZE),
        smaller=read("--smaller", choice.smaller, quantities.read_size, SIZE),
        newer=read("--newer", choice.newer, lambda text: read_newer(text, now), _NEWER),
        prefix=prefix,
    )


def read(flag: str, text: str | None, reader: Callable[[str], T], hint: str) -> T | None:
    """The value of a flag, None where it was not given.

    Raises:
        ConfigError: it cannot be read; says which flag and what is allowed.
    """
    if text is None:
        return None
    try:
        return reader(text)
    except ValueError as error:
        raise ConfigError(f'{flag}: "{text}" {error}', hint=hint) from error


def show(batches: "Iterable[list[Outcome]]", ledger: "Ledger", shown: displays.Display) -> None:
    """Show a run to its end."""
    found = size = 0
    for batch in batches:
        shown.found(ledger.objects - found, ledger.size - size)
        found, size = ledger.objects, ledger.size
        if ledger.is_listed:
            shown.listing_done()
        shown.ended(batch)
    shown.found(ledger.objects - found, ledger.size - size)
    shown.listing_done()


def nothing(text: str, ledger: "Ledger", more: str = "") -> str:
    """Why nothing was wanted, and what to do; ``more`` is added to the hint."""
    source = human.name(text)
    if not ledger.listed:
        return f"there is nothing below {source}\n  s3mount ls shows what there is"
    objects = human.count(ledger.listed, "object")
    hint = f"globs are held against keys below SOURCE, -r against whole keys{more}"
    return f"none of the {objects} below {source} is wanted\n  {hint}"
