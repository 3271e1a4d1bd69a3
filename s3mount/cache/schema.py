"""The tables of the index, and what keeps their sums right.

This module is SQL text and the making of an empty index; it asks nothing of one that is in use.
Concurrency rule: `prepare` runs inside a write transaction of its own.
"""

import sqlite3

VERSION = 2
"""Of the tables. What an index of another version knows is found again on disk."""

_TABLES = (
    "CREATE TABLE objects (digest TEXT PRIMARY KEY, store TEXT NOT NULL, key BLOB NOT NULL,"
    " etag TEXT NOT NULL, size INTEGER NOT NULL, cached_bytes INTEGER NOT NULL,"
    " used_at REAL NOT NULL, pinned INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    "CREATE INDEX by_use ON objects (used_at) WHERE pinned = 0",
    "CREATE TABLE IF NOT EXISTS sessions"
    " (name TEXT PRIMARY KEY, granted INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE total (bytes INTEGER NOT NULL, objects INTEGER NOT NULL,"
    " pinned_bytes INTEGER NOT NULL, swept INTEGER NOT NULL, boot TEXT NOT NULL)",
    # How far each file of pins was read, and which file of that name it was.
    "CREATE TABLE pin_files (name TEXT PRIMARY KEY, tag TEXT NOT NULL, applied INTEGER NOT NULL)"
    " WITHOUT ROWID",
    # By digest alone: a second order would double what a million pins write.
    "CREATE TABLE pins (digest TEXT NOT NULL, name TEXT NOT NULL, cost INTEGER NOT NULL,"
    " PRIMARY KEY (digest, name)) WITHOUT ROWID",
)
_TRIGGERS = (
    "CREATE TRIGGER came AFTER INSERT ON objects BEGIN"
    " UPDATE total SET bytes = bytes + new.cached_bytes, objects = objects + 1;"
    " UPDATE objects SET pinned = 1 WHERE digest = new.digest"
    " AND EXISTS (SELECT 1 FROM pins WHERE digest = new.digest); END",
    "CREATE TRIGGER went AFTER DELETE ON objects BEGIN UPDATE total SET"
    " bytes = bytes - old.cached_bytes, objects = objects - 1,"
    " pinned_bytes = pinned_bytes - old.pinned * old.cached_bytes; END",
    "CREATE TRIGGER changed AFTER UPDATE OF cached_bytes, pinned ON objects BEGIN UPDATE total SET"
    " bytes = bytes + new.cached_bytes - old.cached_bytes, pinned_bytes = pinned_bytes"
    " + new.pinned * new.cached_bytes - old.pinned * old.cached_bytes; END",
    "CREATE TRIGGER pin_came AFTER INSERT ON pins BEGIN UPDATE objects SET pinned = 1"
    " WHERE digest = new.digest AND pinned = 0; END",
    "CREATE TRIGGER pin_went AFTER DELETE ON pins BEGIN UPDATE objects SET pinned = 0"
    " WHERE digest = old.digest AND NOT EXISTS (SELECT 1 FROM pins WHERE digest = old.digest); END",
)


def is_current(db: sqlite3.Connection) -> bool:
    """Whether the tables are those that this module makes."""
    return bool(db.execute("PRAGMA user_version").fetchone()[0] == VERSION)


def prepare(db: sqlite3.Connection, *, swept: bool) -> None:
    """Make an empty index, in the place of one of another version.

    Args:
        db: in a write transaction.
        swept: whether an empty index is the truth.
    """
    if is_current(db):
        return  # another process was here first
    # Grants stay: the processes that hold them live on and do not ask for them again.
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    for (table,) in db.execute(query).fetchall():
        if table != "sessions":
            db.execute(f'DROP TABLE "{table}"')
    for statement in (*_TABLES, *_TRIGGERS):
        db.execute(statement)
    db.execute("INSERT INTO total VALUES (0, 0, 0, ?, '')", (swept,))
    db.execute(f"PRAGMA user_version = {VERSION}")
