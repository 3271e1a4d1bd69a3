"""Which archives of a run are wanted: by target family, then by regular expressions. Plain values, no I/O."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from s3mount.builds.names import GENERIC, ArtifactName
from s3mount.errors import ConfigError

GroupMatch = Literal["exact", "substring"]
GROUP_MATCHES: tuple[GroupMatch, ...] = ("exact", "substring")


class Chosen(NamedTuple):
    """What a selection leaves.

    Attributes:
        filenames: sorted.
        unmatched: patterns that must match and did not match any archive of the group.
    """

    filenames: list[str]
    unmatched: list[str]


def base_arch(target: str) -> str:
    """A target without its features: ``gfx942`` of ``gfx942:xnack+``."""
    return target.partition(":")[0] or target


def matches_target(target_family: str, targets: Iterable[str]) -> bool:
    """Whether an archive is for one of some targets, features left aside; case counts, families are not expanded."""
    own = base_arch(target_family)
    return any(base_arch(target) == own for target in targets if target)


def of_group(
    filenames: Iterable[str],
    group: str | None,
    targets: Sequence[str] = (),
    *,
    match: GroupMatch = "exact",
) -> set[str]:
    """The archives of a group of targets, and with them the generic ones.

    Args:
        filenames: of archives.
        group: a target family; with neither group nor targets everything is wanted.
        targets: more families or targets.
        match: ``exact`` compares the target family of names that follow the grammar; ``substring`` takes every file
            whose name contains the group, a target or ``generic`` anywhere.
    """
    asked = [each for each in (group, *targets) if each]
    if not asked:
        return set(filenames)
    wanted = [GENERIC, *asked]
    if match == "substring":
        return {each for each in filenames if any(text in each for text in wanted)}
    named = ((each, ArtifactName.from_filename(each)) for each in filenames)
    return {each for each, name in named if name and matches_target(name.target_family, wanted)}


def patterns(texts: Iterable[str], origin: str) -> list[re.Pattern[str]]:
    """Compile regular expressions.

    Args:
        texts: as they were written.
        origin: where they stand, for the error.

    Raises:
        ConfigError: one of them is none; names it.
    """
    return [_pattern(text, origin) for text in texts]


def filtered(
    filenames: Iterable[str],
    includes: Sequence[re.Pattern[str]] = (),
    excludes: Sequence[re.Pattern[str]] = (),
) -> Chosen:
    """What is left after the patterns, which are searched for in whole names, extension included.

    Args:
        filenames: of archives.
        includes: one must be found; none wants everything.
        excludes: none may be found.
    """
    names = sorted(filenames)
    found = {each.pattern: {name for name in names if each.search(name)} for each in includes}
    included = set().union(*found.values()) if includes else set(names)
    left = [
        name for name in names if name in included and not any(e.search(name) for e in excludes)
    ]
    return Chosen(left, [pattern for pattern, matched in found.items() if not matched])


def _pattern(text: str, origin: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(
            f"{origin}: {text!r} is not a regular expression: {error}",
            hint="a dot is any letter, .* any text; write \\+ for a plus",
        ) from error
