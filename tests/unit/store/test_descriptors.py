"""How many files a process may have open, and what that allows."""

import resource
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.store.descriptors import KEPT, PER_TRANSFER, affordable, limit, share

COUNTS = st.integers(1, 1 << 20)


@given(COUNTS, COUNTS)
def test_transfers_leave_room_for_everything_else(wanted, descriptors):
    allowed = affordable(wanted, descriptors)
    assert 1 <= allowed <= wanted
    cached = share(1 << 20, descriptors)
    assert allowed == 1 or allowed * PER_TRANSFER + KEPT + cached <= descriptors


@given(COUNTS)
def test_a_usual_limit_allows_what_is_usual(descriptors):
    assert affordable(384, 1 << 19) == 384
    assert share(4096, 1 << 19) == 4096
    assert 1 <= share(4096, descriptors) <= max(1, descriptors // 4)


def test_the_limit_is_the_process_s(monkeypatch):
    assert limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: infinite)
    assert limit() > 1 << 20


@pytest.mark.parametrize("hard", [300, 2000])
def test_a_process_may_have_as_many_as_the_machine_allows(hard):
    """In a process of its own: a hard limit cannot be taken back."""
    script = (
        "import resource; from s3mount.store import descriptors as d;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (200, {hard})); d.raise_limit(); print(d.limit())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert int(done.stdout) == hard
