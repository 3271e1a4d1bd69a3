"""From settings to an open backend. Each backend is imported when it is the one."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import NamedTuple

from s3mount.artifact.backend import Backend
from s3mount.artifact.settings import HubSettings, LocalSettings, S3Settings, Settings


@contextmanager
def opened(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[Backend]:
    """Open the backend that is configured; it is closed at the end of the block.

    Args:
        settings: which one, and how.
        environment: what else is configured by (``S3MOUNT_*``).

    Raises:
        ConfigError: it cannot be opened like this.
    """
    if isinstance(settings, S3Settings):
        from s3mount.artifact.s3 import opened_s3

        with opened_s3(settings, environment) as backend:
            yield backend
        return
    with closing(_made(settings)) as backend:
        yield backend


def _made(settings: LocalSettings | HubSettings) -> Backend:
    if isinstance(settings, LocalSettings):
        from s3mount.artifact.local import LocalBackend

        return LocalBackend(settings.directory)
    from s3mount.artifact.backend import JOBS
    from s3mount.artifact.hub import HubBackend
    from s3mount.artifact.hub_http import Web

    return HubBackend(settings, Web(JOBS))


class Shelf(NamedTuple):
    """Where artifacts can be seen by a mount.

    Attributes:
        kind: ``s3`` or ``file``, as sources have it.
        place: the bucket, or the directory's absolute path.
        prefix: of every remote path; empty or ending in ``/``.
    """

    kind: str
    place: str
    prefix: str


def shelf_of(settings: Settings) -> Shelf | None:
    """Where a backend keeps its artifacts; None where no mount can show them."""
    if isinstance(settings, S3Settings):
        return Shelf("s3", settings.bucket, settings.base)
    if isinstance(settings, LocalSettings):
        return Shelf("file", os.path.realpath(settings.directory), "")
    return None
