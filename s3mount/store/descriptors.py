"""How many files this process may have open at once, and what that allows.

Login shells and services begin with a soft limit of 1,024, for the sake of programs that use ``select``; a hundred
downloads at once and as many files want more. No module here uses ``select``.
"""

import resource

PER_TRANSFER = 4
"""Of an object that is being fetched: its socket, an idle one of the other kind, its file, and the directory that the
file gets its name in."""
KEPT = 128
"""For everything else: the index, logs, pipes, idle connections."""


def raise_limit() -> None:
    """Allow this process and its children as many as the machine allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """How many may be open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 30


def affordable(transfers: int, descriptors: int) -> int:
    """How many transfers may be under way at once beside a cache of open files; one at least.

    Args:
        transfers: that are wanted.
        descriptors: see `limit`.
    """
    left = descriptors - KEPT - share(descriptors, descriptors)
    return max(1, min(transfers, left // PER_TRANSFER))


def share(most: int, descriptors: int) -> int:
    """How many files a cache of open files may keep: a quarter of all, ``most`` at the most, one at least."""
    return max(1, min(most, descriptors // 4))
