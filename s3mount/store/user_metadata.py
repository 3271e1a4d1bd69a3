"""The user's metadata as headers hold it: names behind a prefix, values that any header can hold."""

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3mount.store.writing import Metadata

META = "x-amz-meta-"
_WORD_BEGIN = "=?UTF-8?B?"
_WORD_END = "?="


def metadata_in(headers: Mapping[str, str]) -> "Metadata":
    """The metadata that a reply tells.

    Args:
        headers: of the reply, names in lower case.
    """
    told = [name for name in headers if name.startswith(META)]
    return tuple([(name[len(META) :], decode_value(headers[name])) for name in told])


def encode_value(value: str) -> str:
    """A value of metadata as a header holds it: as it is, or as one encoded word of RFC 2047."""
    if is_plain(value) and "=?" not in value:
        return value
    raw = value.encode("utf-8", "surrogateescape")
    return f"{_WORD_BEGIN}{base64.b64encode(raw).decode()}{_WORD_END}"


def decode_value(text: str) -> str:
    """What `encode_value` was given; an encoded word of another kind stays as it is."""
    if not (text[: len(_WORD_BEGIN)].upper() == _WORD_BEGIN and text.endswith(_WORD_END)):
        return text
    try:
        raw = base64.b64decode(text[len(_WORD_BEGIN) : -len(_WORD_END)], validate=True)
    except binascii.Error:
        return text
    return raw.decode("utf-8", "surrogateescape")


def is_plain(text: str) -> bool:
    """Whether a header brings this to the other side unchanged, signed or not."""
    return bool(text) and text.isascii() and text.isprintable() and " ".join(text.split()) == text
