"""The archives of one run in a bucket."""

import os
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from s3mount.builds import sending
from s3mount.builds.backend import ArtifactBackend, checked, missing, wrong_kind
from s3mount.builds.bodies import bodies
from s3mount.builds.fetching import fetch
from s3mount.builds.finishing import Order
from s3mount.builds.local_backend import write_whole
from s3mount.builds.names import SIDECAR, archives_among
from s3mount.builds.places import Place, listed, place_of_run, readable
from s3mount.builds.runs import WorkflowOutputRoot
from s3mount.builds.sidecar import SIZE_MAX
from s3mount.builds.staging import Staging
from s3mount.bulk.session import Session, opened
from s3mount.config import MountOptions, resolve
from s3mount.errors import NotFound, StoreError
from s3mount.store.interface import ObjectMeta

JOBS = 10


class S3Backend(ArtifactBackend):
    """The archives of one run in a bucket; unsigned where there are no credentials.

    In a ``with`` block connections stay open from call to call; outside of one each call has its own.

    Args:
        output_root: which run.
        options: how the bucket is reached, and where the cache is; those of the environment (``S3MOUNT_*``) and the
            files of options where nobody says.
    """

    def __init__(
        self, output_root: WorkflowOutputRoot, options: MountOptions | None = None
    ) -> None:
        super().__init__(output_root)
        self.bucket = output_root.bucket
        self.s3_prefix = output_root.prefix
        self.place: Place = place_of_run(output_root)
        self._options = options
        self._stack = ExitStack()
        self._kept: Session | None = None
        self._is_entered = False

    def __enter__(self) -> Self:
        self._is_entered = True
        return self

    @property
    def base_uri(self) -> str:
        """``s3://bucket/prefix``."""
        return self.place.base_uri

    def list_artifacts(self, name_filter: str | None = None) -> list[str]:
        """See `ArtifactBackend.list_artifacts`."""
        with self._session() as session:
            return archives_among(listed(session.engine, self.place.prefix), name_filter)

    def download_artifact(self, artifact_key: str, dest_path: Path) -> None:
        """See `ArtifactBackend.download_artifact`."""
        key = checked(artifact_key)
        dest_path.parent.mkdir(parents=True, exist_ok=True)
        with self._session() as session:
            found = listed(session.engine, self.place.prefix, key)
            if key not in found:
                raise missing(self.place.uri(key))
            staging = Staging(dest_path.parent)
            try:
                _bring(session, found, Order(staging.path, "leave"), key)
                os.replace(staging.path / key, dest_path)
            finally:
                staging.discard()
            _bring_sidecar(session, found.get(key + SIDECAR), dest_path.parent / (key + SIDECAR))

    def upload_artifact(self, source_path: Path, artifact_key: str) -> None:
        """See `ArtifactBackend.upload_artifact`."""
        if not source_path.is_file():
            raise missing(source_path)
        archive = {checked(artifact_key): source_path}
        with self._session() as session:
            _raise_first(sending.push(session, self.place.prefix, archive, jobs=JOBS))

    def artifact_exists(self, artifact_key: str) -> bool:
        """See `ArtifactBackend.artifact_exists`."""
        with self._session() as session:
            return artifact_key in listed(session.engine, self.place.prefix, checked(artifact_key))

    def copy_artifact(self, artifact_key: str, source_backend: ArtifactBackend) -> None:
        """See `ArtifactBackend.copy_artifact`."""
        if not isinstance(source_backend, S3Backend):
            raise wrong_kind(self, source_backend)
        key = checked(artifact_key)
        source = source_backend.place
        with source_backend._session() as theirs:
            found = listed(theirs.engine, source.prefix, key)
        if key not in found:
            raise missing(source.uri(key))
        with self._session() as session:
            ends = sending.copy(session, self.place, source, found, [key], jobs=JOBS)
            _raise_first(ends)

    def close(self) -> None:
        """Close what the block has kept open."""
        self._is_entered = False
        self._kept = None
        self._stack.close()

    @contextmanager
    def _session(self) -> Generator[Session, None, None]:
        if not self._is_entered:
            with self._opened() as session:
                yield session
            return
        if self._kept is None:
            self._kept = self._stack.enter_context(self._opened())
        yield self._kept

    @contextmanager
    def _opened(self) -> Generator[Session, None, None]:
        options = self._options or resolve(
            flags={}, o_pairs={}, environment=os.environ, config=None, bucket=self.bucket
        )
        source = self.place.source
        with opened(source, readable(options, source), jobs=JOBS) as session:
            yield session


def _bring(session: Session, found: dict[str, ObjectMeta], order: Order, key: str) -> None:
    for batch in fetch(session, found, [key], order):
        for each in batch:
            if isinstance(each.error, NotFound):
                raise missing(each.filename) from each.error
            if each.error is not None:
                raise each.error


def _bring_sidecar(session: Session, meta: ObjectMeta | None, path: Path) -> None:
    if meta is None:
        path.unlink(missing_ok=True)  # that of an older archive would be wrong
        return
    body = bodies(session.engine, [meta], SIZE_MAX)[meta.key]
    if isinstance(body, StoreError):
        raise body
    write_whole(path, body)


def _raise_first(batches: Iterable[list[sending.Published]]) -> None:
    errors = [each.error for batch in batches for each in batch if each.error is not None]
    if errors:
        raise errors[0]
