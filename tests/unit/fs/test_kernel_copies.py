"""The kernel's copy of a directory: whoever reads from it reads what its own handle would have shown."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from s3mount.fs.kernel_copies import Copying, KernelCopy


@dataclass(eq=False)
class Handle:
    listing: int
    copying: Copying
    position: int = 0
    seen: list[tuple[int, int]] = field(default_factory=list)


LENGTH = 3


@dataclass
class Kernel:
    """A kernel, as `fs/fuse/readdir.c` has it: one copy, dropped at an open that does not keep it."""

    copy: list[tuple[int, int]] = field(default_factory=list)
    is_whole: bool = False

    def open(self, copying: Copying) -> None:
        if not copying.keeps:
            self.copy, self.is_whole = [], False

    def step(self, handle: Handle) -> None:
        """One more entry, from the copy where it may be."""
        at = handle.position
        if handle.copying.fills and self.is_whole:
            if at < LENGTH:
                handle.seen.append(self.copy[at])
        elif at < LENGTH:
            entry = (handle.listing, at)
            handle.seen.append(entry)
            if handle.copying.fills and len(self.copy) == at:
                self.copy.append(entry)
        elif handle.copying.fills and len(self.copy) == LENGTH:
            self.is_whole = True
        handle.position = min(at + 1, LENGTH)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(1, 3), st.booleans()),
        st.tuples(st.sampled_from(["step", "close", "spoil"]), st.integers(0, 5), st.none()),
    ),
    max_size=80,
)


@given(steps)
def test_each_reader_sees_its_own_listing(steps):
    kernel, copy, handles = Kernel(), KernelCopy(), []
    for what, number, is_plain in steps:
        if what == "open":
            copying = copy.opened(number, is_plain=bool(is_plain))
            assert copying.fills or not copying.keeps
            kernel.open(copying)
            handles.append(Handle(number, copying))
        elif handles:
            handle = handles[number % len(handles)]
            if what == "step":
                kernel.step(handle)
            elif what == "close":
                handles.remove(handle)
                copy.closed(handle.copying)
                assert handle.seen == [(handle.listing, at) for at in range(len(handle.seen))]
            elif handle.copying.fills:
                copy.spoiled()
    assert copy.fillers == sum(handle.copying.fills for handle in handles)


def test_who_opens_the_same_listing_again_needs_no_reading():
    copy = KernelCopy()
    first = copy.opened(7, is_plain=True)
    assert first == Copying(fills=True, keeps=False)
    copy.closed(first)
    assert copy.opened(7, is_plain=True) == Copying(fills=True, keeps=True)


def test_what_was_spoiled_is_not_kept():
    copy = KernelCopy()
    first = copy.opened(7, is_plain=True)
    copy.spoiled()
    assert copy.opened(7, is_plain=True) == Copying(fills=False, keeps=False)
    copy.closed(first)
    assert copy.opened(7, is_plain=True) == Copying(fills=True, keeps=False)
