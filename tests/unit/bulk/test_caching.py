"""The cache of bulk commands is opened when it is needed, and not before."""

import os

from s3mount.bulk.caching import Caching
from s3mount.cache.limits import Limits

LIMITS = Limits(1 << 30, 0, 1 << 24)


def index_of(root):
    return root / "v2" / "index.sqlite"


def test_nothing_is_opened_before_it_is_asked_for(tmp_path):
    caching = Caching(tmp_path, LIMITS)
    assert not caching.holds_something()
    assert not caching.demand.is_recent()
    caching.maintain(0.0)
    caching.close()
    assert not index_of(tmp_path).exists()


def test_it_is_opened_once(tmp_path):
    caching = Caching(tmp_path, LIMITS)
    cache = caching.opened()
    assert caching.opened() is cache
    assert cache.usage().limits == LIMITS
    caching.close()


def test_who_waits_for_room_is_heard(tmp_path):
    caching = Caching(tmp_path, LIMITS)
    caching.opened().attention.set()
    assert caching.attention.is_set()
    caching.maintain(0.0)
    assert not caching.attention.is_set()
    caching.close()


def test_what_is_there_is_seen(tmp_path):
    caching = Caching(tmp_path, LIMITS)
    os.mkdir(tmp_path / "v2" / "objects" / "00")
    assert caching.holds_something()
    caching.close()
