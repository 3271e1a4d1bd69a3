"""Requests that change a store, and those that only writers make; see `interface` for how they are sent.

Each is answered with one `Answer`. A write that ends with an error may have happened: what is known is that nobody said
so. The engine tries again what can pass; see `transfer.writes` for writes that must not happen twice.
"""

from typing import NamedTuple

from s3mount.store.bodies import Body

Metadata = tuple[tuple[str, str], ...]
"""User metadata: names are letters of ASCII, digits, ``-``, ``_`` and ``.``, and come back in lower case. Values are
any text: what a header cannot hold is sent as an encoded word of RFC 2047, which is how S3 itself shows it."""

MIB = 1024 * 1024
PART_LEAST = 5 * MIB
"""Bytes of every part but the last, at the least: S3's rule."""
PARTS_MOST = 10_000
PUT_MOST = 5 * 1024 * MIB
"""Bytes that S3 takes in one request, or copies in one."""
OBJECT_MOST = 5 * 1024 * 1024 * MIB
"""Bytes of the largest object that can be written in parts."""


class Put(NamedTuple):
    """Write a whole object. With ``if_absent`` only where there is none: else it ends with `AlreadyExists`.

    ``looked`` says that somebody has just seen that there is none: a server that does not know the condition is then
    not asked once more for each object.
    """

    key: str
    body: Body
    content_type: str = ""
    metadata: Metadata = ()
    if_absent: bool = False
    looked: bool = False


class CreateUpload(NamedTuple):
    """Begin an object that is written in parts; nobody sees it before `CompleteUpload`. Answered with `Begun`."""

    key: str
    content_type: str = ""
    metadata: Metadata = ()


class PutPart(NamedTuple):
    """Write part ``number`` (from 1), whose first byte is byte ``start`` of the object."""

    key: str
    upload_id: str
    number: int
    start: int
    body: Body


class CopyPart(NamedTuple):
    """Write a part with bytes ``start`` to ``stop`` (exclusive) of one version of an object of the same store.

    They come to stand at the same place. ``source_bucket`` empty means the store's own.
    """

    key: str
    upload_id: str
    number: int
    source_bucket: str
    source_key: str
    source_etag: str
    start: int
    stop: int


class Part(NamedTuple):
    """A part that was written.

    Attributes:
        number: from 1.
        etag: as it was answered.
        crc32: base64 of the checksum that was sent with it, empty where none was.
    """

    number: int
    etag: str
    crc32: str = ""


class CompleteUpload(NamedTuple):
    """Make an object of its parts, in the order of their numbers. ``if_absent`` and ``looked`` are those of `Put`."""

    key: str
    upload_id: str
    parts: tuple[Part, ...]
    size: int
    if_absent: bool = False
    looked: bool = False


class AbortUpload(NamedTuple):
    """Throw the parts away. One that is not known (any more) is no error."""

    key: str
    upload_id: str


class Delete(NamedTuple):
    """Delete an object. As in S3, one that is not there is no error.

    Keys are deleted one by one: the request for many at once is XML, which cannot hold every key, and not every server
    knows it.
    """

    key: str


class Look(NamedTuple):
    """Ask what is known of an object, without its bytes. Answered with `Facts`, or `NotFound`."""

    key: str


class Copy(NamedTuple):
    """Copy an object within the store's servers, metadata included, up to `PUT_MOST` bytes.

    ``source_bucket`` empty means the store's own. ``source_etag`` not empty names the version: another one ends with
    `ObjectChanged`, where the server knows the condition; some imitations of S3 copy whatever is there.
    """

    source_bucket: str
    source_key: str
    key: str
    source_etag: str = ""
    if_absent: bool = False


Write = (
    Put | CreateUpload | PutPart | CopyPart | CompleteUpload | AbortUpload | Delete | Look | Copy
)
WRITES = (
    *(Put, CreateUpload, PutPart, CopyPart, CompleteUpload),
    *(AbortUpload, Delete, Look, Copy),
)


class Written(NamedTuple):
    """An object, or a part of one, is there now.

    Attributes:
        etag: of it, without quotes.
        version_id: empty where the bucket has no versions.
        mtime_ns: when, by the server's clock and mostly to the second; nanoseconds since the epoch, 0 where it did not
            say.
        crc32: base64 of the checksum that was sent with it, empty where none was.
    """

    etag: str
    version_id: str = ""
    mtime_ns: int = 0
    crc32: str = ""


class Begun(NamedTuple):
    """An upload in parts has begun."""

    upload_id: str


class Gone(NamedTuple):
    """What was to be deleted or thrown away is not there (any more)."""

    key: str


class Facts(NamedTuple):
    """What a store knows of one object.

    Attributes:
        key: whole.
        size: bytes.
        etag: without quotes.
        mtime_ns: LastModified, nanoseconds since the epoch.
        content_type: empty where the store says none.
        metadata: the user's, by name.
        version_id: empty where the bucket has no versions.
        storage_class: as the store spells it.
        crc32: base64 of the checksum of the whole object, empty where the store keeps none.
    """

    key: str
    size: int
    etag: str
    mtime_ns: int
    content_type: str = ""
    metadata: Metadata = ()
    version_id: str = ""
    storage_class: str = "STANDARD"
    crc32: str = ""


Answer = Written | Begun | Gone | Facts


def part_size(size: int, wished: int) -> int:
    """Bytes of each part but the last, so that there are no more than `PARTS_MOST`.

    Args:
        size: of the object, bytes.
        wished: as large where the number allows it; at least `PART_LEAST`.

    Raises:
        ValueError: no object can be so large.
    """
    if size > OBJECT_MOST:
        raise ValueError(f"{size} bytes are more than an object can have ({OBJECT_MOST})")
    least = -(-size // PARTS_MOST)
    whole = -(-least // MIB) * MIB
    return max(wished, PART_LEAST, whole)


def part_bounds(size: int, each: int) -> list[tuple[int, int]]:
    """Start and stop (exclusive) of every part; one empty part for an empty object."""
    return [(start, min(size, start + each)) for start in range(0, max(size, 1), each)]
