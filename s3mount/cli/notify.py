"""Words to the service manager over NOTIFY_SOCKET, as sd_notify(3) describes them.

It sends one datagram per word and knows nothing of what is mounted; without a socket, or with one
that nobody reads, it does nothing. Blocking, never waits.
"""

import contextlib
import os
import socket
from collections.abc import Mapping


def notify(*words: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell the service manager, for example ``READY=1``, ``STATUS=...``; False when there is none."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = f"\\0{address[1:]}"  # the abstract namespace
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as endpoint,
    ):
        endpoint.connect(address)
        endpoint.sendall("\n".join(words).encode())
        return True
    return False
