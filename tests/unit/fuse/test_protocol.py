"""The wire format, held against the structures of the kernel's `linux/fuse.h` as C lays them out."""

import ctypes
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.fuse import protocol
from s3mount.fuse.protocol import Attributes, Init, Opcode

U16, U32, U64, S32 = ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32


def structure(name, *fields):
    return type(name, (ctypes.Structure,), {"_fields_": list(fields)})


InHeader = structure(
    "fuse_in_header",
    *(("len", U32), ("opcode", U32), ("unique", U64), ("nodeid", U64), ("uid", U32), ("gid", U32)),
    *(("pid", U32), ("total_extlen", U16), ("padding", U16)),
)
OutHeader = structure("fuse_out_header", ("len", U32), ("error", S32), ("unique", U64))
Attr = structure(
    "fuse_attr",
    *((name, U64) for name in ("ino", "size", "blocks", "atime", "mtime", "ctime")),
    *((name, U32) for name in ("atimensec", "mtimensec", "ctimensec", "mode", "nlink", "uid")),
    *((name, U32) for name in ("gid", "rdev", "blksize", "flags")),
)
EntryOut = structure(
    "fuse_entry_out",
    *((name, U64) for name in ("nodeid", "generation", "entry_valid", "attr_valid")),
    *(("entry_valid_nsec", U32), ("attr_valid_nsec", U32), ("attr", Attr)),
)
AttrOut = structure(
    "fuse_attr_out", ("attr_valid", U64), ("attr_valid_nsec", U32), ("dummy", U32), ("attr", Attr)
)
Dirent = structure("fuse_dirent", ("ino", U64), ("off", U64), ("namelen", U32), ("type", U32))
OpenOut = structure("fuse_open_out", ("fh", U64), ("open_flags", U32), ("backing_id", S32))
InitIn = structure(
    "fuse_init_in",
    *((name, U32) for name in ("major", "minor", "max_readahead", "flags", "flags2")),
    ("unused", U32 * 11),
)
InitOut = structure(
    "fuse_init_out",
    *((name, U32) for name in ("major", "minor", "max_readahead", "flags")),
    *(("max_background", U16), ("congestion_threshold", U16), ("max_write", U32)),
    *(("time_gran", U32), ("max_pages", U16), ("map_alignment", U16), ("flags2", U32)),
    *(("max_stack_depth", U32), ("request_timeout", U16), ("unused", U16 * 11)),
)
Kstatfs = structure(
    "fuse_kstatfs",
    *((name, U64) for name in ("blocks", "bfree", "bavail", "files", "ffree")),
    *((name, U32) for name in ("bsize", "namelen", "frsize", "padding")),
    ("spare", U32 * 6),
)
ReadIn = structure(
    "fuse_read_in",
    *(("fh", U64), ("offset", U64), ("size", U32), ("read_flags", U32), ("lock_owner", U64)),
    *(("flags", U32), ("padding", U32)),
)
InvalEntry = structure(
    "fuse_notify_inval_entry_out", ("parent", U64), ("namelen", U32), ("flags", U32)
)

numbers = st.integers(1, 2**64 - 1)
sizes = st.integers(0, 2**62)
times = st.integers(0, 2**62)
names = st.binary(min_size=1, max_size=255)
TOLD = Attributes(0o100444, 1, 1000, 100, 4096, 3600)


def check_attributes(found, number, size, mtime_ns):
    assert (found.ino, found.size, found.blocks) == (number, size, -(-size // 512))
    for seconds, nanoseconds in (
        (found.atime, found.atimensec),
        (found.mtime, found.mtimensec),
        (found.ctime, found.ctimensec),
    ):
        assert seconds * 10**9 + nanoseconds == mtime_ns
    assert (found.mode, found.nlink, found.uid, found.gid, found.blksize) == TOLD[:5]
    assert (found.rdev, found.flags) == (0, 0)


@given(numbers, st.floats(0, 86_400), sizes, times)
def test_an_entry(number, ttl, size, mtime_ns):
    packed = protocol.entry(number, ttl, TOLD, size, mtime_ns)
    assert len(packed) == ctypes.sizeof(EntryOut)
    found = EntryOut.from_buffer_copy(packed)
    assert (found.nodeid, found.generation) == (number, 0)
    assert found.entry_valid + found.entry_valid_nsec / 1e9 == pytest.approx(ttl, abs=1e-8)
    assert (found.attr_valid, found.attr_valid_nsec) == (3600, 0)
    check_attributes(found.attr, number, size, mtime_ns)


@given(st.floats(0, 86_400))
def test_a_name_that_is_not_there(ttl):
    found = EntryOut.from_buffer_copy(protocol.negative(ttl))
    assert len(protocol.negative(ttl)) == ctypes.sizeof(EntryOut)
    assert found.nodeid == 0
    assert found.entry_valid + found.entry_valid_nsec / 1e9 == pytest.approx(ttl, abs=1e-8)


@given(numbers, sizes, times)
def test_attributes(number, size, mtime_ns):
    packed = protocol.attributes(number, TOLD, size, mtime_ns)
    assert len(packed) == ctypes.sizeof(AttrOut)
    found = AttrOut.from_buffer_copy(packed)
    assert (found.attr_valid, found.attr_valid_nsec) == (3600, 0)
    check_attributes(found.attr, number, size, mtime_ns)


rows = st.lists(st.tuples(numbers, names, sizes, times), max_size=20)


@given(st.lists(st.tuples(rows, st.integers(0, 4096)), min_size=1, max_size=4))
def test_entries_of_directories_fill_their_page_and_no_more(pages):
    """The page is used again: nothing of an earlier one shows in a later one."""
    page = protocol.Entries()
    for entries, size in pages:
        page.begin(size, 1.5)
        taken = 0
        for index, (number, name, length, mtime_ns) in enumerate(entries):
            if not page.add(number, name, TOLD, length, mtime_ns, index + 1):
                break
            taken += 1
        packed = bytes(page.packed())
        assert len(packed) <= size
        at = 0
        for index, (number, name, length, mtime_ns) in enumerate(entries[:taken]):
            entry = EntryOut.from_buffer_copy(packed, at)
            at += ctypes.sizeof(EntryOut)
            assert (entry.nodeid, entry.entry_valid, entry.entry_valid_nsec) == (
                number,
                1,
                5 * 10**8,
            )
            check_attributes(entry.attr, number, length, mtime_ns)
            dirent = Dirent.from_buffer_copy(packed, at)
            at += ctypes.sizeof(Dirent)
            assert (dirent.ino, dirent.off, dirent.type) == (number, index + 1, 8)
            assert packed[at : at + dirent.namelen] == name
            behind = at + dirent.namelen
            at += -(-dirent.namelen // 8) * 8
            assert not any(packed[behind:at])
        assert at == len(packed)
        if taken < len(entries):
            needed = 152 + -(-len(entries[taken][1]) // 8) * 8
            assert len(packed) + needed > size


def test_a_request_is_taken_apart():
    head = InHeader(64, Opcode.READ, 77, 5, 1000, 100, 4711, 0, 0)
    body = ReadIn(9, 1 << 40, 4096, 0, 0, 0, 0)
    request = bytes(head) + bytes(body)
    assert protocol.header(request) == (64, Opcode.READ, 77, 5, 1000, 100, 4711)
    assert protocol.read_request(memoryview(request)[protocol.HEADER_SIZE :]) == (9, 1 << 40, 4096)
    assert protocol.handle_of(memoryview(request)[protocol.HEADER_SIZE :]) == 9


def test_the_head_of_a_reply():
    found = OutHeader.from_buffer_copy(protocol.reply_head(77, 100, errno.ENOENT))
    assert (found.len, found.error, found.unique) == (116, -errno.ENOENT, 77)


def test_a_handle():
    found = OpenOut.from_buffer_copy(protocol.opened(3, protocol.Open.PASSTHROUGH, 12))
    assert (found.fh, found.open_flags, found.backing_id) == (3, 1 << 7, 12)


@pytest.mark.parametrize("offered", [0, Init.INIT_EXT, Init.INIT_EXT | Init.PASSTHROUGH])
@pytest.mark.parametrize("minor", [31, 40, 45])
def test_the_first_exchange_takes_what_is_offered(offered, minor):
    flags = offered | Init.ASYNC_READ
    asked = InitIn(7, minor, 131072, flags & 0xFFFFFFFF, flags >> 32)
    kernel = protocol.init_request(memoryview(bytes(asked)))
    assert kernel == (minor, 131072, flags)
    wanted = Init.ASYNC_READ | Init.MAX_PAGES | Init.INIT_EXT | Init.PASSTHROUGH
    packed = protocol.init_reply(kernel, wanted)
    assert len(packed) == ctypes.sizeof(InitOut)
    found = InitOut.from_buffer_copy(packed)
    assert (found.major, found.minor) == (7, min(minor, 40))
    assert found.flags | found.flags2 << 32 == flags
    assert found.max_stack_depth == bool(offered & Init.PASSTHROUGH)
    assert (found.max_pages, found.time_gran, found.max_readahead) == (256, 1, 131072)
    assert 0 < found.congestion_threshold <= found.max_background


def test_a_kernel_without_the_second_word_of_flags_offers_none_of_it():
    asked = InitIn(7, 31, 131072, Init.ASYNC_READ, 0xFFFFFFFF)
    assert protocol.init_request(memoryview(bytes(asked))).flags == Init.ASYNC_READ


@pytest.mark.parametrize(("major", "minor"), [(7, 30), (6, 40), (8, 0)])
def test_another_protocol_is_refused(major, minor):
    with pytest.raises(ValueError, match=f"FUSE {major}.{minor}"):
        protocol.init_request(memoryview(bytes(InitIn(major, minor))))


@given(st.lists(st.tuples(numbers, st.integers(0, 2**32)), max_size=50))
def test_what_is_forgotten(pairs):
    body = struct.pack("=II", len(pairs), 0) + b"".join(struct.pack("=QQ", *pair) for pair in pairs)
    assert list(protocol.forgotten(Opcode.BATCH_FORGET, 0, memoryview(body))) == pairs
    for number, count in pairs:
        single = memoryview(struct.pack("=Q", count))
        assert list(protocol.forgotten(Opcode.FORGET, number, single)) == [(number, count)]


def test_sizes_of_the_file_system():
    packed = protocol.statfs(1 << 38, 1 << 32, 4096, 255)
    assert len(packed) == ctypes.sizeof(Kstatfs)
    found = Kstatfs.from_buffer_copy(packed)
    assert found.blocks == found.bfree == found.bavail == 1 << 38
    assert found.files == found.ffree == 1 << 32
    assert (found.bsize, found.frsize, found.namelen) == (4096, 4096, 255)


def test_extended_attributes():
    body = struct.pack("=II", 64, 0)
    assert protocol.xattr_request(memoryview(body + b"user.s3.key\0")) == (64, b"user.s3.key")
    assert protocol.xattr_request(memoryview(body)) == (64, b"")
    assert protocol.xattr_size(17) == struct.pack("=II", 17, 0)


@given(numbers, names)
def test_a_name_to_forget(parent, name):
    message = protocol.forget_name(parent, name)
    head = OutHeader.from_buffer_copy(message)
    assert (head.len, head.error, head.unique) == (len(message), 3, 0)
    found = InvalEntry.from_buffer_copy(message, ctypes.sizeof(OutHeader))
    assert (found.parent, found.namelen, found.flags) == (parent, len(name), 0)
    assert message[-len(name) - 1 :] == name + b"\0"
