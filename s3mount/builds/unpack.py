"""An archive becomes a tree in an empty directory, or an error: nothing is written anywhere else, whatever it holds.

Directories are entered part by part and no symbolic link is followed on the way, so a link that was unpacked before
cannot lead a later member out. tarfile's own filter is asked as well. Concurrency rule: one thread.
"""

import contextlib
import errno
import os
import stat
import tarfile
from pathlib import Path
from typing import NamedTuple

from s3mount.builds.archive import Archive, opened
from s3mount.builds.members import (
    MANIFEST,
    BadArchive,
    Count,
    Limits,
    Parts,
    Places,
    RefusedMember,
    check_kind,
    check_link,
    prefixes_in,
)
from s3mount.builds.sidecar import check
from s3mount.bulk.folders import Folders, NotWritable
from s3mount.bulk.keys import encoded

KEPT_MODE = 0o755
"""The bits of a mode that are kept: setuid, and writing by others, are for nobody to give away."""
RESERVE = 64 << 20
"""Bytes of the disk that are left to others."""
_MANIFEST_MAX = 1 << 20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacked(NamedTuple):
    """What became of an archive.

    Attributes:
        members: files, directories and links.
        size: bytes of all files.
    """

    members: int
    size: int


def unpack(
    archive: Path,
    directory: Path,
    *,
    is_flat: bool = False,
    sha256: str = "",
    limits: Limits | None = None,
) -> Unpacked:
    """Fill a directory with the members of an archive.

    Files keep their modes within `KEPT_MODE` and their times; symbolic and hard links stay what they are.

    Args:
        archive: ``.tar.zst`` or ``.tar.xz``.
        directory: empty; where an error is raised, what is in it is worth nothing.
        is_flat: each member loses the directory of the build tree that it is in: the first member must be the manifest
            that names those.
        sha256: what the archive must have; empty where nobody knows.
        limits: on what it may become; what the disk has to give, where nobody says.

    Raises:
        BadArchive: it is damaged, or has no manifest.
        RefusedMember: it holds what must not be written.
        ChecksumMismatch: it is another one than ``sha256`` says.
        OSError: the file system refuses.
    """
    if limits is None:
        facts = os.statvfs(directory)
        limits = Limits(free=max(0, facts.f_bavail * facts.f_frsize - RESERVE))
    with opened(archive) as source:
        folders = Folders(os.fspath(directory), sweeps=False)
        try:
            tree = _Tree(source, folders, directory, Count(limits))
            tree.fill(is_flat=is_flat)
            if sha256:
                check(archive.name, source.digest(), sha256)
            tree.finish()
        finally:
            folders.close()
    return Unpacked(tree.count.members, tree.count.size)


class _Tree:
    """The directory that is filled."""

    def __init__(self, source: Archive, folders: Folders, root: Path, count: Count) -> None:
        self.count = count
        self._source = source
        self._folders = folders
        self._root = os.fspath(root)
        self._places = Places()
        # Given at the end: writing into a directory changes its time, and may need a mode that it is not to keep.
        self._directories: dict[Parts, tarfile.TarInfo] = {}

    def fill(self, *, is_flat: bool) -> None:
        members = self._source.members()
        if is_flat:
            first = next(members, None)
            if first is None or first.name != MANIFEST or not first.isreg():
                raise BadArchive(
                    f"its first member is not {MANIFEST}", hint="unpack it without --flatten"
                )
            self._places = Places(prefixes_in(self._manifest(first)))
        for member in members:
            self._write(member)

    def finish(self) -> None:
        """Give the directories their modes and times, the deepest first."""
        for parts in sorted(self._directories, key=len, reverse=True):
            member = self._directories[parts]
            folder = self._folders.open("/".join(parts), make=False)
            path = (
                f"/proc/self/fd/{folder}"  # what is opened to pass through takes neither by itself
            )
            os.chmod(path, member.mode & KEPT_MODE | stat.S_IRWXU)
            os.utime(path, ns=_times(member))

    def _manifest(self, member: tarfile.TarInfo) -> bytes:
        if member.size > _MANIFEST_MAX:
            raise RefusedMember(f"{MANIFEST} is too large")
        return b"".join(self._source.pieces(member))

    def _write(self, member: tarfile.TarInfo) -> None:
        check_kind(member)
        parts = self._places.of(member.name, is_dir=member.isdir())
        self.count.add(member.name, member.size if member.isreg() else 0)
        if member.issym():
            check_link(member.name, parts, member.linkname)
        _ask_tarfile(member, self._root)
        if not parts and not member.isdir():
            raise RefusedMember(f"{member.name!r} is called like its directory")
        try:
            self._make(member, parts)
        except NotWritable as error:
            raise RefusedMember(f"{member.name!r} cannot be written: {error.message}") from error

    def _make(self, member: tarfile.TarInfo, parts: Parts) -> None:
        if member.isdir():
            self._folders.open("/".join(parts), make=True)
            if parts:
                self._directories[parts] = member
            return
        folder = self._folders.open("/".join(parts[:-1]), make=True)
        name = encoded(parts[-1])
        _clear(folder, name, member.name)
        if member.isreg():
            self._file(member, folder, name)
        elif member.issym():
            os.symlink(encoded(member.linkname), name, dir_fd=folder)
        else:
            self._hard_link(member, parts)

    def _file(self, member: tarfile.TarInfo, folder: int, name: bytes) -> None:
        descriptor = os.open(name, _CREATE, 0o600, dir_fd=folder)
        with open(descriptor, "wb", buffering=0) as file:
            for piece in self._source.pieces(member):
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) or 0 :]
            os.fchmod(descriptor, member.mode & KEPT_MODE)
            os.utime(descriptor, ns=_times(member))

    def _hard_link(self, member: tarfile.TarInfo, parts: Parts) -> None:
        """To a file of this archive, which must have come before."""
        source = self._places.of(member.linkname)
        wrong = RefusedMember(
            f"{member.name!r} is a hard link to {member.linkname!r}, no file of it"
        )
        if not source:
            raise wrong
        try:
            above = os.dup(self._folders.open("/".join(source[:-1]), make=False))
        except FileNotFoundError as error:
            raise wrong from error
        try:
            found = os.stat(encoded(source[-1]), dir_fd=above, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                raise wrong
            folder = self._folders.open("/".join(parts[:-1]), make=True)
            names = (encoded(source[-1]), encoded(parts[-1]))
            os.link(*names, src_dir_fd=above, dst_dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError as error:
            raise wrong from error
        finally:
            os.close(above)


def _clear(folder: int, name: bytes, member: str) -> None:
    """A later member takes the place of an earlier one, but never of a directory."""
    with contextlib.suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=folder)
        except OSError as error:
            if error.errno in {errno.EISDIR, errno.EPERM}:
                raise RefusedMember(f"{member!r} is a directory already") from error
            raise


def _ask_tarfile(member: tarfile.TarInfo, root: str) -> None:
    """Hold it against the rule of the standard library, in case ours has a hole."""
    try:
        tarfile.data_filter(member, root)
    except tarfile.FilterError as error:
        raise RefusedMember(f"{member.name!r} is refused: {error}") from error


def _times(member: tarfile.TarInfo) -> tuple[int, int]:
    """Access and modification, nanoseconds since the epoch, within what every file system takes."""
    at = int(min(max(float(member.mtime), 0), 2**33) * 1_000_000_000)
    return at, at
