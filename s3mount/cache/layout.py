"""Where everything in a cache directory lies, and what names it.

This module builds and parses every path of the cache and decides whether a directory is safe to
use; it knows nothing of what is inside the files. Plain functions and immutable values: any
thread may use them.

    <root>/CACHEDIR.TAG               tells backup programs to skip this tree
    <root>/v2/objects/ab/<digest>     a file: the whole object and its trailer, come with one GET
    <root>/v2/objects/ab/<digest>/    or a directory, of an object that came in parts:
        data                          its bytes, each at its own offset, sparse, as long as the object
        <start>-<stop>                the trailer of one extent, in hexadecimal; its name commits the bytes
        proved                        perhaps: in which boot every byte of `data` was known good
    <root>/v2/tmp/<session>.<n>       files that are being written
    <root>/v2/sessions/<session>      one locked file for each process that writes
    <root>/v2/demand                  when a reader last waited for the store
    <root>/v2/index.sqlite            how much is where and when it was used; can be rebuilt
    <root>/v1/pins/<name>             which object versions are not evicted, under a name

The first version had extents of bytes and trailer in the directories. Its objects, index and sessions are removed (see
`former`); pins, and what other rooms keep in its directory, are as they were and stay where they are.
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

from s3mount.errors import CacheError

VERSION = "v2"
FORMER = "v1"
DATA = "data"
"""What the bytes are called in the directory of an object."""
SHARDS = tuple(f"{number:02x}" for number in range(256))
DIGEST_LENGTH = 40
TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# This directory is a cache of s3mount.\n"


class ByteRange(NamedTuple):
    """Bytes ``start`` to ``stop``, exclusive."""

    start: int
    stop: int


class ObjectId(NamedTuple):
    """One version of one object.

    Attributes:
        store: `Store.identity`: endpoint and bucket.
        key: the whole key; bytes that are not UTF-8 are held as surrogate escapes.
        etag: opaque, without quotes.
        size: bytes.
    """

    store: str
    key: str
    etag: str
    size: int

    def digest(self) -> str:
        """The name of this version on disk: 40 hexadecimal digits."""
        store, key, etag, size = self
        if store.isascii() and key.isascii() and etag.isascii():
            text = f"{len(store)}.{len(key)}.{len(etag)}.{size}.{store}{key}{etag}"
            named = text.encode("ascii")
        else:
            parts = [part.encode("utf-8", "surrogateescape") for part in (store, key, etag)]
            named = b"%d.%d.%d.%d." % (*map(len, parts), size) + b"".join(parts)
        return hashlib.blake2b(named, digest_size=DIGEST_LENGTH // 2).hexdigest()


class Layout:
    """The paths of one cache.

    Args:
        root: the directory that the user named.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = str(root / VERSION)
        self.objects = f"{self.home}/objects"
        self.tmp = f"{self.home}/tmp"
        self.sessions = f"{self.home}/sessions"
        self.former = str(root / FORMER)
        self.pins = f"{self.former}/pins"
        self.demand = f"{self.home}/demand"
        self.index = f"{self.home}/index.sqlite"

    def shard(self, shard: str) -> str:
        """The directory of all objects whose digest begins with ``shard`` (two digits)."""
        return f"{self.objects}/{shard}"

    def object(self, digest: str) -> str:
        """The file or directory of one object version."""
        return f"{self.objects}/{digest[:2]}/{digest}"

    def pin(self, name: str) -> str:
        """The file of one pin."""
        return f"{self.pins}/{name}"

    def session(self, session: str) -> str:
        """The locked file of one process."""
        return f"{self.sessions}/{session}"

    def is_there(self) -> bool:
        """Whether there is a cache, of this version or the former one."""
        return os.path.isdir(self.home) or os.path.isdir(self.former)

    def prepare(self) -> None:
        """Make the directories that are not there and refuse those that others could tamper with.

        Raises:
            CacheError: with a hint, when the directory is unsafe or cannot be made.
        """
        try:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            _refuse_unsafe(str(self.root), os.stat(self.root), 0o022)
            for path in self._directories():
                make_directory(path)
                _refuse_unsafe(path, os.lstat(path), 0o077)
            _write_tag(f"{self.root}/CACHEDIR.TAG")
        except OSError as error:
            raise CacheError(
                f"cannot use the cache directory {self.root}: {error.strerror}",
                hint="choose a directory on a local disk with --cache-dir",
            ) from error

    def _directories(self) -> tuple[str, ...]:
        return self.home, self.former, self.objects, self.tmp, self.sessions, self.pins


def extent_name(start: int, stop: int) -> str:
    """What an extent is called inside the directory of its object."""
    return f"{start:x}-{stop:x}"


def parse_extent_name(name: str) -> ByteRange | None:
    """The range that a file's name claims; None when no extent is called so."""
    start, dash, stop = name.partition("-")
    try:
        found = ByteRange(int(start, 16), int(stop, 16))
    except ValueError:
        return None
    well_formed = dash and found.start < found.stop and extent_name(*found) == name
    return found if well_formed else None


def is_digest(name: str) -> bool:
    """Whether an entry of a shard can be an object."""
    return len(name) == DIGEST_LENGTH and not name.strip("0123456789abcdef")


def session_of(temporary_name: str) -> str:
    """Which session a file in the temporary directory belongs to."""
    return temporary_name.partition(".")[0]


def make_directory(path: str) -> bool:
    """Make one private directory; False when something of that name was there."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    return True


def _write_tag(path: str) -> None:
    if os.path.exists(path):
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, TAG)
    finally:
        os.close(fd)


def _refuse_unsafe(path: str, found: os.stat_result, forbidden: int) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise CacheError(f"{path} is not a directory", hint="choose another with --cache-dir")
    if found.st_uid != os.geteuid():
        raise CacheError(
            f"the cache directory {path} belongs to user {found.st_uid}, not to {os.geteuid()}",
            hint="choose a directory of your own with --cache-dir",
        )
    if found.st_mode & forbidden:
        mode = found.st_mode & 0o7777
        raise CacheError(
            f"the cache directory {path} is open to other users (mode {mode:o})",
            hint=f"chmod 700 {path}",
        )
