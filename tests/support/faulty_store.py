"""A store that fails on demand, around any other store."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from s3mount.errors import StoreError
from s3mount.store.interface import Get, Head, Page, Receiver, Request, Store


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next request that matches.

    Attributes:
        error: what the store says; None never answers at all.
        after: bytes that still come before it; above 0 a write is done, and its reply is lost.
        matches: which requests.
    """

    error: StoreError | None
    after: int = 0
    matches: Callable[[Request], bool] = lambda request: True


@dataclass(slots=True)
class _Broken:
    """A receiver that is cut off after some bytes."""

    inner: Receiver
    fault: Fault
    left: int
    over: bool = False

    def head(self, head: Head) -> None:
        self.inner.head(head)

    def data(self, chunk: bytes) -> None:
        if self.left > 0:
            self.inner.data(chunk[: self.left])
            self.left -= min(self.left, len(chunk))

    def page(self, page: Page) -> None:
        """Lost."""

    def answer(self, answer) -> None:
        """Lost: what was asked for is done all the same."""

    def done(self, error: StoreError | None) -> None:
        if self.fault.error is not None:
            self.inner.done(self.fault.error)


@dataclass(slots=True)
class FaultyStore:
    """Passes requests on, records them, and breaks those that a fault matches."""

    inner: Store
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    held: list[tuple[Request, Receiver]] = field(default_factory=list)
    is_holding: bool = False
    _broken: dict[int, _Broken] = field(default_factory=dict)
    _failed: deque[tuple[Receiver, StoreError]] = field(default_factory=deque)

    @property
    def counters(self):
        return self.inner.counters

    def renew(self) -> None:
        self.inner.renew()

    @property
    def identity(self) -> str:
        return self.inner.identity

    @property
    def description(self) -> str:
        return self.inner.description

    def fail(
        self, error: StoreError | None, *, times: int = 1, after: int = 0, matches=None
    ) -> None:
        """Break the next requests that match."""
        for _ in range(times):
            self.faults.append(Fault(error, after, matches or (lambda request: True)))

    def hold(self) -> None:
        """Keep requests back until `let_go`."""
        self.is_holding = True

    def let_go(self) -> None:
        """Send on what was kept back."""
        self.is_holding = False
        self.inner.wake()

    def gets(self) -> list[Get]:
        """The GETs so far."""
        return [request for request in self.requests if isinstance(request, Get)]

    def lists(self) -> list[Request]:
        """The LISTs so far."""
        return [request for request in self.requests if not isinstance(request, Get)]

    def submit(self, request: Request, receiver: Receiver) -> None:
        self.requests.append(request)
        if self.is_holding:
            self.held.append((request, receiver))
        else:
            self._pass(request, receiver)

    def _pass(self, request: Request, receiver: Receiver) -> None:
        for fault in self.faults:
            if fault.matches(request):
                self.faults.remove(fault)
                if fault.after == 0 and fault.error is not None:
                    self._failed.append((receiver, fault.error))
                    return
                broken = self._broken[id(receiver)] = _Broken(receiver, fault, fault.after)
                self.inner.submit(request, broken)
                return
        self.inner.submit(request, receiver)

    def cancel(self, receiver: Receiver) -> None:
        self.held = [pair for pair in self.held if pair[1] is not receiver]
        self._failed = deque(pair for pair in self._failed if pair[0] is not receiver)
        broken = self._broken.pop(id(receiver), None)
        self.inner.cancel(broken or receiver)

    def poll(self, timeout: float) -> None:
        if not self.is_holding and self.held:
            held, self.held = self.held, []
            for request, receiver in held:
                self._pass(request, receiver)
        if self._failed:
            receiver, error = self._failed.popleft()
            receiver.done(error)
            return
        self.inner.poll(timeout)

    def wake(self) -> None:
        self.inner.wake()

    def close(self) -> None:
        self.inner.close()
