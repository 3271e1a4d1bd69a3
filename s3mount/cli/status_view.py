"""What a mount says of itself, arranged for people.

`lines` and the tables' rows are plain functions over the JSON of a mount, in which any field may be
absent; `render` gives them to rich, which draws tables on a terminal and plain columns elsewhere.
It asks no mount anything.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from s3mount.cli import human

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = 10  # names and errors; --json has all

Status = Mapping[str, Any]


def lines(status: Status, now: float) -> list[tuple[str, str]]:
    """The facts of one mount, each with its heading; what the mount does not say is left out."""
    made = [
        ("since", _since(status, now)),
        ("cache", _cache(_part(status, "cache"))),
        ("hits", _hits(_part(status, "cache"))),
        ("requests", _requests(_part(status, "requests"))),
        ("listings", _from_disk(_part(status, "metadata"))),
        ("bytes", _bytes(_part(status, "bytes"))),
        ("known", _known(status)),
        ("conflicts", _conflicts(_part(status, "conflicts"))),
        ("hidden", _hidden(_part(status, "unspellable"))),
    ]
    return [(heading, text) for heading, text in made if text]


def _part(status: Status, name: str) -> Status:
    part = status.get(name)
    return part if isinstance(part, Mapping) else {}


def _since(status: Status, now: float) -> str:
    when = human.ago(status["since"], now) if "since" in status else ""
    who = [f"pid {status['pid']}" if "pid" in status else ""]
    who += [f"s3mount {status['version']}" if "version" in status else ""]
    return ", ".join(part for part in [when, *who] if part)


def _cache(cache: Status) -> str:
    parts = []
    if "used_bytes" in cache:
        most = f" of {human.size(cache['max_bytes'])}" if "max_bytes" in cache else ""
        parts.append(f"{human.size(cache['used_bytes'])}{most}")
    if "dir" in cache:
        parts.append(f"in {human.name(str(cache['dir']))}")
    if "free_bytes" in cache:
        kept = (
            f" (keeps {human.size(cache['min_free_bytes'])} free)"
            if "min_free_bytes" in cache
            else ""
        )
        parts.append(f"disk has {human.size(cache['free_bytes'])} free{kept}")
    return ", ".join(parts)


def _hits(cache: Status) -> str:
    if "hit_bytes" not in cache or "miss_bytes" not in cache:
        return ""
    whole = cache["hit_bytes"] + cache["miss_bytes"]
    if not whole:
        return "nothing was read yet"
    return f"{human.share(cache['hit_bytes'], whole)} of {human.size(whole)} came from the cache"


def _requests(requests: Status) -> str:
    words = {"get": "GET", "list": "LIST", "retries": "retried", "failed": "failed"}
    known = [f"{requests[name]:,} {word}" for name, word in words.items() if name in requests]
    others = [f"{amount:,} {name}" for name, amount in requests.items() if name not in words]
    return ", ".join(known + others)


def _from_disk(metadata: Status) -> str:
    pages = metadata.get("pages_from_disk", 0)
    return f"{human.count(pages, 'page')} came from disk, without a request" if pages else ""


def _bytes(amounts: Status) -> str:
    words = {"fetched": "fetched from the store", "read": "given to programs"}
    return ", ".join(
        f"{human.size(amounts[name])} {word}" for name, word in words.items() if name in amounts
    )


def _known(status: Status) -> str:
    metadata = _part(status, "metadata")
    parts = []
    if "entries" in metadata:
        parts.append(human.count(metadata["entries"], "name"))
    if "directories" in metadata:
        parts.append(f"in {human.count(metadata['directories'], 'directory', 'directories')}")
    files = f"{human.count(status['open_files'], 'file')} open" if "open_files" in status else ""
    return ", ".join(part for part in (" ".join(parts), files) if part)


def _conflicts(conflicts: Status) -> str:
    if not conflicts.get("count"):
        return ""
    noun = human.count(conflicts["count"], "name is", "names are")
    return f"{noun} both a file and a directory: {_some(conflicts.get('names', []), conflicts['count'])}"


def _hidden(unspellable: Status) -> str:
    if not unspellable.get("count"):
        return ""
    noun = human.count(unspellable["count"], "key has", "keys have")
    return f"{noun} no path: {_some(unspellable.get('keys', []), unspellable['count'])}"


def _some(names: Sequence[object], whole: int) -> str:
    shown = [human.name(str(each)) or '""' for each in names[:_SHOWN]]
    more = [f"and {whole - len(shown):,} more"] if whole > len(shown) else []
    return ", ".join(shown + more)


def error_rows(status: Status, now: float) -> list[tuple[str, ...]]:
    """The newest errors, newest first: when, what, key, message, request id."""
    errors = status.get("errors")
    rows = []
    for error in reversed(errors if isinstance(errors, list) else []):
        when = human.ago(error["at"], now) if "at" in error else ""
        fields = [human.name(str(error.get(each) or "")) for each in _ERROR_FIELDS]
        rows.append((when, *fields))
    return rows[:_SHOWN]


_ERROR_FIELDS = ("what", "key", "message", "request_id")


def render(mounts: Sequence[Status], now: float) -> None:
    """Print mounts for a person."""
    from rich.console import Console  # rich takes longer to import than all the rest

    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 1000  # a pipe has no edge: one fact, one line
    for number, status in enumerate(mounts):
        if number:
            console.print()
        _render_one(console, status, now)


def _render_one(console: "Console", status: Status, now: float) -> None:
    from rich.table import Table
    from rich.text import Text

    title = Text(human.name(str(status.get("source", "?"))), style="bold")
    title.append(" on ", style="not bold")
    title.append(human.name(str(status["mountpoint"])), style="bold")
    console.print(title)
    if "error" in status:
        console.print(Text(f"  {human.name(status['error'])}", style="red"))
        return
    for heading, text in lines(status, now):
        console.print(Text(f"  {heading:10}", style="dim").append(text, style="not dim"))
    rows = error_rows(status, now)
    if rows:
        table = Table(
            "when", "what", "key", "error", "request id", title="last errors", title_justify="left"
        )
        for row in rows:
            table.add_row(*(Text(field) for field in row))
        console.print(table)
