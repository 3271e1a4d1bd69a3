"""The pictures of the mount benchmark: whole documents, bars in the right order and inside."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks import plots
from tests.benchmarks.plots import Bar, Chart, draw, scale_for

SECONDS = st.floats(1e-4, 1e4)


def text_of(picture: str) -> set[str]:
    return {text for text in ElementTree.fromstring(picture).itertext() if text.strip()}


@given(figures=st.lists(SECONDS, min_size=1, max_size=6), over=st.booleans())
def test_a_longer_bar_is_a_longer_time_and_all_are_inside(figures: list[float], over: bool) -> None:
    bars = [Bar(f"<{n}>&", seconds, over) for n, seconds in enumerate(figures)]
    chart = Chart("A & B", "<0>&", {"line": bars})
    scale = scale_for(chart)
    ends = [scale.x(bar.seconds) for bar in bars]
    assert [end for _, end in sorted(zip(figures, ends, strict=True))] == sorted(ends)
    assert all(plots.LEFT < end <= plots.LEFT + plots.BARS + 1e-6 for end in ends)
    assert text_of(draw(chart)) >= {"A & B", "line"}


def test_figures_are_spoken_without_exponents() -> None:
    assert [plots.spoken(s) for s in (0.0012, 0.05, 0.1, 2.34, 99.9, 1234.0)] == [
        "1.2 ms",
        "50 ms",
        "0.1 s",
        "2.3 s",
        "100 s",
        "1,234 s",
    ]


def test_a_tool_that_was_stopped_has_a_bar_with_the_limit_and_the_least_ratio() -> None:
    chart = Chart("Walks", "s3mount", {"find": [Bar("s3mount", 2.0), Bar("s3fs", 50.0, True)]})
    words = text_of(draw(chart))
    assert {"find", "s3mount", "2 s", "> 50 s", "> 25\N{MULTIPLICATION SIGN}"} <= words
