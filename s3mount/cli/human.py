"""Amounts, times and names as people read them.

Rounded and never read back by a program (for that there is ``--json``); names that no terminal
should be given as they are come out with escapes. Plain functions; the time is passed in.
"""

_STEP = 1024
_AGO = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def size(count: float) -> str:
    """Bytes in three digits: ``0 B``, ``1.5 KiB``, ``213 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1000 or unit == "TiB":  # noqa: PLR2004 -- three digits
            digits = 1 if unit != "B" and count < 10 else 0  # noqa: PLR2004 -- one digit before the dot
            return f"{count:.{digits}f} {unit}"
        count /= _STEP
    raise AssertionError


def count(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun: ``1 file``, ``1,204 files``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def span(seconds: float) -> str:
    """A length of time in its largest unit: ``3 minutes``."""
    for length, unit in _AGO:
        if seconds >= length:
            return count(int(seconds // length), unit)
    return "a moment"


def ago(then: float, now: float) -> str:
    """How long ago something was."""
    return f"{span(max(0.0, now - then))} ago"


def share(part: float, whole: float) -> str:
    """A part in percent; never 100% or 0% of what is not quite all or nothing."""
    if not whole:
        return "0%"
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "<1%"
    return ">99%" if 99 < percent < 100 else f"{percent:.0f}%"  # noqa: PLR2004 -- percent


def name(text: str) -> str:
    """A key or path with everything escaped that a terminal would act on."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
