"""What the command line asks of a prefetch: values as they were written, and their readers.

It opens nothing; every reader says which flag is wrong and what is allowed.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TypeVar

from s3mount.config import quantities
from s3mount.errors import ConfigError

if TYPE_CHECKING:
    from s3mount.bulk.keyfile import KeyPages
    from s3mount.bulk.selection import Selection
    from s3mount.bulk.session import Session
    from s3mount.store.open import Source

T = TypeVar("T")

_SIZE = "allowed: a size such as 100KiB, 2GiB or 1048576"
_RATE = "allowed: bytes per second, such as 10MiB or 500KiB"
_NEWER = "allowed: a length of time such as 7d or 12h, or a date such as 2026-01-31"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the flags of this command say, as it was written."""

    regex: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    larger: str | None
    smaller: str | None
    newer: str | None
    from_file: IO[bytes] | None
    head_bytes: str | None
    jobs: int
    max_bandwidth: str | None
    dry_run: bool
    pin: str | None
    snapshot: str | None
    check: bool
    quiet: bool
    progress: str | None
    as_json: bool


def one_file(source: "Source") -> "tuple[Source, str | None]":
    """A source that names one file is its directory, and the file's name."""
    if source.kind == "file" and os.path.isfile(source.bucket_or_dir):
        directory, name = os.path.split(source.bucket_or_dir)
        return source._replace(bucket_or_dir=directory), name
    return source, None


def below(prefix: str, more: str) -> str:
    """A prefix and what an option adds to it, as a mount joins them."""
    joined = prefix + more.lstrip("/")
    return joined if not joined or joined.endswith("/") else joined + "/"


def selection(wish: Wish, prefix: str) -> "Selection":
    """Which objects are wanted."""
    from s3mount.bulk.selection import Selection, read_newer

    now = time.time()  # noqa: TID251 -- a command has a clock
    return Selection(
        wish.regex,
        wish.include,
        wish.exclude,
        larger=_read("--larger", wish.larger, quantities.read_size, _SIZE),
        smaller=_read("--smaller", wish.smaller, quantities.read_size, _SIZE),
        newer=_read("--newer", wish.newer, lambda text: read_newer(text, now), _NEWER),
        prefix=prefix,
    )


def head_bytes(wish: Wish) -> int | None:
    """Bytes at the beginning of each object that are wanted, None for all."""
    return _read("--head-bytes", wish.head_bytes, _read_some, _SIZE)


def bandwidth(wish: Wish) -> int:
    """Bytes per second at the most, 0 for no limit."""
    return _read("--max-bandwidth", wish.max_bandwidth, _read_rate, _RATE) or 0


def key_pages(session: "Session", prefix: str, wish: Wish, file: str | None) -> "KeyPages | None":
    """The listing of keys that were written down; None when the prefix is listed."""
    from s3mount.bulk.keyfile import KeyPages, read_keys

    if wish.from_file is not None:
        if file is not None:
            raise ConfigError("--from-file: SOURCE is one file", hint="name its directory")
        return KeyPages(session.engine, read_keys(wish.from_file, prefix))
    return None if file is None else KeyPages(session.engine, [file])


def _read_some(text: str) -> int:
    size = quantities.read_size(text)
    if not size:
        raise ValueError("is nothing")
    return size


def _read_rate(text: str) -> int:
    return _read_some(text.strip().removesuffix("/s"))


def _read(flag: str, text: str | None, reader: Callable[[str], T], hint: str) -> T | None:
    if text is None:
        return None
    try:
        return reader(text)
    except ValueError as error:
        raise ConfigError(f'{flag}: "{text}" {error}', hint=hint) from error
