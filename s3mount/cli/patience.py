"""Questions to a file system that may never answer.

A call into a mount whose daemon is dead or stuck can block for ever, and no signal helps; so it is
made on a daemon thread that is left behind when it does not come back. Nothing else in the cli
starts a thread.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T]) -> T:
    """Give back what ``call`` gives or raises, or raise TimeoutError after ``seconds``."""
    values: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            values.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not values:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return values[0]
