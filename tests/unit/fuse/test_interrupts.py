"""Which signals are meant to end a program that waits."""

import os
import signal
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.fuse.interrupts import ENDING, is_meant, pending_to_end
from tests.support.deaf import deaf_program


def masks(numbers):
    return f"{sum(1 << (number - 1) for number in numbers):016x}"


signals = st.frozensets(st.integers(1, 64))


@given(signals, signals, signals)
def test_what_waits_for_the_thread_or_its_process_counts(own, shared, blocked):
    text = (
        f"Name:\tcat\nSigPnd:\t{masks(own)}\nShdPnd:\t{masks(shared)}\nSigBlk:\t{masks(blocked)}\n"
    )
    assert pending_to_end(text) == bool((own | shared) & ENDING)


@pytest.mark.parametrize(
    ("number", "is_ending"),
    [
        (signal.SIGINT, True),
        (signal.SIGTERM, True),
        (signal.SIGALRM, False),
        (signal.SIGCHLD, False),
    ],
)
def test_a_real_process(number, is_ending):
    with deaf_program() as process:
        assert not is_meant(process)
        os.kill(process, number)
        assert is_meant(process) == is_ending


def test_who_is_gone_waits_for_nothing():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert is_meant(process.pid)
