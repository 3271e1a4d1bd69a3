"""A cache in a temporary directory."""

import os
import tempfile
from pathlib import Path

import pytest

from s3mount.cache.cache import Cache
from s3mount.metrics import Counters
from tests.unit.cache.builders import ROOMY

MEMORY = "/dev/shm"


@pytest.fixture
def tmp_path(tmp_path_factory):
    """A directory in memory: what is tested here is what is on disk, not how long the disk takes."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path_factory.mktemp("cache")
        return
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="s3mount-test-") as folder:
        yield Path(folder)


@pytest.fixture
def make_cache(tmp_path):
    opened = []

    def make(limits=ROOMY, root=None, run=None):
        cache = Cache(root or tmp_path / "cache", limits, counters=Counters(), run=run)
        opened.append(cache)
        return cache

    yield make
    for cache in opened:
        cache.close()


@pytest.fixture
def cache(make_cache):
    return make_cache()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"
