"""What of one object is on disk, and its account: the place of the object joined with the space it takes.

This module knows no readers and no fills in flight. Concurrency rule: each method takes the object's lock for itself,
and asks the index for room only without it.
"""

import contextlib
import os
import threading
from collections.abc import Callable

from s3mount.cache.directory import Directory
from s3mount.cache.extent import Extent
from s3mount.cache.layout import ByteRange, ObjectId
from s3mount.cache.open_file import OpenFile
from s3mount.cache.place import Place
from s3mount.cache.shared import Job, Shared
from s3mount.cache.trailer import BLOCK, Damaged, identity_prefix


class OnDisk:
    """The disk's side of an object that is held.

    Attributes:
        identity: `identity_prefix` of the object.
        place: under the lock, but for its `extents`.

    Args:
        oid: which version.
        shared: the parts of the cache.
        lock: of the object.
        later: has a job done on the thread that writes, while the object is held.
    """

    __slots__ = ("_digest", "_later", "_lock", "_shared", "identity", "oid", "place")

    def __init__(
        self,
        oid: ObjectId,
        shared: Shared,
        lock: threading.Lock,
        later: Callable[[Job], None],
    ) -> None:
        self.oid = oid
        self.identity = identity_prefix(oid)
        self._digest = oid.digest()
        self._shared = shared
        self._lock = lock
        self._later = later
        path = shared.layout.object(self._digest)
        self.place = Place(path, oid.size, self.identity, self._proved)

    def touch(self) -> None:
        """The object was used."""
        self._shared.space.touch(self._digest, self.oid)

    def is_nowhere(self) -> bool:
        """Whether nothing of the object was here when it was last looked for."""
        return self.place.is_nowhere()

    def claim(self, start: int, stop: int) -> tuple[Directory, int]:
        """See `Place.claim`; also tells how much of a reservation a new directory took.

        Raises:
            Taken: others write there, or the bytes are there.
            OSError: the disk refuses.
        """
        with self._lock:
            directory = self.place.claim(start, stop)
            created, self.place.created = self.place.created, 0
        if created:
            self._shared.space.committed(self._digest, self.oid, created)
        return directory, created

    def free(self, start: int, stop: int) -> list[ByteRange]:
        """See `Place.free`.

        Raises:
            OSError: it cannot be found out.
        """
        with self._lock:
            return self.place.free(start, stop)

    def is_being_written(self, start: int, stop: int) -> bool:
        """See `Directory.is_being_written`.

        Raises:
            OSError: it cannot be found out.
        """
        with self._lock:
            directory = self.place.directory
            return directory is not None and directory.is_being_written(start, stop)

    def is_here(self, start: int, stop: int) -> bool:
        """Whether all of a range is on disk, as far as was seen."""
        return not self.place.extents.gaps(start, stop)

    def give_up(self, directory: Directory, span: ByteRange) -> None:
        """See `Place.give_up`."""
        with self._lock:
            self.place.give_up(directory, span)

    def commit_alone(self, path: str, file: OpenFile, cost: int) -> int | None:
        """See `Place.commit_alone`.

        Returns:
            The bytes that were counted: ``cost``, or 0 when the object was there already; None when there is no place.

        Raises:
            OSError: the disk refuses.
        """
        with self._lock:
            created = self.place.commit_alone(path, file)
        if created is None:
            return None
        if created:
            return 0
        self._shared.space.committed(self._digest, self.oid, cost)
        return cost

    def commit(
        self, directory: Directory, path: str, trailer: OpenFile, span: ByteRange, cost: int
    ) -> int:
        """Commit a range that was claimed.

        Returns:
            The bytes that were counted: ``cost``, or 0 when there was a trailer already.

        Raises:
            OSError: the disk refuses, or the directory is gone; the range is still claimed.
        """
        with self._lock:
            is_new = self.place.commit(directory, path, trailer, span)
            is_known = directory.is_known()
        if is_new:
            self._shared.space.committed(self._digest, self.oid, cost)
        if is_known:
            self._stamp()
        return cost if is_new else 0

    def discard(self, extent: Extent, error: Exception) -> None:
        """Count an extent as missing; one whose bytes are wrong goes from the disk too."""
        with self._lock:
            freed = self.place.discard(extent, remove=isinstance(error, Damaged))
        if freed >= 0:
            self._shared.tally.add("cache.damaged_extents")
        if freed > 0:
            self._shared.space.lost(self._digest, self.oid, freed)

    def backing(self) -> OpenFile | None:
        """See `CachedObject.backing`."""
        directory = self.place.directory
        if directory is None:
            return None
        with self._lock:
            return directory.backing()

    def close(self) -> None:
        """Give the lease back, for good; the caller holds the lock."""
        if self.place.extents:
            self.touch()
        self.place.close()
        # Who refers to himself is freed late, by the collector of garbage.
        self._later = self.place.on_proved = _ignore

    def _proved(self, extent: Extent) -> None:
        with self._lock:
            directory = self.place.directory
            if directory is None:
                return
            directory.note_known(extent)
            is_known = directory.is_known()
        if is_known:
            # Readers must not wait for the disk.
            self._later(self._stamp)

    def _stamp(self) -> None:
        """Write down that every byte is good. Where the disk refuses, the next process proves them again."""
        space = self._shared.space
        if not space.reserve(BLOCK):
            return
        counted = 0
        with contextlib.suppress(OSError):
            fd, path = space.create()
            file = OpenFile(fd)
            with self._lock:
                directory = self.place.directory
                if directory is not None and directory.stamp(path, file):
                    counted = BLOCK
            if path:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        if counted:
            space.committed(self._digest, self.oid, counted)
        space.release(BLOCK - counted)


def _ignore(_: object) -> None:
    """Nothing is known of what is not held any more."""
