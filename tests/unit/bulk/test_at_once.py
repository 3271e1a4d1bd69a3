"""A small object on its way into the cache, by whichever way its reply comes."""

import pytest
from isal import isal_zlib

from s3mount.bulk.arriving import AtOnce
from s3mount.cache.cache import Cache, ObjectId
from s3mount.cache.fill import Unsound
from s3mount.errors import CacheFull, ServerFault
from s3mount.metrics import Counters
from s3mount.store.interface import Head, ObjectMeta
from tests.unit.cache.builders import ROOMY, body_of, put

META = ObjectMeta("k", 5000, "e", 0)
OID = ObjectId("store", "k", "e", 5000)
BODY = body_of(OID)


class Desk:
    """Where requests for parcels end up, and a cache beside it."""

    def __init__(self, root):
        self.cache = Cache(root, ROOMY, counters=Counters())
        self.asked = []
        self.trips = []
        vacancy = self.cache.vacancy(OID)
        opened = lambda: self.cache.open_object(OID)  # noqa: E731
        self.sink = AtOnce(self, META, vacancy, opened, lambda _, trip: self.trips.append(trip))

    def get_small(self, parcel):
        self.asked.append((parcel.key, parcel.size, parcel.etag))

    def call(self, word):
        word()

    @property
    def trip(self):
        (trip,) = self.trips
        return trip

    def kept(self):
        held = self.cache.open_object(OID)
        found = held.read(0, OID.size)
        kept = None if found is None else bytes(found)
        held.close()
        return kept


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "cache")
    yield desk
    desk.cache.close()


def head(crc32=None):
    return Head("e", 5000, "version", crc32)


@pytest.mark.parametrize("crc32", [None, isal_zlib.crc32(BODY)])
def test_all_of_it_at_once(desk, crc32):
    assert desk.asked == [("k", 5000, "e")]
    desk.sink.arrived(head(crc32), BODY)
    assert (desk.trip.error, desk.trip.fetched, desk.trip.version_id) == (None, 5000, "version")
    assert desk.kept() == BODY


def test_piece_by_piece(desk):
    desk.sink.head(head())
    for at in range(0, 5000, 1000):
        desk.sink.write(BODY[at : at + 1000])
    desk.sink.finish()
    assert (desk.trip.error, desk.trip.fetched, desk.trip.version_id) == (None, 5000, "version")
    assert desk.kept() == BODY


def test_other_bytes_than_the_store_has_are_not_kept(desk):
    desk.sink.arrived(head(isal_zlib.crc32(BODY) ^ 1), BODY)
    assert isinstance(desk.trip.error, Unsound)
    assert desk.kept() is None


def test_others_were_faster(desk):
    put(desk.cache, OID)
    desk.sink.arrived(head(), BODY)
    assert (desk.trip.error, desk.trip.fetched) == (None, 5000)
    assert desk.kept() == BODY


def test_no_room_is_told(desk, monkeypatch):
    monkeypatch.setattr(desk.cache._shared.space, "reserve", lambda amount: False)
    desk.sink.arrived(head(), BODY)
    assert isinstance(desk.trip.error, CacheFull)


def test_no_reply_at_all(desk):
    desk.sink.fail(ServerFault("no"))
    assert isinstance(desk.trip.error, ServerFault)
    assert (desk.trip.fetched, desk.kept()) == (0, None)


def test_a_reply_that_breaks_off(desk):
    desk.sink.head(head())
    desk.sink.write(BODY[:1000])
    desk.sink.fail(ServerFault("no"))
    assert isinstance(desk.trip.error, ServerFault)
    assert (desk.trip.fetched, desk.kept()) == (1000, None)
