"""Which bytes of one object are in which extent.

This module knows half-open ranges and nothing of files. Concurrency rule: an `ExtentMap` never
changes; who adds or removes makes a new one, so a reader needs no lock.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, Self, TypeVar

from s3mount.cache.layout import ByteRange


class Span(Protocol):
    """Something that holds bytes ``start`` to ``stop``."""

    @property
    def start(self) -> int:
        """The first byte."""

    @property
    def stop(self) -> int:
        """The byte behind the last."""


SpanT = TypeVar("SpanT", bound=Span)


def _order(span: Span) -> tuple[int, int]:
    return span.start, -span.stop


class ExtentMap(Generic[SpanT]):
    """Extents in order, none inside another, so that starts and stops both ascend.

    Args:
        spans: any extents; those inside another one are left out.
    """

    __slots__ = ("_spans", "_starts")

    def __init__(self, spans: Iterable[SpanT] = ()) -> None:
        kept: list[SpanT] = []
        for span in sorted(spans, key=_order):
            if not kept or span.stop > kept[-1].stop:
                kept.append(span)
        self._spans = kept
        self._starts = [span.start for span in kept]

    def __iter__(self) -> Iterator[SpanT]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __repr__(self) -> str:
        return f"ExtentMap({[(span.start, span.stop) for span in self._spans]})"

    def at(self, position: int) -> SpanT | None:
        """The extent that holds the byte at ``position`` and reaches furthest behind it."""
        number = bisect_right(self._starts, position) - 1
        if number >= 0 and self._spans[number].stop > position:
            return self._spans[number]
        return None

    def adding(self, span: SpanT) -> Self:
        """This map and one extent more."""
        number = bisect_right(self._starts, span.start)
        if number and self._spans[number - 1].stop >= span.stop:
            return self
        behind = number
        while behind < len(self._spans) and self._spans[behind].stop <= span.stop:
            behind += 1
        if number and self._starts[number - 1] == span.start:
            number -= 1
        grown = type(self)()
        grown._spans = self._spans.copy()
        grown._spans[number:behind] = (span,)
        grown._starts = self._starts.copy()
        grown._starts[number:behind] = (span.start,)
        return grown

    def without(self, span: SpanT) -> Self:
        """This map without one extent."""
        return type(self)(other for other in self._spans if other is not span)

    def gaps(self, start: int, stop: int) -> list[ByteRange]:
        """The parts of ``start`` to ``stop`` that no extent holds."""
        number = max(0, bisect_right(self._starts, start) - 1)
        gaps = []
        position = start
        while position < stop and number < len(self._spans):
            span = self._spans[number]
            if span.start >= stop:
                break
            if span.start > position:
                gaps.append(ByteRange(position, span.start))
            position = max(position, span.stop)
            number += 1
        if position < stop:
            gaps.append(ByteRange(position, stop))
        return gaps

    def total(self) -> int:
        """Bytes that some extent holds, each counted once."""
        total = reached = 0
        for span in self._spans:
            total += span.stop - max(span.start, reached)
            reached = span.stop
        return total


def subtract(gaps: Iterable[ByteRange], span: Span) -> list[ByteRange]:
    """The parts of ``gaps`` that ``span`` does not hold."""
    left = []
    for gap in gaps:
        if gap.start < min(gap.stop, span.start):
            left.append(ByteRange(gap.start, min(gap.stop, span.start)))
        if max(gap.start, span.stop) < gap.stop:
            left.append(ByteRange(max(gap.start, span.stop), gap.stop))
    return left
