"""Bar charts as SVG: seconds on a log scale, a cluster of bars for each line, each bar with its tool, figure and ratio.

A picture brings its own ground and follows the reader's choice of light or dark, so it is readable on any page.
"""

import math
from dataclasses import dataclass
from html import escape

WIDTH = 760
LEFT = 272  # where bars begin
LINE_RIGHT, TOOL_RIGHT = 170, LEFT - 8  # where names of lines and of tools end
BARS = 330  # pixels for the longest bar: the rest is for what stands behind it
TOP, BOTTOM = 82, 40
BAR, GAP = 18, 14  # pixels for a bar, and between two clusters
TIMES = "\N{MULTIPLICATION SIGN}"
STYLE = """
  .ground { fill: #ffffff; stroke: #d8dee4 }
  text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .line { font-weight: 600; fill: #1f2328 } .soft { fill: #59636e }
  .grid { stroke: #e4e8ec } .own { fill: #0969da } .other { fill: #9aa4af }
  .over { fill: #9aa4af; fill-opacity: 0.35; stroke: #9aa4af; stroke-dasharray: 4 3 }
  text.own { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #30363d }
    text, .line { fill: #e6edf3 }
    .soft { fill: #9198a1 }
    .grid { stroke: #262c34 } .own { fill: #58a6ff } .other { fill: #6e7681 }
    .over { fill: #6e7681; stroke: #6e7681 }
  }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One tool in one line: seconds, or the limit that it exceeded."""

    tool: str
    seconds: float
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture.

    Attributes:
        title: above everything.
        own: the tool that the others are compared with.
        lines: the bars of each line.
    """

    title: str
    own: str
    lines: dict[str, list[Bar]]


@dataclass(frozen=True, slots=True)
class Scale:
    """A log scale from ``least`` to ``most`` seconds."""

    least: float
    most: float

    def x(self, seconds: float) -> float:
        """Where a figure is, pixels from the left."""
        share = math.log(seconds / self.least) / math.log(self.most / self.least)
        return LEFT + BARS * max(0.0, share)

    def ticks(self) -> list[float]:
        """The powers of ten within."""
        first, last = math.ceil(math.log10(self.least)), math.floor(math.log10(self.most))
        return [10.0**power for power in range(first, last + 1)]


def scale_for(chart: Chart) -> Scale:
    """A scale on which the shortest bar can still be seen, from a power of ten."""
    figures = [bar.seconds for bars in chart.lines.values() for bar in bars]
    return Scale(10.0 ** math.floor(math.log10(min(figures) / 1.5)), max(figures))


def draw(chart: Chart) -> str:
    """The picture, a whole SVG document."""
    scale = scale_for(chart)
    shapes: list[str] = []
    y = TOP
    for line, bars in chart.lines.items():
        shapes.append(text(LINE_RIGHT, y + 13, line, "line", "end"))
        own = next((bar.seconds for bar in bars if bar.tool == chart.own and not bar.is_over), None)
        for bar in bars:
            shapes += draw_bar(bar, y, scale, chart.own, own)
            y += BAR
        y += GAP
    height = y - GAP + BOTTOM
    note = f"seconds, log scale, shorter is better; {TIMES}: as a multiple of {chart.own}"
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" \
width="{WIDTH}" height="{height}" role="img">
<title>{escape(chart.title)}</title><style>{STYLE}</style>
<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>
{text(20, 30, chart.title, "title")}
{text(20, 50, note, "soft")}
{"".join(axis(scale, height - BOTTOM + 6) + shapes)}</svg>
"""


def axis(scale: Scale, bottom: int) -> list[str]:
    """A line for each power of ten, with its name below."""
    shapes = []
    for tick in scale.ticks():
        x = scale.x(tick)
        shapes.append(f'<path class="grid" d="M{x:.1f} {TOP - 8}V{bottom}"/>\n')
        shapes.append(text(x, bottom + 17, spoken(tick), "soft", "middle"))
    return shapes


def draw_bar(bar: Bar, y: int, scale: Scale, own_tool: str, own: float | None) -> list[str]:
    """A bar with its tool on the left, its figure and how it compares with ``own`` seconds on the right."""
    is_own = bar.tool == own_tool
    end = scale.x(bar.seconds)
    shape = "over" if bar.is_over else "own" if is_own else "other"
    more = "> " if bar.is_over else ""
    ratio = "" if own is None or is_own else f"{more}{digits(bar.seconds / own)}{TIMES}"
    place = f'x="{LEFT}" y="{y + 2}" width="{end - LEFT:.1f}" height="{BAR - 4}"'
    behind = f'<tspan class="line" dx="7">{escape(ratio)}</tspan>' if ratio else ""
    kind = "own" if is_own else "soft"
    return [
        text(TOOL_RIGHT, y + 13, bar.tool, kind, "end"),
        f'<rect class="{shape}" {place} rx="2"/>\n',
        text(end + 7, y + 13, more + spoken(bar.seconds), kind, behind=behind),
    ]


def spoken(seconds: float) -> str:
    """A figure with its unit."""
    return f"{digits(seconds)} s" if seconds >= 0.1 else f"{digits(seconds * 1000)} ms"


def digits(figure: float) -> str:
    """Two digits at least, no exponent."""
    return f"{figure:,.0f}" if figure >= 99.5 else f"{figure:.2g}"


def text(x: float, y: float, words: str, kind: str, anchor: str = "start", behind: str = "") -> str:
    """Words at a place; ``behind`` is SVG that follows them."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} class="{kind}">{escape(words)}{behind}</text>\n'
