"""A cache in a temporary directory."""

import pytest

from s3mount.cache.cache import Cache
from s3mount.metrics import Counters
from tests.unit.cache.builders import ROOMY


@pytest.fixture
def make_cache(tmp_path):
    opened = []

    def make(limits=ROOMY, root=None):
        cache = Cache(root or tmp_path / "cache", limits, counters=Counters())
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
