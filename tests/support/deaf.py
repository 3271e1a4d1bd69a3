"""A program that no signal ends but SIGKILL: what it is sent stays pending, as in one that waits in the kernel."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

PROGRAM = """
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
print('ready', flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def deaf_program() -> Iterator[int]:
    """Its process, while the context is open."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.kill()
