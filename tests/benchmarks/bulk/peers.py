"""Brings the peers that are not on the machine into a folder of their own, never into s3mount's environment."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("awscli", "s3fetch")
S5CMD = "github.com/peak/s5cmd/v2@latest"
SECONDS = 600.0


def fetch(folder: Path, say: Callable[[str], None]) -> None:
    """Install what is not there yet. What cannot be had is told, and is missing from the table.

    Args:
        folder: each Python tool gets a virtual environment here, s5cmd is ``bin/s5cmd``.
        say: where progress goes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in PACKAGES:
        target = folder / name
        if not (target / "bin" / "pip").exists():
            attempt([sys.executable, "-m", "venv", str(target)], say)
        attempt([str(target / "bin" / "pip"), "install", "-q", name], say)
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if go is None:
        say("s5cmd is left out: it is built from source, and there is no Go on this machine")
    elif not (folder / "bin" / "s5cmd").exists():
        places = {"GOBIN": "bin", "GOPATH": "go", "GOCACHE": "go-cache"}
        attempt(
            [go, "install", S5CMD],
            say,
            {name: str(folder / place) for name, place in places.items()},
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
