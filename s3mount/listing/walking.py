"""The books of a listing that is asked for by many requests and handed on page by page.

What is asked for, and what a reply gives, is decided by who derives from `Walking`; here are the requests under way,
what was handed on and not released, and the end that always comes. Concurrency rule: everything belongs to the
engine's thread.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from s3mount.errors import StoreError, UnexpectedReply
from s3mount.store.interface import ListPage, Page
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Flight, Urgency

Asked = TypeVar("Asked", bound=Hashable)
Given = TypeVar("Given")


class Walking(ABC, Generic[Asked, Given]):
    """A listing that pushes what it finds, no faster than it is released.

    Args:
        engine: sends the LISTs.
        urgency: of every LIST.
    """

    def __init__(self, engine: Engine, urgency: Urgency) -> None:
        self._engine = engine
        self._urgency = urgency
        self._flights: dict[Asked, Flight] = {}
        self._unreleased = 0
        self._is_over = False

    def start(
        self,
        deliver: Callable[[Given], None],
        finished: Callable[[StoreError | None], None],
    ) -> None:
        """Begin: everything found goes to ``deliver``, then ``finished`` is called once, with the error if any."""
        self._deliver = deliver
        self._finished = finished
        self._send()

    def release(self) -> None:
        """One delivery has been worked off: another page may be listed."""
        self._unreleased -= 1
        self._send()

    def stop(self) -> None:
        """List no more; neither callback is called any more."""
        self._is_over = True
        for flight in self._flights.values():
            self._engine.cancel(flight)
        self._flights.clear()

    @abstractmethod
    def _send(self) -> None:
        """Ask for what there is room for, by `_ask`."""

    @abstractmethod
    def _take(self, asked: Asked, page: Page) -> None:
        """Take in a reply: `_give` what it holds, and `_finish` where it was the last."""

    def _ask(self, asked: Asked, request: ListPage) -> None:
        answered = partial(self._on_reply, asked)
        self._flights[asked] = self._engine.list(request, answered, self._urgency)

    def _give(self, given: Given) -> None:
        if not self._is_over:
            self._deliver(given)

    def _finish(self, error: StoreError | None) -> None:
        if not self._is_over:
            self.stop()
            self._finished(error)

    def _on_reply(self, asked: Asked, reply: Page | StoreError) -> None:
        if self._is_over:
            return
        del self._flights[asked]
        if isinstance(reply, StoreError):
            self._finish(reply)
            return
        try:
            self._take(asked, reply)
        except StoreError as error:
            self._finish(error)
        except Exception as error:
            # Nobody else would end the walk, and whoever waits for it would wait for ever.
            wrapped = UnexpectedReply(f"listing failed: {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            self._finish(wrapped)
