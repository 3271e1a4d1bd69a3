"""What the command line asks of a prefetch: values as they were written, and their readers.

It opens nothing; every reader says which flag is wrong and what is allowed.
"""

import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from s3mount.cli import choosing
from s3mount.config import quantities
from s3mount.errors import ConfigError

if TYPE_CHECKING:
    from s3mount.bulk.keyfile import KeyPages
    from s3mount.bulk.session import Session
    from s3mount.store.open import Source

_RATE = "allowed: bytes per second, such as 10MiB or 500KiB"


@dataclass(frozen=True, slots=True)
class Wish(choosing.Choice):
    """What the flags of this command say, as it was written."""

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


def head_bytes(wish: Wish) -> int | None:
    """Bytes at the beginning of each object that are wanted, None for all."""
    return choosing.read("--head-bytes", wish.head_bytes, _read_some, choosing.SIZE)


def bandwidth(wish: Wish) -> int:
    """Bytes per second at the most, 0 for no limit."""
    return choosing.read("--max-bandwidth", wish.max_bandwidth, _read_rate, _RATE) or 0


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
