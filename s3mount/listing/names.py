"""Which key becomes which name: plain functions, held by property tests.

A key is split on ``/`` and each part is a name, byte for byte. Some parts no path can spell; such keys are not shown,
and counted. An object whose name is also a directory's is shown under a longer name.
"""

NAME_MAX = 255
"""Bytes in a name at the most: Linux's own limit."""

TWIN_SUFFIX = b".s3object"
"""What is added to the name of an object ``a`` that lives beside objects ``a/...``."""


def is_spellable(part: bytes) -> bool:
    """Whether a path can hold this part of a key as a name."""
    return part not in (b"", b".", b"..") and b"\0" not in part and len(part) <= NAME_MAX


def encode(text: str) -> bytes:
    """The bytes of a key or a part of one; surrogate escapes stand for bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def decode(name: bytes) -> str:
    """The part of a key that these bytes are; the inverse of `encode`."""
    return name.decode("utf-8", "surrogateescape")


def twin_name(name: bytes) -> bytes | None:
    """The name of an object whose own name is a directory's, None when it would be too long."""
    longer = name + TWIN_SUFFIX
    return longer if len(longer) <= NAME_MAX else None


def name_of_twin(name: bytes) -> bytes | None:
    """Whose twin a name would be, None when it cannot be one."""
    if not name.endswith(TWIN_SUFFIX):
        return None
    short = name[: -len(TWIN_SUFFIX)]
    return short if is_spellable(short) else None
