"""The few moves that all tests of the cache make."""

import contextlib
import os
import random
import time

from s3mount.cache.cache import Limits, ObjectId
from s3mount.store.interface import Head

ROOMY = Limits(1 << 30, 0, 1 << 24)


def make_oid(key="key", size=1 << 20, etag="etag"):
    return ObjectId("http://endpoint/bucket", key, etag, size)


def body_of(oid):
    return random.Random(repr(oid)).randbytes(oid.size)


def fill(held, start, stop, *, chunk=16384, crc32=None):
    """Fill a range with the object's bytes as the engine would."""
    body = body_of(held.oid)
    arriving = held.begin_fill(start, stop)
    arriving.head(Head(held.oid.etag, held.oid.size, crc32=crc32))
    for at in range(start, stop, chunk):
        arriving.write(body[at : min(stop, at + chunk)])
    arriving.finish()


def put(cache, oid):
    held = cache.open_object(oid)
    fill(held, 0, oid.size)
    held.close()


def disk_bytes(root):
    """Bytes of disk below a cache, without the index and what stands beside it."""
    total = 0
    for folder, _, names in os.walk(root / "v2"):
        for name in names:
            if not name.startswith(("index.", "demand")):
                with contextlib.suppress(FileNotFoundError):
                    total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def now():
    return time.clock_gettime(time.CLOCK_REALTIME)
