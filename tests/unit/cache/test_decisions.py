"""The plain functions: maps of extents, eviction, names, trailers."""

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.cache import trailer
from s3mount.cache.evict import PIECEWISE, Pressure, Row, choose
from s3mount.cache.extent_map import ExtentMap, subtract
from s3mount.cache.layout import ByteRange, ObjectId, extent_name, parse_extent_name

SPANS = st.tuples(st.integers(0, 60), st.integers(1, 20)).map(
    lambda pair: ByteRange(pair[0], pair[0] + pair[1])
)


def covered(spans):
    return {position for span in spans for position in range(span.start, span.stop)}


@given(st.lists(SPANS, max_size=12), SPANS)
def test_map_of_extents_agrees_with_a_set_of_bytes(spans, asked):
    extents = ExtentMap()
    for span in spans:
        extents = extents.adding(span)
    model = covered(spans)
    assert covered(extents.gaps(*asked)) == covered([asked]) - model
    assert extents.total() == len(model)
    for position in range(90):
        found = extents.at(position)
        reach = max((s.stop for s in spans if s.start <= position < s.stop), default=None)
        assert (found.stop if found else None) == reach
    kept = list(extents)
    assert all(a.start < b.start and a.stop < b.stop for a, b in itertools.pairwise(kept))


@given(st.lists(SPANS, max_size=6), SPANS, st.integers(0, 5))
def test_map_without_an_extent_holds_the_others(spans, asked, which):
    extents = ExtentMap(spans)
    kept = list(extents)
    if kept:
        gone = kept[which % len(kept)]
        rest = extents.without(gone)
        assert covered(rest.gaps(*asked)) == covered([asked]) - covered(
            span for span in kept if span is not gone
        )


@given(st.lists(SPANS, max_size=5), SPANS)
def test_subtract_leaves_what_the_span_does_not_hold(spans, gone):
    gaps = ExtentMap(spans).gaps(0, 90)
    assert covered(subtract(gaps, gone)) == covered(gaps) - covered([gone])
    assert all(gap.start < gap.stop for gap in subtract(gaps, gone))


ROWS = st.lists(
    st.builds(
        Row,
        st.text("abcdef", min_size=3, max_size=3),
        st.one_of(st.integers(0, 5000), st.integers(PIECEWISE, 3 * PIECEWISE)),
        st.floats(0, 100),
        st.booleans(),
    ),
    unique_by=lambda row: row.digest,
    max_size=12,
)


@given(ROWS, st.integers(-5, 4 * PIECEWISE), st.sets(st.text("abcdef", min_size=3, max_size=3)))
def test_eviction_takes_the_oldest_and_no_more_than_it_must(rows, need, leased):
    victims = choose(rows, need, leased)
    by_digest = {row.digest: row for row in rows}
    able = {row.digest: row for row in rows if not row.pinned and row.digest not in leased}
    assert all(victim.digest in able for victim in victims)
    freed = sum(victim.give_up for victim in victims)
    assert freed >= need or len(victims) == len(able)
    if victims:
        assert freed - victims[-1].give_up < max(need, 1)
        newest = max(by_digest[victim.digest].used_at for victim in victims)
        spared = set(able) - {victim.digest for victim in victims}
        assert all(able[digest].used_at >= newest for digest in spared)
    for victim in victims:
        whole = by_digest[victim.digest].cached_bytes
        assert victim.give_up == whole if victim.whole else whole > PIECEWISE


@given(*[st.integers(0, 1000)] * 5, st.integers(0, 300))
def test_eviction_makes_the_room_that_was_wanted(cached, granted, most, free, floor, wanted):
    pressure = Pressure(cached, granted, most, free, floor)
    need, head = pressure.to_evict(wanted), pressure.headroom()
    after = pressure._replace(cached=cached - need, free=free + need)
    assert need >= 0
    assert after.room() >= max(head, wanted)
    assert need == 0 or after.room() == max(2 * head, wanted)


TEXT = st.text(max_size=8)


@given(*[TEXT] * 3, *[TEXT] * 3)
def test_different_objects_have_different_names(store, key, etag, store2, key2, etag2):
    one, other = ObjectId(store, key, etag, 5), ObjectId(store2, key2, etag2, 5)
    if not any(0xD800 <= ord(c) <= 0xDFFF for c in "".join((*one[:3], *other[:3]))):
        assert (one.digest() == other.digest()) == (one == other)
        assert one.digest() != one._replace(size=6).digest()


def test_keys_that_are_not_utf8_have_names():
    oid = ObjectId("s3://b", b"k\xff\xfe".decode("utf-8", "surrogateescape"), "e", 1)
    assert len(oid.digest()) == 40
    assert b"udcff" in trailer.identity_prefix(oid)


@given(SPANS)
def test_names_of_extents_come_back(span):
    assert parse_extent_name(extent_name(*span)) == span


@pytest.mark.parametrize(
    "name", ["", "-", "1", "2-1", "1-1", "01-2", "1-2-3", "x-y", "-1-2", "A-B"]
)
def test_names_that_are_no_extents(name):
    assert parse_extent_name(name) is None


@given(st.lists(st.integers(1, 3 * trailer.CELL), max_size=5), st.integers(0, 255))
def test_running_sums_do_not_depend_on_the_pieces(lengths, seed):
    data = bytes([seed]) * sum(lengths)
    sums, at = trailer.RunningSums(), 0
    for length in lengths:
        sums.update(data[at : at + length])
        at += length
    starts = range(0, len(data), trailer.CELL)
    crc32 = trailer.isal_zlib.crc32
    assert sums.cells() == [crc32(data[a : a + trailer.CELL]) for a in starts]
    assert sums.whole() == crc32(data)


@pytest.mark.parametrize("before", [b"hello", b""])
def test_every_flipped_byte_of_a_trailer_is_noticed(tmp_path, before):
    oid = ObjectId("s3://b", "key", "etag", 5)
    name = trailer.identity(trailer.identity_prefix(oid), 0, 5)
    good = trailer.encode([trailer.isal_zlib.crc32(b"hello")], name, 5)
    path = tmp_path / "extent"
    path.write_bytes(before + good)
    with path.open("rb") as file:
        found = trailer.read_back(file.fileno(), is_apart=not before)
        with pytest.raises(trailer.Damaged):
            trailer.read_back(file.fileno(), is_apart=bool(before))
    assert (found.oid, found.span) == (oid, ByteRange(0, 5))
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1
        with pytest.raises(trailer.Damaged):
            trailer.decode(bytes(bad), name, 5)
        path.write_bytes(before + bad)
        fd = os.open(path, os.O_RDONLY)
        try:
            with pytest.raises(trailer.Damaged):
                trailer.read_back(fd, is_apart=not before)
        finally:
            os.close(fd)


@given(*[st.integers(0, 1000)] * 7)
def test_what_fits_fits_beside_what_is_pinned(cached, granted, most, free, floor, pinned, ahead):
    pressure = Pressure(cached, granted, most, free, floor)
    pinned = min(pinned, cached)
    room = pressure.room_to_fill(pinned, ahead)
    assert room >= 0
    full = pressure._replace(
        cached=pinned + room, granted=ahead, free=free + cached - pinned - room
    )
    assert room == 0 or full.to_evict() == 0
