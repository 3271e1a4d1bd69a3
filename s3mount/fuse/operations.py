"""The kernel's requests, translated: its wire format on one side, `FileSystem` on the other, nothing decided here.

What can be answered at once is; for the rest a handler gives a coroutine that will have the answer. What a handler
raises becomes an errno, the unknown one EIO with its traceback in the log. It runs on the event loop's thread.
"""

import errno
import logging
import stat
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from s3mount.errors import DeadlineExceeded, NotFound, S3MountError, StoreError
from s3mount.fs import filesystem
from s3mount.fs.directories import Reading
from s3mount.fs.filesystem import FileSystem
from s3mount.fuse import protocol
from s3mount.fuse.connection import Answers, Body, Later, Request
from s3mount.fuse.errnos import errno_of
from s3mount.fuse.passthrough import ORDINARY, Passthrough
from s3mount.fuse.protocol import Attributes, Opcode, Open

log = logging.getLogger(__name__)

ATTRIBUTES_TTL = 3600
"""Seconds that the kernel keeps attributes: an inode is one version, so they do not change."""
MAX_ENTRY_TTL = 86_400.0
IO_SIZE = 1024 * 1024
"""st_blksize: the largest read that the kernel sends through FUSE; cp, cat and tar read this much at a time."""
SHOWN_SIZE = 1 << 50
"""The size that statfs shows, a PiB and all of it free: a bucket has no size, and "full" would raise alarms."""
SHOWN_FILES = 1 << 32
NAME_MAX = 255

USER_XATTRS = b"user."
"""The one kind of extended attributes that a mount has: no ACLs, no labels, no capabilities."""
OWN_XATTRS = b"user.s3"
STATUS_XATTR = b"user.s3mount.status"
REFRESH_XATTR = b"user.s3mount.refresh"


class Refused(Exception):
    """An answer that is an errno and nothing else.

    Args:
        errno: which.
    """

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno


class Ownership(NamedTuple):
    """Who everything belongs to, and the permission bits."""

    uid: int
    gid: int
    file_mode: int
    dir_mode: int


class Operations:
    """Answers the kernel.

    Args:
        filesystem: what is shown.
        ownership: who it belongs to.
        xattrs: the extended attributes of an inode by name, and the two that are commands.
        passthrough: which files the kernel reads by itself.
    """

    def __init__(
        self,
        filesystem: FileSystem,
        ownership: Ownership,
        xattrs: "ExtendedAttributes",
        passthrough: Passthrough,
    ) -> None:
        self._fs = filesystem
        self._xattrs = xattrs
        self._passthrough = passthrough
        self._page = protocol.Entries()
        # One link for directories too: find(1) takes more for a count of subdirectories and would trust it.
        owner = (1, ownership.uid, ownership.gid, IO_SIZE, ATTRIBUTES_TTL)
        self._file = Attributes(stat.S_IFREG | ownership.file_mode, *owner)
        self._directory = Attributes(stat.S_IFDIR | ownership.dir_mode, *owner)

    def answers(self) -> Answers:
        """Who answers what. FLUSH, ACCESS and whatever writes are not here: the kernel asks once, or never."""
        handlers = {
            Opcode.LOOKUP: self.lookup,
            Opcode.FORGET: self.forget,
            Opcode.BATCH_FORGET: self.forget,
            Opcode.GETATTR: self.getattr,
            Opcode.OPENDIR: self.opendir,
            Opcode.READDIRPLUS: self.readdir,
            Opcode.RELEASEDIR: self.releasedir,
            Opcode.OPEN: self.open,
            Opcode.READ: self.read,
            Opcode.RELEASE: self.release,
            Opcode.STATFS: self.statfs,
            Opcode.LISTXATTR: self.listxattr,
            Opcode.GETXATTR: self.getxattr,
        }
        return Answers({int(code): handler for code, handler in handlers.items()}, self.errno_of)

    def errno_of(self, opcode: int, error: Exception) -> int:
        """The errno of what a handler raised; what a person should know of is logged."""
        if isinstance(error, Refused):
            return error.errno
        number = errno_of(error)
        operation = Opcode(opcode).name.lower()
        if not isinstance(error, S3MountError):
            log.error("%s failed in a way that is not known", operation, exc_info=error)
        elif not isinstance(error, NotFound):
            passes = isinstance(error, StoreError | DeadlineExceeded)
            key = getattr(error, "key", "")
            log.log(
                logging.WARNING if passes else logging.ERROR,
                "%s%s: %s (%s)%s",
                operation,
                f" of {key!r}" if key else "",
                error,
                errno.errorcode[number],
                f" {error.hint}" if error.hint else "",
            )
        return number

    def lookup(self, request: Request) -> Body | Later:
        """Name to inode; a name that is not there is an answer with a lifetime too."""
        name = protocol.name_of(request.body)
        told = self._fs.lookup_now(request.node, name)
        return self._lookup_later(request.node, name) if told is None else self._entry(told)

    async def _lookup_later(self, parent: int, name: bytes) -> Body:
        return self._entry(await self._fs.lookup(parent, name))

    def forget(self, request: Request) -> Body:
        """The kernel lets inodes go."""
        for number, lookups in protocol.forgotten(request.opcode, request.node, request.body):
            self._fs.forget(number, lookups)
        return b""

    def getattr(self, request: Request) -> Body:
        """Attributes of a known inode: never a request to the store."""
        number, is_directory, size, mtime_ns, _ = self._fs.attributes(request.node)
        return protocol.attributes(number, self._kind(is_directory), size, mtime_ns)

    def opendir(self, request: Request) -> Body:
        """A directory to read; the kernel may keep its entries, and give them to others who open the same listing."""
        directories = self._fs.directories
        handle = directories.open(request.node)
        fills, keeps = directories.copying(handle)
        flags = Open.CACHE_DIR * fills | Open.KEEP_CACHE * keeps
        return protocol.opened(handle, flags)

    def readdir(self, request: Request) -> Body | Later:
        """Entries with their attributes, as many as fit."""
        handle, start, size = protocol.read_request(request.body)
        reading = self._fs.directories.read_now(handle, start)
        if reading is None:
            return self._readdir_later(handle, start, size)
        return self._packed(reading, size)

    async def _readdir_later(self, handle: int, start: int, size: int) -> Body:
        return self._packed(await self._fs.directories.read(handle, start), size)

    def _packed(self, reading: Reading, size: int) -> Body:
        packed = self._page
        packed.begin(size, min(reading.ttl, MAX_ENTRY_TTL))
        file, directory = self._file, self._directory
        for number, name, is_directory, length, mtime_ns, behind in reading.entries:
            told = directory if is_directory else file
            if not packed.add(number, name, told, length, mtime_ns, behind):
                self._fs.forget(number, 1)
                break
        return packed.packed()

    def releasedir(self, request: Request) -> Body:
        """A directory is done with."""
        self._fs.directories.close(protocol.handle_of(request.body))
        return b""

    def open(self, request: Request) -> Body | Later:
        """One version of a file; its pages stay in the kernel from one open to the next."""
        handle, is_confirmed = self._fs.open_now(request.node)
        return self._opened(handle) if is_confirmed else self._open_later(handle)

    async def _open_later(self, handle: int) -> Body:
        await self._fs.confirm(handle)
        return self._opened(handle)

    def _opened(self, handle: int) -> Body:
        backing = self._passthrough.opened(
            self._fs.inode_of(handle), lambda: self._fs.backing(handle)
        )
        if backing != ORDINARY:
            return protocol.opened(handle, Open.PASSTHROUGH, backing)
        return protocol.opened(handle, Open.KEEP_CACHE)

    def read(self, request: Request) -> Body | Later:
        """Bytes."""
        handle, offset, size = protocol.read_request(request.body)
        data = self._fs.read_now(handle, offset, size)
        return self._fs.read_later(handle, offset, size) if data is None else data

    def release(self, request: Request) -> Body:
        """A file is done with."""
        self._fs.close(protocol.handle_of(request.body))
        self._passthrough.closed(request.node)
        return b""

    def statfs(self, request: Request) -> Body:
        """Sizes of the file system, without asking anybody."""
        page = protocol.PAGE
        return protocol.statfs(SHOWN_SIZE // page, SHOWN_FILES, page, NAME_MAX)

    def listxattr(self, request: Request) -> Body:
        """Names of the extended attributes, but for those that are commands."""
        room, _ = protocol.xattr_request(request.body)
        names = self._xattrs.names(request.node)
        return _xattr(b"".join(name + b"\0" for name in names), room)

    def getxattr(self, request: Request) -> Body | Later:
        """One extended attribute."""
        room, name = protocol.xattr_request(request.body)
        if not name.startswith(USER_XATTRS):
            # `ls -l` asks for two of these for each file, but after this answer for none of this mount.
            raise Refused(errno.EOPNOTSUPP)
        if not name.startswith(OWN_XATTRS):
            raise Refused(errno.ENODATA)
        return self._getxattr_later(request.node, name, room)

    async def _getxattr_later(self, inode: int, name: bytes, room: int) -> Body:
        value = await self._xattrs.value(inode, name)
        if value is None:
            raise Refused(errno.ENODATA)
        return _xattr(value, room)

    def _entry(self, told: filesystem.Attributes) -> Body:
        number, is_directory, size, mtime_ns, ttl = told
        ttl = min(ttl, MAX_ENTRY_TTL)
        if not number:
            return protocol.negative(ttl)
        return protocol.entry(number, ttl, self._kind(is_directory), size, mtime_ns)

    def _kind(self, is_directory: bool) -> Attributes:
        return self._directory if is_directory else self._file


def _xattr(value: bytes, room: int) -> Body:
    """A value, or its size where the program has no room because it asks for that."""
    if not room:
        return protocol.xattr_size(len(value))
    if len(value) > room:
        raise Refused(errno.ERANGE)
    return value


class ExtendedAttributes:
    """The extended attributes of a mount; those that tell of an object, and two that are commands.

    A mount is read-only for the kernel, which refuses to set an attribute before anybody is asked. So reading
    ``user.s3mount.refresh`` of a directory is what forgets it; ``s3mount refresh`` does that.

    Args:
        describe: the attributes of an inode, and what tells each.
        status: the state of the mount as JSON.
        refresh: forgets a directory; what to tell about it.
    """

    def __init__(
        self,
        describe: Callable[[int], dict[bytes, Callable[[], bytes]]],
        status: Callable[[], bytes],
        refresh: Callable[[int], Awaitable[bytes]],
    ) -> None:
        self._describe = describe
        self._status = status
        self._refresh = refresh

    def names(self, inode: int) -> list[bytes]:
        """What ``listxattr`` shows."""
        return list(self._describe(inode))

    async def value(self, inode: int, name: bytes) -> bytes | None:
        """One attribute, None when there is none of this name."""
        if name == STATUS_XATTR:
            return self._status()
        if name == REFRESH_XATTR:
            return await self._refresh(inode)
        tell = self._describe(inode).get(name)
        return None if tell is None else tell()
