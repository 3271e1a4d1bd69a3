"""Which way an inode is read: never in two ways at a time, and every file that the kernel was told of is let go."""

import errno
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.fuse.passthrough import BACKING_CLOSE, BACKING_OPEN, ORDINARY, Passthrough


@dataclass
class File:
    fd: int


@dataclass
class Kernel:
    """What the kernel holds."""

    refuses: int = 0
    held: dict[int, int] = field(default_factory=dict)
    told: int = 0

    def open(self, file: File) -> int:
        if self.refuses:
            raise OSError(self.refuses, "refused")
        self.told += 1
        self.held[self.told] = file.fd
        return self.told

    def close(self, backing: int) -> None:
        del self.held[backing]


def test_the_numbers_of_the_calls():
    """As `linux/fuse.h` makes them."""
    assert (BACKING_OPEN, BACKING_CLOSE) == (0x4010E501, 0x4004E502)


steps = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["whole", "part", "close"])), max_size=60
)


@given(steps)
def test_an_inode_is_read_in_one_way_at_a_time(steps):
    kernel = Kernel()
    ways = Passthrough(kernel)
    handles: dict[int, list[int]] = {1: [], 2: [], 3: []}
    for inode, step in steps:
        if step == "close":
            if handles[inode]:
                handles[inode].pop()
                ways.closed(inode)
        else:
            is_first = not handles[inode]
            backing = ways.opened(
                inode, lambda inode=inode, step=step: File(inode) if step == "whole" else None
            )
            if is_first:
                assert (backing != ORDINARY) == (step == "whole")
            handles[inode].append(backing)
        for number, backings in handles.items():
            assert len(set(backings)) <= 1
            for backing in backings:
                assert backing == ORDINARY or kernel.held[backing] == number
        assert len(kernel.held) == sum(any(backings) for backings in handles.values())


@pytest.mark.parametrize("number", [errno.EPERM, errno.ELOOP, errno.EOPNOTSUPP])
def test_a_kernel_that_refuses_is_not_asked_again(number):
    kernel = Kernel(refuses=number)
    ways = Passthrough(kernel)
    assert ways.opened(1, lambda: File(1)) == ORDINARY
    kernel.refuses = 0
    assert ways.opened(2, lambda: File(2)) == ORDINARY
    ways.closed(1)
    ways.closed(2)
    assert kernel.told == 0


def test_a_kernel_that_cannot_do_it_is_not_asked():
    def file():
        raise AssertionError("nobody wants to know")

    ways = Passthrough(None)
    assert ways.opened(1, file) == ORDINARY
    ways.closed(1)
