"""What a set of keys looks like as files: the rules of docs/semantics.md in a few lines, slow and plain."""

from collections.abc import Iterable
from typing import NamedTuple

SUFFIX = b".s3object"


class Shown(NamedTuple):
    """What a name stands for: an object's key, or a prefix that ends in ``/``."""

    key: str
    is_directory: bool


def can_be_shown(part: bytes) -> bool:
    return bool(part) and part not in (b".", b"..") and b"\0" not in part and len(part) <= 255


def children(keys: Iterable[str], prefix: str) -> tuple[dict[str, str], dict[str, str]]:
    """The objects and the directories right below a prefix, by their part of the key."""
    files, directories = {}, {}
    for key in keys:
        if key.startswith(prefix) and key != prefix:
            part, slash, _ = key[len(prefix) :].partition("/")
            (directories if slash else files)[part] = prefix + part + slash
    return files, directories


def names_below(keys: Iterable[str], prefix: str) -> dict[bytes, Shown]:
    """Every name that a directory shows."""
    files, directories = (
        {part.encode("utf-8", "surrogateescape"): key for part, key in found.items()}
        for found in children(keys, prefix)
    )
    files = {part: key for part, key in files.items() if can_be_shown(part)}
    directories = {part: key for part, key in directories.items() if can_be_shown(part)}
    shown = {part: Shown(key, True) for part, key in directories.items()}
    shown |= {part: Shown(key, False) for part, key in files.items() if part not in directories}
    taken = files.keys() | directories.keys()
    for part in files.keys() & directories.keys():
        longer = part + SUFFIX
        if longer not in taken and len(longer) <= 255:
            shown[longer] = Shown(files[part], False)
    return shown


def unspellable_below(keys: Iterable[str], prefix: str) -> set[str]:
    """The keys and prefixes right below a prefix that no path can spell."""
    files, directories = children(keys, prefix)
    return {
        key
        for found in (files, directories)
        for part, key in found.items()
        if not can_be_shown(part.encode("utf-8", "surrogateescape"))
    }


def twins_below(keys: Iterable[str], prefix: str) -> set[str]:
    """The objects that lie beside a directory of their name."""
    files, directories = children(keys, prefix)
    return {
        files[part]
        for part in files.keys() & directories.keys()
        if can_be_shown(part.encode("utf-8", "surrogateescape"))
    }
