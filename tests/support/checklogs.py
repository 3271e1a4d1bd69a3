"""What every test is checked for after it ran: its log, its mounts, its child processes.

A pytest plugin. A WARNING or worse from ``s3mount`` that the test did not declare fails it: warnings are promises to
the people who run a mount, and nobody may learn to ignore them.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mounts import mount_points, unmount
from tests.support.servers import owned_pids

ExpectsLog = Callable[[str], None]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "expects_log(*patterns): warnings of s3mount that match are no failure"
    )


class Trouble(logging.Handler):
    """Keeps what was logged at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.expected: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")

    def undeclared(self) -> list[str]:
        return [line for line in self.lines if not any(re.search(p, line) for p in self.expected)]


@pytest.fixture(autouse=True)
def _checked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trouble]:
    """Fails the test afterwards for an undeclared warning, a leaked mount or a leaked process."""
    trouble = Trouble()
    for marker in request.node.iter_markers("expects_log"):
        trouble.expected.extend(marker.args)
    mounts_before = set(mount_points())
    children_before = children()
    logger = logging.getLogger("s3mount")
    logger.addHandler(trouble)
    yield trouble
    logger.removeHandler(trouble)
    ours = tmp_path_factory.getbasetemp()
    leaked = [path for path in mount_points() if path not in mounts_before and under(path, ours)]
    for path in leaked:
        unmount(path)
    problems = [f"undeclared: {line}" for line in trouble.undeclared()]
    problems += [f"left mounted: {path}" for path in leaked]
    problems += [
        f"left running: {pid} {command}"
        for pid, command in children().items()
        if pid not in children_before and pid not in owned_pids
    ]
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture
def expects_log(_checked: Trouble) -> ExpectsLog:
    """Declare a warning: ``expects_log(r"ETag of .* changed")``. Also as a marker of this name."""
    return _checked.expected.append


def under(path: Path, folder: Path) -> bool:
    """Whether a mount is this run's: other runs on the machine may mount at the same time."""
    return path.is_relative_to(folder.resolve())


def children() -> dict[int, str]:
    """The child processes of this one: pid and command line. Ended ones nobody waited for count too."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended while we looked
            continue
        if int(fields[1]) == os.getpid():
            found[int(entry.name)] = command.strip() or "(zombie)"
    return found
