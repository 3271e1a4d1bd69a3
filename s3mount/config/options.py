"""The one table of options: `MountOptions` with, on each field, everything else that is known of it.

The flags of the command line, the names in the environment, in files and behind ``-o``, the help
and the page in ``docs/`` are all derived from these fields; nothing about an option is written down
twice. It does not know where values come from or which of them wins. Values and plain functions
only.
"""

import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

from s3mount.config import kinds, quantities
from s3mount.config.kinds import Value

WHERE = "Where the objects are"
CACHE = "Cache on local disk"
VIEW = "What the files look like"
PATIENCE = "Speed, memory and patience"
LOGGING = "Logging"
GROUPS = (WHERE, CACHE, VIEW, PATIENCE, LOGGING)

Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Option:
    """What is known of one option besides its value.

    Attributes:
        name: as it is spelled behind ``--``.
        summary: one line of help.
        allowed: what may be written, as a phrase.
        default_text: the default as a person would write it, or a phrase that says what it is.
        read: text to value; raises ValueError with a phrase.
        write: value to text, such that ``read`` gives the value again.
        bounds: the lowest and the highest value, in words a person would write; empty for no bound.
        derive: the default where it depends on the environment.
    """

    name: str
    group: str
    summary: str
    allowed: str
    metavar: str
    default_text: str
    read: Callable[[str], Value]
    write: Callable[[Value], str]
    bounds: tuple[str, str]
    derive: Callable[[Environment], Value] | None

    @property
    def attribute(self) -> str:
        """The name of the field, and the spelling behind ``-o``."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return f"S3MOUNT_{self.attribute.upper()}"

    @property
    def is_switch(self) -> bool:
        """Whether the bare name means yes."""
        return self.read is quantities.read_yes_or_no

    def parse(self, text: str) -> Value:
        """Read a value and hold it against the bounds; ValueError says in a phrase what is wrong."""
        value = self.read(text)
        if isinstance(value, quantities.Share):
            return value
        lowest, highest = self.bounds
        if lowest and value < self.read(lowest):
            raise ValueError(f"is less than {lowest}")
        if highest and value > self.read(highest):
            raise ValueError(f"is more than {highest}")
        return value

    def default(self, environment: Environment) -> Value:
        """The value where nobody said anything."""
        return self.derive(environment) if self.derive else self.parse(self.default_text)


def default_cache_dir(environment: Environment) -> Path:
    """Where the cache is when nobody says: every mount and command of one user shares it."""
    if environment.get("XDG_CACHE_HOME", "").startswith("/"):
        return Path(environment["XDG_CACHE_HOME"]) / "s3mount"
    if environment.get("HOME", "").startswith("/"):
        return Path(environment["HOME"]) / ".cache" / "s3mount"
    if os.getuid() == 0:
        return Path("/var/cache/s3mount")  # at boot root has no HOME
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "s3mount"
    except KeyError:
        return Path(f"/var/tmp/s3mount-{os.getuid()}")


def _option(
    kind: kinds.Kind,
    group: str,
    default: str,
    summary: str,
    *,
    bounds: tuple[str, str] = ("", ""),
    derive: Callable[[Environment], Value] | None = None,
) -> Value:
    """A field of `MountOptions`; its name becomes the option's name."""
    known = {"kind": kind, "group": group, "default": default, "summary": summary}
    metadata = known | {"bounds": bounds, "derive": derive}
    if derive:
        return field(default_factory=lambda: derive(os.environ), metadata=metadata)
    return field(default=kind.read(default), metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """Every option, read and checked. ``MountOptions()`` holds the defaults."""

    prefix: str = _option(
        kinds.PREFIX, WHERE, "", "Show only keys that begin with this, without it."
    )
    endpoint_url: str = _option(kinds.URL, WHERE, "", "Endpoint of an S3-compatible service.")
    region: str = _option(kinds.TEXT, WHERE, "", "Region of the bucket.")
    profile: str = _option(
        kinds.TEXT, WHERE, "", "Profile of ~/.aws/config to take credentials from."
    )
    no_sign_request: bool = _option(kinds.SWITCH, WHERE, "no", "Read a public bucket, unsigned.")
    requester_pays: bool = _option(
        kinds.SWITCH, WHERE, "no", "Agree to pay for requests and traffic."
    )
    addressing_style: str = _option(
        kinds.one_of("auto", "path", "virtual"),
        WHERE,
        "auto",
        "Where the bucket's name goes in URLs.",
    )
    ca_bundle: str = _option(
        kinds.CA_BUNDLE, WHERE, "", "File of certificate authorities to trust."
    )
    cache_dir: Path = _option(  # noqa: RUF009 -- it gives a field
        kinds.PATH,
        CACHE,
        "$XDG_CACHE_HOME/s3mount, else ~/.cache/s3mount; /var/cache/s3mount for root at boot",
        "Directory of the cache; mounts and commands share it.",
        derive=default_cache_dir,
    )
    cache_size: int = _option(
        kinds.SHARE, CACHE, "10GiB", "The most that the cache may hold.", bounds=("1MiB", "")
    )
    cache_min_free: int = _option(
        kinds.SHARE, CACHE, "1GiB", "Disk space that the cache leaves to others."
    )
    metadata_ttl: float = _option(
        kinds.DURATION,
        VIEW,
        "60s",
        "How long a listing is believed before it is asked for again.",
        bounds=("0s", "3650d"),
    )
    negative_ttl: float = _option(
        kinds.DURATION,
        VIEW,
        "10s",
        "How long it is believed that a name does not exist.",
        bounds=("0s", "3650d"),
    )
    uid: int = _option(
        kinds.USER,
        VIEW,
        "the user that mounts",
        "Owner of every file.",
        derive=lambda _: os.getuid(),
    )
    gid: int = _option(
        kinds.GROUP,
        VIEW,
        "the group that mounts",
        "Group of every file.",
        derive=lambda _: os.getgid(),
    )
    file_mode: int = _option(kinds.MODE, VIEW, "0444", "Permissions of files.")
    dir_mode: int = _option(kinds.MODE, VIEW, "0555", "Permissions of directories.")
    allow_other: bool = _option(kinds.SWITCH, VIEW, "no", "Let users other than you see the files.")
    read_ahead: int = _option(
        kinds.SIZE,
        PATIENCE,
        "64MiB",
        "The most that is fetched ahead of a reader, per open file.",
        bounds=("0", "4GiB"),
    )
    memory_limit: int = _option(
        kinds.SIZE,
        PATIENCE,
        "128MiB",
        "The most that bytes on their way may take in memory.",
        bounds=("16MiB", "64GiB"),
    )
    concurrency: int = _option(
        kinds.COUNT,
        PATIENCE,
        "64",
        "Requests under way at once, at the most.",
        bounds=("1", "1024"),
    )
    request_timeout: float = _option(
        kinds.DURATION,
        PATIENCE,
        "30s",
        "How long a program waits for one read or lookup before it gets an error.",
        bounds=("1s", "1h"),
    )
    log_file: Path | None = _option(  # noqa: RUF009 -- it gives a field
        kinds.LOG_FILE, LOGGING, "", "File to log to; else the system log, or stderr with -f."
    )
    log_level: str = _option(
        kinds.one_of("debug", "info", "warning", "error"), LOGGING, "info", "How much to log."
    )


def _table() -> tuple[Option, ...]:
    rows = []
    for column in fields(MountOptions):
        assert column.default is not MISSING or column.default_factory is not MISSING
        kind: kinds.Kind = column.metadata["kind"]
        rows.append(
            Option(
                name=column.name.replace("_", "-"),
                group=column.metadata["group"],
                summary=column.metadata["summary"],
                allowed=_with_bounds(kind.allowed, column.metadata["bounds"]),
                metavar=kind.metavar,
                default_text=column.metadata["default"],
                read=kind.read,
                write=kind.write,
                bounds=column.metadata["bounds"],
                derive=column.metadata["derive"],
            )
        )
    return tuple(rows)


def _with_bounds(allowed: str, bounds: tuple[str, str]) -> str:
    lowest, highest = bounds
    if lowest and highest:
        return f"{allowed}; from {lowest} to {highest}"
    return f"{allowed}; at least {lowest}" if lowest else allowed


OPTIONS = _table()
"""All options in the order in which help shows them."""

BY_ATTRIBUTE = {option.attribute: option for option in OPTIONS}
