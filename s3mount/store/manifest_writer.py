"""Writing a manifest: into a temporary of its own, which becomes the file when everything is on disk.

Pages come in any order and are sorted by sqlite. Concurrency rule: one thread at a time, which may change.
"""

import fcntl
import itertools
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from s3mount.errors import CacheError
from s3mount.store.interface import ObjectMeta
from s3mount.store.listing_files import FORMAT
from s3mount.store.manifest import APPLICATION, SCHEMA, Versioned
from s3mount.store.paging import byte_order

TEMPORARY = ".tmp"
_ONCE = (
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
    # The temporary is fsynced as a whole before it gets its name, and thrown away when anything fails before that.
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA cache_size = -65536",
)
_INSERT = "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)"

_numbers = itertools.count()


class ManifestWriter:
    """A manifest that is being written; nobody sees it before `commit`.

    Args:
        path: what it will be; a file of that name is replaced. Its directory is made when it is not there.
        facts: what is known of it as a whole; see `Manifest.facts`.

    Raises:
        CacheError: the directory is not safe to use.
        OSError: it cannot be written.
        sqlite3.Error: the same.
    """

    def __init__(self, path: Path, facts: Mapping[str, str]) -> None:
        self.path = path
        self._facts = dict(facts)
        private_directory(path.parent)
        remove_leftovers(path.parent)
        self._temporary, self._file = _claim(path)
        self._db = None
        try:
            self._db = _create(self._temporary)
        except BaseException:
            self.abandon()
            raise

    def add(self, metas: Sequence[ObjectMeta]) -> None:
        """Write some objects, in any order; 1,000 of them take some 3 ms.

        Raises:
            OSError: they cannot be written.
            sqlite3.Error: the same.
        """
        self._insert(_row(meta, "") for meta in metas)

    def add_versions(self, objects: Iterable[Versioned]) -> None:
        """Write some objects with their version ids; see `add`."""
        self._insert(_row(meta, version_id) for meta, version_id in objects)

    def commit(self) -> None:
        """All of them are written: make the file appear, whole and on disk.

        Raises:
            OSError: it cannot be written; nothing has appeared.
            sqlite3.Error: the same.
        """
        assert self._db is not None
        try:
            facts = [(name, byte_order(value)) for name, value in self._facts.items()]
            self._db.executemany("INSERT INTO facts VALUES (?, ?)", facts)
            self._db.execute("COMMIT")
            self._disconnect()
            os.fsync(self._file)
            os.replace(self._temporary, self.path)
            _sync_directory(self.path.parent)
        except BaseException:
            self.abandon()
            raise
        self._let_go()

    def abandon(self) -> None:
        """Forget what was written; also after a failure, and more than once."""
        self._disconnect()
        if self._file >= 0:
            self._temporary.unlink(missing_ok=True)
            self._let_go()

    def _insert(self, rows: Iterable[tuple[object, ...]]) -> None:
        assert self._db is not None
        self._db.executemany(_INSERT, rows)

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def private_directory(path: Path) -> None:
    """Make a directory and those above it that are not there, and refuse one that others could tamper with.

    Raises:
        CacheError: it is open to others.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for each in reversed(missing):
        with suppress(FileExistsError):
            each.mkdir(0o700)
    found = path.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise CacheError(
            f"{path} is open to other users", hint=f"chmod 700 {path}, and let it be your own"
        )


def remove_leftovers(directory: Path) -> None:
    """Remove the temporaries of processes that ended before they were done."""
    for path in directory.glob(f".*{TEMPORARY}"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


def _claim(path: Path) -> tuple[Path, int]:
    """A new locked temporary; who finds it unlocked may remove it."""
    while True:
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}{TEMPORARY}")
        try:
            descriptor = os.open(
                temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
        except FileExistsError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)  # removed as a leftover before it was locked


def _create(path: Path) -> sqlite3.Connection:
    # Other locks than our own would be lost when a descriptor of the file is closed, and nobody else writes to it.
    where = f"file:{quote(bytes(path))}?vfs=unix-none"
    db = sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False)
    for statement in (*_ONCE, *SCHEMA.values(), "BEGIN"):
        db.execute(statement)
    return db


def _row(meta: ObjectMeta, version_id: str) -> tuple[object, ...]:
    key, size, etag, mtime_ns, storage_class, restored = meta
    return byte_order(key), size, etag, mtime_ns, storage_class, restored, version_id


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
