"""Renders results as Markdown: ``python -m tests.benchmarks.bulk.report RESULTS.json [--into docs/performance.md]``.

With ``--into`` the text between the two marker lines of the page is replaced.
"""

import argparse
import json
from pathlib import Path

from tests.benchmarks.report import Results, cell, markdown, put_into

BEGIN = "<!-- bulk: begin -->"
END = "<!-- bulk: end -->"
KINDS = ("get", "ranged_get", "head", "list", "error")
FIRST_TARGET = 0.35  # seconds from the start of s3mount to its first request


def render(results: Results) -> str:
    """Everything between the markers."""
    rows = results["rows"]
    parts = [heading(results), summary(results), details(results)]
    if any(row["tool"] == "s3mount" and "seconds" in row for row in rows):
        parts.append(own_figures(results))
    return "\n\n".join(parts)


def heading(results: Results) -> str:
    """What was measured, where, with what."""
    machine = results["machine"]
    lines = [
        f"`{results['command']}`, {results['when']}, commit `{results['commit']}`, "
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory']}, "
        f"Linux {machine['kernel']}. Medians of {results['runs']} interleaved runs; what takes "
        f"over a minute is run once. Far is {results['far'] * 1000:.0f} ms of round trip. "
        f"Server: {results['server']}." + (f" {results['remark']}" if results["remark"] else ""),
        "",
        *(
            f"- **{name}**: {tool['version']}" + (f" ({tool['note']})" if tool["note"] else "")
            for name, tool in results["tools"].items()
        ),
        *(f"- **{name}**: not installed" for name in results["missing"]),
    ]
    return "\n".join(lines)


def summary(results: Results) -> str:
    """Seconds: a line a row, a tool a column, the least in bold; the floor is no competitor."""
    rows = results["rows"]
    tools = list(dict.fromkeys(row["tool"] for row in rows))
    cells = {(row["line"], row["tool"]): row for row in rows}
    table = [["seconds", *tools]]
    for name, what in results["lines"].items():
        mine = [cells[name, tool] for tool in tools if (name, tool) in cells]
        least = min((row.get("seconds", 1e9) for row in mine if row["tool"] != "floor"), default=0)
        table.append([what, *(figure(cells.get((name, tool)), least) for tool in tools)])
    return markdown(table)


def figure(row: Results | None, least: float) -> str:
    """One cell; empty where a tool does not do this."""
    if row is None:
        return ""
    return cell(row, 0.0 if row["tool"] == "floor" else least)


def details(results: Results) -> str:
    """What the seconds cost."""
    head = ["line", "tool", "s", "CPU s", "peak MiB", "first request s", "server CPU s"]
    table = [[*head, "GET", "ranged", "HEAD", "LIST", "errors", "connections", "MB"]]
    for row in results["rows"]:
        if "seconds" not in row:
            continue
        counts, first = row["counts"], row["first_request"]
        table.append(
            [
                *(results["lines"][row["line"]], row["tool"]),
                *(f"{row['seconds']:.3g}", f"{row['cpu']:.2f}", f"{row['peak'] / 2**20:.0f}"),
                "-" if first is None else f"{first:.2f}",
                f"{row['server_cpu']:.2f}",
                *(str(counts.get(kind, 0)) for kind in KINDS),
                str(counts["connections"]),
                f"{counts['bytes_down'] / 1e6:.1f}",
            ]
        )
    return markdown(table)


def own_figures(results: Results) -> str:
    """The two figures that s3mount is held to beside seconds: how soon it asks, and how memory grows."""
    rows = [row for row in results["rows"] if row["tool"] == "s3mount" and "seconds" in row]
    peaks = {row["line"]: row["peak"] / 2**20 for row in rows}
    lines = []
    firsts = [row["first_request"] for row in rows if row["work"] == "download"]
    if firsts:
        lines.append(
            f"- s3mount's first request comes {min(firsts):.2f} to {max(firsts):.2f} s after its "
            f"start (target: {FIRST_TARGET:.2f} s)."
        )
    if "few" in peaks and "small" in peaks:
        lines.append(
            f"- s3mount's peak memory: {peaks['few']:.0f} MiB for {results['lines']['few']}, "
            f"{peaks['small']:.0f} MiB for {results['lines']['small']}."
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--into", type=Path, help="a Markdown page with the two markers")
    options = parser.parse_args()
    results = json.loads(options.results.read_text())
    if options.into:
        put_into(options.into, render(results), BEGIN, END)
    else:
        print(render(results))


if __name__ == "__main__":
    main()
