"""What keeps artifacts, for the commands above it.

A backend knows remote paths and nothing of levels and IDs. Every method blocks, uses as many connections as it sees
fit, and either does all that it says or raises.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from s3mount.artifact.tree import LocalFile

Told = Callable[[str, int], None]
"""Called with the remote path and the bytes of each file that is where it belongs, on the caller's thread."""

JOBS = 16
"""Files under way at once."""


class Artifact(NamedTuple):
    """One stored file.

    Attributes:
        remote: its remote path.
        size: bytes; None where the backend does not tell.
        mtime_ns: when it was pushed, nanoseconds since the epoch; None where the backend does not tell.
    """

    remote: str
    size: int | None
    mtime_ns: int | None


class Backend(Protocol):
    """A store of artifacts.

    A remote path names the file of that name or, when there is none, everything below it; never what merely begins
    with the same letters.
    """

    def push(self, files: Sequence[LocalFile], *, force: bool, told: Told) -> None:
        """Store files; what is there already is looked for before the first byte is sent.

        Args:
            files: what goes where.
            force: replace what is there.
            told: of each file that is stored.

        Raises:
            AlreadyExists: without ``force``: something has one of the names.
            AccessDenied: the credentials may not do this.
            S3MountError: something else failed; files that were told of are stored.
        """

    def pull(self, remote: str, local: str, *, force: bool, told: Told) -> None:
        """Write what ``remote`` names to ``local``, and what is below it to below ``local``.

        Every file appears when it is whole. Clashes are looked for before the first byte is fetched.

        Raises:
            NotFound: nothing has this name.
            LocalClash: without ``force``: a local file is there.
            AccessDenied: the credentials may not do this.
            S3MountError: something else failed; files that were told of are written.
        """

    def yank(self, remote: str) -> int:
        """Delete what ``remote`` names; how many files.

        Raises:
            NotFound: nothing has this name.
            AccessDenied: the credentials may not do this.
            S3MountError: something else failed; a part may be deleted.
        """

    def exists(self, remote: str) -> bool:
        """Whether ``remote`` names anything.

        Raises:
            S3MountError: that cannot be told.
        """

    def list(self, remote: str) -> Sequence[Artifact]:
        """What ``remote`` names, in the order of the paths; nothing when it names nothing.

        Raises:
            S3MountError: that cannot be told.
        """

    def close(self) -> None:
        """Give connections and descriptors back."""
