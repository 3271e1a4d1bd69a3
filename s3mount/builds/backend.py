"""Where archives of one run are kept, for programs: the same few calls over a directory and over a bucket.

    >>> with create_backend_from_env(run_id="1742", platform="linux") as backend:
    ...     for key in backend.list_artifacts("blas"):
    ...         backend.download_artifact(key, Path("out") / key)

Every call blocks until it is done. What is missing is a FileNotFoundError, whatever the backend.
"""

import errno
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from s3mount.builds.runs import WorkflowOutputRoot
from s3mount.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ArtifactLocation:
    """Where one archive is.

    Attributes:
        artifact_key: its file name.
        full_path: its URI, or its path in a directory.
    """

    artifact_key: str
    full_path: str


class ArtifactBackend(ABC):
    """The archives of one run.

    Args:
        output_root: where the run keeps them.
    """

    def __init__(self, output_root: WorkflowOutputRoot) -> None:
        self.output_root = output_root

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    @abstractmethod
    def base_uri(self) -> str:
        """Of all archives, without a slash at the end."""

    @abstractmethod
    def list_artifacts(self, name_filter: str | None = None) -> list[str]:
        """The file names of the archives that are there, sorted.

        Args:
            name_filter: the first field of all that are wanted.

        Raises:
            StoreError: the listing failed.
        """

    @abstractmethod
    def download_artifact(self, artifact_key: str, dest_path: Path) -> None:
        """Bring an archive, and the file of its checksum where there is one, which it must have.

        Args:
            artifact_key: its file name.
            dest_path: of the file, which appears when it is whole; directories are made.

        Raises:
            FileNotFoundError: it is not there.
            ChecksumMismatch: it is not what its checksum was made of.
            StoreError: it could not be fetched.
            OSError: the file cannot be written.
        """

    @abstractmethod
    def upload_artifact(self, source_path: Path, artifact_key: str) -> None:
        """Keep an archive, and the file of its checksum where one is beside it.

        Raises:
            FileNotFoundError: there is no such file.
            ChecksumMismatch: it is not what its checksum was made of; nothing was sent.
            StoreError: it could not be sent.
        """

    @abstractmethod
    def artifact_exists(self, artifact_key: str) -> bool:
        """Whether an archive is there.

        Raises:
            StoreError: that cannot be told.
        """

    @abstractmethod
    def copy_artifact(self, artifact_key: str, source_backend: "ArtifactBackend") -> None:
        """Take an archive of another run over, and the file of its checksum where there is one.

        Raises:
            TypeError: the other backend is of another kind.
            FileNotFoundError: it is not there.
            StoreError: it could not be copied.
        """

    def location(self, artifact_key: str) -> ArtifactLocation:
        """Where an archive is, or would be."""
        return ArtifactLocation(artifact_key, f"{self.base_uri}/{checked(artifact_key)}")

    def close(self) -> None:  # noqa: B027 -- a directory has nothing to give back
        """Give back what is open; the backend can still be used."""


def checked(artifact_key: str) -> str:
    """The same key.

    Raises:
        ConfigError: it is no file name.
    """
    if artifact_key in {"", ".", ".."} or "/" in artifact_key or "\0" in artifact_key:
        raise ConfigError(
            f"{artifact_key!r} is no key of an artifact", hint="it is a file name, without a path"
        )
    return artifact_key


def missing(path: str | os.PathLike[str]) -> FileNotFoundError:
    """The error of what is not there."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))


def wrong_kind(mine: ArtifactBackend, other: ArtifactBackend) -> TypeError:
    """The error of a copy from another kind of backend."""
    return TypeError(f"{type(mine).__name__} cannot copy from a {type(other).__name__}")
