"""How people write amounts: sizes, shares of a disk, durations, modes, owners and yes or no.

Each reader takes a text and gives a value or raises `ValueError` saying in one phrase what is
wrong; each writer gives a text that its reader turns into the same value again. It knows no option
by name and no defaults. Plain functions; only the names of users and groups are looked up, in the
system's own tables.
"""

import grp
import math
import pwd
import re
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

_SIZE_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGTP", start=1):
    _SIZE_UNITS |= {
        _letter: 1024**_power,
        f"{_letter}IB": 1024**_power,
        f"{_letter}B": 1000**_power,
    }

_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}

_MOST_BYTES = 2**60  # more than any disk; keeps sums far from what the kernel's 63 bits hold
_HIGHEST_MODE = 0o777  # set-uid, set-gid and sticky bits have no place on a read-only view
_HIGHEST_ID = 2**32 - 2  # the kernel keeps the highest number for "nobody in particular"


class Share(NamedTuple):
    """A share of a disk, in percent."""

    percent: float

    def of(self, total: int) -> int:
        """How many bytes this share of ``total`` bytes is."""
        return int(total * self.percent / 100)


def read_size(text: str) -> int:
    """Read a number of bytes: ``10GiB``, ``10G``, ``1.5M``, ``500MB``, ``1048576``."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]{0,3})", text.strip(), re.ASCII)
    unit = _SIZE_UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise ValueError("is not a size")
    size = int(Decimal(match[1]) * unit)
    if size > _MOST_BYTES:
        raise ValueError("is more than any disk holds")
    return size


def write_size(size: int) -> str:
    """Write a number of bytes exactly, in the largest binary unit that divides it."""
    for letter in "PTGMK":
        unit = _SIZE_UNITS[letter]
        if size and size % unit == 0:
            return f"{size // unit}{letter}iB"
    return str(size)


def read_size_or_share(text: str) -> int | Share:
    """Read a size, or a share of the disk such as ``20%``."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?%", text.strip(), re.ASCII)
    if match is None:
        return read_size(text)
    if float(match[1]) > 100:  # noqa: PLR2004 -- percent
        raise ValueError("is more than the whole disk")
    return Share(float(match[1]))


def read_duration(text: str) -> float:
    """Read seconds: ``60s``, ``5m``, ``1h30m``, ``250ms``, ``1.5``; a bare number is seconds."""
    text = text.strip().lower()
    number = r"[0-9]+(?:\.[0-9]+)?"
    if re.fullmatch(number, text, re.ASCII):
        return float(text)
    parts = re.findall(rf"({number}) ?(ms|[smhd])", text, re.ASCII)
    if not re.fullmatch(rf"(?:{number} ?(?:ms|[smhd]) ?)+", text, re.ASCII):
        raise ValueError("is not a duration")
    return float(sum(Decimal(amount) * _SECONDS[unit] for amount, unit in parts))


def write_duration(seconds: float) -> str:
    """Write seconds exactly, in the largest unit that divides them."""
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError("is not a duration")
    for unit in ("d", "h", "m"):
        if seconds and seconds % float(_SECONDS[unit]) == 0:
            return f"{int(seconds // float(_SECONDS[unit]))}{unit}"
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    if seconds * 1000 == int(seconds * 1000) and int(seconds * 1000) / 1000 == seconds:
        return f"{int(seconds * 1000)}ms"
    return f"{Decimal(repr(seconds)):f}s"


def read_mode(text: str) -> int:
    """Read permission bits in octal: ``0444``, ``644``, ``0o555``."""
    match = re.fullmatch(r"(?:0o)?([0-7]{1,5})", text.strip().lower(), re.ASCII)
    if match is None:
        raise ValueError("is not an octal mode")
    mode = int(match[1], 8)
    if mode > _HIGHEST_MODE:
        raise ValueError("has bits beyond 0777")
    return mode


def write_mode(mode: int) -> str:
    """Write permission bits as four octal digits."""
    return f"{mode:04o}"


def read_count(text: str) -> int:
    """Read a whole number."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip(), re.ASCII):
        raise ValueError("is not a whole number")
    return int(text)


def read_yes_or_no(text: str) -> bool:
    """Read a yes or a no, in any of the usual spellings."""
    word = text.strip().lower()
    if word in {"yes", "true", "on", "1"}:
        return True
    if word in {"no", "false", "off", "0"}:
        return False
    raise ValueError("is neither yes nor no")


def write_yes_or_no(value: bool) -> str:
    """Write a yes or a no."""
    return "yes" if value else "no"


def read_user(text: str) -> int:
    """Read a user: a number or a name that this machine knows."""
    return _read_id(text, lambda name: pwd.getpwnam(name).pw_uid, "user")


def read_group(text: str) -> int:
    """Read a group: a number or a name that this machine knows."""
    return _read_id(text, lambda name: grp.getgrnam(name).gr_gid, "group")


def _read_id(text: str, find: Callable[[str], int], what: str) -> int:
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,10}", text, re.ASCII):
        number = int(text)
        if number > _HIGHEST_ID:
            raise ValueError(f"is no {what} number")
        return number
    try:
        return find(text)
    except (KeyError, ValueError):
        raise ValueError(f"is no {what} of this machine") from None
