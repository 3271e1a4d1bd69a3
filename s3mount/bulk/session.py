"""What every bulk command works with: a store, an engine and the cache, opened and closed together."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from s3mount.bulk.caching import Caching
from s3mount.bulk.dividing import Share
from s3mount.cache.limits import Limits
from s3mount.config import MountOptions
from s3mount.store.client import ClientWay
from s3mount.store.descriptors import affordable, limit
from s3mount.store.interface import Store
from s3mount.store.open import Source, open_store, settings_of
from s3mount.transfer.engine import Engine, EngineSettings
from s3mount.transfer.housekeeping import Chore, Housekeeper, Worker
from s3mount.transfer.queue import Shares
from s3mount.transfer.retry import RetryPolicy

if TYPE_CHECKING:
    from s3mount.cache.cache import Cache

LISTS = 32
"""Listing requests at once, beside those of the objects: they are short, and everything else waits for them."""
CREDENTIALS_EVERY = 30.0
CACHE_EVERY = 1.0


def share_of(options: MountOptions, share: Share) -> MountOptions:
    """The options of one process of a crew: memory is divided."""
    return replace(options, memory_limit=max(1, options.memory_limit // share.of))


class Session(NamedTuple):
    """An open store and what serves it.

    Attributes:
        source: what was named.
        engine: sends every request; objects are WARM, listings NEEDED.
        caching: the cache, for who needs it; what arrives there is written by the thread that brings it, for nobody
            here waits for the next bytes.
        writer: does what takes long on disk, job after job.
        cache_dir: where the cache is.
        max_bandwidth: bytes of objects per second at the most, 0 for no limit.
    """

    source: Source
    store: Store
    engine: Engine
    caching: Caching
    writer: Worker
    cache_dir: Path
    max_bandwidth: float = 0

    @property
    def cache(self) -> "Cache":
        """See `Caching.opened`."""
        return self.caching.opened()


@contextmanager
def opened(
    source: Source,
    options: MountOptions,
    *,
    jobs: int,
    max_bandwidth: float = 0,
    client: ClientWay | None = None,
) -> Iterator[Session]:
    """Open a source for a bulk command.

    Args:
        source: see `store.open.parse_source`.
        options: where and how; ``options.concurrency`` is not used.
        jobs: requests for objects at once at the most; fewer where the process may not have so many files open.
        max_bandwidth: bytes of objects per second at the most, 0 for no limit.
        client: the way to the store as a program's own client has it; it wins over ``options``.

    Raises:
        S3MountError: the store or the cache cannot be used.
    """
    jobs = affordable(jobs, limit())
    settings = settings_of(options)._replace(connections=jobs + LISTS)
    if client is not None:
        settings = client.apply_to(settings)
    with ExitStack() as stack:
        store = open_store(source, settings, client.credentials if client else None)
        limits = Limits(options.cache_size, options.cache_min_free, options.memory_limit)
        writer = Worker("s3mount-writer")
        caching = Caching(options.cache_dir, limits)
        stack.callback(caching.close)
        stack.enter_context(writer)
        housekeeper = stack.enter_context(Housekeeper(_chores(caching, store), caching.attention))
        engine = Engine(
            store,
            EngineSettings(
                jobs + LISTS,
                RetryPolicy(patience=options.request_timeout),
                Shares(needed=jobs + LISTS, soon=jobs, warm=jobs),
                max_bandwidth,
            ),
            on_expired=lambda: housekeeper.hurry("credentials"),
            gives_way=caching.demand.is_recent,
        )
        stack.enter_context(engine)
        yield Session(source, store, engine, caching, writer, options.cache_dir, max_bandwidth)


def _chores(caching: Caching, store: Store) -> list[Chore]:
    books = Chore(
        "the cache's books",
        CACHE_EVERY,
        lambda: caching.maintain(time.time()),  # noqa: TID251 - the cache's clock is the files'
        is_urgent=caching.attention.is_set,
    )
    return [books, Chore("credentials", CREDENTIALS_EVERY, store.renew)]
