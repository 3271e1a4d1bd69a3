"""What a tool asked of the server, read from the server's log."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tests.benchmarks.bulk.lines import BUCKET

LOG_FORMAT = (
    "$msec $request_time $connection $status $body_bytes_sent $request_method $ranged $request_uri"
)
FAILED = 400  # the first status that is an error


class Traffic(NamedTuple):
    """Requests between two moments.

    Attributes:
        counts: requests by kind: get, ranged_get, head, list, other; and those answered with an error, error.
        bytes_down: payload that was sent.
        connections: how many carried a request.
        first: when the first request came, seconds since the epoch; None when there was none.
    """

    counts: Counter[str]
    bytes_down: int
    connections: int
    first: float | None


def kind_of(method: str, ranged: bool, target: str) -> str:
    """What a request is to an object store."""
    path, _, query = target.partition("?")
    if method == "HEAD":
        return "head"
    if method != "GET":
        return "other"
    if path.strip("/") == BUCKET:
        return "list" if "list-type=" in query else "other"
    return "ranged_get" if ranged else "get"


def read_traffic(lines: Iterable[str]) -> Traffic:
    """Add up lines of `LOG_FORMAT`.

    Raises:
        ValueError: a line of another form.
    """
    counts: Counter[str] = Counter()
    bytes_down = 0
    connections = set()
    first: float | None = None
    for line in lines:
        done, took, connection, status, sent, method, ranged, target = line.split(maxsplit=7)
        counts[kind_of(method, ranged == "1", target)] += 1
        counts["error"] += int(status) >= FAILED
        bytes_down += int(sent)
        connections.add(connection)
        begin = float(done) - float(took)
        first = begin if first is None else min(first, begin)
    return Traffic(counts, bytes_down, len(connections), first)
