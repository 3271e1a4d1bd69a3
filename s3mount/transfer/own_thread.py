"""A thread that lives as long as a context is open."""

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class OwnThread(ABC):
    """Entering starts the thread, leaving ends it and waits until it is over.

    Args:
        name: of the thread, in logs and debuggers.
    """

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end_soon()
        self._thread.join()

    @abstractmethod
    def _run(self) -> None:
        """What the thread does, until it is told to end."""

    @abstractmethod
    def _end_soon(self) -> None:
        """Tell the thread to end; called from another one."""
