"""What becomes of archives once they are downloaded: compared, unpacked beside their place, given it.

Concurrency rule: everything belongs to the thread of the command, but for the work that is given to the crew.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from s3mount.builds.checking import Digests, right_ones
from s3mount.builds.crew import Crew
from s3mount.builds.names import tree_of
from s3mount.builds.sidecar import ChecksumMismatch, check, digest_of
from s3mount.builds.staging import Staging
from s3mount.builds.worker import Job
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.errors import S3MountError
from s3mount.store.interface import ObjectMeta

Way = Literal["extract", "flatten", "leave"]
"""What becomes of an archive: a tree of its own, a part of one tree with all others, or nothing."""

MOMENT = 0.25
"""Seconds that are waited at once."""


class Order(NamedTuple):
    """What is done with the archives.

    Attributes:
        output: the directory that all goes to; made where it is missing.
        way: see `Way`.
        deletes: remove each archive once it is unpacked.
        verifies: compare with the checksum beside the archive, where there is one.
        uses_cache: copy what the cache has.
        downloads: at once at the most.
        processes: that unpack at once at the most; None for as many as there are cores.
    """

    output: Path
    way: Way = "extract"
    deletes: bool = True
    verifies: bool = True
    uses_cache: bool = True
    downloads: int = 10
    processes: int | None = None


class Fetched(NamedTuple):
    """What became of one archive.

    Attributes:
        filename: of it.
        size: bytes of it.
        ending: how it came.
        place: of the file or tree; the directory itself where trees are flattened into one.
        error: why it is not there; None when it is.
    """

    filename: str
    size: int
    ending: Ending
    place: str = ""
    error: Exception | None = None


class Finishing:
    """The archives between their download and their end.

    Args:
        crew: unpacks.
        order: what is done with the archives.
        wanted: all of them, by name, sorted.
        digests: what they must have.
    """

    def __init__(self, crew: Crew, order: Order, wanted: Sequence[str], digests: Digests) -> None:
        self._order = order
        self._crew = crew
        self._digests = digests
        self._left = list(reversed(wanted))  # for flattening: the next one to be merged is the last
        self._working: dict[str, tuple[Fetched, Future[Staging | None]]] = {}
        self._waiting: dict[str, Fetched] = {}
        self._stagings: dict[str, Staging] = {}

    @property
    def is_busy(self) -> bool:
        """Whether something has not ended."""
        return bool(self._working or self._waiting)

    def begin(self, metas: Mapping[str, ObjectMeta]) -> list[ObjectMeta]:
        """Go on with what is there and right; what is not, is to be downloaded."""
        bad = {n: each for n, each in self._digests.items() if isinstance(each, S3MountError)}
        for name, error in bad.items():
            self._end(Fetched(name, metas[name].size, Ending.FAILED, error=error))
        usable = {name: meta for name, meta in metas.items() if name not in bad}
        known = {n: each for n, each in self._digests.items() if isinstance(each, str)}
        there = right_ones(self._order.output, usable, known)
        for name in sorted(there):
            self._unpack(Fetched(name, metas[name].size, Ending.PRESENT))
        return [meta for name, meta in usable.items() if name not in there]

    def downloaded(self, outcome: Outcome) -> None:
        """Go on with what came."""
        name = outcome.meta.key.rpartition("/")[2]
        fetched = Fetched(name, outcome.meta.size, outcome.ending, error=outcome.error)
        if fetched.error is None:
            self._unpack(fetched)
        else:
            self._end(fetched)

    def ended(self) -> list[Fetched]:
        """What has ended since the last call."""
        for fetched, future in [each for each in self._working.values() if each[1].done()]:
            del self._working[fetched.filename]
            self._end(fetched, future)
        if self._order.way == "flatten":
            ready = self._in_order()
        else:
            ready, self._waiting = list(self._waiting.values()), {}
        return [self._concluded(each) for each in ready]

    def wait(self) -> None:
        """Wait a moment for something to end."""
        futures = [future for _, future in self._working.values()]
        if futures:
            wait(futures, MOMENT, FIRST_COMPLETED)

    def discard(self) -> None:
        """Leave no tree behind that has no place; when no work goes on any more."""
        for _, future in self._working.values():
            with contextlib.suppress(BaseException):
                staging = future.result(timeout=0)
                if staging is not None:
                    staging.discard()
        for staging in self._stagings.values():
            staging.discard()

    def _unpack(self, fetched: Fetched) -> None:
        digest = self._digests.get(fetched.filename, "")
        assert isinstance(digest, str)
        work: Callable[[], Staging | None] = partial(
            _unpacked, self._crew, self._order, fetched.filename, digest
        )
        self._working[fetched.filename] = (fetched, self._crew.submit(work))

    def _end(self, fetched: Fetched, future: "Future[Staging | None] | None" = None) -> None:
        name = fetched.filename
        if future is not None:
            error = future.exception()
            if error is not None:
                fetched = fetched._replace(ending=Ending.FAILED, error=_as_exception(error))
            elif (staging := future.result()) is not None:
                self._stagings[name] = staging
        self._waiting[name] = fetched

    def _in_order(self) -> list[Fetched]:
        """Those of which all that come before have ended too."""
        ready = []
        while self._left and self._left[-1] in self._waiting:
            ready.append(self._waiting.pop(self._left.pop()))
        return ready

    def _concluded(self, fetched: Fetched) -> Fetched:
        """Give a tree its place, and say how it ended."""
        path = self._order.output / fetched.filename
        if fetched.error is not None:
            if isinstance(fetched.error, ChecksumMismatch):
                path.unlink(missing_ok=True)
            return fetched
        staging = self._stagings.pop(fetched.filename, None)
        if staging is None:
            return fetched._replace(place=os.fspath(path))
        try:
            place = self._placed(staging, fetched.filename)
            if self._order.deletes:
                path.unlink(missing_ok=True)
        except (S3MountError, OSError) as error:
            return fetched._replace(ending=Ending.FAILED, error=error)
        return fetched._replace(place=os.fspath(place))

    def _placed(self, staging: Staging, filename: str) -> Path:
        if self._order.way == "flatten":
            staging.merge_into(self._order.output)
            return self._order.output
        place = self._order.output / str(tree_of(filename))
        staging.give_place(place)
        return place


def _unpacked(crew: Crew, order: Order, filename: str, digest: str) -> Staging | None:
    """Unpack an archive beside its place; None where it is left as it is."""
    archive = order.output / filename
    if order.way == "leave":
        if digest:
            check(filename, digest_of(archive), digest)
        return None
    staging = Staging(order.output)
    try:
        is_flat = order.way == "flatten"
        crew.do(Job(os.fspath(archive), os.fspath(staging.path), is_flat=is_flat, sha256=digest))
    except BaseException:
        staging.discard()
        raise
    return staging


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else S3MountError(repr(error))
