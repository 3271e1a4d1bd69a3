"""Which start of the machine this is: after another one, what was known of files may be wrong."""

import functools
from pathlib import Path


@functools.cache
def boot_id() -> str:
    """The number that the kernel gave itself when it started; empty where it does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
