"""Whole prefixes into plain files, while they are still being listed: what `s3mount download` does.

`download_objects` is the one way in. What is in the cache already is copied from there; nothing is added to it.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial

from s3mount.bulk.crew import Crew
from s3mount.bulk.dealing import Dealt
from s3mount.bulk.dividing import is_worth_it
from s3mount.bulk.folders import Run
from s3mount.bulk.keys import KeyMap, Unplaceable
from s3mount.bulk.ledger import Ledger
from s3mount.bulk.outcome import Outcome
from s3mount.bulk.pipeline import Pages, Pipeline, Task
from s3mount.bulk.saving import SaveTask, Wishes
from s3mount.bulk.selection import Selection
from s3mount.bulk.session import Session
from s3mount.bulk.target import Target
from s3mount.bulk.wanted import DiskFull
from s3mount.errors import StoreError
from s3mount.listing.walk import FlatWalk
from s3mount.store.interface import ObjectMeta


def download_objects(  # noqa: PLR0913 -- what one run is told, by name
    session: Session,
    prefix: str,
    directory: str,
    selection: Selection,
    *,
    pages: Pages | None = None,
    delimiter: str = "/",
    skip_existing: bool = False,
    use_cache: bool = True,
    dry_run: bool = False,
    jobs: int,
    ledger: Ledger | None = None,
    crew: Crew | None = None,
    run: Run | None = None,
) -> Generator[list[Outcome], None, None]:
    """Write objects to files below a directory.

    Each wanted object has one outcome: FETCHED, COPIED, PRESENT, FAILED, or LISTED in a dry run; ``place`` is the path
    of its file. They come in batches, in the order in which they end; an empty batch comes about four times a second
    when nothing ends. Keys that end with the delimiter are directory markers and have no outcome. Leaving early
    (``close``, an exception, Ctrl-C) begins no more objects, and returns when no temporary file is left.

    Args:
        session: an open one; it must outlive the generator.
        prefix: of all keys, as a text: it may end in the middle of a name. See `keys.KeyMap` for the paths.
        directory: where the files go; must exist.
        selection: what is wanted.
        pages: another listing than that of ``prefix``; its keys must begin with ``prefix`` as well.
        delimiter: what separates the parts of keys; not empty.
        skip_existing: a file that is there with the object's size and time is left alone: PRESENT.
        use_cache: copy what the cache has.
        dry_run: write and fetch nothing.
        jobs: objects under way at once at the most.
        ledger: told what is found while it is found: ``listed``, ``objects``, ``size``, ``is_listed``.
        crew: brings what is small and many, by `save_fed` with the same arguments; dismissed at the end. Not in a dry
            run.
        run: which one this is; the crew's, where there is one.

    Raises:
        ConfigError: ``directory`` is not one.
        DiskFull: the disk, or the quota, is; what is whole stays.
        StoreError: the listing failed; everything that had begun has been given before.
    """
    keys = KeyMap(prefix, delimiter)
    listing = FlatWalk(session.engine, prefix) if pages is None else pages
    ledger = Ledger() if ledger is None else ledger
    chosen = Chosen(listing, keys, selection, ledger)
    target = Target(directory, keeps_existing=skip_existing, sweeps=not dry_run, run=run)
    wishes = Wishes(skip_existing, dry_run, use_cache, jobs)
    task = SaveTask(session, keys, target, wishes)
    if crew is None or dry_run:
        yield from _saved(session, chosen, task, target, task, jobs)
        return
    dealt = Dealt(
        session.engine,
        task,
        crew,
        is_worth_it=lambda: is_worth_it(ledger.objects, ledger.size),
        only_here=partial(_may_collide, keys),
        at_first=target.note_beginning,
        jobs=jobs,
    )
    try:
        yield from _saved(session, chosen, task, target, dealt, crew.ahead)
    finally:
        crew.dismiss()


def save_fed(  # noqa: PLR0913 -- what one process is told, by name
    session: Session,
    pages: Pages,
    prefix: str,
    directory: str,
    *,
    delimiter: str,
    skip_existing: bool,
    use_cache: bool,
    jobs: int,
    run: Run,
) -> Generator[list[Outcome], None, None]:
    """What a process of a crew does for `download_objects`, whose arguments these are; all of ``pages`` is wanted."""
    target = Target(directory, keeps_existing=skip_existing, run=run)
    wishes = Wishes(skip_existing, False, use_cache, jobs)
    task = SaveTask(session, KeyMap(prefix, delimiter), target, wishes)
    yield from _saved(session, pages, task, target, task, jobs)


def _may_collide(keys: KeyMap, meta: ObjectMeta) -> bool:
    """Whether another key may have the same path: one process must see both."""
    if keys.is_plain(meta.key):
        return False
    try:
        return not keys.path_of(meta.key).is_plain
    except Unplaceable:
        return False


def _saved(
    session: Session, pages: Pages, own: SaveTask, target: Target, task: Task, jobs: int
) -> Generator[list[Outcome], None, None]:
    pipeline = Pipeline(session.engine, pages, task, jobs=jobs)
    try:
        with closing(pipeline.run()) as batches:
            for batch in batches:
                yield [each for each in batch if not isinstance(each.error, DiskFull)]
                if own.disk_full is not None:
                    raise own.disk_full
                if isinstance(task, Dealt) and task.error is not None:
                    raise task.error
    finally:
        if own.close():
            target.close()


class Chosen:
    """What is wanted of a listing, counted page by page; a `pipeline.Pages`.

    Args:
        pages: the listing.
        keys: say what is a directory marker; those are never wanted.
        selection: what is wanted of the rest.
        ledger: where it is counted.
    """

    def __init__(self, pages: Pages, keys: KeyMap, selection: Selection, ledger: Ledger) -> None:
        self._pages = pages
        self._keys = keys
        self._selection = selection
        self._ledger = ledger
        self.release = pages.release
        self.stop = pages.stop

    def start(
        self,
        deliver: Callable[[Sequence[ObjectMeta]], None],
        finished: Callable[[StoreError | None], None],
    ) -> None:
        """See `Pages.start`."""

        def on_end(error: StoreError | None) -> None:
            self._ledger.is_listed = error is None
            finished(error)

        self._pages.start(lambda page: deliver(self._choose(page)), on_end)

    def _choose(self, page: Sequence[ObjectMeta]) -> Sequence[ObjectMeta]:
        is_marker = self._keys.is_marker
        chosen = [meta for meta in page if not is_marker(meta.key, meta.size)]
        if not self._selection.is_everything:
            chosen = [meta for meta in chosen if self._selection.wants(meta)]
        self._ledger.listed += len(page)
        self._ledger.objects += len(chosen)
        self._ledger.size += sum(meta.size for meta in chosen)
        return chosen
