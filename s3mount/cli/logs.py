"""Where log lines go: a file, stderr in the foreground, the system log in the background.

It sets up the logger called ``s3mount``, once per process, and knows nothing of what is logged. A
file is opened again when logrotate has moved it.
"""

import logging
import os
import sys
from pathlib import Path

from s3mount.errors import ConfigError

SYSTEM_LOG = Path("/dev/log")


def set_up(*, level: str, file: Path | None, foreground: bool) -> None:
    """Send what ``s3mount`` logs to where it belongs."""
    logger = logging.getLogger("s3mount")
    logger.setLevel(level.upper())
    logger.addHandler(_handler(file, foreground=foreground))


def _handler(file: Path | None, *, foreground: bool) -> logging.Handler:
    if file:
        from logging.handlers import WatchedFileHandler

        try:
            handler: logging.Handler = WatchedFileHandler(file)
        except OSError as error:
            raise ConfigError(
                f"--log-file {file}: {error.strerror}", hint="name a file that you may write"
            ) from error
        handler.setFormatter(_with_time())
        return handler
    if foreground:
        handler = logging.StreamHandler(sys.stderr)
        # The journal has its own clock.
        in_journal = "JOURNAL_STREAM" in os.environ
        handler.setFormatter(
            logging.Formatter("%(levelname)s %(message)s") if in_journal else _with_time()
        )
        return handler
    if SYSTEM_LOG.exists():
        from logging.handlers import SysLogHandler

        handler = SysLogHandler(str(SYSTEM_LOG))
        handler.setFormatter(logging.Formatter("s3mount[%(process)d]: %(levelname)s %(message)s"))
        return handler
    return logging.NullHandler()


def _with_time() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
