"""The kernel's wire format: what FUSE requests and replies look like, byte by byte.

Plain functions over bytes, after `linux/fuse.h` of the kernel's user API, version 7.40, as far as a read-only file
system needs it. Nothing here opens, reads or writes a descriptor, and nothing knows what a file system is.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

MAJOR: Final = 7
MINOR: Final = 40
"""The newest minor version whose meaning is known here: the first with passthrough."""
OLDEST_MINOR: Final = 31
"""Linux 5.4: batches of forgotten inodes, attributes with directories and replies of a MiB are all there."""

ROOT_PERMISSIONS: Final = 0o40000
"""``rootmode`` of a mount whose root is a directory, in the octal digits that the kernel reads."""
REQUEST_BUFFER: Final = 64 * 1024
"""Bytes to read requests into. The kernel insists on 8 KiB; batches of forgotten inodes come in what there is."""
MAX_WRITE: Final = 4096
"""The least that may be told: nobody writes."""
PAGE: Final = 4096
LARGEST_REPLY: Final = 1024 * 1024
"""Bytes of the largest read that the kernel sends unless it is configured otherwise."""
BACKGROUND: Final = 64
"""Read-ahead requests that the kernel keeps under way; its default of 12 would starve parallel readers."""


class Opcode(IntEnum):
    """What the kernel may ask of a read-only file system."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    GETXATTR = 22
    LISTXATTR = 23
    INIT = 26
    OPENDIR = 27
    RELEASEDIR = 29
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    READDIRPLUS = 44


class Init:
    """Flags of the first exchange, by which both sides say what they can do."""

    ASYNC_READ = 1 << 0
    DO_READDIRPLUS = 1 << 13
    ASYNC_DIO = 1 << 15
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    INIT_EXT = 1 << 30
    PASSTHROUGH = 1 << 37


class Open:
    """Flags of the reply to open and opendir."""

    KEEP_CACHE = 1 << 1
    CACHE_DIR = 1 << 3
    PASSTHROUGH = 1 << 7


class Header(NamedTuple):
    """The head of a request.

    Attributes:
        length: bytes of the whole request.
        opcode: an `Opcode`, or one that is not known here.
        unique: names the request in its reply.
        node: the inode that is meant.
        pid: the thread that asks; 0 where the kernel asks by itself.
    """

    length: int
    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    pid: int


class Capabilities(NamedTuple):
    """What the kernel offers in its first request.

    Attributes:
        minor: its minor version of the protocol.
        max_readahead: bytes.
        flags: of `Init`, both words together.
    """

    minor: int
    max_readahead: int
    flags: int


_HEADER = struct.Struct("=IIQQIIIxxxx")
HEADER_SIZE: Final = _HEADER.size
_REPLY = struct.Struct("=IiQ")
REPLY_SIZE: Final = _REPLY.size
_INIT_IN = struct.Struct("=IIIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHHII24x")
_ATTRIBUTES = "QQQQQQIIIIIIIIII"
_ENTRY = struct.Struct("=QQQQII" + _ATTRIBUTES)
_GETATTR = struct.Struct("=QII" + _ATTRIBUTES)
_PLUS = struct.Struct("=QQQQII" + _ATTRIBUTES + "QQII")
_OPEN = struct.Struct("=QIi")
_READ = struct.Struct("=QQI")
_HANDLE = struct.Struct("=Q")
_NEGATIVE = struct.Struct("=QQQQII88x")
_STATFS = struct.Struct("=QQQQQIIII24x")
_SIZE = struct.Struct("=Ixxxx")
_FORGET = struct.Struct("=QQ")
_COUNT = struct.Struct("=Ixxxx")
_INVAL_ENTRY = struct.Struct("=QII")
_NOTIFY_INVAL_ENTRY = 3
_BILLION = 1_000_000_000
_ALIGNMENT = 8


class Attributes(NamedTuple):
    """What is told of an inode besides its number, size and time.

    Attributes:
        mode: type and permission bits.
        block_size: ``st_blksize``.
        seconds: how long the kernel may keep the attributes.
    """

    mode: int
    nlink: int
    uid: int
    gid: int
    block_size: int
    seconds: int


def header(buffer: bytes | bytearray | memoryview) -> Header:
    """The head of the request at the start of ``buffer``."""
    return Header(*_HEADER.unpack_from(buffer))


def reply_head(unique: int, length: int, error: int = 0) -> bytes:
    """What stands before a reply.

    Args:
        unique: of the request.
        length: bytes that follow.
        error: an errno, 0 for none.
    """
    return _REPLY.pack(REPLY_SIZE + length, -error, unique)


def init_request(body: memoryview) -> Capabilities:
    """What the kernel offers.

    Raises:
        ValueError: it speaks another protocol.
    """
    major, minor, max_readahead, flags, flags2 = _INIT_IN.unpack_from(body)
    if major != MAJOR or minor < OLDEST_MINOR:
        raise ValueError(f"the kernel speaks FUSE {major}.{minor}")
    if flags & Init.INIT_EXT:
        flags |= flags2 << 32
    return Capabilities(minor, max_readahead, flags)


def init_reply(offered: Capabilities, wanted: int) -> bytes:
    """What is taken of what the kernel offers: those of the ``wanted`` flags that it knows."""
    flags = offered.flags & wanted
    return _INIT_OUT.pack(
        MAJOR,
        min(offered.minor, MINOR),
        offered.max_readahead,
        flags & 0xFFFFFFFF,
        BACKGROUND,
        BACKGROUND * 3 // 4,
        MAX_WRITE,
        1,
        LARGEST_REPLY // PAGE,
        0,
        flags >> 32,
        # One: files of a plain file system may be passed through, and an overlay may stand on top of this mount.
        1 if flags & Init.PASSTHROUGH else 0,
    )


def _seconds(ttl: float) -> tuple[int, int]:
    whole = int(ttl)
    return whole, int((ttl - whole) * _BILLION)


def negative(ttl: float) -> bytes:
    """A name that does not exist, for so long."""
    seconds, nanoseconds = _seconds(ttl)
    return _NEGATIVE.pack(0, 0, seconds, 0, nanoseconds, 0)


def entry(number: int, ttl: float, told: Attributes, size: int, mtime_ns: int) -> bytes:
    """A name that stands for an inode, for ``ttl`` seconds."""
    seconds, nanoseconds = _seconds(ttl)
    head = (number, 0, seconds, told.seconds, nanoseconds, 0)
    return _ENTRY.pack(*head, *_attributes(number, told, size, mtime_ns))


def attributes(number: int, told: Attributes, size: int, mtime_ns: int) -> bytes:
    """The attributes of an inode."""
    return _GETATTR.pack(told.seconds, 0, 0, *_attributes(number, told, size, mtime_ns))


def _attributes(number: int, told: Attributes, size: int, mtime_ns: int) -> tuple[int, ...]:
    time, fraction = divmod(mtime_ns, _BILLION)
    times = (time, time, time, fraction, fraction, fraction)
    owner = (told.mode, told.nlink, told.uid, told.gid, 0, told.block_size, 0)
    return number, size, (size + 511) >> 9, *times, *owner


class Entries:
    """A reply to READDIRPLUS: entries with their attributes, as many as fit. It is used again for the next one."""

    __slots__ = ("_at", "_buffer", "_stop", "_ttl")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = self._stop = 0
        self._ttl = (0, 0)

    def begin(self, size: int, ttl: float) -> None:
        """Begin a reply; what `packed` gave before is not valid any more.

        Args:
            size: bytes that it may have.
            ttl: seconds that the kernel may keep the names.
        """
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        self._at, self._stop = 0, size
        self._ttl = _seconds(ttl)

    def add(
        self, number: int, name: bytes, told: Attributes, size: int, mtime_ns: int, behind: int
    ) -> bool:
        """Add an entry; False when there is no room for it.

        Args:
            number: its inode, 0 where the kernel is to ask for it by itself.
            name: of the entry.
            told: what else is told of it.
            size: bytes.
            mtime_ns: nanoseconds since the epoch.
            behind: where reading goes on behind it.
        """
        at, length = self._at, len(name)
        stop = at + ((_PLUS.size + length + _ALIGNMENT - 1) & -_ALIGNMENT)
        if stop > self._stop:
            return False
        time, fraction = divmod(mtime_ns, _BILLION)
        mode, nlink, uid, gid, block_size, seconds = told
        # fmt: off
        _PLUS.pack_into(
            self._buffer, at,
            number, 0, self._ttl[0], seconds, self._ttl[1], 0,
            number, size, (size + 511) >> 9, time, time, time, fraction, fraction, fraction,
            mode, nlink, uid, gid, 0, block_size, 0,
            number, behind, length, mode >> 12,
        )
        # fmt: on
        at += _PLUS.size
        # Up to the next entry, for what a longer name left there.
        self._buffer[at:stop] = name.ljust(stop - at, b"\0")
        self._at = stop
        return True

    def packed(self) -> memoryview:
        """What was added."""
        return memoryview(self._buffer)[: self._at]


def opened(handle: int, flags: int, backing: int = 0) -> bytes:
    """A handle, with flags of `Open`; ``backing`` names the file that the kernel reads by itself."""
    return _OPEN.pack(handle, flags, backing)


def read_request(body: memoryview) -> tuple[int, int, int]:
    """Handle, offset and size of READ and READDIRPLUS."""
    found: tuple[int, int, int] = _READ.unpack_from(body)
    return found


def handle_of(body: memoryview) -> int:
    """The handle that RELEASE and RELEASEDIR give back."""
    number: int = _HANDLE.unpack_from(body)[0]
    return number


def name_of(body: memoryview) -> bytes:
    """The name of LOOKUP."""
    return bytes(body[:-1])


def forgotten(opcode: int, node: int, body: memoryview) -> Iterator[tuple[int, int]]:
    """The inodes that FORGET and BATCH_FORGET let go, each with how many lookups less."""
    if opcode == Opcode.FORGET:
        yield node, _HANDLE.unpack_from(body)[0]
        return
    count = _COUNT.unpack_from(body)[0]
    yield from _FORGET.iter_unpack(body[_COUNT.size : _COUNT.size + count * _FORGET.size])


def interrupted(body: memoryview) -> int:
    """Which request INTERRUPT is about."""
    return handle_of(body)


def xattr_request(body: memoryview) -> tuple[int, bytes]:
    """The size of the program's buffer, 0 to ask for the size only, and the name; empty in LISTXATTR."""
    return _SIZE.unpack_from(body)[0], bytes(body[_SIZE.size : -1])


def xattr_size(length: int) -> bytes:
    """The size of a value, for a program that asks for nothing else."""
    return _SIZE.pack(length)


def statfs(blocks: int, files: int, block_size: int, name_length: int) -> bytes:
    """Sizes of the file system, all of it free."""
    return _STATFS.pack(
        blocks, blocks, blocks, files, files, block_size, name_length, block_size, 0
    )


def forget_name(parent: int, name: bytes) -> bytes:
    """A message that makes the kernel ask for a name again."""
    body = _INVAL_ENTRY.pack(parent, len(name), 0) + name + b"\0"
    return _REPLY.pack(REPLY_SIZE + len(body), _NOTIFY_INVAL_ENTRY, 0) + body
