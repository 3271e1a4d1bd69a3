"""The archives of one run in a directory: what stands in for the buckets on one machine."""

import os
import shutil
from pathlib import Path

from s3mount.builds.backend import ArtifactBackend, checked, missing, wrong_kind
from s3mount.builds.names import SIDECAR, archives_among
from s3mount.builds.runs import WorkflowOutputRoot
from s3mount.builds.sidecar import check, digest_in, digest_of


class LocalDirectoryBackend(ArtifactBackend):
    """The archives of one run in a directory.

    Attributes:
        base_path: the directory; made at once.

    Args:
        staging_dir: holds the directories of runs.
        output_root: which run.

    Raises:
        OSError: the directory cannot be made.
    """

    def __init__(self, staging_dir: Path, output_root: WorkflowOutputRoot) -> None:
        super().__init__(output_root)
        self.base_path = Path(staging_dir) / output_root.prefix
        self.base_path.mkdir(parents=True, exist_ok=True)

    @property
    def base_uri(self) -> str:
        """The path of the directory."""
        return str(self.base_path)

    def list_artifacts(self, name_filter: str | None = None) -> list[str]:
        """See `ArtifactBackend.list_artifacts`."""
        with os.scandir(self.base_path) as entries:
            return archives_among((each.name for each in entries if each.is_file()), name_filter)

    def download_artifact(self, artifact_key: str, dest_path: Path) -> None:
        """See `ArtifactBackend.download_artifact`."""
        dest_path.parent.mkdir(parents=True, exist_ok=True)
        sidecar = dest_path.parent / f"{artifact_key}{SIDECAR}"
        _take(self.base_path / checked(artifact_key), dest_path, sidecar)

    def upload_artifact(self, source_path: Path, artifact_key: str) -> None:
        """See `ArtifactBackend.upload_artifact`."""
        self._keep(source_path, checked(artifact_key))

    def artifact_exists(self, artifact_key: str) -> bool:
        """See `ArtifactBackend.artifact_exists`."""
        return (self.base_path / checked(artifact_key)).is_file()

    def copy_artifact(self, artifact_key: str, source_backend: ArtifactBackend) -> None:
        """See `ArtifactBackend.copy_artifact`."""
        if not isinstance(source_backend, LocalDirectoryBackend):
            raise wrong_kind(self, source_backend)
        self._keep(source_backend.base_path / checked(artifact_key), artifact_key)

    def _keep(self, source: Path, artifact_key: str) -> None:
        # The directory may have been removed since; another run of the same program makes it again.
        self.base_path.mkdir(parents=True, exist_ok=True)
        target = self.base_path / artifact_key
        _take(source, target, self.base_path / f"{artifact_key}{SIDECAR}")


def _take(source: Path, target: Path, target_sidecar: Path) -> None:
    """Copy an archive, and its checksum where there is one; each appears when it is whole."""
    if not source.is_file():
        raise missing(source)
    sidecar = source.with_name(source.name + SIDECAR)
    body = sidecar.read_bytes() if sidecar.is_file() else None
    part = _part_of(target)
    try:
        shutil.copy2(source, part)
        if body is not None:
            check(source.name, digest_of(part), digest_in(body, sidecar.name))
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    if body is None:
        # That of an older archive would be wrong.
        target_sidecar.unlink(missing_ok=True)
    else:
        write_whole(target_sidecar, body)


def write_whole(path: Path, body: bytes) -> None:
    """Write a small file that appears when it is whole.

    Raises:
        OSError: it cannot be written.
    """
    part = _part_of(path)
    try:
        part.write_bytes(body)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _part_of(path: Path) -> Path:
    """Where a file is written before it has its place; what a killed run leaves there, `s3mount download` removes."""
    return path.with_name(f".s3mount-{os.urandom(12).hex()}.part")
