"""What is kept of a prefetch beside the bytes: the pin that holds them, and the snapshot that names them."""

from collections.abc import Callable, Generator, Iterable
from typing import Protocol

from s3mount.bulk.outcome import Ending, Outcome
from s3mount.cache.cache import Cache, ObjectId
from s3mount.store.interface import ObjectMeta

THERE = frozenset({Ending.FETCHED, Ending.PRESENT})


def pinned(
    batches: Iterable[list[Outcome]], cache: Cache, store: str, name: str
) -> Generator[list[Outcome], None, None]:
    """Pin what is there, batch by batch, before it is told of.

    Args:
        batches: of a run.
        cache: that of the run.
        store: `Store.identity`.
        name: of the pin.

    Raises:
        ConfigError: a pin cannot be called so.
        CacheError: the pin cannot be written.
    """
    cache.pin(name, ())  # a name that cannot be is told before anything is fetched
    for batch in batches:
        metas = [each.meta for each in batch if each.ending in THERE]
        cache.pin(name, (ObjectId(store, each.key, each.etag, each.size) for each in metas))
        yield batch


class Snapshot(Protocol):
    """A snapshot that is being written."""

    def add(self, objects: Iterable[tuple[ObjectMeta, str]]) -> None:
        """Write some objects, each with its version id."""

    def commit(self) -> None:
        """Everything is there."""

    def abandon(self) -> None:
        """Forget what was written; nothing when it was committed."""


def in_snapshot(
    batches: Iterable[list[Outcome]], begin: Callable[[str], Snapshot]
) -> Generator[list[Outcome], None, None]:
    """Write what is there into a snapshot, which appears when all of it is.

    A run in which an object failed, or in which nothing was wanted, leaves no snapshot.

    Args:
        batches: of a run.
        begin: opens the snapshot; given the key of the first object that is there.
    """
    snapshot: Snapshot | None = None
    is_whole = True
    try:
        for batch in batches:
            there = [(each.meta, each.version_id) for each in batch if each.ending in THERE]
            is_whole = is_whole and len(there) == len(batch)
            if there and is_whole:
                snapshot = snapshot or begin(there[0][0].key)
                snapshot.add(there)
            yield batch
        if snapshot is not None and is_whole:
            snapshot.commit()
    finally:
        if snapshot is not None:
            snapshot.abandon()
