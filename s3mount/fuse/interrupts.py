"""Whether a signal that came to a waiting program is one that people mean to end it with.

The kernel tells a file system of every signal, not of which. Most of them (a timer, a child that ended) must not be
felt: few programs expect EINTR from a file. Those that end programs must: nobody who presses Ctrl-C waits for a store.
"""

import signal
from pathlib import Path
from typing import Final

ENDING: Final = frozenset({signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT})
"""SIGKILL is also what the kernel makes of any signal that a program dies of."""
_MASK: Final = sum(1 << (number - 1) for number in ENDING)


def is_meant(thread: int) -> bool:
    """Whether a signal that ends programs waits for a thread.

    Args:
        thread: its number as the kernel told it; 0 for one outside of our namespace, which cannot be looked at.
    """
    try:
        return pending_to_end(Path(f"/proc/{thread}/status").read_text())
    except OSError:
        return True  # it is gone, or nobody's: who would miss an answer?


def pending_to_end(status: str) -> bool:
    """The same, from the text of ``/proc/PID/status`` (proc(5): SigPnd, ShdPnd)."""
    masks = (
        int(line.partition(":")[2], 16)
        for line in status.splitlines()
        if line.startswith(("SigPnd:", "ShdPnd:"))
    )
    return any(mask & _MASK for mask in masks)
