"""What is mounted, as the kernel tells it in /proc/self/mountinfo.

It parses the table and answers which mount is at a path or above it; it never touches the mounts
themselves, so a dead or hanging one cannot stop it. Plain functions over the text; `read_mounts`
reads the file.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

MOUNTINFO = Path("/proc/self/mountinfo")
FSTYPE = "fuse.s3mount"

_FIELDS_BEFORE_OPTIONAL = 6


class Mount(NamedTuple):
    """One line of the table.

    Attributes:
        device: ``major:minor``; for FUSE the minor number is the name of the connection.
        point: where it is mounted, as this process sees it.
        fstype: ``ext4``, ``fuse.s3mount``.
        source: what is mounted.
    """

    device: str
    point: str
    fstype: str
    source: str

    @property
    def is_ours(self) -> bool:
        """Whether s3mount made it."""
        return self.fstype == FSTYPE


def parse(table: bytes) -> list[Mount]:
    """Read the table; lines that are not understood are passed over. Later lines cover earlier ones."""
    return [mount for line in table.splitlines() if (mount := _parse_line(line))]


def _parse_line(line: bytes) -> Mount | None:
    fields = line.split(b" ")
    if b"-" not in fields[_FIELDS_BEFORE_OPTIONAL:]:
        return None
    end = fields.index(b"-", _FIELDS_BEFORE_OPTIONAL)
    if len(fields) < end + 3:
        return None
    device, point, fstype, source = fields[2], fields[4], fields[end + 1], fields[end + 2]
    return Mount(_text(device), _text(point), _text(fstype), _text(source))


def _text(field: bytes) -> str:
    # The kernel writes space, tab, newline, backslash and # as octal escapes; all else is bytes.
    unescaped = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 0xFF]), field)
    return os.fsdecode(unescaped)


def read_mounts() -> list[Mount]:
    """All mounts that this process sees."""
    return parse(MOUNTINFO.read_bytes())


def mount_at(mounts: Sequence[Mount], path: Path) -> Mount | None:
    """The mount whose root is ``path``; the topmost where several are stacked."""
    return next((mount for mount in reversed(mounts) if mount.point == str(path)), None)


def mount_above(mounts: Sequence[Mount], path: Path) -> Mount | None:
    """The mount that ``path`` lies in, itself not counted."""
    for parent in path.parents:
        if mount := mount_at(mounts, parent):
            return mount
    return None
