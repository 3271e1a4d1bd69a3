"""Whole prefixes into the cache, while they are still being listed: what `s3mount prefetch` does.

`prefetch_objects` is the one way in; `WarmTask` decides about each object. Objects up to a part come in one GET, larger
ones in several. What is there already, whole or in part, is not fetched again, so a run that was broken off goes on
where it stopped.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import NamedTuple

from s3mount.bulk import refusals
from s3mount.bulk.arriving import AtOnce, Budget, ManyGets, OneGet, Over, Trip, split
from s3mount.bulk.crew import Crew
from s3mount.bulk.dealing import Dealt
from s3mount.bulk.dividing import is_worth_it
from s3mount.bulk.ledger import Ledger
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.bulk.pages import Cost, OrExactly, Recorded, Selected
from s3mount.bulk.pipeline import Pages, Pipeline
from s3mount.bulk.selection import Selection
from s3mount.bulk.session import Session
from s3mount.cache.cache import ByteRange, CachedObject, ObjectId, cost_on_disk
from s3mount.cache.fill import Unsound
from s3mount.errors import CacheError, CacheFull, S3MountError
from s3mount.listing.walk import FlatWalk
from s3mount.store.interface import ObjectMeta
from s3mount.store.remembering import record_listing
from s3mount.transfer.housekeeping import Offload

MIB = 1 << 20
PART = 8 * MIB
"""Bytes in one GET at the most. Larger ones cost fewer requests; 8 MiB is what S3's own clients use."""
LIMITED_PART = 1 * MIB
"""The same under a limit of bandwidth: what has been asked for comes, however fast."""
PARTS_EACH = 16
"""GETs of one large object at once: that many fill any link, and a limit leaves connections to the others."""
PAUSE = 0.25
"""Seconds between two tries of what the cache had no room for: eviction makes room meanwhile."""
TRIES_WHEN_FULL = 12
TRIES_WHEN_UNSOUND = 3
HOPELESS = 8
"""Objects in a row for which there was no room in the end; then none is asked for any more."""

Done = Callable[[Outcome], None]


def prefetch_objects(  # noqa: PLR0913 -- what one run is told, by name
    session: Session,
    prefix: str,
    selection: Selection,
    *,
    pages: Pages | None = None,
    head_bytes: int | None = None,
    check: bool = False,
    dry_run: bool = False,
    jobs: int,
    ledger: Ledger | None = None,
    crew: Crew | None = None,
) -> Generator[list[Outcome], None, None]:
    """Bring objects into the cache.

    Each wanted object has one outcome: FETCHED, PRESENT, FAILED, or LISTED in a dry run. They come in batches, in the
    order in which they end; an empty batch comes about four times a second when nothing ends. Leaving early (``close``,
    an exception, Ctrl-C) begins no more objects. Without ``pages`` the listing is kept for mounts as well.

    Args:
        session: an open one.
        prefix: empty, or a directory's, ending in ``/``. When nothing is below it, the object whose key it is without
            the ``/`` is taken.
        selection: what is wanted; directory markers never are.
        pages: another listing than that of ``prefix``.
        head_bytes: bytes at the beginning of each object that are wanted, None for all.
        check: read and prove what is there already; what is damaged is fetched again.
        dry_run: fetch nothing.
        jobs: objects under way at once, and GETs of large ones, at the most.
        ledger: told what is found while it is found.
        crew: brings what is small and many, by `warm_fed` with the same arguments; dismissed at the end. Not in a dry
            run.

    Raises:
        CacheFull: the selection cannot fit; not in a dry run. What was fetched stays.
        StoreError: the listing failed; everything that had begun has been given before.
    """
    ledger = Ledger() if ledger is None else ledger
    ledger.room = session.cache.room()
    part = LIMITED_PART if session.max_bandwidth else PART
    listing = pages or _listing(session, prefix, keep=not dry_run)
    wanted = Selected(
        listing,
        selection,
        ledger,
        head_bytes=head_bytes,
        cost_of=_cost_of(session, part),
        may_exceed=dry_run,
    )
    with ExitStack() as stack:
        checks = Offload() if check else None
        if checks is not None:
            stack.callback(checks.close)
        wishes = Wishes(head_bytes, part, dry_run=dry_run)
        task = WarmTask(session, wishes, Budget(jobs, PARTS_EACH), ledger, checks)
        dealt = None
        if crew is not None and not dry_run:
            stack.callback(crew.dismiss)
            dealt = Dealt(
                session.engine,
                task,
                crew,
                is_worth_it=lambda: is_worth_it(ledger.objects, ledger.size),
                jobs=jobs,
            )
            pipeline = Pipeline(session.engine, wanted, dealt, jobs=crew.ahead)
        else:
            pipeline = Pipeline(session.engine, wanted, task, jobs=jobs)
        batches = stack.enter_context(closing(pipeline.run()))
        for batch in batches:
            yield batch
            if not dry_run and not ledger.fits:
                raise refusals.does_not_fit(ledger, session.cache.usage().limits)
            if dealt is not None and dealt.error is not None:
                raise dealt.error
            session.engine.call(task.try_again)
    if not dry_run and not ledger.fits:
        raise refusals.does_not_fit(ledger, session.cache.usage().limits)


def warm_fed(
    session: Session, pages: Pages, *, head_bytes: int | None, check: bool, jobs: int
) -> Generator[list[Outcome], None, None]:
    """What a process of a crew does for `prefetch_objects`, whose arguments these are; all of ``pages`` is wanted."""
    part = LIMITED_PART if session.max_bandwidth else PART
    with ExitStack() as stack:
        checks = Offload() if check else None
        if checks is not None:
            stack.callback(checks.close)
        wishes = Wishes(head_bytes, part, dry_run=False)
        task = WarmTask(session, wishes, Budget(jobs, PARTS_EACH), Ledger(), checks)
        pipeline = Pipeline(session.engine, pages, task, jobs=jobs)
        for batch in stack.enter_context(closing(pipeline.run())):
            yield batch
            session.engine.call(task.try_again)


def _listing(session: Session, prefix: str, *, keep: bool) -> Pages:
    """The listing of a prefix, kept for mounts on its way."""
    walk: Pages = FlatWalk(session.engine, prefix)
    if keep:
        now = time.time()  # noqa: TID251 -- files of listings carry the time of day
        begin = partial(
            record_listing, session.cache_dir, session.store.identity, prefix, listed_at=now
        )
        walk = Recorded(walk, session.writer.submit, begin)
    if prefix:
        walk = OrExactly(walk, session.engine, prefix.removesuffix("/"))
    return walk


def _cost_of(session: Session, part: int) -> Cost:
    store = session.store.identity

    def cost(metas: Sequence[ObjectMeta], sizes: Sequence[int]) -> int:
        oids = [ObjectId(store, meta.key, meta.etag, meta.size) for meta in metas]
        try:
            pinned = session.cache.pinned_bytes(oids)
        except CacheError:
            pinned = 0  # an index that is busy all the time; at the worst a run is refused
        return max(0, sum(cost_on_disk(size, part) for size in sizes) - pinned)

    return cost


class Wishes(NamedTuple):
    """What is done with each object.

    Attributes:
        head_bytes: bytes at its beginning that are wanted, None for all.
        part: bytes in one GET at the most.
        dry_run: fetch nothing.
    """

    head_bytes: int | None
    part: int
    dry_run: bool


class WarmTask:
    """Brings one object after the other into the cache; a `pipeline.Task`.

    Args:
        session: an open one.
        wishes: what is done with each.
        budget: how many GETs large objects may have under way.
        ledger: of a dry run, where missing bytes are counted.
        checks: runs checks of what is there; None for no checks.
    """

    def __init__(
        self,
        session: Session,
        wishes: Wishes,
        budget: Budget,
        ledger: Ledger,
        checks: Offload | None = None,
    ) -> None:
        self._engine = session.engine
        self._cache = session.cache
        self._store = session.store.identity
        self._wishes = wishes
        self._budget = budget
        self._ledger = ledger
        self._checks = checks
        # Of the engine's thread.
        self._postponed: deque[Callable[[], None]] = deque()
        self._due = 0.0
        self._hopeless = 0
        self._is_likely = True

    def begin(self, meta: ObjectMeta, done: Done) -> bool:
        """See `Task.begin`."""
        oid = ObjectId(self._store, meta.key, meta.etag, meta.size)
        if self._checks is not None:
            self._check(self._checks, oid, meta, done)
        elif not self._comes_at_once(oid, meta, done):
            if not meta.size or (self._is_likely and self._cache.is_whole(oid)):
                done(Outcome(meta, Ending.PRESENT))
            else:
                self._fetch(self._cache.open_object(oid), meta, partial(self._over, done, 1), done)
        return True

    def _comes_at_once(self, oid: ObjectId, meta: ObjectMeta, done: Done) -> bool:
        """Ask for a small object of which nothing is here; False for all others."""
        head, part, dry_run = self._wishes
        is_whole = head is None or head >= meta.size
        if dry_run or not (meta.etag and is_whole and meta.size <= part):
            return False
        vacancy = self._cache.vacancy(oid)
        if vacancy is None or self._refused(meta) is not None:
            return False
        opened = partial(self._cache.open_object, oid)
        AtOnce(self._engine, meta, vacancy, opened, partial(self._over, done, 1))
        return True

    def try_again(self) -> None:
        """Begin again with what found no room, once some time has passed; on the engine's thread."""
        if self._postponed and time.monotonic() >= self._due:
            self._due = time.monotonic() + PAUSE
            for _ in range(len(self._postponed)):
                self._postponed.popleft()()

    def _check(self, checks: Offload, oid: ObjectId, meta: ObjectMeta, done: Done) -> None:
        held = self._cache.open_object(oid)
        checked = checks.submit(held.check)
        checked.add_done_callback(
            lambda _: self._engine.call(
                lambda: self._fetch(held, meta, partial(self._over, done, 1), done)
            )
        )

    def _fetch(self, held: CachedObject, meta: ObjectMeta, over: Over, done: Done) -> None:
        """Ask for what is missing; ``held`` is closed when that is over."""
        head, part, dry_run = self._wishes
        stop = meta.size if head is None or head > meta.size else head
        # It was looked for when it was opened; looking again for one of which nothing is here costs as much once more.
        gaps = held.missing(0, stop) if held.cached_bytes() else [ByteRange(0, stop)]
        # Where one is missing the next one is too, and asking twice costs more than the answer is worth.
        self._is_likely = not gaps
        refused = self._refused(meta) if gaps and not dry_run else None
        if not gaps or dry_run or refused:
            held.close()
            done(self._unfetched(meta, sum(gap.stop - gap.start for gap in gaps), refused))
        elif len(gaps) == 1 and gaps[0].stop - gaps[0].start <= part:
            OneGet.sent(self._engine, meta, held, gaps[0], over)
        else:
            ManyGets(self._engine, meta, held, split(gaps, part), self._budget, over)

    def _unfetched(self, meta: ObjectMeta, missing: int, refused: S3MountError | None) -> Outcome:
        if refused is not None:
            return Outcome(meta, Ending.FAILED, error=refused)
        self._ledger.missing += missing
        return Outcome(meta, Ending.LISTED if missing else Ending.PRESENT)

    def _refused(self, meta: ObjectMeta) -> S3MountError | None:
        """Why nothing is asked for, None when there is no such reason."""
        if meta.archived:
            return refusals.archived(meta)
        if self._hopeless >= HOPELESS:
            return refusals.no_room(meta)
        return None

    # On the engine's thread.

    def _over(self, done: Done, tries: int, meta: ObjectMeta, trip: Trip) -> None:
        if trip.error is None:
            done(
                Outcome(
                    meta, Ending.FETCHED, trip.fetched, trip.seconds, version_id=trip.version_id
                )
            )
        else:
            self._engine.call(lambda: self._failed(done, tries, meta, trip))

    def _failed(self, done: Done, tries: int, meta: ObjectMeta, trip: Trip) -> None:
        error = trip.error
        assert error is not None
        if tries < _tries(error):
            self._cache.attention.set()
            self._postponed.append(lambda: self._again(done, tries + 1, meta, trip))
            return
        self._hopeless = self._hopeless + 1 if isinstance(error, CacheFull) else 0
        done(
            Outcome(
                meta, Ending.FAILED, trip.fetched, trip.seconds, error=refusals.with_hint(error)
            )
        )

    def _again(self, done: Done, tries: int, meta: ObjectMeta, before: Trip) -> None:
        """What came before counts as well."""

        def over(meta: ObjectMeta, trip: Trip) -> None:
            fetched, seconds = before.fetched + trip.fetched, before.seconds + trip.seconds
            self._over(done, tries, meta, trip._replace(fetched=fetched, seconds=seconds))

        oid = ObjectId(self._store, meta.key, meta.etag, meta.size)
        self._fetch(self._cache.open_object(oid), meta, over, done)


def _tries(error: S3MountError) -> int:
    """How often an object is tried in all when it ends with this error."""
    if isinstance(error, CacheFull):
        return TRIES_WHEN_FULL
    return TRIES_WHEN_UNSOUND if isinstance(error, Unsound) else 1
