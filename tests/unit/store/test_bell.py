"""The bell wakes who waits, and never writes to a number that may be another file's by now."""

import os
import threading
import time

from s3mount.store.bell import Bell


def test_it_wakes_who_waits_once():
    bell = Bell()
    timer = threading.Timer(0.02, bell.ring)
    began = time.monotonic()
    timer.start()
    bell.wait(10)
    assert time.monotonic() - began < 5
    timer.join()
    began = time.monotonic()
    bell.wait(0.05)
    assert time.monotonic() - began >= 0.05
    bell.close()


def test_rung_before_it_is_waited_for_it_is_heard():
    bell = Bell()
    bell.ring()
    bell.ring()
    began = time.monotonic()
    bell.wait(10)
    assert time.monotonic() - began < 5
    bell.close()


def test_a_number_that_has_another_file_is_left_alone(tmp_path):
    bell = Bell()
    with (tmp_path / "other").open("wb") as other:
        bell.close()
        os.dup2(other.fileno(), bell.fd)
        bell.ring()
        bell.close()
        os.close(bell.fd)
    assert (tmp_path / "other").read_bytes() == b""
