"""Renders results as Markdown: ``python -m tests.benchmarks.report RESULTS.json [--into docs/performance.md]``.

With ``--into`` the text between the two marker lines of the page is replaced. With ``--plot FILE.svg`` and
matplotlib installed, a picture of the seconds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

BEGIN = "<!-- benchmark: begin -->"
END = "<!-- benchmark: end -->"
PLACES = {"near": "On loopback", "far": "With {delay:.0f} ms of round trip"}

Results = dict[str, Any]


def render(results: Results) -> str:
    """Everything between the markers."""
    parts = [heading(results)]
    for place, title in PLACES.items():
        rows = [row for row in results["rows"] if row["place"] == place]
        if rows:
            parts += [f"### {title.format(delay=results['far'] * 1000)}", summary(rows)]
            parts += [details(rows)]
    return "\n\n".join(parts)


def heading(results: Results) -> str:
    """What was measured, where."""
    machine, shape = results["machine"], results["shape"]
    tree = f"{shape['directories'] * shape['keys_per_directory']:,} keys"
    lines = [
        f"`{results['command']}`, {results['when']}, commit `{results['commit']}`, "
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory']}, "
        f"Linux {machine['kernel']}. Medians of {results['runs']} interleaved runs; what takes "
        f"over a minute is run once. Object of {shape['large'] >> 20} MiB; {shape['random_reads']} "
        f"random reads; `find` over {tree} in {shape['directories']:,} directories; "
        f"{shape['small_files']:,} files of 4 KiB. Server: {results['server']}.",
        "",
        *(
            f"- **{name}**: {tool['version']}" + (f" ({tool['note']})" if tool["note"] else "")
            for name, tool in results["tools"].items()
        ),
    ]
    return "\n".join(lines)


def summary(rows: list[Results]) -> str:
    """Seconds: a line a row, a tool a column, the least in bold."""
    tools = list(dict.fromkeys(row["tool"] for row in rows))
    lines = list(dict.fromkeys(row["line"] for row in rows))
    cells = {(row["line"], row["tool"]): row for row in rows}
    table = [["seconds", *tools]]
    for line in lines:
        least = min((cells[line, tool].get("seconds", 1e9) for tool in tools), default=0)
        table.append([line, *(cell(cells[line, tool], least) for tool in tools)])
    return markdown(table)


def cell(row: Results, least: float) -> str:
    """One figure, or why there is none."""
    if "seconds" not in row:
        return f"failed: {row.get('failed', 'no reading')}".replace("|", "/")
    text = f"{row['seconds']:.3g}" if row["seconds"] < 100 else f"{row['seconds']:.0f}"
    return f"**{text}**" if row["seconds"] <= least else text


def details(rows: list[Results]) -> str:
    """What the seconds cost: CPU, memory, requests by kind, bytes."""
    table = [
        ["line", "tool", "s", "daemon CPU s", "peak MiB", "GET", "ranged", "HEAD", "LIST", "MB"]
    ]
    for row in sorted(rows, key=lambda row: [r["line"] for r in rows].index(row["line"])):
        if "seconds" not in row:
            continue
        counts = row.get("counts", {})
        requests = [str(counts.get(k, "-")) for k in ("get", "ranged_get", "head", "list")]
        moved = f"{counts['bytes_down'] / 1e6:.1f}" if counts else "-"
        figures = [f"{row['seconds']:.3g}", f"{row['cpu']:.2f}", f"{row['peak'] / 2**20:.0f}"]
        table.append([row["line"], row["tool"], *figures, *requests, moved])
    return markdown(table)


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


def plot(results: Results, target: Path) -> None:
    """Bars of seconds by line, one picture for each place (needs matplotlib)."""
    from matplotlib.figure import Figure

    places = [place for place in PLACES if any(r["place"] == place for r in results["rows"])]
    lines = list(dict.fromkeys(row["line"] for row in results["rows"]))
    tools = list(results["tools"])
    figure = Figure(figsize=(10, 4 * len(places)), layout="constrained")
    for index, place in enumerate(places):
        axes = figure.add_subplot(len(places), 1, index + 1)
        cells = {
            (row["line"], row["tool"]): row["seconds"]
            for row in results["rows"]
            if row["place"] == place and "seconds" in row
        }
        for number, tool in enumerate(tools):
            spots = [i + 0.8 * number / len(tools) for i in range(len(lines))]
            heights = [cells.get((line, tool), 0) for line in lines]
            axes.bar(spots, heights, 0.8 / len(tools), label=tool, align="edge")
        axes.set_yscale("log")
        axes.set_ylabel("seconds")
        axes.set_title(PLACES[place].format(delay=results["far"] * 1000))
        axes.set_xticks([i + 0.4 for i in range(len(lines))], lines)
        axes.legend(ncols=len(tools))
    figure.savefig(target)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--into", type=Path, help="a Markdown page with the two markers")
    parser.add_argument("--plot", type=Path, help="write a picture (svg, png)")
    options = parser.parse_args()
    results = json.loads(options.results.read_text())
    if options.plot:
        plot(results, options.plot)
    if options.into:
        put_into(options.into, render(results))
    else:
        print(render(results))


if __name__ == "__main__":
    main()
