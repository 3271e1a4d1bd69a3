"""Small objects that come all at once: their files are those that a fill makes, or there is none."""

import errno
import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from s3mount.cache import temporary, vacancy
from s3mount.cache.cache import Cache, Limits, ObjectId
from s3mount.cache.trailer import CELL
from s3mount.metrics import Counters
from tests.unit.cache.builders import body_of, disk_bytes, fill, make_oid, now

OID = make_oid("small", 5000)


def file_of(root, oid):
    digest = oid.digest()
    return Path(root, "v2", "objects", digest[:2], digest)


def left_in(root):
    return os.listdir(Path(root, "v2", "tmp"))


@pytest.fixture(params=[True, False], ids=["nameless", "named"])
def nameless(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(temporary, "makes_nameless", lambda _: False)


@pytest.mark.usefixtures("nameless")
def test_what_is_kept_is_read_and_counted(cache, root):
    assert cache.vacancy(OID).take(body_of(OID))
    assert cache.is_whole(OID)
    assert cache.vacancy(OID) is None
    held = cache.open_object(OID)
    assert held.missing(0, OID.size) == []
    assert bytes(held.read(0, OID.size)) == body_of(OID)
    held.close()
    cache.maintain(now())
    assert (cache.usage().objects, cache.usage().used) == (1, disk_bytes(root))
    assert left_in(root) == []


TEXTS = st.text(min_size=1, max_size=30)


@given(st.builds(ObjectId, TEXTS, TEXTS, TEXTS, st.integers(1, CELL) | st.sampled_from([CELL])))
def test_the_file_is_the_one_that_a_fill_makes(tmp_path_factory, oid):
    files = []
    for name in ("taken", "filled"):
        root = tmp_path_factory.mktemp(name)
        cache = Cache(root, Limits(1 << 30, 0, 1 << 24), counters=Counters())
        if name == "taken":
            assert cache.vacancy(oid).take(body_of(oid))
        else:
            held = cache.open_object(oid)
            fill(held, 0, oid.size)
            held.close()
        files.append(file_of(root, oid).read_bytes())
        cache.close()
    assert files[0] == files[1]


@pytest.mark.parametrize("size", [0, CELL + 1])
def test_what_is_empty_or_too_large_has_none(cache, size):
    assert cache.vacancy(make_oid("k", size)) is None


def test_what_came_in_parts_is_left_alone(cache):
    oid = make_oid("k", CELL)
    held = cache.open_object(oid)
    fill(held, 0, 1000)
    assert cache.vacancy(oid) is None
    held.close()


@pytest.mark.usefixtures("nameless")
@pytest.mark.parametrize("parts", [False, True])
def test_others_may_come_first(make_cache, root, parts):
    cache, other = make_cache(), make_cache()
    place = cache.vacancy(OID)
    held = other.open_object(OID)
    fill(held, 0, 1000 if parts else OID.size)
    assert not place.take(body_of(OID))
    assert bytes(held.read(0, 1000)) == body_of(OID)[:1000]
    held.close()
    assert left_in(root) == []
    for each in (cache, other):
        each.maintain(now())
    assert cache.usage().used >= disk_bytes(root)


def test_where_there_is_no_room_nothing_is_kept(make_cache, root):
    cache = make_cache(Limits(4096, 0, 1 << 20))
    assert not cache.vacancy(OID).take(body_of(OID))
    assert not file_of(root, OID).exists()


@pytest.mark.usefixtures("nameless")
@pytest.mark.parametrize("how", ["refuses", "is short"])
def test_a_disk_that_refuses(make_cache, root, monkeypatch, how):
    cache = make_cache()

    def writev(fd, pieces):
        if how == "refuses":
            raise OSError(errno.ENOSPC, "no space left")
        return os.write(fd, pieces[0])

    with monkeypatch.context() as patch:
        patch.setattr(vacancy.os, "writev", writev)
        assert not cache.vacancy(OID).take(body_of(OID))
    assert not file_of(root, OID).exists()
    assert left_in(root) == []
    cache.maintain(now())
    assert cache.usage().used == 0
    assert cache.vacancy(OID).take(body_of(OID))
