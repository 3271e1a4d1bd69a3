"""The kernel's requests, translated: pyfuse3 on one side, `FileSystem` on the other, nothing decided in between.

This edge is total: whatever a handler raises becomes an errno, the unknown one EIO with its traceback in the log,
because pyfuse3 ends the mount for any other exception. It runs on the event loop's thread.
"""

import errno
import functools
import logging
import stat
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

import pyfuse3

from s3mount.errors import DeadlineExceeded, NotFound, S3MountError, StoreError
from s3mount.fs.filesystem import Attributes, FileSystem
from s3mount.fuse.errnos import errno_of

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
Handler = Callable[Concatenate["Operations", P], Coroutine[Any, Any, R]]

ATTRIBUTES_TTL = 3600.0
"""Seconds that the kernel keeps attributes: an inode is one version, so they do not change."""
MAX_ENTRY_TTL = 86_400.0
BLOCK = 512
"""The unit of st_blocks, whatever the file system (stat(2))."""
IO_SIZE = 1024 * 1024
"""st_blksize: the largest read that the kernel sends through FUSE; cp, cat and tar read this much at a time."""
SHOWN_SIZE = 1 << 50
"""The size that statfs shows, a PiB and all of it free: a bucket has no size, and "full" would raise alarms."""

USER_XATTRS = b"user."
"""The one kind of extended attributes that a mount has: no ACLs, no labels, no capabilities."""
OWN_XATTRS = b"user.s3"
STATUS_XATTR = b"user.s3mount.status"
REFRESH_XATTR = b"user.s3mount.refresh"


class Ownership(NamedTuple):
    """Who everything belongs to, and the permission bits."""

    uid: int
    gid: int
    file_mode: int
    dir_mode: int


def total(handler: Handler[P, R]) -> Callable[Concatenate["Operations", P], Coroutine[Any, Any, R]]:
    """Let nothing but FUSEError leave a handler."""

    @functools.wraps(handler)
    async def guarded(self: "Operations", *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(self, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except S3MountError as error:
            self.report(handler.__name__, error)
            raise pyfuse3.FUSEError(errno_of(error)) from None
        except Exception as error:
            log.exception("%s failed in a way that is not known", handler.__name__)
            raise pyfuse3.FUSEError(errno_of(error)) from None

    return cast("Callable[Concatenate[Operations, P], Coroutine[Any, Any, R]]", guarded)


class Operations(pyfuse3.Operations):  # type: ignore[misc, unused-ignore]
    """Answers the kernel.

    Args:
        filesystem: what is shown.
        ownership: who it belongs to.
        xattrs: the extended attributes of an inode by name, and the two that are commands.
    """

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(
        self, filesystem: FileSystem, ownership: Ownership, xattrs: "ExtendedAttributes"
    ) -> None:
        super().__init__()
        self._fs = filesystem
        self._ownership = ownership
        self._xattrs = xattrs
        self._file_mode = stat.S_IFREG | ownership.file_mode
        self._directory_mode = stat.S_IFDIR | ownership.dir_mode
        self._reply = self._blank()

    def report(self, operation: str, error: S3MountError) -> None:
        """Log an error that a program is about to see."""
        if isinstance(error, NotFound):
            return
        level = (
            logging.WARNING if isinstance(error, StoreError | DeadlineExceeded) else logging.ERROR
        )
        key = getattr(error, "key", "")
        log.log(
            level,
            "%s%s: %s (%s)%s",
            operation,
            f" of {key!r}" if key else "",
            error,
            errno.errorcode[errno_of(error)],
            f" {error.hint}" if error.hint else "",
        )

    @total
    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Name to inode; a name that is not there is an answer with a lifetime too."""
        return self._entry(await self._fs.lookup(parent_inode, name))

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """The kernel lets inodes go."""
        for number, lookups in inode_list:
            self._fs.forget(number, lookups)

    @total
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """Attributes of a known inode: never a request to the store."""
        return self._entry(self._fs.attributes(inode))

    @total
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        """A directory to read."""
        return await self._fs.open_directory(inode)

    @total
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """Entries with their attributes, as many as fit."""
        # One object for all: pyfuse3 copies it into its reply at once.
        reply = self._reply
        ttl, entries = await self._fs.read_directory(fh, start_id)
        reply.entry_timeout = min(ttl, MAX_ENTRY_TTL)
        for number, name, is_directory, size, mtime_ns, behind in entries:
            self._fill(reply, number, is_directory, size, mtime_ns)
            if not pyfuse3.readdir_reply(token, name, reply, behind):
                self._fs.forget(number, 1)
                return

    async def releasedir(self, fh: int) -> None:
        """A directory is done with."""
        self._fs.close_directory(fh)

    @total
    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        """One version of a file; its pages stay in the kernel from one open to the next."""
        return pyfuse3.FileInfo(fh=await self._fs.open(inode), keep_cache=True)

    @total
    async def read(self, fh: int, off: int, size: int) -> Any:  # noqa: ANN401 - any buffer
        """Bytes."""
        return await self._fs.read(fh, off, size)

    async def release(self, fh: int) -> None:
        """A file is done with."""
        self._fs.close(fh)

    @total
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Sizes of the file system, without asking anybody."""
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4096
        data.f_blocks = data.f_bfree = data.f_bavail = SHOWN_SIZE // data.f_frsize
        data.f_files = data.f_ffree = data.f_favail = 1 << 32
        data.f_namemax = 255
        return data

    @total
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        """Names of the extended attributes, but for those that are commands."""
        return self._xattrs.names(inode)

    @total
    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        """One extended attribute."""
        if not name.startswith(USER_XATTRS):
            # `ls -l` asks for two of these for each file, but after this answer for none of this mount.
            raise pyfuse3.FUSEError(errno.EOPNOTSUPP)
        value = await self._xattrs.value(inode, name) if name.startswith(OWN_XATTRS) else None
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value

    def _entry(self, attributes: Attributes) -> pyfuse3.EntryAttributes:
        number, is_directory, size, mtime_ns, ttl = attributes
        entry = self._blank()
        entry.entry_timeout = min(ttl, MAX_ENTRY_TTL)
        self._fill(entry, number, is_directory, size, mtime_ns)
        return entry

    def _blank(self) -> pyfuse3.EntryAttributes:
        """What is the same for all."""
        entry = pyfuse3.EntryAttributes()
        entry.attr_timeout = ATTRIBUTES_TTL
        # One link for directories too: find(1) takes more for a count of subdirectories and would trust it.
        entry.st_nlink = 1
        entry.st_uid = self._ownership.uid
        entry.st_gid = self._ownership.gid
        entry.st_blksize = IO_SIZE
        return entry

    def _fill(
        self,
        entry: pyfuse3.EntryAttributes,
        number: int,
        is_directory: bool,
        size: int,
        mtime_ns: int,
    ) -> None:
        entry.st_ino = number
        entry.st_mode = self._directory_mode if is_directory else self._file_mode
        entry.st_size = size
        entry.st_blocks = -(-size // BLOCK)
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = mtime_ns


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
