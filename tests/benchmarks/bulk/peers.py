"""Brings the peers that are not on the machine into a folder of their own, never into s3mount's environment."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

FETCHED = Path("/var/tmp/s3mount-bench-tools")
"""Where they are brought to when nobody says."""
PACKAGES = ("awscli", "s3fetch")


class GoProgram(NamedTuple):
    """A program that is built from source."""

    module: str
    version: str
    package: str


GO_PROGRAMS = {
    "s5cmd": GoProgram("github.com/peak/s5cmd/v2", "v2.3.0", "github.com/peak/s5cmd/v2"),
    "versitygw": GoProgram(
        "github.com/versity/versitygw", "v1.2.0", "github.com/versity/versitygw/cmd/versitygw"
    ),
}
"""A peer, and a server that is faster than the one that tests use."""
SECONDS = 600.0


def fetch(folder: Path, say: Callable[[str], None]) -> None:
    """Install what is not there yet. What cannot be had is told, and is missing from the table.

    Args:
        folder: each Python tool gets a virtual environment here, the others are in ``bin``.
        say: where progress goes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in PACKAGES:
        target = folder / name
        if not (target / "bin" / "pip").exists():
            attempt([sys.executable, "-m", "venv", str(target)], say)
        attempt([str(target / "bin" / "pip"), "install", "-q", name], say)
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    for name, program in GO_PROGRAMS.items():
        if go is None:
            say(f"{name} is left out: it is built from source, and there is no Go on this machine")
        elif not (folder / "bin" / name).exists():
            build(go, name, program, folder, say)


def build(go: str, name: str, program: GoProgram, folder: Path, say: Callable[[str], None]) -> None:
    """Build a program in a module of its own.

    `go install` asks for the list of all versions, which not every mirror of modules has; a requirement does not.
    """
    home = folder / "go-modules" / name
    home.mkdir(parents=True, exist_ok=True)
    required = f"module peer\n\ngo 1.21\n\nrequire {program.module} {program.version}\n"
    (home / "go.mod").write_text(required)
    attempt(
        [go, "build", "-C", str(home), "-o", str(folder / "bin" / name), program.package],
        say,
        {
            "GOFLAGS": "-mod=mod",
            "GOPATH": str(folder / "go"),
            "GOCACHE": str(folder / "go-cache"),
        },
    )


def attempt(
    command: list[str], say: Callable[[str], None], extra: dict[str, str] | None = None
) -> None:
    """Run an installer; a failure is told and is no reason to end."""
    say(" ".join(command))
    done = subprocess.run(
        command,
        env={**os.environ, **(extra or {})},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        say(f"failed: {(done.stderr or done.stdout).strip()[-300:]}")
