"""Renders results as Markdown: ``python -m tests.benchmarks.report RESULTS.json [--into docs/performance.md]``.

With ``--into`` the text between the two marker lines of the page is replaced. With ``--plots FOLDER`` a picture (SVG)
of each group of lines is written there and shown in the page.
"""

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

from tests.benchmarks.plots import Bar, Chart, draw

BEGIN = "<!-- benchmark: begin -->"
END = "<!-- benchmark: end -->"
PLACES = {"near": "On loopback", "far": "With {delay:.0f} ms of round trip"}
OWN = "s3mount"
KEPT, LOCAL = "sequential, again", "local cat"

NOTES = (
    '"again" is in the same mount, "remounted" after an unmount and a mount with the same cache '
    f'directory. "{LOCAL}" reads the same bytes from a local file in warm pages: the least that a '
    'read can take. "wasted" is the share of the fetched bytes, listings included, beyond those '
    "that were read."
)

Results = dict[str, Any]


def render(results: Results, pictures: dict[str, list[str]] | None = None) -> str:
    """Everything between the markers.

    Args:
        results: of a run, as ``run.py`` writes them.
        pictures: for each place, pictures in Markdown to show beside its table.
    """
    parts = [heading(results)]
    for place, title in titles(results).items():
        rows = [row for row in results["rows"] if row["place"] == place]
        parts += [f"### {title}", *(pictures or {}).get(place, []), summary(rows)]
        ratios = beside_local(rows)
        parts += [text for text in (ratios, details(rows)) if text]
    return "\n\n".join(parts)


def titles(results: Results) -> dict[str, str]:
    """The places that were measured, and what they are called."""
    measured = {row["place"] for row in results["rows"]}
    delay = results["far"] * 1000
    return {place: text.format(delay=delay) for place, text in PLACES.items() if place in measured}


def heading(results: Results) -> str:
    """What was measured, where."""
    machine = results["machine"]
    lines = [
        f"`{results['command']}`, {results['when']}, commit `{results['commit']}`, "
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory']}, "
        f"Linux {machine['kernel']}. Medians of {results['runs']} interleaved runs; what takes "
        f"over a minute is run once. {contents(results['shape'])} Server: {results['server']}.",
        "",
        *(
            f"- **{name}**: {tool['version']}" + (f" ({tool['note']})" if tool["note"] else "")
            for name, tool in results["tools"].items()
        ),
        "",
        NOTES,
    ]
    return "\n".join(lines)


def contents(shape: Results) -> str:
    """What is in the bucket."""
    keys, wide = (shape[top] * shape["keys_per_directory"] for top in ("directories", "forest"))
    return (
        f"Object of {shape['large'] >> 20} MiB; {shape['random_reads']} random reads; "
        f"`find` over {keys:,} keys in {shape['directories']:,} directories; wide: over {wide:,} "
        f"keys in {shape['forest']:,} directories; "
        f"{shape['small_files']:,} small files of 4 KiB; `tar c` of {shape['archive_files']:,} "
        f"files of 4 KiB; `cp -r` of a source tree of {shape['sources']:,} files; import of a "
        f"Python package of {shape['modules']} modules; 8 readers of {shape['shards']} files of "
        f"64 KiB together, or of {shape['part'] >> 20} MiB each."
    )


def summary(rows: list[Results]) -> str:
    """Seconds: a line a row, a tool a column, the least in bold."""
    tools = list(dict.fromkeys(row["tool"] for row in rows))
    lines = list(dict.fromkeys(row["line"] for row in rows))
    cells = {(row["line"], row["tool"]): row for row in rows}
    table = [["seconds", *tools]]
    for line in lines:
        least = min((cells[line, tool].get("seconds", 1e9) for tool in tools), default=0)
        least = 0.0 if line == LOCAL else least  # nobody's merit
        table.append([line, *(cell(cells[line, tool], least) for tool in tools)])
    return markdown(table)


def cell(row: Results, least: float) -> str:
    """One figure, or why there is none."""
    if row.get("over"):
        return f"> {row['over']:.0f} s"
    if "seconds" not in row:
        return f"failed: {row.get('failed', 'no reading')}".replace("|", "/")
    text = f"{row['seconds']:.3g}" if row["seconds"] < 100 else f"{row['seconds']:.0f}"
    return f"**{text}**" if row["seconds"] <= least else text


def beside_local(rows: list[Results]) -> str:
    """How a second read in the same mount stands beside a local file; nothing when it was not measured."""
    seconds = {(row["line"], row["tool"]): row["seconds"] for row in rows if "seconds" in row}
    ratios = [
        f"{tool} {value / seconds[LOCAL, tool]:.2g}"
        for (line, tool), value in seconds.items()
        if line == KEPT and (LOCAL, tool) in seconds
    ]
    if not ratios:
        return ""
    return f'"{KEPT}" in units of "{LOCAL}" (`cat` of the same bytes in a local file): {", ".join(ratios)}.'


def details(rows: list[Results]) -> str:
    """What the seconds cost: CPU, memory, requests by kind, bytes."""
    figures = ["s", "daemon CPU s", "peak MiB"]
    table = [["line", "tool", *figures, "GET", "ranged", "HEAD", "LIST", "MB", "wasted"]]
    for row in sorted(rows, key=lambda row: [r["line"] for r in rows].index(row["line"])):
        if "seconds" not in row:
            continue
        counts = row.get("counts", {})
        requests = [str(counts.get(k, "-")) for k in ("get", "ranged_get", "head", "list")]
        moved = f"{counts['bytes_down'] / 1e6:.1f}" if counts else "-"
        costs = [f"{row['seconds']:.3g}", f"{row['cpu']:.2f}", f"{row['peak'] / 2**20:.0f}"]
        table.append([row["line"], row["tool"], *costs, *requests, moved, wasted(row)])
    return markdown(table)


def wasted(row: Results) -> str:
    """The share of what was fetched that was not read; "-" where nothing was read or fetched."""
    fetched, reads = row.get("counts", {}).get("bytes_down", 0), row.get("reads", 0)
    if not fetched or not reads:
        return "-"
    return f"{max(0, fetched - reads) / fetched:.0%}"


def markdown(table: list[list[str]]) -> str:
    """A table with its first row as the head, numbers to the right."""
    head, *body = table
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *body])


def put_into(page: Path, text: str, first: str = BEGIN, last: str = END) -> None:
    """Replace what stands between the marker lines ``first`` and ``last``."""
    before, begin, rest = page.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise SystemExit(f"{page}: needs the lines {first} and {last}")
    page.write_text(f"{before}{first}\n{text}\n{last}{after}")


def charts(results: Results) -> dict[tuple[str, str], Chart]:
    """A chart for each place and group."""
    found: dict[tuple[str, str], Chart] = {}
    for row in results["rows"]:
        place = titles(results)[row["place"]]
        chart = found.setdefault(
            (row["place"], row["group"]),
            Chart(f"{row['group']} {place[0].lower()}{place[1:]}", OWN, {}),
        )
        if row["line"] == LOCAL and row["tool"] != OWN:
            continue  # the same for everybody
        if "seconds" in row or "over" in row:
            tool = "local" if row["line"] == LOCAL else row["tool"]
            bar = Bar(tool, row.get("seconds", row.get("over")), "over" in row)
            chart.lines.setdefault(row["line"], []).append(bar)
    return {key: chart for key, chart in found.items() if chart.lines}


def write_pictures(results: Results, folder: Path, page: Path | None) -> dict[str, list[str]]:
    """Write every picture; for each place how the page shows them."""
    folder.mkdir(parents=True, exist_ok=True)
    shown: dict[str, list[str]] = {}
    for (place, group), chart in charts(results).items():
        target = folder / f"{place}-{re.sub('[^a-z]+', '-', group.lower())}.svg"
        target.write_text(draw(chart))
        link = os.path.relpath(target, page.parent if page else None)
        shown.setdefault(place, []).append(f"![{chart.title}, seconds]({link})")
    return shown


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--into", type=Path, help="a Markdown page with the two markers")
    parser.add_argument("--plots", type=Path, help="write pictures (SVG) into this folder")
    options = parser.parse_args()
    results = json.loads(options.results.read_text())
    pictures = write_pictures(results, options.plots, options.into) if options.plots else {}
    text = render(results, pictures)
    if options.into:
        put_into(options.into, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
