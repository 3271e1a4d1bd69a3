"""The table of scenarios: what ``--only`` names, which lines of the report each gives, and where it is run."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks import scenarios, small_files
from tests.benchmarks.scenarios import Session

NEAR, FAR = "near", "far"
BOTH = (NEAR, FAR)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Work in a mount.

    Attributes:
        name: what ``--only`` takes.
        work: does it.
        lines: of the report, in the order in which they are measured.
        group: of lines that share a picture.
        folder: of the bucket whose objects are read, empty when only names are.
        places: where it is run when nothing else is said.
    """

    name: str
    work: Callable[[Session], None]
    lines: tuple[str, ...]
    group: str
    folder: str
    places: tuple[str, ...] = (FAR,)


@dataclass(frozen=True, slots=True)
class Job:
    """A scenario at a place."""

    scenario: Scenario
    place: str


LARGE, SMALL, WALKS = "Large objects", "Small files", "Walks"
SEQUENTIAL = ("sequential, cold", "sequential, again", "local cat", "sequential, remounted")
ONE_BY_ONE = ("small files", "small files, again", "small files, remounted")
SCENARIOS = (
    Scenario("large", scenarios.large, SEQUENTIAL, LARGE, "large", BOTH),
    Scenario("random", scenarios.random_reads, ("random 4 KiB",), LARGE, "large", BOTH),
    Scenario("first", scenarios.first_byte, ("first byte",), LARGE, "large", BOTH),
    Scenario(
        "readers-large", small_files.readers_large, ("8 readers, large files",), LARGE, "parts"
    ),
    Scenario("small", small_files.one_by_one, ONE_BY_ONE, SMALL, "small", BOTH),
    Scenario("tar", small_files.archive, ("tar c",), SMALL, "archive"),
    Scenario("copy", small_files.copy, ("cp -r",), SMALL, "source"),
    Scenario("import", small_files.imports, ("import",), SMALL, "python"),
    Scenario(
        "readers-small", small_files.readers_small, ("8 readers, small files",), SMALL, "shards"
    ),
    Scenario("find", scenarios.find, ("find", "find, again"), WALKS, "", BOTH),
    Scenario("find-wide", scenarios.find_wide, ("find, wide",), WALKS, ""),
    Scenario("du", scenarios.usage, ("du, wide",), WALKS, ""),
)


def chosen(only: str) -> list[Job]:
    """The jobs that ``--only`` names: scenarios, or scenarios at a place such as ``tar-near``; all when it is empty.

    Raises:
        SystemExit: a name is not known.
    """
    usual = {
        one.name: [Job(one, place) for place in BOTH if place in one.places] for one in SCENARIOS
    }
    single = {f"{one.name}-{place}": [Job(one, place)] for one in SCENARIOS for place in BOTH}
    names = [name for name in only.split(",") if name] or list(usual)
    wrong = [name for name in names if name not in usual and name not in single]
    if wrong:
        known = ", ".join(usual)
        raise SystemExit(
            f"unknown scenario {', '.join(wrong)}: one of {known}, with -near or -far behind it"
        )
    wanted = [job for name in names for job in (usual.get(name) or single[name])]
    return list(dict.fromkeys(wanted))
