"""What each member of an archive may become: plain decisions, no I/O.

A member's place is a tuple of parts below the directory that is filled. What has none is refused: the whole archive is,
for nobody made it by accident.
"""

import tarfile
from collections.abc import Iterable
from typing import NamedTuple

from s3mount.errors import S3MountError

MANIFEST = "artifact_manifest.txt"
"""The first member of an archive that can be flattened: the directories of the build tree that it holds."""
NAME_MAX = 255
"""Bytes of one part of a path."""
DEPTH_MAX = 256
"""Parts of a path: trees that nobody made by hand are deeper."""

Parts = tuple[str, ...]


class BadArchive(S3MountError):
    """An archive cannot be unpacked: it is damaged, cut short, or is none."""


class RefusedMember(BadArchive):
    """An archive holds what must not be written; nothing of it is kept."""


class Limits(NamedTuple):
    """How much an archive may become.

    Attributes:
        members: files, directories and links.
        free: bytes that all files may take together: what the disk has to give.
    """

    members: int = 2_000_000
    free: int = 1 << 62


class Count:
    """What was unpacked so far, held against the limits.

    Args:
        limits: how much there may be.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.members = 0
        self.size = 0

    def add(self, name: str, size: int) -> None:
        """Count a member before it is written.

        Raises:
            RefusedMember: it is one too many, or too large.
        """
        self.members += 1
        self.size += size
        if self.members > self._limits.members:
            raise RefusedMember(f"it has more than {self._limits.members} members")
        if size < 0 or self.size > self._limits.free:
            raise RefusedMember(
                f"with {name!r} it takes {self.size} bytes, and the disk has {self._limits.free}",
                hint="make room, or unpack it elsewhere: --output-dir",
            )


def parts_of(name: str) -> Parts:
    """Where a member belongs; empty for the directory itself.

    Raises:
        RefusedMember: nowhere.
    """
    if name.startswith("/"):
        raise RefusedMember(f"{name!r} is an absolute path")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if len(parts) > DEPTH_MAX:
        raise RefusedMember(f"{name[:NAME_MAX]!r} is deeper than {DEPTH_MAX} directories")
    if ".." in parts:
        raise RefusedMember(f"{name!r} leads out of its directory")
    for part in parts:
        if "\0" in part or len(part.encode("utf-8", "surrogateescape")) > NAME_MAX:
            raise RefusedMember(f"{name!r} cannot be the path of a file")
    return parts


def check_kind(member: tarfile.TarInfo) -> None:
    """Only files, directories and links are unpacked.

    Raises:
        RefusedMember: it is a device, a pipe, or unknown.
    """
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise RefusedMember(f"{member.name!r} is neither file, directory nor link")


def check_link(name: str, place: Parts, target: str) -> None:
    """A symbolic link must lead to something below the directory that is filled.

    Args:
        name: of the member, for the error.
        place: of the link.
        target: as it is written in the link.

    Raises:
        RefusedMember: it leads out of it.
    """
    if not target or "\0" in target:
        raise RefusedMember(f"{name!r} is a link to nothing")
    depth = len(place) - 1
    for part in target.split("/") if not target.startswith("/") else [".."] * (depth + 1):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            raise RefusedMember(
                f"{name!r} is a link to {target!r}, out of its directory",
                hint="--no-extract leaves the archive as it is",
            )


class Places:
    """Gives members their places.

    Args:
        prefixes: directories of the build tree of which each member loses the first that it is in; None to lose none.
    """

    def __init__(self, prefixes: Iterable[Parts] | None = None) -> None:
        self._prefixes = None if prefixes is None else tuple(prefixes)

    def of(self, name: str, *, is_dir: bool = False) -> Parts:
        """The place of a member; empty for a directory that is none of its own.

        Raises:
            RefusedMember: it has none.
        """
        parts = parts_of(name)
        if self._prefixes is None:
            return parts
        for prefix in self._prefixes:
            if parts[: len(prefix)] == prefix:
                return parts[len(prefix) :]
        if is_dir and any(prefix[: len(parts)] == parts for prefix in self._prefixes):
            return ()
        raise RefusedMember(f"{name!r} is in no directory that {MANIFEST} names")


def prefixes_in(manifest: bytes) -> list[Parts]:
    """The directories that a manifest names, one on each line.

    Raises:
        RefusedMember: one of them cannot be.
    """
    lines = manifest.decode("utf-8", "surrogateescape").splitlines()
    return [parts_of(line.strip()) for line in lines if line.strip()]
