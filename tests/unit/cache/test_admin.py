"""What the command line does to a cache, beside a live mount."""

import os

import pytest

from s3mount.cache import admin
from s3mount.cache.cache import ObjectId
from s3mount.cache.trailer import CELL
from s3mount.cache.verify import verify
from s3mount.errors import CacheError
from tests.unit.cache.builders import disk_bytes, fill, make_oid, now, put

LARGE = make_oid("large", 4 * CELL)


@pytest.fixture
def filled(cache):
    for number in range(5):
        put(cache, make_oid(f"k{number}", 10_000))
        cache.maintain(1000.0 + number)
    put(cache, ObjectId("http://endpoint/other", "k", "e", 100))
    held = cache.open_object(LARGE)
    fill(held, 0, CELL)
    fill(held, 2 * CELL, 3 * CELL)
    held.close()
    cache.maintain(2000.0)
    return cache


def test_info_counts_by_store(filled, root):
    found = admin.info(root)
    assert found.objects == 7
    assert found.used == disk_bytes(root) + 4096  # the directory of the large object
    assert [(store.store[-6:], store.objects) for store in found.stores] == [
        ("bucket", 6),
        ("/other", 1),
    ]
    assert sum(store.cached for store in found.stores) == found.used


def test_no_cache_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(CacheError) as error:
        admin.info(tmp_path / "nothing")
    assert error.value.hint
    assert not (tmp_path / "nothing").exists()


def damage_one(root, name):
    path = next(path for path in (root / "v2/objects").rglob(name) if path.is_file())
    raw = bytearray(path.read_bytes())
    raw[50] ^= 1
    path.write_bytes(raw)
    return path


def test_verify_finds_and_repairs(filled, root):
    clean = verify(root, repair=True)
    assert (clean.extents, clean.bad, clean.removed) == (8, [], 0)
    assert clean.checked == 5 * 10_000 + 100 + 2 * CELL
    path = damage_one(root, "20000-30000")
    found = verify(root, repair=False)
    assert [bad.path for bad in found.bad] == [str(path)]
    assert path.exists()
    held = filled.open_object(LARGE)
    assert verify(root, repair=True).leased == 1
    assert path.exists()
    held.close()
    assert verify(root, repair=True).removed == 1
    assert not path.exists()
    assert verify(root, repair=True).extents == 7
    assert admin.info(root).used == disk_bytes(root) + 4096


def test_verify_knows_an_extent_in_the_wrong_place(filled, root):
    whole = [path for path in (root / "v2/objects").glob("*/*") if path.is_file()]
    whole[0].write_bytes(whole[1].read_bytes())
    (bad,) = verify(root, repair=False).bad
    assert bad.path == str(whole[0])


def test_prune_by_age_and_size(filled, root):
    report = admin.prune(root, older_than=1002.5)
    assert (report.objects, report.leased) == (3, 0)
    assert report.freed == 3 * 12_288
    before = admin.info(root).used
    report = admin.prune(root, to_bytes=before - 5000)
    assert (report.objects, admin.info(root).used) == (1, before - 12_288)
    assert admin.info(root).used == disk_bytes(root) + 4096


def test_prune_leaves_leased_objects_and_says_so(filled, root):
    held = filled.open_object(make_oid("k0", 10_000))
    report = admin.prune(root, to_bytes=0)
    assert (report.objects, report.leased) == (6, 1)
    assert held.read(0, 10_000) is not None
    held.close()


def test_prune_removes_what_belongs_to_nothing(filled, root):
    (root / "v2/tmp/99999999-abc.1").write_bytes(b"left behind")
    (root / "v2/sessions/99999999-abc").write_bytes(b"")
    lost = next(path for path in (root / "v2/objects").glob("*/*") if path.is_file())
    lost.unlink()
    (lost.parent / "stranger").write_bytes(b"?")
    report = admin.prune(root)
    assert report.orphans == 2
    assert os.listdir(root / "v2/tmp") == []
    assert admin.info(root).objects == 6
    assert not (root / "v2/sessions/99999999-abc").exists()


def test_clear_leaves_only_what_is_leased(filled, root):
    held = filled.open_object(LARGE)
    report = admin.clear(root)
    assert (report.objects, report.leased) == (6, 1)
    assert held.read(0, CELL) is not None
    assert admin.info(root).used == disk_bytes(root) + 4096
    held.close()
    before = disk_bytes(root)
    assert admin.clear(root).freed == before + 4096
    assert (admin.info(root).used, disk_bytes(root)) == (0, 0)
    put(filled, LARGE)
    filled.maintain(now())
    assert admin.info(root).objects == 1
