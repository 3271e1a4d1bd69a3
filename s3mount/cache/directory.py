"""The directory of one object that came in parts: its data file, what is committed of it, what is known good.

This module joins the names of trailers with the bytes in `data_file`; it does not know leases, nor what anything costs
the limit. Concurrency rule: every method is called under the object's lock, except that `extents` may be read without
it: it is replaced, never changed.

Rules, for all processes together:

- A name `<start>-<stop>` commits these bytes of the data file. Committed ranges never overlap.
- Who writes holds the lock of the range, from before the first byte until the name is there, or the range is a hole
  again. Having got the lock he looks whether anything was committed there; if so he does not write.
- What was committed is taken back by somebody who is alone only: a process that has the file open may have proved bytes
  of it and reads those without looking again.
"""

import os
import time
from collections.abc import Callable

from s3mount.cache import stamp
from s3mount.cache.data_file import DataFile
from s3mount.cache.extent import Extent
from s3mount.cache.extent_map import ExtentMap, subtract
from s3mount.cache.layout import ByteRange, extent_name, parse_extent_name
from s3mount.cache.open_file import OpenFile
from s3mount.cache.temporary import give_name
from s3mount.cache.trailer import BLOCK, blocks, charge

FEW = 32
"""Extents that are always looked for anew: that costs less than it may save."""
PAUSE_EACH = 40_000
"""Nanoseconds for each extent that a directory is not read again: reading takes 2,000 each, so at the most a twentieth
of the time goes there, however many there are. What others commit meanwhile is fetched twice, which is right too."""
CLOCK_GRAIN = 50_000_000
"""Nanoseconds for which the time of change of a directory may stand still although it changes (a
kernel tick, and much)."""


class Taken(Exception):
    """Somebody else writes there, or the bytes are there."""


class Directory:
    """An open directory of an object.

    Args:
        path: where it is.
        file: it, open and leased.
        size: of the object.
        prefix: `identity_prefix` of the object.
        on_proved: see `Extent`.
        bad: inodes of trailers that are not to be believed again.

    Raises:
        OSError: it is gone, or somebody takes bytes back in this moment.
    """

    def __init__(
        self,
        path: str,
        file: OpenFile,
        size: int,
        prefix: bytes,
        *,
        on_proved: Callable[[Extent], None],
        bad: set[int],
    ) -> None:
        self.extents: ExtentMap[Extent] = ExtentMap()
        self._path = path
        self._file = file
        self._size = size
        self._prefix = prefix
        self._on_proved = on_proved
        self._bad = bad
        self._bad_spans: list[ByteRange] = []
        self._data = DataFile(file.fd, size)
        self.file = self._data.file
        self._bytes = 0
        self._whole: ExtentMap[Extent] | None = None  # the map that was found to have no gap
        self._unknown = 0
        self._scanned = 0
        self._trusted_until = 0
        self._scan(os.fstat(file.fd).st_mtime_ns)

    def is_removed(self) -> bool:
        """Whether somebody took it away by hand."""
        return not os.fstat(self._file.fd).st_nlink

    def refresh(self) -> bool:
        """Look for extents that other processes committed; False when nothing can have changed."""
        changed = os.fstat(self._file.fd).st_mtime_ns
        if changed == self._scanned or time.monotonic_ns() < self._trusted_until:
            return False
        self._scan(changed)
        return True

    def claim(self, start: int, stop: int) -> None:
        """Be the one who writes a range of which nothing is committed, until `commit` or `give_up`.

        Raises:
            Taken: it cannot be had.
            OSError: the disk refuses.
        """
        if not self._data.claim(start, stop):
            raise Taken
        is_free = False
        try:
            self._data.settle_size()
            is_free = self._is_free(start, stop)
        finally:
            if not is_free:
                self._data.release(start, stop)
        if not is_free:
            raise Taken

    def give_up(self, start: int, stop: int) -> None:
        """A range that was claimed is missing; its room is given back."""
        self._data.punch(start, stop)
        self._data.release(start, stop)

    def commit(self, temporary: str, trailer: OpenFile, span: ByteRange) -> bool:
        """Give the trailer of a range that was claimed its name; the range is not claimed any more.

        Returns:
            False when there was a trailer of that name.

        Raises:
            OSError: the disk refuses, or the directory is gone; the range is still claimed.
        """
        name = extent_name(*span)
        is_named = give_name(trailer.fd, temporary, name, directory=self._file.fd)
        self._data.release(*span)
        if not is_named:
            self._scan(0)
            return False
        extent = self._extent(span, name, os.fstat(trailer.fd).st_ino)
        extent.known = True
        self.extents = self.extents.adding(extent)
        self._bytes += span.stop - span.start
        return True

    def uncommitted(self, start: int, stop: int) -> list[ByteRange]:
        """The parts of a range that no name commits, as far as was seen; what is named but bad may not be written."""
        gaps = self.extents.gaps(start, stop)
        for span in self._bad_spans:
            gaps = subtract(gaps, span)
        return gaps

    def free(self, start: int, stop: int) -> list[ByteRange]:
        """The parts of a range that are neither committed nor being written.

        Raises:
            OSError: the file system does not tell what is being written.
        """
        self._scan(0)
        found = []
        left = self.uncommitted(start, stop)
        while left:
            part = left.pop()
            writer = self._data.writer_in(*part)
            if writer is None:
                found.append(part)
            else:
                left += subtract([part], writer)
        return found

    def is_being_written(self, start: int, stop: int) -> bool:
        """Whether somebody is writing what is missing of a range.

        Raises:
            OSError: the file system does not tell.
        """
        gaps = self.uncommitted(start, stop)
        return any(self._data.writer_in(*gap) is not None for gap in gaps)

    def discard(self, extent: Extent, *, remove: bool) -> int:
        """Count an extent as missing from now on.

        Args:
            extent: one of the map, that could not be read.
            remove: take it from the disk as well: its bytes are wrong.

        Returns:
            What was given back, as the limit counts.
        """
        self.extents = self.extents.without(extent)
        extent.gone = True
        self._bytes -= extent.stop - extent.start
        self._unknown -= not extent.known
        if not remove:
            return 0
        try:
            return self._remove(extent)
        except OSError:
            self._spare(extent)  # it stays, so it must not be taken for good again
            return 0

    def note_known(self, extent: Extent) -> None:
        """Every byte of an extent has been proved."""
        if not extent.known and not extent.gone:
            extent.known = True
            self._unknown -= 1

    def is_known(self) -> bool:
        """Whether the whole object is here and this process knows every byte to be good."""
        return not self._unknown and self._is_whole()

    def stamp(self, temporary: str, file: OpenFile) -> bool:
        """Write down that every byte is good.

        Args:
            temporary: where an empty file lies, empty where it has no name.
            file: that file.

        Returns:
            Whether there is a stamp that was not there before; the file is not needed otherwise.

        Raises:
            OSError: the disk refuses.
        """
        text = stamp.text(os.fstat(self.file.fd))
        if not text or not self.is_known() or self._data.has_claims():
            return False
        if stamp.read(self._file.fd) == text:
            return False
        os.pwrite(file.fd, text, 0)
        was_there = stamp.remove(self._file.fd)
        is_named = give_name(file.fd, temporary, stamp.NAME, directory=self._file.fd)
        return is_named and not was_there

    def backing(self) -> OpenFile | None:
        """The data file for reading only, when the object is whole and has a stamp that is right now."""
        if not self._is_whole():
            return None
        text = stamp.text(os.fstat(self.file.fd))
        return self._data.lend() if text and stamp.read(self._file.fd) == text else None

    def close(self) -> None:
        """The lease ends; a read that goes on is worth nothing from now on."""
        for extent in self.extents:
            extent.gone = True
        self.extents = ExtentMap()

    def _is_free(self, start: int, stop: int) -> bool:
        if self._data.is_hole(start, stop):
            return True
        # Committed by others, or what is left of a fill that ended with its process.
        self._scan(0)
        return self.uncommitted(start, stop) == [ByteRange(start, stop)]

    def _is_whole(self) -> bool:
        if self._bytes >= self._size and self._whole is not self.extents:
            self._whole = None if self.extents.gaps(0, self._size) else self.extents
        return self._whole is self.extents

    def _extent(self, span: ByteRange, name: str, inode: int) -> Extent:
        return Extent(
            span,
            self.file,
            span.start,
            self._prefix,
            path=f"{self._path}/{name}",
            inode=inode,
            on_proved=self._on_proved,
        )

    def _scan(self, changed: int) -> None:
        known = {(extent.start, extent.stop, extent.inode): extent for extent in self.extents}
        found, bad = [], []
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    span = parse_extent_name(entry.name)
                    if span is None or span.stop > self._size:
                        continue
                    inode = entry.inode()
                    if inode in self._bad:
                        bad.append(span)
                    else:
                        old = known.get((*span, inode))
                        found.append(old or self._extent(span, entry.name, inode))
        except OSError:
            return
        self.extents = ExtentMap(found)
        self._bad_spans = bad
        self._bytes = sum(extent.stop - extent.start for extent in self.extents)
        self._unknown = sum(not extent.known for extent in self.extents)
        if len(found) > FEW:
            self._trusted_until = time.monotonic_ns() + len(found) * PAUSE_EACH
        settled = time.clock_gettime_ns(time.CLOCK_REALTIME) - changed > CLOCK_GRAIN
        self._scanned = changed if settled else 0

    def _remove(self, extent: Extent) -> int:
        freed = BLOCK * stamp.remove(self._file.fd)
        if not self._data.lock_out():
            self._spare(extent)
            return freed
        try:
            found = os.lstat(extent.path)
            if found.st_ino == extent.inode:
                os.unlink(extent.path)
                freed += charge(found.st_size)
                if self._data.punch(extent.start, extent.stop):
                    freed += blocks(extent.start, extent.stop)
        except FileNotFoundError:
            pass
        finally:
            self._data.let_in()
        return freed

    def _spare(self, extent: Extent) -> None:
        self._bad.add(extent.inode)
        self._bad_spans.append(ByteRange(extent.start, extent.stop))
