"""What can be read only once (standard input, a pipe), kept in a file until it is pushed."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from s3mount.artifact.failures import NotPushable
from s3mount.artifact.tree import STDIN


@contextmanager
def spooled(source: str) -> Iterator[str]:
    """Copy a stream to a file with a name that no other has; the file is gone at the end of the block.

    Args:
        source: ``-``, or a path that can be opened.

    Raises:
        NotPushable: it cannot be read, or not be kept.
    """
    with tempfile.TemporaryDirectory(prefix="s3mount-") as folder:
        path = os.path.join(folder, f"stdin-{os.urandom(5).hex()}")
        try:
            if source in STDIN:
                _copy(sys.stdin.buffer, path)
            else:
                with open(source, "rb") as stream:
                    _copy(stream, path)
        except (OSError, AttributeError) as error:  # there may be no standard input at all
            why = error.strerror if isinstance(error, OSError) else "it is closed"
            raise NotPushable(f"'{source}' cannot be read: {why}") from error
        yield path


def _copy(stream: BinaryIO, path: str) -> None:
    with open(path, "xb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)
