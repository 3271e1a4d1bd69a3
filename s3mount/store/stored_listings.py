"""The listings on disk: which file answers for a directory, and which are of no use any more.

Finding one is a look at the names; see `listing_files`. Concurrency rule: one thread.
"""

import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cachetools import LRUCache

from s3mount.store.interface import ListPage, Page
from s3mount.store.listing_files import file_name
from s3mount.store.manifest import BadManifest, Manifest

log = logging.getLogger(__name__)

DAY = 86_400.0
"""Seconds after which a listing is removed, whatever its age may be elsewhere."""
LOOK_EVERY = 1.0
"""Seconds after which the directory is read again although its time says that nothing was put there."""
OPENED = 64
"""Files that are held open."""
LOOKED_AT = 32
"""Files that are compared for one request; fewer than are held open, so that none is closed meanwhile."""


class _Opened(NamedTuple):
    """A manifest, and the inode that its name had. An inode is not used again while it is open."""

    inode: int
    manifest: Manifest


class _OpenFiles(LRUCache[str, _Opened]):
    """Manifests by name; the one that leaves is closed."""

    def popitem(self) -> tuple[str, _Opened]:
        name, opened = super().popitem()
        opened.manifest.close()
        return name, opened


class StoredListings:
    """What was listed by others, or before.

    Args:
        directory: see `listing_files.listings_directory`; it need not be there.
        identity: of the store.
        clock: seconds since the epoch.
    """

    def __init__(self, directory: Path, identity: str, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._identity = identity
        self._clock = clock
        self._inodes: dict[str, int] = {}
        self._changed_at = 0
        self._looked_at = 0.0
        self._opened = _OpenFiles(OPENED)

    def page(self, request: ListPage) -> Page | None:
        """The answer of the newest listing that covers the prefix, None when there is none that is young enough."""
        now = self._clock()
        self._look(now)
        found = islice(self._covering(request.prefix), LOOKED_AT)
        for manifest in sorted(found, key=lambda manifest: -manifest.listed_at):
            age = now - manifest.listed_at
            # What will only be true later was written by another clock.
            if not 0 < age < request.max_age:
                continue
            try:
                return manifest.page(request)._replace(age=age)
            except BadManifest as error:
                self._discard(manifest.path.name, error)
        return None

    def close(self) -> None:
        """Give the files back."""
        self._opened.clear()

    def _look(self, now: float) -> None:
        """Read the names again where they may have changed."""
        try:
            changed_at = os.stat(self._directory).st_mtime_ns
        except OSError:
            self._inodes = {}
            return
        if changed_at == self._changed_at and 0 <= now - self._looked_at < LOOK_EVERY:
            return
        self._changed_at, self._looked_at = changed_at, now
        self._inodes = {}
        with suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and not self._is_expired(entry, now):
                    self._inodes[entry.name] = entry.inode()

    def _is_expired(self, entry: "os.DirEntry[str]", now: float) -> bool:
        with suppress(OSError):
            if now - entry.stat(follow_symlinks=False).st_mtime > DAY:
                os.unlink(entry)
                return True
        return False

    def _covering(self, prefix: str) -> Iterator[Manifest]:
        end = 0
        while self._inodes and end >= 0:
            manifest = self._open(prefix[:end])
            if manifest is not None:
                yield manifest
            slash = prefix.find("/", end)
            end = slash + 1 if slash >= 0 else -1

    def _open(self, prefix: str) -> Manifest | None:
        name = file_name(self._identity, prefix)
        inode = self._inodes.get(name)
        opened = self._opened.get(name)
        if opened is not None and opened.inode == inode:
            return opened.manifest
        if opened is not None:
            self._opened.pop(name).manifest.close()
        if inode is None:
            return None
        try:
            manifest = self._checked(Manifest(self._directory / name), prefix)
        except FileNotFoundError:
            return None
        except (BadManifest, OSError) as error:
            self._discard(name, error)
            return None
        self._opened[name] = _Opened(inode, manifest)
        return manifest

    def _checked(self, manifest: Manifest, prefix: str) -> Manifest:
        facts = manifest.facts
        said = (facts.get("identity"), facts.get("prefix"))
        if said != (self._identity, prefix) or not _is_number(facts.get("listed_at", "")):
            manifest.close()
            raise BadManifest(f"{manifest.path} is the listing of something else")
        return manifest

    def _discard(self, name: str, error: Exception) -> None:
        log.warning("a stored listing is dropped, and the store asked instead: %s", error)
        self._inodes.pop(name, None)
        opened = self._opened.pop(name, None)
        if opened is not None:
            opened.manifest.close()
        with suppress(OSError):
            (self._directory / name).unlink()


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
