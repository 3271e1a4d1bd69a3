"""Where and of what a benchmark was run: without it a figure says nothing."""

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

CHECKOUT = Path(__file__).parents[2]


class Tool(Protocol):
    """A tool that is measured, of whichever benchmark."""

    @property
    def name(self) -> str:
        """As shown."""

    @property
    def note(self) -> str:
        """What is special about its options."""

    def version_line(self) -> str:
        """The first line of what the tool says of itself."""


def describe(program: str, tools: Sequence[Tool]) -> dict[str, object]:
    """Command, time, machine, kernel, commit, versions.

    Args:
        program: the module that measures; its arguments are those of this process.
        tools: those that were measured.
    """
    return {
        "command": " ".join(["python -m", program, *sys.argv[1:]]),
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "machine": {
            "processor": first_value("/proc/cpuinfo", "model name"),
            "cores": os.cpu_count(),
            "memory": first_value("/proc/meminfo", "MemTotal"),
            "kernel": platform.release(),
            "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
            "python": platform.python_version(),
        },
        "commit": commit(),
        "tools": {tool.name: {"version": tool.version_line(), "note": tool.note} for tool in tools},
    }


def first_value(path: str, name: str) -> str:
    """The value of the first line of this name in a file of ``name: value`` lines."""
    for line in Path(path).read_text().splitlines():
        field, _, value = line.partition(":")
        if field.strip() == name:
            return value.strip()
    return "unknown"


def commit() -> str:
    """The commit of this checkout, marked when files differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "none"
