"""A store that stands still: names from a snapshot, bytes from the store that it was made of.

A listing never makes a request, and the other store is not even opened before bytes are asked of it, so that whatever
is cached can be read without a network and without credentials.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from s3mount.errors import AccessDenied, NotFound, ObjectChanged, StoreError, UnexpectedReply
from s3mount.metrics import Counters
from s3mount.store.interface import Get, Head, ListPage, Page, Receiver, Request, Store
from s3mount.store.late import LateStore
from s3mount.store.manifest import BadManifest, Manifest

if TYPE_CHECKING:
    from s3mount.store.pipe import Drain
    from s3mount.store.writing import Answer, Write


class SnapshotStore:
    """What a snapshot shows.

    Where the store has another version of an object by now, the recorded version id is asked for, when there is one.

    Args:
        manifest: the snapshot; closed with the store.
        open_inner: opens the store that it was made of; may block, called on another thread.

    Attributes:
        prefix: what was recorded: empty or ending in ``/``.
    """

    def __init__(self, manifest: Manifest, open_inner: Callable[[], Store]) -> None:
        self.prefix = manifest.prefix
        self._manifest = manifest
        self._inner = LateStore(open_inner, manifest.identity, manifest.facts["source"])
        self._lists: deque[tuple[ListPage, Receiver]] = deque()
        self._refused: deque[tuple[Write, Receiver]] = deque()
        self._answering: Receiver | None = None
        self._gets: dict[int, _PinnedGet] = {}

    @property
    def counters(self) -> Counters:
        """Those of the inner store once it is open, and ``listing.from_disk``."""
        return self._inner.counters

    @property
    def identity(self) -> str:
        """That of the recorded store, so that the cache is shared with it."""
        return self._manifest.identity

    @property
    def description(self) -> str:
        """``snapshot:`` and the name of the file."""
        return f"snapshot:{self._manifest.path.stem}"

    def submit(self, request: Request, receiver: Receiver) -> None:
        """Begin a request."""
        if isinstance(request, ListPage):
            self._lists.append((request, receiver))
        elif not isinstance(request, Get):
            self._refused.append((request, receiver))
        else:
            self._gets[id(receiver)] = pinned = _PinnedGet(
                request, receiver, self._try_version, self._over
            )
            self._inner.submit(request, pinned)

    def cancel(self, receiver: Receiver) -> None:
        """Forget a request."""
        self._lists = deque(entry for entry in self._lists if entry[1] is not receiver)
        self._refused = deque(entry for entry in self._refused if entry[1] is not receiver)
        if self._answering is receiver:
            self._answering = None
        pinned = self._gets.pop(id(receiver), None)
        if pinned is not None:
            self._inner.cancel(pinned)

    def poll(self, timeout: float) -> None:
        """Answer the oldest listing, and let the inner store go on."""
        if self._lists:
            self._answer(*self._lists.popleft())
            timeout = 0.0
        if self._refused:
            request, receiver = self._refused.popleft()
            receiver.done(self._refusal(request.key))
            timeout = 0.0
        self._inner.poll(timeout)

    def wake(self) -> None:
        """Make a waiting ``poll`` return."""
        self._inner.wake()

    def renew(self) -> None:
        """Renew what the inner store has to."""
        self._inner.renew()

    def close(self) -> None:
        """Close the file and the inner store."""
        self._lists.clear()
        self._refused.clear()
        self._gets.clear()
        self._inner.close()
        self._manifest.close()

    def _refusal(self, key: str) -> StoreError:
        what = f"{key!r}: {self.description} stands still and takes no writes"
        return AccessDenied(what, key=key, hint="name the bucket that it was made of instead")

    def _answer(self, request: ListPage, receiver: Receiver) -> None:
        try:
            page = self._manifest.page(request)
        except BadManifest as error:
            receiver.done(UnexpectedReply(error.message, key=request.prefix, hint=error.hint))
            return
        self.counters.add("listing.from_disk")
        self._answering = receiver
        receiver.page(page)
        if self._answering is receiver:
            self._answering = None
            receiver.done(None)

    def _try_version(self, pinned: "_PinnedGet") -> bool:
        """Ask for the recorded version of an object that has another one now; whether there is one."""
        try:
            version_id = self._manifest.version_id(pinned.request.key)
        except BadManifest:
            return False
        if not version_id:
            return False
        self._inner.submit(pinned.request._replace(version_id=version_id), pinned)
        return True

    def _over(self, receiver: Receiver) -> None:
        self._gets.pop(id(receiver), None)


class _PinnedGet:
    """A receiver in front of another: asks for a version by its id before it says that the object has changed."""

    __slots__ = ("_changed", "_has_begun", "_over", "_receiver", "_try_version", "data", "request")

    def __init__(
        self,
        request: Get,
        receiver: Receiver,
        try_version: "Callable[[_PinnedGet], bool]",
        over: Callable[[Receiver], None],
    ) -> None:
        self.request = request
        self.data = receiver.data
        self._receiver = receiver
        self._try_version = try_version
        self._over = over
        self._has_begun = False
        self._changed: StoreError | None = None

    def head(self, head: Head) -> "Drain | None":
        self._has_begun = True
        return self._receiver.head(head)

    def page(self, page: Page) -> None:
        """Bytes have none."""

    def answer(self, answer: "Answer") -> None:
        """Nor this."""

    def done(self, error: StoreError | None) -> None:
        if (
            self._changed is None
            and not self._has_begun
            and isinstance(error, ObjectChanged | NotFound)
        ):
            self._changed = error
            if self._try_version(self):
                return
        if error is not None and not error.retryable and self._changed is not None:
            # That the old version cannot be had either is no news; that it is not the newest any more is.
            error = self._changed
        if isinstance(error, NotFound):
            # The name is there for as long as the snapshot is.
            gone = f"{self.request.key!r} is not in the bucket any more"
            error = ObjectChanged(gone, key=error.key, status=error.status, code=error.code)
        self._over(self._receiver)
        self._receiver.done(error)
