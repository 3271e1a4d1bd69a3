"""What listings on disk are called, and which of them a write makes wrong: known without opening one.

A file is named by what it lists.
"""

import hashlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from s3mount.store.paging import byte_order

log = logging.getLogger(__name__)

FORMAT: Final = 1
"""Version of the files' format; one of another is not read, and has another name."""


def listings_directory(cache_dir: Path) -> Path:
    """Where the listings are."""
    return cache_dir / "v1" / "listings"


def file_name(identity: str, prefix: str) -> str:
    """What the listing of a prefix is called."""
    named = byte_order(f"{FORMAT}.{len(identity)}.{identity}{prefix}")
    return hashlib.blake2b(named, digest_size=20).hexdigest()


def forget_covering(directory: Path, identity: str, keys: Iterable[str]) -> None:
    """Remove every listing that says of one of the keys whether it exists.

    Whoever has one open asks the store from its next request on. One that cannot be removed is reported in the log.

    Args:
        directory: see `listings_directory`; it need not be there.
        identity: of the store.
        keys: that were written or deleted.
    """
    try:
        names = set(os.listdir(directory))
    except OSError:
        return
    parents = {key[: key.rfind("/") + 1] for key in keys} if names else set()
    prefixes = {parent[:end] for parent in parents for end in _ends(parent)}
    for name in names.intersection(file_name(identity, prefix) for prefix in prefixes):
        try:
            (directory / name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("a stored listing is old and cannot be removed: %s", error)


def _ends(prefix: str) -> list[int]:
    """Where a directory ends in a prefix: each of them has the key below it."""
    return [0, *(at + 1 for at, letter in enumerate(prefix) if letter == "/")]
