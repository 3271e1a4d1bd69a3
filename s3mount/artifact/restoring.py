"""Objects of a listing into files with the mode and the time that were stored with them.

A listing does not tell of metadata, so that each object is looked at before it is fetched; both many at once.
"""

from collections.abc import Callable, Generator, Mapping, MutableMapping, Sequence
from contextlib import closing
from functools import partial

from s3mount.artifact.attributes import attributes_of
from s3mount.artifact.placing import Placing
from s3mount.bulk.keys import FilePath, KeyMap
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.bulk.pipeline import Pipeline
from s3mount.bulk.saving import SaveTask, Wishes
from s3mount.bulk.session import Session
from s3mount.errors import StoreError
from s3mount.store.interface import ObjectMeta
from s3mount.store.writing import Answer, Facts, Look
from s3mount.transfer.engine import Engine
from s3mount.transfer.flight import Urgency

Done = Callable[[Outcome], None]


def restored(
    session: Session,
    metas: Sequence[ObjectMeta],
    paths: Mapping[str, FilePath],
    target: Placing,
    modes: MutableMapping[str, int],
    jobs: int,
) -> Generator[Outcome, None, None]:
    """Fetch objects that are known into files.

    Leaving early begins no more of them, and returns when no temporary file is left.

    Args:
        session: an open one; it must outlive the generator.
        metas: the objects.
        paths: of each key, below the target.
        target: where the files go; closed at the end.
        modes: of the target; filled here.
        jobs: objects under way at once at the most.
    """
    saving = SaveTask(session, _Paths(paths), target, Wishes(False, False, True, jobs))
    task = _Restore(session.engine, saving, modes)
    pipeline = Pipeline(session.engine, _Known(metas), task, jobs=jobs)
    try:
        with closing(pipeline.run()) as batches:
            for batch in batches:
                yield from batch
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


class _Restore:
    """Looks at each object, then has it saved; a `pipeline.Task`. Lives on the engine's thread."""

    def __init__(self, engine: Engine, saving: SaveTask, modes: MutableMapping[str, int]) -> None:
        self._engine = engine
        self._saving = saving
        self._modes = modes
        self._is_stopping = False

    def begin(self, meta: ObjectMeta, done: Done) -> bool:
        self._engine.send(Look(meta.key), partial(self._looked, meta, done), Urgency.WARM)
        return True

    def close(self) -> bool:
        """Stop; not on the engine's thread. Whether nothing is left under way."""
        self._engine.call(self._stop)
        return self._saving.close()

    def _stop(self) -> None:
        self._is_stopping = True

    def _looked(self, meta: ObjectMeta, done: Done, answer: Answer | StoreError) -> None:
        if self._is_stopping:
            return
        if not isinstance(answer, Facts):
            error = answer if isinstance(answer, StoreError) else None
            done(Outcome(meta, Ending.FAILED, error=error))
            return
        known = attributes_of(answer.metadata)
        if known.mode is not None:
            self._modes[meta.key] = known.mode
        if known.mtime_ns is not None:
            meta = meta._replace(mtime_ns=known.mtime_ns)
        try:
            self._saving.begin(meta, done)
        except Exception as error:
            done(Outcome(meta, Ending.FAILED, error=error))
