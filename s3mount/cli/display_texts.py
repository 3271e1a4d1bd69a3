"""The words of a run's displays: lines, summaries, failures and JSON records. Plain functions over a `Tally`."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from s3mount.bulk import progress
from s3mount.bulk.outcome import Ending, Outcome
from s3mount.cli import exits, human

if TYPE_CHECKING:
    from s3mount.bulk.progress import Tally

MANY = 50
"""Objects from which on a bar says more than their keys."""
LONG = 2.0
"""Seconds after which a person wants to see that something goes on."""

_OTHERS = {
    Ending.PRESENT: "Objects already present",
    Ending.COPIED: "Objects copied from the cache",
    Ending.FAILED: "Objects failed",
}


def wants_bar(found: int, seconds: float) -> bool:
    """Whether a run on a terminal is worth a bar: it has many objects, or it takes long."""
    return found > MANY or seconds > LONG


def live_line(tally: "Tally", now: float, noun: str) -> str:
    """The line of live-update, without its carriage return."""
    speed = progress.format_bytes(progress.speed(tally, now), "/s")
    there = tally.endings[Ending.FETCHED]
    return f"[Found: {tally.found} | {noun.capitalize()}: {there} | Speed: {speed}]"


def summary_lines(tally: "Tally", now: float, noun: str) -> list[str]:
    """What is said at the end of a run."""
    others = [
        f"  {said}: {tally.endings[ending]}"
        for ending, said in _OTHERS.items()
        if tally.endings[ending]
    ]
    return [
        "Progress Summary:",
        f"  Objects found: {tally.found}",
        f"  Objects {noun}: {tally.endings[Ending.FETCHED]}",
        *others,
        f"  Total data: {progress.format_bytes(tally.fetched_bytes)}",
        f"  Average speed: {progress.format_bytes(progress.speed(tally, now), '/s')}",
        f"  Total time: {progress.elapsed(tally, now):.1f} seconds",
    ]


def slowest_lines(tally: "Tally") -> list[str]:
    """The objects that took longest; nothing when there are too few to choose from."""
    slowest = tally.slowest
    if tally.endings[Ending.FETCHED] <= len(slowest):
        return []
    rows = [
        f"  {each.seconds:6.1f} s  {progress.format_bytes(each.size):>9}  {human.name(each.key)}"
        for each in slowest
    ]
    return ["Slowest objects:", *rows]


def failure_lines(tally: "Tally") -> list[str]:
    """Which objects failed and why, each hint once, and how many failed; nothing when none did."""
    if not tally.failed:
        return []
    errors = [exits.as_ours(failure.error) for failure in tally.failures]
    lines = [
        human.name(_reason(failure.key, error.message))
        for failure, error in zip(tally.failures, errors, strict=True)
    ]
    more = tally.failed - len(lines)
    if more:
        lines.append(f"and {more:,} more; --json names them all")
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    lines += [f"  {human.name(hint)}" for hint in hints]
    return [*lines, f"s3mount: {tally.failed:,} of {_found(tally)} failed"]


def _reason(key: str, message: str) -> str:
    return message if repr(key) in message else f"{key}: {message}"


def _found(tally: "Tally") -> str:
    return human.count(max(tally.found, tally.ended), "object")


def stopped_lines(tally: "Tally", noun: str) -> list[str]:
    """How far a run came that was broken off; nothing when it had found nothing."""
    if not tally.found:
        return []
    there = tally.ended - tally.failed
    so_far = "" if tally.is_listed else " found so far"
    size = progress.format_bytes(tally.fetched_bytes)
    return [f"s3mount: stopped: {there:,} {noun} of {_found(tally)}{so_far}, {size} fetched"]


def keys_of(outcomes: Sequence[Outcome]) -> list[str]:
    """The keys of those that did not fail, in their order."""
    return [outcome.meta.key for outcome in outcomes if outcome.error is None]


def record(outcome: Outcome) -> str:
    """One object as a line of JSON; what is not there is null."""
    error = exits.as_ours(outcome.error).message if outcome.error is not None else None
    fields: dict[str, Any] = {
        "key": outcome.meta.key,
        "ending": outcome.ending.value,
        "size": outcome.meta.size,
        "bytes_fetched": outcome.fetched,
        "seconds": round(outcome.seconds, 6),
        "error": error,
        "path": outcome.place or None,
    }
    return json.dumps(fields)


def summary_record(tally: "Tally", now: float, *, stopped: bool) -> str:
    """The whole run as the last line of JSON."""
    fields: dict[str, Any] = {
        "found": tally.found,
        "found_bytes": tally.wanted_bytes,
        "listing_complete": tally.is_listed,
        "stopped": stopped,
        **{ending.value: number for ending, number in tally.endings.items()},
        "bytes_fetched": tally.fetched_bytes,
        "seconds": round(progress.elapsed(tally, now), 6),
        "bytes_per_second": round(progress.speed(tally, now)),
    }
    return json.dumps({"summary": fields})
