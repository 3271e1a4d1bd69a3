"""Where a run of a build keeps what it made: from a run id to a bucket and a prefix.

The rules are plain; what they depend on besides arguments is the environment, which is passed in, and the file of the
event that started a workflow. GitHub is asked only by who says so.
"""

import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from s3mount.errors import ConfigError

REPOSITORY = "ROCm/TheRock"
"""Whose runs are meant where nobody says."""
RELEASE_TYPES = ("ci", "dev", "dev-bkc", "nightly", "nightly-bkc", "prerelease")
PLATFORMS = ("linux", "windows")

_EXTERNAL = "therock-ci-artifacts-external"
_PLAIN = re.compile(r"(?!\.)[A-Za-z0-9._-]+")
_REPOSITORY = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")


class WorkflowOutputRoot(NamedTuple):
    """Where everything of one run on one platform is.

    Attributes:
        bucket: its name.
        external_repo: ``owner-repo/`` where runs of many repositories share a bucket, else empty.
        run_id: of the workflow.
        platform: ``linux`` or ``windows``.
    """

    bucket: str
    external_repo: str
    run_id: str
    platform: str

    @property
    def prefix(self) -> str:
        """Of all its keys, without the slash behind it."""
        return f"{self.external_repo}{self.run_id}-{self.platform}"

    @classmethod
    def for_local(cls, run_id: str, platform: str, bucket: str = "local") -> "WorkflowOutputRoot":
        """A run whose output is in a directory.

        Raises:
            ConfigError: the run id or the platform cannot be part of a path.
        """
        return cls(bucket, "", _plain(run_id, "run id"), _plain(platform, "platform"))


def root_of_run(
    run_id: str,
    platform: str,
    environment: Mapping[str, str],
    *,
    repository: str | None = None,
    release_type: str | None = None,
    is_fork: bool | None = None,
) -> WorkflowOutputRoot:
    """Where the output of a run is.

    Args:
        run_id: of the workflow.
        platform: that it ran for.
        environment: ``RELEASE_TYPE`` and ``GITHUB_REPOSITORY`` stand in for what is not given.
        repository: ``owner/name`` of the repository that the workflow ran in.
        release_type: one of `RELEASE_TYPES`.
        is_fork: whether the run built a pull request from a fork; None where only the environment knows.

    Raises:
        ConfigError: one of them cannot be.
    """
    repository = repository or environment.get("GITHUB_REPOSITORY") or REPOSITORY
    if not _REPOSITORY.fullmatch(repository):
        raise ConfigError(f"{repository!r} is no repository", hint="write owner/name")
    kind = release_type or environment.get("RELEASE_TYPE") or "ci"
    fork = is_fork_event(environment) if is_fork is None else is_fork
    bucket = bucket_of(kind, repository, is_fork=fork)
    external = f"{repository.replace('/', '-')}/" if bucket == _EXTERNAL else ""
    return WorkflowOutputRoot(
        bucket, external, _plain(run_id, "run id"), _plain(platform, "platform")
    )


def bucket_of(release_type: str, repository: str, *, is_fork: bool) -> str:
    """The bucket of a kind of release.

    Raises:
        ConfigError: there is no such kind.
    """
    if release_type not in RELEASE_TYPES:
        allowed = ", ".join(RELEASE_TYPES)
        raise ConfigError(f"{release_type!r} is no release type", hint=f"allowed: {allowed}")
    if release_type == "ci":
        return "therock-ci-artifacts" if repository == REPOSITORY and not is_fork else _EXTERNAL
    return f"therock-{release_type.removesuffix('-bkc')}-artifacts"


def is_fork_event(environment: Mapping[str, str]) -> bool:
    """Whether the workflow that this runs in builds a pull request from a fork.

    Raises:
        ConfigError: the file of the event cannot be read.
    """
    path = environment.get("GITHUB_EVENT_PATH", "")
    if environment.get("GITHUB_EVENT_NAME") != "pull_request" or not path:
        return False
    try:
        event = json.loads(Path(path).read_bytes())
        return bool(event["pull_request"]["head"]["repo"]["fork"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"GITHUB_EVENT_PATH: {path} does not tell of a pull request: {error}",
            hint="say it yourself: --fork or --no-fork",
        ) from error


def is_fork_run(workflow_run: Mapping[str, Any], repository: str) -> bool:
    """Whether a run, as GitHub describes it, built what came from another repository; also one that is deleted."""
    head = workflow_run.get("head_repository") or {}
    return bool(head.get("full_name") != repository)


def run_id_in(environment: Mapping[str, str]) -> str | None:
    """The run that the environment names."""
    return environment.get("THEROCK_RUN_ID") or environment.get("GITHUB_RUN_ID") or None


def platform_in(environment: Mapping[str, str]) -> str:
    """The platform that is meant where nobody says: the environment's, else this machine's."""
    return environment.get("THEROCK_PLATFORM") or platform.system().lower()


def _plain(text: str, what: str) -> str:
    if not _PLAIN.fullmatch(text):
        raise ConfigError(f"{text!r} is no {what}", hint="letters, digits, dots and dashes")
    return text
