"""The one question that GitHub is asked: whose code a run built. Only for who wants it asked."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from s3mount.errors import S3MountError

API = "https://api.github.com"
SECONDS = 60.0
_REPLY_MAX = 8 << 20


class LookupFailed(S3MountError):
    """GitHub did not say what the run is."""


def workflow_run(repository: str, run_id: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What GitHub says of a run.

    Args:
        repository: ``owner/name``.
        run_id: of the workflow.
        environment: ``GITHUB_TOKEN`` signs the question, ``GITHUB_API_URL`` names another server.

    Raises:
        LookupFailed: no answer, or not of a run.
    """
    base = environment.get("GITHUB_API_URL") or API
    url = f"{base.rstrip('/')}/repos/{repository}/actions/runs/{run_id}"
    headers = {"Accept": "application/vnd.github+json", "User-Agent": "s3mount"}
    if token := environment.get("GITHUB_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=SECONDS) as reply:
            answer = json.loads(reply.read(_REPLY_MAX))
    except urllib.error.HTTPError as error:
        error.close()
        raise _failed(repository, run_id, f"{error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        raise _failed(repository, run_id, str(error)) from error
    if not isinstance(answer, dict):
        raise _failed(repository, run_id, "the answer is not of a run")
    return answer


def _failed(repository: str, run_id: str, why: str) -> LookupFailed:
    return LookupFailed(
        f"GitHub was asked for run {run_id} of {repository}: {why}",
        hint="did you mean another repository (--run-github-repo)? or say it yourself: --fork or --no-fork",
    )
