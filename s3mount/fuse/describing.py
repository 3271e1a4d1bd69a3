"""What a mount tells about itself and its files: extended attributes and the status report.

Plain assembly of facts that the rooms below know; it decides nothing and changes nothing.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from s3mount import __version__
from s3mount.cache.cache import Cache
from s3mount.fs.filesystem import FileSystem
from s3mount.fs.reading import Reader
from s3mount.listing.catalog import Catalog
from s3mount.listing.names import encode
from s3mount.metrics import Incident
from s3mount.transfer.engine import Engine

XATTR_MAX = 60_000
"""Bytes that a status may have: the kernel takes 64 KiB in an extended attribute."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The rooms of a running mount.

    Attributes:
        source: what is mounted, as a person writes it.
        started: seconds since the epoch.
        options: the options in force, as text.
    """

    source: str
    started: float
    options: dict[str, str]
    filesystem: FileSystem
    reader: Reader
    catalog: Catalog
    engine: Engine
    cache: Cache


def describe_inode(parts: Parts, number: int) -> dict[bytes, Callable[[], bytes]]:
    """The extended attributes of a file or directory by name, and what tells each; programs ask for the names alone."""
    entry = parts.filesystem.entry(number)
    if entry.is_directory:
        return {b"user.s3.key": lambda: encode(entry.key)}
    attributes: dict[bytes, Callable[[], bytes]] = {
        b"user.s3.key": lambda: encode(entry.key),
        b"user.s3.etag": lambda: encode(entry.etag),
        b"user.s3.storage-class": lambda: encode(entry.storage_class),
        b"user.s3.last-modified": lambda: _instant(entry.mtime_ns),
        b"user.s3mount.cached": lambda: str(parts.reader.cached_bytes(entry.meta)).encode(),
    }
    version_id = parts.reader.version_id(entry.meta)
    if version_id:
        attributes[b"user.s3.version-id"] = lambda: encode(version_id)
    return attributes


def _instant(time_ns: int) -> bytes:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds").encode()


def status(parts: Parts) -> bytes:
    """The state of a mount as JSON; shortened when it would not fit an extended attribute."""
    report = _report(parts)
    text = json.dumps(report).encode()
    while len(text) > XATTR_MAX:
        for shortened in (
            report["errors"],
            report["unspellable"]["keys"],
            report["conflicts"]["names"],
        ):
            del shortened[len(shortened) // 2 :]
        text = json.dumps(report).encode()
    return text


def _report(parts: Parts) -> dict[str, Any]:
    totals = parts.engine.store.counters.totals()
    engine = parts.engine.counters.totals()
    reader = parts.reader.counters.totals()
    usage = parts.cache.usage()
    unspellable, twins = parts.catalog.oddities()
    return {
        "version": __version__,
        "source": parts.source,
        "pid": os.getpid(),
        "since": parts.started,
        "cache": {
            "dir": parts.options.get("cache_dir", ""),
            "used_bytes": usage.used,
            "max_bytes": usage.limits.max_bytes,
            "free_bytes": usage.free,
            "min_free_bytes": usage.limits.min_free,
            "memory_bytes": usage.memory,
            "hit_bytes": reader.get("cache.hit_bytes", 0),
            "miss_bytes": reader.get("cache.miss_bytes", 0),
        },
        "requests": {
            "get": totals.get("requests.get", 0),
            "list": totals.get("requests.list", 0),
            "retries": engine.get("requests.retried", 0),
            "failed": engine.get("requests.failed", 0),
        },
        "bytes": {
            "fetched": totals.get("bytes.received", 0),
            "read": parts.filesystem.counters.totals().get("bytes.read", 0),
        },
        "metadata": {
            **parts.catalog.totals(),
            "inodes": len(parts.filesystem.inodes),
            "pages_from_disk": totals.get("listing.from_disk", 0),
        },
        "open_files": parts.reader.open_count(),
        "errors": _incidents(parts.engine.counters.incidents()),
        "conflicts": {"count": twins.count, "names": [_shown(key) for key in twins.examples]},
        "unspellable": {
            "count": unspellable.count,
            "keys": [_shown(key) for key in unspellable.examples],
        },
        "options": parts.options,
    }


def _incidents(incidents: list[Incident]) -> list[dict[str, Any]]:
    """Oldest first; the same thing that happened again stands once, with its newest time and how often."""
    merged: dict[tuple[str, str, str], dict[str, Any]] = {}
    for incident in incidents:
        same = (incident.what, incident.key, incident.message)
        times = merged.pop(same, {"times": 0})["times"] + 1
        merged[same] = {**incident._asdict(), "key": _shown(incident.key), "times": times}
    return list(merged.values())


def _shown(key: str) -> str:
    """A key as JSON can hold it: bytes that are not UTF-8 become escapes to look at."""
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def now() -> float:
    """Seconds since the epoch, for what a person reads."""
    return time.time()  # noqa: TID251 - the one clock for people
