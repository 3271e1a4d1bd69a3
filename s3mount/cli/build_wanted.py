"""Which artifacts of a run are wanted, and what is said of those that are not there.

What the commands of `s3mount build` share, beside `build_run`.
"""

import os
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from s3mount.builds import selecting
from s3mount.builds.selecting import GROUP_MATCHES, GroupMatch
from s3mount.cli import exits, human
from s3mount.cli.flags import GroupedCommand

if TYPE_CHECKING:
    from s3mount.builds.places import Place
    from s3mount.builds.selecting import Chosen

P = ParamSpec("P")
T = TypeVar("T")

_NO_RUN = """
  was it for another platform (--platform), of another repository (--run-github-repo),
  of a fork (--fork, or --lookup asks), or of another kind (--release-type)?"""

_WANTED_FLAGS = (
    click.argument("include", nargs=-1, metavar="[INCLUDE]..."),
    click.option(
        "--exclude", multiple=True, metavar="REGEX...", help="No artifacts in which one is found."
    ),
    click.option(
        "--artifact-group", metavar="FAMILY", help="Only generic ones and those of this family."
    ),
    click.option(
        "--amdgpu-targets",
        metavar="A,B",
        default="",
        help="And those of these families or targets.",
    ),
    click.option(
        "--group-match",
        type=click.Choice(GROUP_MATCHES),
        default="exact",
        help="How a group is compared: with the target family, or with the whole name. [exact]",
    ),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which artifacts are wanted, as it was written."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    artifact_group: str | None = None
    amdgpu_targets: str = ""
    group_match: GroupMatch = "exact"


class Nothing(Exception):
    """Nothing is there, or nothing of it is wanted."""


class GreedyExclude(GroupedCommand):
    """A command of which ``--exclude a b`` excludes both, up to the next flag."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write the flag in front of each."""
        return super().parse_args(ctx, spread(args))


def spread(args: Sequence[str]) -> list[str]:
    """Arguments with ``--exclude`` before every word that follows it, up to the next flag."""
    out: list[str] = []
    is_excluding = False
    for number, word in enumerate(args):
        if word == "--":
            return [*out, *args[number:]]
        if word.startswith("-"):
            is_excluding = word == "--exclude"
        elif is_excluding and out[-1] != "--exclude":
            out.append("--exclude")
        out.append(word)
    return out


def wanted_flags(command: Callable[P, T]) -> Callable[P, T]:
    """Give a command the flags of a `Wanted`."""
    for flag in reversed(_WANTED_FLAGS):
        command = flag(command)
    return command


def choose(found: Sequence[str], wanted: Wanted, place: "Place", source: str | None) -> "Chosen":
    """Which archives are wanted.

    Args:
        found: the names of everything that is there.
        wanted: which of it.
        place: where it is.
        source: the same as it was named; None where it was found by the rules of runs.

    Raises:
        Nothing: none is.
    """
    from s3mount.builds import names

    archives = names.archives_among(found)
    where = human.name(place.base_uri)
    if not archives:
        raise Nothing(f"there are no artifacts in {where}{_NO_RUN if source is None else ''}")
    targets = [each.strip() for each in wanted.amdgpu_targets.split(",") if each.strip()]
    group = selecting.of_group(archives, wanted.artifact_group, targets, match=wanted.group_match)
    chosen = selecting.filtered(group, *_compiled(wanted))
    if not chosen.filenames:
        if group:
            say_unmatched(chosen)
        count = human.count(len(archives), "artifact")
        raise Nothing(f"none of the {count} in {where} is wanted\n  {_why(archives, bool(group))}")
    return chosen


@contextmanager
def says_nothing_found(place: "Place", source: str | None) -> Generator[None, None, None]:
    """Turn `Nothing` into its exit status; a run that a directory of runs does not have is nothing too."""
    try:
        if source is None:
            _check_run_is_there(place)
        yield
    except Nothing as error:
        click.echo(f"s3mount: {error}", err=True)
        click.get_current_context().exit(exits.NOTHING_FOUND)


def say_unmatched(chosen: "Chosen") -> None:
    """Name the patterns that found nothing."""
    for pattern in chosen.unmatched:
        click.echo(f"s3mount: no artifact matches {human.name(pattern)}", err=True)


def read_wanted(asked: dict[str, object]) -> Wanted:
    """Take the flags of artifacts out of all that were given.

    Raises:
        ConfigError: a pattern is no regular expression.
    """
    wanted = Wanted(**{each.name: asked.pop(each.name) for each in fields(Wanted)})  # type: ignore[arg-type]
    _compiled(wanted)  # before anything is asked of anybody
    return wanted


def complain(failed: Iterable[tuple[str, Exception | None]], count: int) -> None:
    """Say on stderr what failed of so many artifacts, and why; nothing when nothing did."""
    lines = [(name, exits.as_ours(error)) for name, error in failed if error is not None]
    if lines:
        total = human.count(count, "artifact")
        click.echo(f"s3mount: {len(lines)} of {total} failed:", err=True)
    for name, ours in sorted(lines, key=lambda line: line[0]):
        click.echo(f"  {human.name(name)}: {human.name(ours.message)}", err=True)
        if ours.hint:
            click.echo(f"    {ours.hint}", err=True)


def _compiled(wanted: Wanted) -> tuple[list[re.Pattern[str]], list[re.Pattern[str]]]:
    includes = selecting.patterns(wanted.include, "INCLUDE")
    return includes, selecting.patterns(wanted.exclude, "--exclude")


def _check_run_is_there(place: "Place") -> None:
    if place.source.kind == "file" and not os.path.isdir(place.source.bucket_or_dir):
        raise Nothing(f"there is no run {human.name(place.base_uri)}")


def _why(archives: Sequence[str], has_group: bool) -> str:
    from s3mount.builds.names import ArtifactName

    if has_group:
        return "patterns are regular expressions, searched for in whole names: s3mount build list"
    parsed = (ArtifactName.from_filename(each) for each in archives)
    families = sorted({each.target_family for each in parsed if each})
    return f"there are: {human.name(', '.join(families))}"
