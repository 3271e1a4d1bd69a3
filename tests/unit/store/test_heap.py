"""Memory that is freed stays with the process: counted in page faults, each run in a process of its own."""

import subprocess
import sys

SCRIPT = """
import resource
from s3mount.store.heap import keep_freed
{call}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def gather():
    pieces = [bytes(16 * 1024) for _ in range(64)]
    return b"".join(pieces)
gather()
before = faults()
for _ in range(50):
    gather()
print(faults() - before)
"""


def faults(call: str) -> int:
    script = SCRIPT.format(call=call)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return int(done.stdout)


def test_memory_that_is_freed_is_used_again():
    """50 times 2 MiB are 25,000 pages."""
    assert faults("keep_freed()") < 2_000


def test_without_that_it_is_not():
    assert faults("") > 10_000
