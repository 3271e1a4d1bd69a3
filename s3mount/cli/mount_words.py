"""The words that mount(8) and fstab put behind ``-o``, sorted into ours and those that are for others.

It knows which words mean nothing here because a mount is always read-only and without devices, and
which ask for something that s3mount does not do. Values of options are read elsewhere. Plain
functions.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from s3mount.config import split_o
from s3mount.errors import ConfigError

# For mount(8), systemd or fsck; or always so here; or harmless either way. mount(8) itself adds rw where fstab does
# not say ro, and mount.fuse adds dev and suid, so these are no sign of what a person expects.
# fmt: off
_FOR_OTHERS = frozenset({
    "defaults", "rw", "ro", "auto", "noauto", "nofail", "_netdev",
    "user", "nouser", "users", "owner", "noowner", "group", "nogroup",
    "dev", "nodev", "suid", "nosuid", "exec", "noexec", "sync", "async", "dirsync", "nodirsync",
    "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime",
    "strictatime", "nostrictatime", "lazytime", "nolazytime",
    "mand", "nomand", "iversion", "noiversion", "silent", "loud", "symfollow", "nosymfollow",
    "default_permissions", "fsname", "subtype",
})
# fmt: on
_FOR_OTHERS_PREFIXES = ("x-", "X-", "comment")

_REFUSED = {
    "remount": "a mount cannot be changed: unmount it and mount it again",
    "bind": "s3mount mounts buckets; for a bind mount say mount --bind",
    "nonempty": "mount on an empty directory",
    "allow_root": "use allow_other",
}


@dataclass(frozen=True, slots=True)
class Words:
    """What ``-o`` says to us.

    Attributes:
        options: names in either spelling, None where a bare name switches on.
        config: the file of options to read, empty when none is named.
    """

    options: dict[str, str | None] = field(default_factory=dict)
    config: str = ""


def sort_out(texts: Iterable[str]) -> Words:
    """Join all ``-o`` and leave out what is for others; the last of equals wins."""
    pairs: dict[str, str | None] = {}
    for text in texts:
        for name, value in split_o(text).items():
            pairs.pop(name, None)  # so that the last of equals is also the last in order
            pairs[name] = value
    for name, hint in _REFUSED.items():
        if name in pairs:
            raise ConfigError(f"-o {name} is not possible here", hint=hint)
    config = pairs.pop("config", None) or ""
    options = {name: value for name, value in pairs.items() if _is_ours(name)}
    return Words(options, config)


def _is_ours(name: str) -> bool:
    return name not in _FOR_OTHERS and not name.startswith(_FOR_OTHERS_PREFIXES)
