"""Whether a whole object version is here, by names and sizes alone.

This module looks at one path and reads no byte: it is asked of many objects, most of which are not
opened then. Plain functions: any thread may call them.
"""

import os
import stat

from s3mount.cache.at_rest import contents
from s3mount.cache.extent_map import ExtentMap
from s3mount.cache.layout import Layout, ObjectId
from s3mount.cache.trailer import file_size, identity, identity_prefix, trailer_size


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
        inside = contents(path)
    except OSError:
        return False
    if inside.data is None or inside.data.st_size != oid.size:
        return False
    sound = (
        span
        for span, _, size in inside.trailers
        if size == trailer_size(span.stop - span.start, identity(prefix, *span))
    )
    return not ExtentMap(sound).gaps(0, oid.size)
