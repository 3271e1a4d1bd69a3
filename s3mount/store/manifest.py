"""A listing kept in one file: sqlite, its keys in byte order, written once and only read from then on.

A page is answered as a store answers it, by scans that skip whole common prefixes: the root of a million keys in ten
directories reads some tens of rows. Concurrency rule: one thread at a time.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote

from s3mount.errors import CacheError
from s3mount.store.interface import ListPage, ObjectMeta, Page
from s3mount.store.listing_files import FORMAT
from s3mount.store.paging import byte_order, is_folded

APPLICATION: Final = 0x73334D6E
"""What the header of the file says it is: ``s3Mn``."""
OBJECTS: Final = (
    "CREATE TABLE objects (key BLOB PRIMARY KEY, size INTEGER, etag TEXT, mtime_ns INTEGER,"
    " storage_class TEXT, restored INTEGER, version_id TEXT) WITHOUT ROWID"
)
FACTS: Final = "CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID"
SCHEMA: Final = {"objects": OBJECTS, "facts": FACTS}

READ_ON = 8
"""Keys of a common prefix that are read on over before the rest is skipped: a search costs as much as some 8 rows."""

T = TypeVar("T")

_COLUMNS = "SELECT key, size, etag, mtime_ns, storage_class, restored FROM objects"
_ALL_COLUMNS = _COLUMNS.replace(" FROM", ", version_id FROM")


class BadManifest(CacheError):
    """A file that is no manifest, or is damaged."""


class Versioned(NamedTuple):
    """An object and, where the store said one, its version id."""

    meta: ObjectMeta
    version_id: str


class Manifest:
    """A listing on disk.

    Attributes:
        facts: what is known of it as a whole. All manifests have ``identity`` and ``prefix``.

    Args:
        path: the file. It may be replaced or removed while it is open; this goes on with what it was.

    Raises:
        BadManifest: it is not one.
        FileNotFoundError: there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = connect(path)
        try:
            self.facts = _guarded(path, lambda: read_facts(self._db))
        except BaseException:
            self._db.close()
            raise

    @property
    def identity(self) -> str:
        """`Store.identity` of the store that was listed."""
        return self.facts["identity"]

    @property
    def prefix(self) -> str:
        """What was listed: empty or ending in ``/``."""
        return self.facts["prefix"]

    @property
    def listed_at(self) -> float:
        """When the listing began, seconds since the epoch."""
        return float(self.facts.get("listed_at", "0"))

    def page(self, request: ListPage) -> Page:
        """One page, as ListObjectsV2 gives it; its token is the last key or common prefix.

        Raises:
            BadManifest: the file is damaged.
        """
        return _guarded(self.path, lambda: _fold(self._db, request))

    def version_id(self, key: str) -> str:
        """The version id that was recorded for a key; empty where there is none.

        Raises:
            BadManifest: the file is damaged.
        """
        find = "SELECT version_id FROM objects WHERE key = ?"
        row = _guarded(self.path, lambda: self._db.execute(find, (byte_order(key),)).fetchone())
        return str(row[0]) if row else ""

    def totals(self) -> tuple[int, int]:
        """How many objects there are, and their bytes.

        Raises:
            BadManifest: the file is damaged.
        """
        count = "SELECT count(*), total(size) FROM objects"
        objects, size = _guarded(self.path, lambda: self._db.execute(count).fetchone())
        return objects, int(size)

    def objects(self, prefix: str = "") -> Iterator[Versioned]:
        """All objects below a prefix, in the order of their keys.

        Raises:
            BadManifest: the file is damaged.
        """
        low = byte_order(prefix)
        try:
            for row in _scan(self._db, low, after(low), _ALL_COLUMNS):
                yield Versioned(_meta(row[:6]), row[6])
        except sqlite3.Error as error:
            raise damaged(self.path, error) from error

    def close(self) -> None:
        """Give the file back."""
        self._db.close()


def connect(path: Path) -> sqlite3.Connection:
    """Open a file that nobody changes any more, and see that it is a manifest of this format.

    Nothing in the file is run: it may hold these two tables and nothing else.

    Raises:
        BadManifest: it is not one.
        FileNotFoundError: there is none.
    """
    path.stat()
    where = f"file:{quote(bytes(path))}?mode=ro&immutable=1"
    db = _guarded(path, lambda: sqlite3.connect(where, uri=True, check_same_thread=False))
    try:
        _guarded(path, lambda: _check(db, path))
    except BaseException:
        db.close()
        raise
    return db


def read_facts(db: sqlite3.Connection) -> Mapping[str, str]:
    """What a manifest says of itself."""
    rows = db.execute("SELECT name, value FROM facts")
    return {name: value.decode("utf-8", "surrogateescape") for name, value in rows}


def damaged(path: Path, why: object) -> BadManifest:
    """The error for a file that cannot be read."""
    return BadManifest(
        f"{path} is damaged: {why}", hint="remove it, and record it again with s3mount prefetch"
    )


def after(prefix: bytes) -> bytes | None:
    """The first key, in byte order, behind all those that begin so; None when none is."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


def _check(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        raise BadManifest(f"{path} is not a listing of s3mount")
    if version != FORMAT:
        raise BadManifest(
            f"{path} has format {version}, and this s3mount reads format {FORMAT}",
            hint="record it again with s3mount prefetch",
        )
    if dict(db.execute("SELECT name, sql FROM sqlite_schema")) != SCHEMA:
        raise damaged(path, "it holds other tables than a listing has")


def _guarded(path: Path, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except (sqlite3.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        # Of a damaged file any value may have any type.
        raise damaged(path, error) from error


def _fold(db: sqlite3.Connection, request: ListPage) -> Page:
    """One page, reading little more than what it says."""
    prefix, delimiter = byte_order(request.prefix), byte_order(request.delimiter)
    low, end = _start(request), after(prefix)
    objects: list[ObjectMeta] = []
    prefixes: list[str] = []
    last = ""
    while low is not None:
        folded, passed = None, 0
        rows = _scan(db, low, end)
        low = None
        for row in rows:
            if folded is not None and row[0].startswith(folded):
                passed += 1
                if passed >= READ_ON:
                    low = after(folded)
                    break
                continue
            if len(objects) + len(prefixes) == request.max_keys:
                return Page(objects, prefixes, last)
            at = row[0].find(delimiter, len(prefix)) if delimiter else -1
            if at < 0:
                objects.append(_meta(row))
                folded, last = None, objects[-1].key
            else:
                folded, passed = row[0][: at + len(delimiter)], 0
                last = _text(folded)
                prefixes.append(last)
    return Page(objects, prefixes, None)


def _start(request: ListPage) -> bytes | None:
    """The least key that a page may hold, None when there is none."""
    prefix = byte_order(request.prefix)
    if request.token is not None and is_folded(request.token, request):
        behind = after(byte_order(request.token))
        return None if behind is None else max(prefix, behind)
    last = request.token if request.token is not None else request.start_after
    return max(prefix, byte_order(last) + b"\0") if last else prefix


def _scan(
    db: sqlite3.Connection, low: bytes, end: bytes | None, columns: str = _COLUMNS
) -> sqlite3.Cursor:
    if end is None:
        return db.execute(f"{columns} WHERE key >= ? ORDER BY key", (low,))
    return db.execute(f"{columns} WHERE key >= ? AND key < ? ORDER BY key", (low, end))


def _meta(row: tuple[bytes, int, str, int, str, int]) -> ObjectMeta:
    key, size, etag, mtime_ns, storage_class, restored = row
    return ObjectMeta(_text(key), size, etag, mtime_ns, storage_class, bool(restored))


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
