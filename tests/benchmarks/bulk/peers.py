"""Brings the peers that are not on the machine into a folder of their own, never into s3mount's environment."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

FETCHED = Path("/var/tmp/s3mount-bench-tools")
"""Where they are brought to when nobody says."""
PACKAGES = ("awscli", "s3fetch")
GO_PACKAGES = {
    "s5cmd": "github.com/peak/s5cmd/v2@latest",
    "versitygw": "github.com/versity/versitygw/cmd/versitygw@latest",
}
"""A peer, and a server that is faster than the one that tests use; by what is built."""
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
    places = {"GOBIN": "bin", "GOPATH": "go", "GOCACHE": "go-cache"}
    for name, package in GO_PACKAGES.items():
        if go is None:
            say(f"{name} is left out: it is built from source, and there is no Go on this machine")
        elif not (folder / "bin" / name).exists():
            attempt(
                [go, "install", package],
                say,
                {variable: str(folder / place) for variable, place in places.items()},
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
