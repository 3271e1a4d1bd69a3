"""The command `artifact`: `s3mount artifact` under the name that pipelines know."""

import sys

from s3mount.cli.main import run


def main() -> None:
    """The entry point."""
    sys.exit(run(["artifact", *sys.argv[1:]]))
