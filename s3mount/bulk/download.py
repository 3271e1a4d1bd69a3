"""Whole prefixes into plain files, while they are still being listed: what `s3mount download` does.

`download_objects` is the one way in. What is in the cache already is copied from there; nothing is added to it.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from s3mount.bulk.keys import KeyMap
from s3mount.bulk.ledger import Ledger
from s3mount.bulk.outcome import Outcome
from s3mount.bulk.pipeline import Pages, Pipeline
from s3mount.bulk.saving import SaveTask, Wishes
from s3mount.bulk.selection import Selection
from s3mount.bulk.session import Session
from s3mount.bulk.target import DiskFull, Target
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

    Raises:
        ConfigError: ``directory`` is not one.
        DiskFull: the disk, or the quota, is; what is whole stays.
        StoreError: the listing failed; everything that had begun has been given before.
    """
    keys = KeyMap(prefix, delimiter)
    listing = FlatWalk(session.engine, prefix) if pages is None else pages
    chosen = Chosen(listing, keys, selection, Ledger() if ledger is None else ledger)
    target = Target(directory, keeps_existing=skip_existing, sweeps=not dry_run)
    wishes = Wishes(skip_existing, dry_run, use_cache, jobs)
    task = SaveTask(session, keys, target, wishes)
    pipeline = Pipeline(session.engine, chosen, task, jobs=jobs)
    try:
        with closing(pipeline.run()) as batches:
            for batch in batches:
                yield [each for each in batch if not isinstance(each.error, DiskFull)]
                if task.disk_full is not None:
                    raise task.disk_full
    finally:
        if task.close():
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
