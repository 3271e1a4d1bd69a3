"""Where to split an interval of keys that nobody has seen: keys as numbers, in the letters that their neighbours use.

Plain functions and values. Everything here is a guess: a wrong one costs a request, never a key.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from string import ascii_lowercase, ascii_uppercase, digits
from sys import maxunicode

PRECISION = 6
"""Letters looked at behind the first one in which the keys of a page differ."""

VARIED = 3
"""Marks in one place from which on any may stand there: fewer are separators."""
FAR_LETTERS = 15
"""Doublings of the distance to the next letter of a script that is not Latin: as far as CJK reaches."""

_RUN = re.compile(r"[0-9A-Za-z]+|[^0-9A-Za-z]")
_DIGITS = frozenset(digits)
_LOWER = frozenset(ascii_lowercase)
_UPPER = frozenset(ascii_uppercase)
_ALNUM = _DIGITS | _LOWER | _UPPER
_PRINTABLE = frozenset(map(chr, range(0x21, 0x7F)))
_HEX = (frozenset("abcdef"), frozenset("ABCDEF"))


class Ruler:
    """The keys behind ``after``, up to ``until``, as whole numbers in their order.

    Args:
        first: what the page lies behind that ended with ``after``, or its first key.
        after: the last key seen.
        until: the end of the interval, None for no end.
        samples: keys from the neighbourhood: they tell which letters are used where.

    Attributes:
        width: what one page takes, at least 1.
        rest: from ``after`` to the end; 0 or less when nothing lies between as far as is known.
    """

    def __init__(self, first: str, after: str, until: str | None, samples: Sequence[str]) -> None:
        self._base = 0 if until is None else _common(after, until)
        stop = max(self._base, _common(first, after)) + PRECISION
        self._head = after[: self._base]
        self._alphabets = _alphabets(after[:stop], samples)[self._base :]
        self._units = _units(self._alphabets)
        self._here = self._number(after)
        self.width = max(1, self._here - self._number(first))
        end = self._units[0] if until is None else self._number(until)
        self.rest = end - self._here

    @property
    def doublings(self) -> int:
        """How often a page's width can be doubled before it is longer than the rest."""
        return max(0, self.rest // self.width).bit_length()

    @property
    def pages(self) -> float:
        """How many pages the rest takes if it is as dense as the last page; never more than a million."""
        return min(self.rest // (self.width // 16 or 1), 16_000_000) / 16

    def even(self, count: int) -> Iterator[str]:
        """Points that cut the rest into equal parts."""
        for number in range(1, count + 1):
            yield self._point(self.rest * number // (count + 1))

    def doubling(self, count: int) -> Iterator[str]:
        """Points ever farther apart, from the next pages to the far end: for when nobody knows how far the keys go."""
        for number in range(1, count + 1):
            yield self._point(self.width << max(1, self.doublings * number // (count + 1)))

    def near(self, count: int, pages: int) -> Iterator[str]:
        """Points ``pages`` apart, beginning with the last key."""
        for number in range(1, count + 1):
            yield self._point(self.width * pages * number)

    def _point(self, distance: int) -> str:
        """A short key about so far behind the last one."""
        text, rest = self._head, self._here + distance
        for alphabet, unit in zip(self._alphabets, self._units[1:], strict=True):
            if rest <= distance // 8:
                break
            index, rest = divmod(rest, unit)
            text += alphabet[min(index, len(alphabet) - 1)]
        return text

    def _number(self, key: str) -> int:
        if not key.startswith(self._head):
            return 0  # the page began in front of the interval's own letters
        number = 0
        letters = key[self._base :]
        for letter, alphabet, unit in zip(letters, self._alphabets, self._units[1:], strict=False):
            index = bisect_left(alphabet, letter)
            number += index * unit
            if index == len(alphabet) or alphabet[index] != letter:
                break
        return number


def _common(one: str, other: str) -> int:
    """How many letters two keys begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _units(alphabets: Sequence[Sequence[str]]) -> list[int]:
    """What a step in each place is worth; the whole comes first, then one unit for each place."""
    units = [1]
    for alphabet in reversed(alphabets):
        units.append(units[-1] * len(alphabet))
    return units[::-1]


def _alphabets(key: str, samples: Sequence[str]) -> list[list[str]]:
    """For each place of a key the letters that may stand there, sorted."""
    found: list[list[str]] = []
    near = list(samples)
    for run in _RUN.finditer(key):
        near = [sample for sample in near if sample.startswith(key[: run.start()])]
        places = range(run.start(), run.end())
        seen = [{key[at], *(each[at] for each in near if len(each) > at)} for at in places]
        found += _alphabets_of_run(seen)
    return found


def _alphabets_of_run(seen: Sequence[set[str]]) -> list[list[str]]:
    """Letters for the places of one word or number: those seen there, and those that are likely.

    A place where digits and letters meet belongs to a hash or an id: all its places have the same alphabet. Where
    there was a digit, any digit may be; a word may begin with any letter.
    """
    mixed: set[str] = set()
    if any(place & _DIGITS and place - _DIGITS & _ALNUM for place in seen):
        mixed = _completed(set().union(*seen))
    return [
        sorted(place | mixed | _likely(place, is_start=at == 0)) for at, place in enumerate(seen)
    ]


def _likely(place: set[str], *, is_start: bool) -> set[str]:
    """What else may stand where these letters stand."""
    letters: set[str] = set()
    if place & _DIGITS:
        letters |= _DIGITS
    elif is_start:
        letters |= _LOWER if place & _LOWER else set()
        letters |= _UPPER if place & _UPPER else set()
    if len(place - _ALNUM) >= VARIED:
        letters |= _PRINTABLE
    last = max(place)
    if not last.isascii():
        # Scripts have thousands of letters; nobody knows how far they are used.
        far = (ord(last) + (1 << power) for power in range(FAR_LETTERS))
        letters |= {chr(code) for code in far if code <= maxunicode}
    return letters


def _completed(letters: set[str]) -> set[str]:
    """The alphabet of an id: with all hexadecimal digits when no other letter was seen."""
    letters = letters & _ALNUM | _DIGITS
    for hexadecimal in _HEX:
        if letters <= _DIGITS | hexadecimal:
            return set(_DIGITS | hexadecimal)
    return letters
