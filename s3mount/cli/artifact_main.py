"""The command `artifact`: `s3mount artifact` under the name that pipelines know."""

import sys

from s3mount.cli import main as commands


def main() -> None:
    """The entry point."""
    commands.main(["artifact", *sys.argv[1:]])
