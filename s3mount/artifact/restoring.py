"""Objects of a listing into files with the mode and the time that were stored with them.

The reply that brings an object tells of its metadata. What comes without one, from the cache or because it is empty, is
looked at first.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from s3mount.artifact.attributes import Attributes, attributes_of
from s3mount.artifact.placing import Placing, with_attributes
from s3mount.bulk.keys import FilePath, KeyMap
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.bulk.pipeline import Pipeline
from s3mount.bulk.saving import SaveTask, Wishes
from s3mount.bulk.session import Session
from s3mount.bulk.wanted import Wanted
from s3mount.errors import StoreError
from s3mount.store.interface import ObjectMeta
from s3mount.transfer.flight import Urgency

if TYPE_CHECKING:  # most pulls look at nothing
    from s3mount.store.writing import Answer

Done = Callable[[Outcome], None]


def restored(
    session: Session,
    metas: Sequence[ObjectMeta],
    paths: Mapping[str, FilePath],
    target: Placing,
    jobs: int,
) -> Generator[list[Outcome], None, None]:
    """Fetch objects that are known into files; the outcomes come in batches.

    Leaving early begins no more of them, and returns when no temporary file is left.

    Args:
        session: an open one; it must outlive the generator.
        metas: the objects.
        paths: of each key, below the target.
        target: where the files go; closed at the end.
        jobs: objects under way at once at the most.
    """
    task = _Restore(session, paths, target, jobs)
    pipeline = Pipeline(session.engine, _Known(metas), task, jobs=jobs)
    try:
        with closing(pipeline.run()) as batches:
            yield from batches
    finally:
        if task.close():
            target.close()


class _Paths(KeyMap):
    """Paths that were decided before."""

    def __init__(self, paths: Mapping[str, FilePath]) -> None:
        super().__init__("")
        self._paths = paths

    def path_of(self, key: str) -> FilePath:
        return self._paths[key]


class _Known:
    """A listing that is over; a `pipeline.Pages`."""

    def __init__(self, metas: Sequence[ObjectMeta]) -> None:
        self._metas = metas

    def start(
        self,
        deliver: Callable[[Sequence[ObjectMeta]], None],
        finished: Callable[[StoreError | None], None],
    ) -> None:
        deliver(self._metas)
        finished(None)

    def release(self) -> None:
        """There is no other page."""

    def stop(self) -> None:
        """There is nothing to stop."""


class _Restore(SaveTask):
    """Saves objects, and looks first at those that no reply will tell of."""

    def __init__(
        self, session: Session, paths: Mapping[str, FilePath], target: Placing, jobs: int
    ) -> None:
        super().__init__(session, _Paths(paths), target, Wishes(False, False, True, jobs))
        self._engine = session.engine
        # Of the engine's thread: what was looked at.
        self._told: dict[str, Attributes] = {}
        self._is_ending = False

    def begin(self, meta: ObjectMeta, done: Done) -> bool:
        """See `Task.begin`."""
        if meta.size and not super().is_cached(meta):
            return super().begin(meta, done)
        from s3mount.store.writing import Look

        self._engine.send(Look(meta.key), partial(self._looked, meta, done), Urgency.WARM)
        return True

    def is_cached(self, meta: ObjectMeta) -> bool:
        """Only what was looked at may be copied: the cache may have got it a moment ago."""
        return meta.key in self._told and super().is_cached(meta)

    def wanted(self, meta: ObjectMeta, path: FilePath) -> Wanted:
        """The file, as the look told of it."""
        wanted = super().wanted(meta, path)
        told = self._told.get(meta.key)
        return wanted if told is None else with_attributes(wanted, told)

    def close(self) -> bool:
        """See `SaveTask.close`."""
        self._engine.call(self._end)
        return super().close()

    def _end(self) -> None:
        self._is_ending = True

    def _looked(self, meta: ObjectMeta, done: Done, answer: "Answer | StoreError") -> None:
        from s3mount.store.writing import Facts

        if self._is_ending:
            return
        if not isinstance(answer, Facts):
            error = answer if isinstance(answer, StoreError) else None
            done(Outcome(meta, Ending.FAILED, error=error))
            return
        self._told[meta.key] = attributes_of(answer.metadata)
        try:
            super().begin(meta, done)
        except Exception as error:
            done(Outcome(meta, Ending.FAILED, error=error))
