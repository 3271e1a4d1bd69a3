"""A store that is opened when it is first needed, on a thread of its own.

Opening may block: it reads configuration and asks for credentials. Until it is over requests wait, and nobody else
does.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from s3mount.errors import S3MountError, StoreError
from s3mount.metrics import Counters
from s3mount.store.interface import Receiver, Request, Store

OPEN_AGAIN = 5.0
"""Seconds for which the reason why the store cannot be opened is told again instead of another try."""


class LateStore:
    """Opens another store at the first request.

    Args:
        open_inner: opens it; called on another thread, again when it failed.
        identity: of the store that must come of it: another one has other bytes under the same keys.
        description: see `Store.description`.
    """

    def __init__(self, open_inner: Callable[[], Store], identity: str, description: str) -> None:
        self.identity = identity
        self.description = description
        self._open_inner = open_inner
        self._counters = Counters()
        self._inner: Store | None = None
        self._waiting: deque[tuple[Request, Receiver]] = deque()
        self._refused: deque[Receiver] = deque()
        self._failure: StoreError | None = None
        self._failed_at = 0.0
        self._is_opening = False
        self._woken = threading.Event()
        self._lock = threading.Lock()
        # Under the lock, for the other thread touches them too.
        self._opened: Store | Exception | None = None
        self._is_closed = False

    @property
    def counters(self) -> Counters:
        """Those of the inner store once it is open."""
        return self._counters if self._inner is None else self._inner.counters

    def submit(self, request: Request, receiver: Receiver) -> None:
        """Begin a request."""
        if self._inner is not None:
            self._inner.submit(request, receiver)
        elif self._failure and time.monotonic() - self._failed_at < OPEN_AGAIN:
            self._refused.append(receiver)
        else:
            self._waiting.append((request, receiver))
            if not self._is_opening:
                self._is_opening = True
                threading.Thread(target=self._open, name="s3mount-opening", daemon=True).start()

    def cancel(self, receiver: Receiver) -> None:
        """Forget a request."""
        self._waiting = deque(entry for entry in self._waiting if entry[1] is not receiver)
        self._refused = deque(entry for entry in self._refused if entry is not receiver)
        if self._inner is not None:
            self._inner.cancel(receiver)

    def poll(self, timeout: float) -> None:
        """Make progress; see `Store.poll`."""
        if self._inner is not None:
            self._inner.poll(timeout)
        elif self._refused:
            self._refuse()
        else:
            self._woken.wait(timeout)
            self._woken.clear()
            # Who wakes us up from now on wakes the inner store, which is polled when the caller has looked around.
            self._take_over()

    def wake(self) -> None:
        """Make a waiting ``poll`` return."""
        self._woken.set()
        inner = self._inner
        if inner is not None:
            inner.wake()

    def renew(self) -> None:
        """Renew what the inner store has to."""
        inner = self._inner
        if inner is not None:
            inner.renew()

    def close(self) -> None:
        """Close the inner store, now or as soon as it is open."""
        self._waiting.clear()
        self._refused.clear()
        with self._lock:
            self._is_closed = True
            opened, self._opened = self._opened, None
        for store in (self._inner, opened):
            if store is not None and not isinstance(store, Exception):
                store.close()

    # On the other thread.

    def _open(self) -> None:
        opened: Store | Exception
        try:
            opened = self._open_inner()
        except Exception as error:
            opened = error
        with self._lock:
            is_late = self._is_closed
            if not is_late:
                self._opened = opened
        if is_late and not isinstance(opened, Exception):
            opened.close()
        self._woken.set()

    # On the thread that polls.

    def _take_over(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is None:
            return
        self._is_opening = False
        if not isinstance(opened, Exception) and opened.identity != self.identity:
            opened.close()
            opened = _another(opened.identity, self.identity)
        if isinstance(opened, Exception):
            self._failure, self._failed_at = _as_store_error(opened), time.monotonic()
            self._refused.extend(receiver for _, receiver in self._waiting)
            self._waiting.clear()
            self._refuse()
            return
        for name, amount in self._counters.totals().items():
            opened.counters.add(name, amount)
        self._inner = opened
        while self._waiting:
            opened.submit(*self._waiting.popleft())

    def _refuse(self) -> None:
        for _ in range(len(self._refused)):
            # A receiver that is told may cancel another.
            if self._refused:
                self._refused.popleft().done(self._failure)


def _another(found: str, wanted: str) -> StoreError:
    return StoreError(
        f"the objects are those of {wanted}, and this is {found}",
        hint="check --endpoint-url and AWS_ENDPOINT_URL",
    )


def _as_store_error(error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    message = (
        error.message if isinstance(error, S3MountError) else f"{type(error).__name__}: {error}"
    )
    hint = error.hint if isinstance(error, S3MountError) else ""
    wrapped = StoreError(f"the store cannot be opened: {message}", hint=hint)
    wrapped.__cause__ = error
    return wrapped
