"""Which run of a build is meant: flags that the commands of `s3mount build` share."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from s3mount.builds.runs import PLATFORMS, RELEASE_TYPES

if TYPE_CHECKING:
    from s3mount.builds.places import Place

P = ParamSpec("P")
T = TypeVar("T")

REACH = (
    *("endpoint-url", "region", "profile", "no-sign-request", "requester-pays"),
    *("addressing-style", "ca-bundle"),
)
"""Options that say how a bucket is reached; its prefix is the run's."""

_RUN_FLAGS = (
    click.option("--run-id", metavar="ID", help="Of the workflow. [THEROCK_RUN_ID, GITHUB_RUN_ID]"),
    click.option(
        "--platform",
        "platform_name",
        type=click.Choice(PLATFORMS),
        help="What it was built for. [THEROCK_PLATFORM, else this machine's]",
    ),
    click.option(
        "--run-github-repo",
        metavar="OWNER/NAME",
        help="Repository that the workflow ran in. [GITHUB_REPOSITORY, else ROCm/TheRock]",
    ),
    click.option(
        "--release-type",
        type=click.Choice(RELEASE_TYPES),
        help="Which buckets. [RELEASE_TYPE, else ci]",
    ),
    click.option("--bucket", metavar="NAME", help="Another bucket than the one of these rules."),
    click.option(
        "--fork/--no-fork",
        default=None,
        help="The run built a pull request from a fork. [what the event of this workflow says]",
    ),
    click.option("--lookup", is_flag=True, help="Ask GitHub whether it did."),
)


@dataclass(frozen=True, slots=True)
class RunWish:
    """Which run is meant, as it was written."""

    run_id: str | None = None
    platform_name: str | None = None
    run_github_repo: str | None = None
    release_type: str | None = None
    bucket: str | None = None
    fork: bool | None = None
    lookup: bool = False


def run_flags(command: Callable[P, T]) -> Callable[P, T]:
    """Give a command the flags of a `RunWish`."""
    for flag in reversed(_RUN_FLAGS):
        command = flag(command)
    return command


def read_run(asked: dict[str, object]) -> RunWish:
    """Take the flags of a run out of all that were given."""
    return RunWish(**{each.name: asked.pop(each.name) for each in fields(RunWish)})  # type: ignore[arg-type]


def bucket_of(place: "Place") -> str:
    """Whose table of the files of options is meant."""
    return place.source.bucket_or_dir if place.source.kind == "s3" else ""


def place(
    wish: RunWish,
    source: str | None,
    flag: str = "--from",
    environment: Mapping[str, str] = os.environ,
) -> "Place":
    """Where the artifacts are that are meant.

    Args:
        wish: which run.
        source: the place itself, which leaves nothing to be found out.
        flag: that names it.
        environment: stands in for what the flags do not say.

    Raises:
        ConfigError: it cannot be found out; says what is missing.
        LookupFailed: GitHub was to be asked, and did not answer.
    """
    from s3mount.builds import places, runs
    from s3mount.builds.github import workflow_run

    if source is not None:
        _refuse_both(wish, flag)
        return places.place_of(source)
    staging = places.staging_in(environment)
    run_id = wish.run_id or runs.run_id_in(environment) or ("local" if staging else None)
    if run_id is None:
        raise click.UsageError(f"which run? give --run-id, or the place itself: {flag}")
    name = wish.platform_name or runs.platform_in(environment)
    if staging:
        return places.place_of_run(runs.WorkflowOutputRoot.for_local(run_id, name), staging)
    fork = wish.fork
    if wish.lookup and fork is None:
        repository = wish.run_github_repo or environment.get("GITHUB_REPOSITORY") or runs.REPOSITORY
        fork = runs.is_fork_run(workflow_run(repository, run_id, environment), repository)
    root = runs.root_of_run(
        run_id,
        name,
        environment,
        repository=wish.run_github_repo,
        release_type=wish.release_type,
        is_fork=fork,
    )
    return places.place_of_run(root if wish.bucket is None else root._replace(bucket=wish.bucket))


def _refuse_both(wish: RunWish, named: str) -> None:
    """A place that is named whole leaves no room for flags that find one."""
    flags = {
        "--run-id": wish.run_id,
        "--platform": wish.platform_name,
        "--run-github-repo": wish.run_github_repo,
        "--release-type": wish.release_type,
        "--bucket": wish.bucket,
        "--fork": wish.fork,
        "--lookup": wish.lookup or None,
    }
    for flag, value in flags.items():
        if value is not None:
            raise click.UsageError(f"{named} names the place of a run: leave out {flag}")
