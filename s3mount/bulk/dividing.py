"""Whether several processes pay for a run, and what each of them may use: plain functions, no I/O."""

from typing import NamedTuple

JOBS = 384
"""Requests at once where nobody says: at 30 ms of round trip 128 would end 4,000 objects a second at the most, and a
machine with a few cores can do more; near by, where few are needed, the rest costs only its connections."""
MEMBERS_MAX = 8
"""The command's process deals out some 60,000 objects a second: more members would wait for it."""
CHUNK = 200
"""Weight of what is sent at once: one message for many objects, and little to wait for at the end of a run."""
WEIGHS_ONE = 256 * 1024
"""Bytes that weigh as much as one more object."""
MANY = 1000
"""Objects from which on a crew pays: it takes 0.1 s to open its sessions."""
SMALL = 4 * 1024 * 1024
"""Bytes of the mean object up to which many are needed."""
HEAVY = 512 * 1024 * 1024
"""Bytes of larger objects from which on a crew pays, be they two: a process moves a GiB in a second or two. Four of one
GiB took 4.7 to 6.9 s in two processes instead of 6.9 to 8.9 in one, on two cores that carry the server too."""


class Share(NamedTuple):
    """What one process of a crew may use.

    Attributes:
        number: of the process, from 1 on; 0 is the command's own.
        jobs: requests for objects at once at the most.
        of: how many processes there are: memory and bandwidth are divided by it.
    """

    number: int
    jobs: int
    of: int


def is_worth_it(objects: int, size: int) -> bool:
    """Whether a crew pays for a run.

    Args:
        objects: that are wanted, as far as is known.
        size: their bytes.
    """
    if size < objects * SMALL:
        return objects >= MANY
    return objects > 1 and size >= HEAVY


def shares(jobs: int, cores: int) -> list[Share]:
    """How requests are divided among processes; empty where one is enough.

    Args:
        jobs: requests at once at the most, of all together.
        cores: how many processes can run at once.
    """
    members = min(cores, MEMBERS_MAX, jobs)
    if members <= 1:
        return []
    return [
        Share(number + 1, jobs // members + (number < jobs % members), members)
        for number in range(members)
    ]


def weight(size: int) -> int:
    """How much an object of so many bytes counts, where a small one counts 1."""
    return 1 + size // WEIGHS_ONE
