"""The cache of bulk commands, half of which have no use for it: it is loaded and opened for who asks.

That takes as long as signing and sending some hundred requests. What every command needs of it, to make way for readers
of mounts, is one number in a file.
"""

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from s3mount.cache.demand import Demand
from s3mount.cache.layout import Layout
from s3mount.cache.limits import Limits
from s3mount.metrics import Counters

if TYPE_CHECKING:
    from s3mount.cache.cache import Cache


class Caching:
    """The cache in a directory. Any thread may call.

    Attributes:
        limits: how much it may take.
        demand: when a reader of any process last waited for the store.
        attention: set when `maintain` has something to do at once.

    Args:
        root: the directory; made when it is not there.
        limits: see above.

    Raises:
        CacheError: the directory cannot be used, or others could tamper with it.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self.limits = limits
        self.attention = threading.Event()
        self._root = root
        self._layout = Layout(root)
        self._layout.prepare()
        self.demand = Demand(self._layout)
        self._lock = threading.Lock()
        self._cache: Cache | None = None

    def opened(self) -> "Cache":
        """The cache. Shared with every mount and command on this machine.

        Raises:
            CacheError: it cannot be used.
        """
        with self._lock:
            if self._cache is None:
                from s3mount.cache.cache import Cache

                self._cache = Cache(
                    self._root, self.limits, counters=Counters(), attention=self.attention
                )
            return self._cache

    def holds_something(self) -> bool:
        """Whether bytes of some object may be here; told by a look at names."""
        try:
            with os.scandir(self._layout.objects) as entries:
                return next(entries, None) is not None
        except OSError:
            return False

    def maintain(self, now: float) -> None:
        """See `Cache.maintain`; of a cache that nobody opened others take care."""
        if self._cache is not None:
            self._cache.maintain(now)

    def close(self) -> None:
        """See `Cache.close`."""
        if self._cache is not None:
            self._cache.close()
