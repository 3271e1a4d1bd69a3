"""What commands do with a cache beside live mounts: open it, list it, bring its rows in line.

This module knows a directory and its index and no open `Cache`. Plain calls that block.
"""

import os
import time
from pathlib import Path

from s3mount.cache import reclaim
from s3mount.cache.index import Index
from s3mount.cache.layout import SHARDS, Layout, is_digest
from s3mount.errors import CacheError

PATIENCE = 10.0
"""Seconds that a command waits for a mount's transaction."""


def open_beside(root: Path) -> tuple[Layout, Index]:
    """The paths and the index of a cache that others may be using.

    Raises:
        CacheError: there is no cache that we may use.
    """
    layout = Layout(root)
    if not layout.is_there():
        raise CacheError(f"there is no cache in {root}", hint="name its directory with --cache-dir")
    layout.prepare()
    return layout, Index(layout, patience=PATIENCE)


def objects_of(layout: Layout, shard: str) -> list[str]:
    """The digests of all objects of a shard."""
    try:
        return list(filter(is_digest, os.listdir(layout.shard(shard))))
    except FileNotFoundError:
        return []


def bring_in_line(layout: Layout, index: Index) -> None:
    """Bring all rows in line with the disk."""
    for shard in SHARDS:
        reclaim.sweep_shard(layout, index, shard, clock(), settled=0.0)


def clock() -> float:
    """Seconds since the epoch, as files count them."""
    return time.clock_gettime(time.CLOCK_REALTIME)
