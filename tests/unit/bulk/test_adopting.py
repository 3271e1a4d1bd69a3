"""A file that was fetched becomes part of the cache."""

import random

import pytest

from s3mount.bulk.adopting import PART, Adopter
from s3mount.cache.layout import ObjectId
from s3mount.store.memory import MemoryStore
from tests.unit.bulk.sessions import session_over

BODY = random.Random(1).randbytes(2 * PART + 12345)


@pytest.fixture
def session(tmp_path):
    with session_over(MemoryStore(), tmp_path / "cache") as session:
        yield session


def oid_of(session, meta):
    return ObjectId(session.store.identity, meta.key, meta.etag, meta.size)


def test_it_is_read_from_the_cache_though_the_file_is_gone(session, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BODY)
    meta = session.store.put("k", BODY)
    with Adopter(session) as adopter:
        adopter.take(meta, str(path))
        path.unlink()
    session.writer.submit(lambda: None)
    held = session.cache.open_object(oid_of(session, meta))
    try:
        assert held.missing(0, len(BODY)) == []
        assert bytes(held.read(0, len(BODY))) == BODY
    finally:
        held.close()


def test_a_file_of_another_size_or_none_is_not_taken(session, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BODY[:-1])
    meta = session.store.put("k", BODY)
    with Adopter(session) as adopter:
        adopter.take(meta, str(path))
        adopter.take(meta, str(tmp_path / "nowhere"))
    assert not session.cache.is_whole(oid_of(session, meta))


def test_what_is_there_already_is_left(session, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BODY)
    meta = session.store.put("k", BODY)
    for _ in range(2):
        with Adopter(session) as adopter:
            adopter.take(meta, str(path))
    assert session.cache.usage().used < 2 * len(BODY)
