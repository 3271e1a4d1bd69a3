"""Which remote path and which local path a command means: plain functions over texts.

Remote paths are ``artifacts/jobs/ID/NAME``. What the caller writes is cleaned as Unix paths are: empty parts and ``.``
are dropped, ``..`` is resolved. A path that would leave the directory of its own ID is refused.
"""

import enum
import posixpath
from typing import NamedTuple

from s3mount.errors import ConfigError, S3MountError

ROOT = "artifacts"


class Level(enum.StrEnum):
    """To what an artifact belongs."""

    JOB = "job"
    WORKFLOW = "workflow"
    PROJECT = "project"

    @property
    def variable(self) -> str:
        """The environment variable that names the current one."""
        return f"SEMAPHORE_{self.upper()}_ID"

    @property
    def flag(self) -> str:
        """The flag that names another one."""
        return f"--{self}-id"


class Escapes(S3MountError):
    """A path leads out of the directory of its own ID."""


class Unspellable(S3MountError):
    """A path holds bytes that no store takes in a name."""


class Scope(NamedTuple):
    """One job, workflow or project.

    Attributes:
        level: which of them.
        id: its ID; one part of a path.
    """

    level: Level
    id: str

    @property
    def root(self) -> str:
        """The remote path that all of its artifacts are below."""
        return f"{ROOT}/{self.level}s/{self.id}"


class Places(NamedTuple):
    """The two ends of a transfer.

    Attributes:
        remote: without a slash at either end.
        local: as the operating system takes it.
    """

    remote: str
    local: str


def scope_of(level: Level, asked: str, current: str) -> Scope:
    """The scope that a command works in.

    Args:
        level: of the command.
        asked: the ID behind the flag; empty when it was not used.
        current: the ID in the environment.

    Raises:
        ConfigError: there is no ID, or it cannot be part of a path.
    """
    chosen = asked or current
    if not chosen:
        raise ConfigError(
            f"{level} ID is not set. Please use the {level.variable} environment variable "
            f"or the {level.flag} parameter to configure it"
        )
    if "/" in chosen or chosen in {".", ".."} or not chosen.isprintable():
        raise ConfigError(
            f"{level} ID {chosen!r} cannot be part of a path",
            hint="an ID has no slash and is neither . nor ..",
        )
    return Scope(level, chosen)


def push_places(scope: Scope, source: str, destination: str = "") -> Places:
    """Where a local file or directory goes: below its own name, or below ``destination``.

    Raises:
        Escapes: it would leave the scope.
        Unspellable: it is not UTF-8.
    """
    name = to_relative(destination) or base(source)
    return Places(_below(scope, name, destination or source), clean(source))


def pull_places(scope: Scope, source: str, destination: str = "") -> Places:
    """What is fetched, and where to: the last part of its name, or ``destination``.

    Raises:
        Escapes: it would leave the scope.
        Unspellable: it is not UTF-8.
    """
    name = to_relative(source)
    return Places(_below(scope, name, source), clean(destination or base(name)))


def remote_path(scope: Scope, path: str) -> str:
    """What is yanked, listed or looked for.

    Raises:
        Escapes: it would leave the scope.
        Unspellable: it is not UTF-8.
    """
    return _below(scope, to_relative(path), path)


def name_below(scope: Scope, remote: str) -> str:
    """The name of an artifact as commands take it."""
    return remote.removeprefix(scope.root).removeprefix("/")


def _below(scope: Scope, name: str, written: str) -> str:
    remote = join(scope.root, name)
    if remote != scope.root and not remote.startswith(f"{scope.root}/"):
        raise Escapes(
            f"{written!r} leads out of the artifacts of {scope.level} {scope.id}",
            hint=f"leave out the .. ; {scope.level.flag} names another {scope.level}",
        )
    try:
        remote.encode()
    except UnicodeEncodeError as error:
        raise Unspellable(
            f"{written!r} is not UTF-8", hint="give it another name, with -d where it is pushed"
        ) from error
    return remote


def to_relative(path: str) -> str:
    """A path without what leads to a root or above it; empty when nothing is left of it.

    The dots at the beginning of its first name stay: ``./../.env`` is ``.env``.
    """
    cleaned = clean(path) if path else ""
    if not cleaned.strip("."):
        return ""
    rest = cleaned.lstrip("./")
    dropped = cleaned[: len(cleaned) - len(rest)]
    dots = len(dropped) - len(dropped.rstrip("."))
    return "." * dots + rest


def clean(path: str) -> str:
    """The shortest path of the same meaning: ``a//b/../c/`` is ``a/c``; ``.`` when nothing is left."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def join(*parts: str) -> str:
    """Parts joined and cleaned; empty ones are passed over, and no parts are an empty path."""
    present = [part for part in parts if part]
    return clean("/".join(present)) if present else ""


def base(path: str) -> str:
    """The last part: ``b`` of ``a/b/``, ``/`` of ``/``, ``.`` of nothing."""
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"
