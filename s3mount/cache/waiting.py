"""Those who wait for bytes that are on their way.

Concurrency rule: `Waiter.cancel` from any thread; the rest belongs to the object that the waiter waits for, under its
lock, except that a call is made without it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from s3mount.cache.layout import ByteRange
from s3mount.errors import StoreError

if TYPE_CHECKING:
    from s3mount.cache.fill import Fill


class Waiter:
    """Somebody who waits for a range; `cancel` ends that without a call."""

    __slots__ = ("_cancel", "callback", "fill", "start", "stop", "until")

    def __init__(
        self,
        span: ByteRange,
        callback: Callable[[StoreError | None], None],
        cancel: "Callable[[Waiter], None]",
    ) -> None:
        self.start, self.stop = span
        self.callback: Callable[[StoreError | None], None] | None = callback
        self.fill: Fill | None = None
        self.until = 0
        self._cancel = cancel

    def cancel(self) -> None:
        """Never call back from now on; a call that has begun goes on."""
        self._cancel(self)

    def fire(self, error: StoreError | None) -> None:
        """Call back, once."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback(error)
