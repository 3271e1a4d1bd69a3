"""Which objects of a listing a bulk command is about: plain values, no clock, no I/O.

A selection is a conjunction: an object is wanted when every test that was given says so. Its tests are compiled once,
for they are asked about every key.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from s3mount.config import quantities
from s3mount.errors import ConfigError
from s3mount.store.interface import ObjectMeta

Test = Callable[[ObjectMeta], bool]

NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a listing is wanted; without arguments everything.

    Args:
        regex: searched for in the full key.
        include: globs, one of which must match. One without ``/`` is held against the last part of the key, one with
            ``/`` against all of it behind ``prefix``. ``**`` crosses directories, ``*`` and ``?`` do not, and ``dir/``
            means everything below.
        exclude: globs, none of which may match.
        larger: bytes; only objects of more.
        smaller: bytes; only objects of less.
        newer: nanoseconds since the epoch; only objects that were modified then or later.
        prefix: what globs do not see of a key.

    Raises:
        ConfigError: the regular expression or a glob is not one.
    """

    regex: str = ""
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    larger: int | None = None
    smaller: int | None = None
    newer: int | None = None
    prefix: str = ""
    _tests: tuple[Test, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tests", tuple(self._compiled()))

    @property
    def is_everything(self) -> bool:
        """Whether no test was given."""
        return not self._tests

    def wants(self, meta: ObjectMeta) -> bool:
        """Whether an object passes every test."""
        return all(test(meta) for test in self._tests)

    def _compiled(self) -> Iterable[Test]:
        larger, smaller, newer = self.larger, self.smaller, self.newer
        if larger is not None:
            yield lambda meta: meta.size > larger
        if smaller is not None:
            yield lambda meta: meta.size < smaller
        if newer is not None:
            yield lambda meta: meta.mtime_ns >= newer
        if self.regex:
            search = _compile("-r", self.regex).search
            yield lambda meta: search(meta.key) is not None
        if self.include:
            included = _any_of("--include", self.include, len(self.prefix))
            yield included
        if self.exclude:
            excluded = _any_of("--exclude", self.exclude, len(self.prefix))
            yield lambda meta: not excluded(meta)


def read_newer(text: str, now: float) -> int:
    """Read a moment: how long ago (``7d``, ``12h``), or a date (``2026-01-31``, ``2026-01-31T12:00Z``).

    Args:
        text: what was written; a date without a zone is in local time.
        now: seconds since the epoch.

    Returns:
        Nanoseconds since the epoch.

    Raises:
        ValueError: a phrase that says what is wrong.
    """
    text = text.strip()
    if text.isdigit():
        raise ValueError("has no unit")
    try:
        return int((now - quantities.read_duration(text)) * NANO)
    except ValueError:
        pass
    try:
        # Whole seconds exactly; a float has no nanoseconds of today's dates.
        moment = datetime.fromisoformat(text)
        return int(moment.timestamp()) * NANO + moment.microsecond * 1000
    except (ValueError, OverflowError, OSError):
        raise ValueError("is neither a length of time nor a date") from None


def glob_to_regex(glob: str) -> str:
    """The regular expression that matches what a glob matches, from the beginning to the end."""
    if glob.endswith("/"):
        glob += "**"
    out = []
    at = 0
    while at < len(glob):
        piece, at = _next_piece(glob, at)
        out.append(piece)
    return "".join(out)


def _next_piece(glob: str, at: int) -> tuple[str, int]:
    if glob.startswith("**/", at) and (at == 0 or glob[at - 1] == "/"):
        return "(?:.*/)?", at + 3
    if glob.startswith("**", at):
        return ".*", at + 2
    letter = glob[at]
    if letter == "*":
        return "[^/]*", at + 1
    if letter == "?":
        return "[^/]", at + 1
    if letter == "[":
        return _letters(glob, at)
    return re.escape(letter), at + 1


def _letters(glob: str, at: int) -> tuple[str, int]:
    """A set of letters such as ``[a-z]`` or ``[!0-9]``; an open bracket alone is itself."""
    begin = at + 1 + glob.startswith("!", at + 1)
    end = glob.find("]", begin + 1)  # a bracket at the beginning belongs to the set
    if end < 0:
        return re.escape("["), at + 1
    inside = re.sub(r"([\\\[\]&~|^])", r"\\\1", glob[begin:end])
    sign = "^/" if begin > at + 1 else ""
    return f"(?!/)[{sign}{inside}]", end + 1


def _any_of(flag: str, globs: Sequence[str], hidden: int) -> Test:
    """Whether one of some globs matches a key without its first ``hidden`` letters."""
    whole: list[str] = []
    last: list[str] = []
    for glob in globs:
        if not glob.strip("/"):
            raise ConfigError(
                f'{flag}: "{glob}" matches nothing', hint='write a glob such as "*.log"'
            )
        (whole if "/" in glob else last).append(glob_to_regex(glob.removeprefix("/")))
    match_whole = _compile(flag, "|".join(whole), globs).fullmatch if whole else None
    match_last = _compile(flag, "|".join(last), globs).fullmatch if last else None

    def matches(meta: ObjectMeta) -> bool:
        key = meta.key
        if match_last and match_last(key, max(hidden, key.rfind("/") + 1)):
            return True
        return bool(match_whole and match_whole(key, hidden))

    return matches


def _compile(flag: str, pattern: str, written: Sequence[str] = ()) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.DOTALL if written else 0)
    except re.error as error:
        said = " ".join(written) or pattern
        kind = "glob" if written else "regular expression"
        raise ConfigError(f'{flag}: "{said}" is no {kind}: {error}', hint=_HINTS[kind]) from error


_HINTS = {
    "glob": 'write a glob such as "*.log" or "builds/**/site.tar.gz"',
    "regular expression": r'write one as Python does, such as "\.log$"; for *.log there is --include',
}
