"""Which backend the environment means."""

import os
from collections.abc import Mapping
from pathlib import Path

from s3mount.builds import runs
from s3mount.builds.backend import ArtifactBackend
from s3mount.builds.local_backend import LocalDirectoryBackend
from s3mount.builds.places import staging_in
from s3mount.builds.s3_backend import S3Backend

LOCAL_RUN = "local"
"""The run where nobody names one."""


def create_backend_from_env(
    run_id: str | None = None,
    github_repository: str | None = None,
    platform: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> ArtifactBackend:
    """The backend of a run: a directory where ``THEROCK_LOCAL_STAGING_DIR`` names one, else its bucket.

    Args:
        run_id: of the workflow; else ``THEROCK_RUN_ID``, ``GITHUB_RUN_ID``, ``local``.
        github_repository: ``owner/name``; else ``GITHUB_REPOSITORY``, ``ROCm/TheRock``. A directory has none.
        platform: ``linux`` or ``windows``; else ``THEROCK_PLATFORM``, this machine's.
        environment: variables.

    Raises:
        ConfigError: one of them cannot be.
        OSError: the directory cannot be made.
    """
    run = run_id or runs.run_id_in(environment) or LOCAL_RUN
    name = platform or runs.platform_in(environment)
    staging = staging_in(environment)
    if staging is not None:
        return LocalDirectoryBackend(Path(staging), runs.WorkflowOutputRoot.for_local(run, name))
    return S3Backend(runs.root_of_run(run, name, environment, repository=github_repository))
