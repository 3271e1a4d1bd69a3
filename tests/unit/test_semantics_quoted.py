"""Every promise has a test that quotes it: the bold sentences of docs/semantics.md, held against docstrings."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOLD = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)


def joined(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())


def promises() -> list[str]:
    """The bold sentences, each on one line."""
    return [joined(bold) for bold in BOLD.findall((ROOT / "docs/semantics.md").read_text())]


@functools.cache
def quoted() -> str:
    """The docstrings of all tests with a mount, one a line."""
    found = []
    for path in sorted((ROOT / "tests/fuse").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                is_test = node.name.startswith("test_")
                found.append(joined(ast.get_docstring(node) or "") if is_test else "")
    return "\n".join(found)


def test_there_are_promises():
    assert len(promises()) > 40


@pytest.mark.parametrize("sentence", promises())
def test_a_test_quotes_it(sentence):
    is_quoted = sentence in quoted()
    assert is_quoted, sentence
