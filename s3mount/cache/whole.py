"""Whether a whole object version is here, by names and sizes alone.

This module looks at one path and reads no byte: it is asked of many objects, most of which are not
opened then. Plain functions: any thread may call them.
"""

import os
import stat

from s3mount.cache.extent_map import ExtentMap
from s3mount.cache.layout import ByteRange, Layout, ObjectId, parse_extent_name
from s3mount.cache.trailer import file_size, identity_prefix


def is_whole(layout: Layout, oid: ObjectId, digest: str) -> bool:
    """Whether all bytes of an object version are on disk; damaged ones are noticed when they are read.

    Args:
        layout: which cache.
        oid: the version.
        digest: of ``oid``.
    """
    if not oid.size:
        return True
    path = layout.object(digest)
    prefix = identity_prefix(oid)
    try:
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode):
            return found.st_size == file_size(prefix, 0, oid.size)
        return not ExtentMap(_extents(path, prefix)).gaps(0, oid.size)
    except OSError:
        return False


def _extents(path: str, prefix: bytes) -> list[ByteRange]:
    """The extents in a directory that have the size of what they claim to be."""
    with os.scandir(path) as entries:
        named = [(parse_extent_name(entry.name), entry) for entry in entries]
        return [
            span
            for span, entry in named
            if span is not None
            and entry.stat(follow_symlinks=False).st_size == file_size(prefix, *span)
        ]
