"""Listings that one process has made, answered in another: a store around a store.

Who lists a whole prefix keeps it with `record_listing`; every mount on this machine then lists it without a request,
for as long as it believes any listing. Only ages count: a listing that is too old for who asks is not used.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path

from s3mount.metrics import Counters
from s3mount.store.interface import ListPage, Receiver, Request, Store
from s3mount.store.listing_files import file_name, listings_directory
from s3mount.store.manifest_writer import ManifestWriter
from s3mount.store.paging import is_folded
from s3mount.store.stored_listings import StoredListings

MARK = "\0s3mount.stored\0"
"""Begins every token of ours; the last entry of the page follows. No token of a store begins so."""
HIGHEST = "\U0010ffff"
"""Sorts behind everything that follows it in a key that is text."""


def record_listing(cache_dir: Path, identity: str, prefix: str, listed_at: float) -> ManifestWriter:
    """Begin to keep a listing for mounts: `add` each page, in any order; `commit` when all came; otherwise `abandon`.

    It must hold every key below the prefix, wanted or not: mounts take a key that is not in it for one that does not
    exist. Nobody sees it before `commit`, and what was there before is then replaced. All calls may block for a disk;
    they belong to one thread at a time, such as a `transfer.housekeeping.Worker`.

    Args:
        cache_dir: the option of that name.
        identity: `Store.identity`.
        prefix: empty or ending in ``/``.
        listed_at: when the listing began, before its first request: seconds since the epoch.

    Raises:
        CacheError: the directory is open to others.
        OSError: it cannot be written.
        sqlite3.Error: the same.
    """
    path = listings_directory(cache_dir) / file_name(identity, prefix)
    facts = {"identity": identity, "prefix": prefix, "listed_at": repr(float(listed_at))}
    return ManifestWriter(path, facts)


class RememberingStore:
    """A store whose listings may come from disk, where the request allows an age.

    Args:
        inner: asked for everything else.
        cache_dir: the option of that name.
        clock: seconds since the epoch.
    """

    def __init__(self, inner: Store, cache_dir: Path, clock: Callable[[], float]) -> None:
        self._inner = inner
        self._stored = StoredListings(listings_directory(cache_dir), inner.identity, clock)
        self._pending: deque[tuple[ListPage, Receiver]] = deque()
        self._answering: Receiver | None = None

    @property
    def counters(self) -> Counters:
        """Those of the inner store, and ``listing.from_disk``."""
        return self._inner.counters

    @property
    def identity(self) -> str:
        """That of the inner store."""
        return self._inner.identity

    @property
    def description(self) -> str:
        """That of the inner store."""
        return self._inner.description

    def submit(self, request: Request, receiver: Receiver) -> None:
        """Begin a request."""
        if isinstance(request, ListPage) and (request.max_age > 0 or _last(request) is not None):
            self._pending.append((request, receiver))
        else:
            self._inner.submit(request, receiver)

    def cancel(self, receiver: Receiver) -> None:
        """Forget a request."""
        self._pending = deque(entry for entry in self._pending if entry[1] is not receiver)
        if self._answering is receiver:
            self._answering = None
        self._inner.cancel(receiver)

    def poll(self, timeout: float) -> None:
        """Answer the oldest listing that may come from disk, and let the inner store go on."""
        if self._pending:
            request, receiver = self._pending.popleft()
            if self._answer(request, receiver):
                timeout = 0.0
        if self._pending:
            timeout = 0.0
        self._inner.poll(timeout)

    def wake(self) -> None:
        """Make a waiting ``poll`` return."""
        self._inner.wake()

    def renew(self) -> None:
        """Renew what the inner store has to."""
        self._inner.renew()

    def close(self) -> None:
        """Close the files and the inner store."""
        self._pending.clear()
        self._stored.close()
        self._inner.close()

    def _answer(self, request: ListPage, receiver: Receiver) -> bool:
        """Answer from disk, or ask the inner store; whether it was answered."""
        last = _last(request)
        asked = request if last is None else request._replace(token=last)
        # A token of the store's own is for the store to go on from.
        is_own = request.token is None or last is not None
        page = self._stored.page(asked) if is_own and request.max_age > 0 else None
        if page is None:
            self._inner.submit(request if last is None else _resumed(request, last), receiver)
            return False
        self.counters.add("listing.from_disk")
        if page.next_token is not None:
            page = page._replace(next_token=MARK + page.next_token)
        self._answering = receiver
        receiver.page(page)
        if self._answering is receiver:
            self._answering = None
            receiver.done(None)
        return True


def _last(request: ListPage) -> str | None:
    """The last entry of the page before, when that came from disk."""
    if request.token is None or not request.token.startswith(MARK):
        return None
    return request.token[len(MARK) :]


def _resumed(request: ListPage, last: str) -> ListPage:
    """The request that goes on at the store, which knows nothing of the token."""
    behind = last + HIGHEST if is_folded(last, request) else last
    return request._replace(token=None, start_after=behind)
