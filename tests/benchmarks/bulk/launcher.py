"""Runs one command and writes down what it cost: ``python -I -S launcher.py REPORT COMMAND...``.

A small process of its own: the kernel's figure for the memory of a child begins with that of whoever started it.
"""

import json
import os
import sys
import time


def main(report: str, *command: str) -> None:
    """Run, wait, write seconds, CPU seconds and bytes of the largest process as JSON."""
    started = time.time()  # noqa: TID251
    begin = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, used = os.wait4(pid, 0)
    facts = {
        "seconds": time.perf_counter() - begin,
        "started": started,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * 1024,
        "status": os.waitstatus_to_exitcode(status),
    }
    with open(report, "w") as file:
        json.dump(facts, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
