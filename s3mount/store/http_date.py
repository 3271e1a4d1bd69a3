"""Times as HTTP spells them."""

import re
from datetime import UTC, datetime
from functools import lru_cache

_SECOND = 1_000_000_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_USUAL = re.compile(
    rf"[A-Z][a-z][a-z], ([0-9]{{2}}) ({'|'.join(_MONTHS)}) ([0-9]{{4}}) ([0-9]{{2}}):([0-9]{{2}}):([0-9]{{2}}) GMT"
)
"""IMF-fixdate of RFC 9110, section 5.6.7, which is what servers have to send."""


@lru_cache(maxsize=16)
def date_ns(text: str) -> int:
    """Nanoseconds since the epoch of a date in a header, 0 where it is none. Replies of one second share it."""
    try:
        moment = _usual(text) or _other(text)
    except ValueError:
        return 0
    return int(moment.timestamp()) * _SECOND


def _usual(text: str) -> datetime | None:
    found = _USUAL.fullmatch(text)
    if found is None:
        return None
    day, month, year, hour, minute, second = found.groups()
    at = (int(hour), int(minute), int(second))
    return datetime(int(year), _MONTHS.index(month) + 1, int(day), *at, tzinfo=UTC)


def _other(text: str) -> datetime:
    from email.utils import parsedate_to_datetime  # takes longer to load than all else here

    moment = parsedate_to_datetime(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
