"""The file beside an archive that holds its SHA-256, and the comparison with what is there."""

import hashlib
import re
from pathlib import Path

from s3mount.errors import S3MountError

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
SIZE_MAX = 64 * 1024
"""Bytes of a sidecar at the most: it holds one line."""


class BadSidecar(S3MountError):
    """The file that should hold a checksum holds none."""


class ChecksumMismatch(S3MountError):
    """An archive is not the one that its checksum was made of."""


def digest_in(body: bytes, name: str) -> str:
    """The digest that a sidecar holds: ``digest`` or ``digest  filename``, in lower case.

    Args:
        body: of the sidecar.
        name: of it, for the error.

    Raises:
        BadSidecar: its first word is no SHA-256.
    """
    words = body.decode("ascii", "replace").split(None, 1)
    if not words or not _DIGEST.fullmatch(words[0]):
        raise BadSidecar(
            f"{name} holds no SHA-256", hint="upload it again, or leave checksums out: --no-verify"
        )
    return words[0].lower()


def body_of(digest: str) -> bytes:
    """What is written into a sidecar."""
    return f"{digest}\n".encode()


def digest_of(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(name: str, found: str, wanted: str) -> None:
    """Compare two digests.

    Raises:
        ChecksumMismatch: they differ.
    """
    if found != wanted:
        raise ChecksumMismatch(
            f"{name} has the SHA-256 {found}, and its sidecar says {wanted}",
            hint="one of the two was uploaded wrongly or changed meanwhile; try again, or --no-verify",
        )
