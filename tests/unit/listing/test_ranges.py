"""Many requests at once give what one listing gives: for any keys, page sizes and order of replies."""

import random
from bisect import bisect_right
from itertools import product

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from s3mount.errors import UnexpectedReply
from s3mount.listing.keyspace import Ruler
from s3mount.listing.ranges import Ranges
from s3mount.listing.stretch import FAN, LONG, even_shares, near_shares
from s3mount.store.interface import ObjectMeta, Page
from s3mount.store.paging import byte_order, fold_page

PIECES = [
    *"abz059",
    "-",
    ".",
    "/",
    "//",
    "a/",
    "é",
    "\udc80",
    "\udcff",
    "\U0001f600",
    "\n",
    "\0",
    " ",
]
words = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
any_bytes = st.binary(min_size=1, max_size=3).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
numbered = st.builds(
    lambda stem, count, width: [f"{stem}{number:0{width}d}" for number in range(count)],
    st.sampled_from(["", "part-", "a/b/", "z", "写真/", "e\u0301"]),
    st.integers(1, 120),
    st.integers(0, 6),
)
hashed = st.builds(
    lambda seed, count: [f"{random.Random(seed + n).getrandbits(64):016x}" for n in range(count)],
    st.integers(0, 1000),
    st.integers(1, 120),
)
key_sets = st.lists(
    st.one_of(st.lists(words, max_size=15), st.lists(any_bytes, max_size=15), numbered, hashed),
    max_size=4,
).map(lambda parts: sorted({key for part in parts for key in part}, key=byte_order))
prefixes = st.sampled_from(["", "", "", "a", "a/", "part-", "0", "\udc80"])


def meta_of(key):
    return ObjectMeta(key, 0, "e", 0)


def entries(page):
    found = [*(meta.key for meta in page.objects), *page.prefixes]
    return sorted(found, key=byte_order)


def serial(keys, prefix, delimiter):
    """Every entry below a prefix, from one page without an end."""
    ranges = Ranges(prefix, delimiter=delimiter, max_keys=10**9, parallel=1, window=0)
    (ask,) = ranges.ask(1)
    return entries(fold_page(keys, ask.request, meta_of))


class Drive:
    """Answers what `Ranges` asks for, in any order, and keeps count."""

    def __init__(self, ranges, answer, draw, *, room=1000):
        self.ranges = ranges
        self.answer = answer
        self.draw = draw
        self.room = room
        self.requests = []
        self.most = 0
        self.most_held = 0

    def pages(self):
        """The pages as they are handed on."""
        under_way = []
        while not self.ranges.is_over:
            asked = self.ranges.ask(self.room - self.ranges.kept - len(under_way))
            self.requests += [ask.request for ask in asked]
            under_way += asked
            assert under_way, "nothing is asked for, and it is not over"
            self.most = max(self.most, len(under_way))
            self.most_held = max(self.most_held, len(under_way) + self.ranges.kept)
            ask = under_way.pop(self.draw(len(under_way)))
            yield from self.ranges.take(ask.stretch, self.answer(ask.request))


def drive(keys, prefix="", *, delimiter="", max_keys=3, parallel=8, window=0, draw, answer=None):
    ranges = Ranges(
        prefix, delimiter=delimiter, max_keys=max_keys, parallel=parallel, window=window
    )
    answer = answer or (lambda request: fold_page(keys, request, meta_of))
    return Drive(ranges, answer, draw, room=window or 1000)


@settings(max_examples=300)
@given(
    key_sets,
    prefixes,
    st.sampled_from(["", "", "/", "-", "a/"]),
    st.integers(1, 40),
    st.integers(1, 16),
    st.randoms(use_true_random=False),
)
@example(["a"], "", "", 1, 4, random.Random(0))
@example([], "", "", 1, 4, random.Random(0))
def test_everything_comes_once_within_the_bound(keys, prefix, delimiter, max_keys, parallel, luck):
    wanted = serial(keys, prefix, delimiter)
    run = drive(
        keys,
        prefix,
        delimiter=delimiter,
        max_keys=max_keys,
        parallel=parallel,
        draw=luck.randrange,
    )
    found = [entry for page in run.pages() for entry in entries(page)]
    assert sorted(found, key=byte_order) == wanted
    assert run.most <= parallel
    assert len(run.requests) <= 2 * len(wanted) / max_keys + 1 + parallel / 4
    if len(wanted) <= max_keys or parallel == 1:
        assert len(run.requests) == max(1, -(-len(wanted) // max_keys))
    if len(wanted) <= 2 * max_keys:
        assert len(run.requests) <= 3


@settings(max_examples=300)
@given(
    key_sets,
    prefixes,
    st.sampled_from(["", "", "/"]),
    st.integers(1, 10),
    st.integers(1, 16),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
)
def test_in_order_few_pages_wait(keys, prefix, delimiter, max_keys, parallel, window, luck):
    run = drive(
        keys,
        prefix,
        delimiter=delimiter,
        max_keys=max_keys,
        parallel=parallel,
        window=window,
        draw=luck.randrange,
    )
    found = [entry for page in run.pages() for entry in entries(page)]
    assert found == serial(keys, prefix, delimiter)
    assert run.most_held <= window


@settings(max_examples=60)
@given(key_sets, st.integers(1, 16), st.randoms(use_true_random=False))
def test_every_page_size(keys, parallel, luck):
    for max_keys in range(1, min(len(keys), 30) + 1):
        run = drive(keys, max_keys=max_keys, parallel=parallel, draw=luck.randrange)
        found = [entry for page in run.pages() for entry in entries(page)]
        assert sorted(found, key=byte_order) == keys


@settings(max_examples=200)
@given(key_sets, st.integers(1, 5), st.booleans(), st.randoms(use_true_random=False))
def test_a_store_that_always_begins_at_the_beginning(keys, max_keys, is_ordered, luck):
    def answer(request):
        if request.start_after:
            request = type(request)(request.prefix, max_keys=request.max_keys)
        return fold_page(keys, request, meta_of)

    run = drive(
        keys, max_keys=max_keys, window=16 if is_ordered else 0, draw=luck.randrange, answer=answer
    )
    found = [entry for page in run.pages() for entry in entries(page)]
    assert (found if is_ordered else sorted(found, key=byte_order)) == keys


@settings(max_examples=200)
@given(
    st.lists(words, unique=True, min_size=1, max_size=40),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_a_store_without_order_loses_nothing_or_is_refused(keys, max_keys, luck):
    """It understands where to begin as a place in its own order, or not at all."""

    def answer(request):
        start = int(request.token) if request.token else 0
        stop = start + request.max_keys
        page = [meta_of(key) for key in keys[start:stop]]
        return Page(page, [], str(stop) if stop < len(keys) else None)

    run = drive(keys, max_keys=max_keys, draw=luck.randrange, answer=answer)
    found = []
    try:
        for page in run.pages():
            found += entries(page)
    except UnexpectedReply:
        return
    assert sorted(found) == sorted(keys)


def test_pages_out_of_order_are_listed_by_token_alone():
    pages = {None: ("cab", "1"), "1": ("fed", "2"), "2": ("g", None)}

    def answer(request):
        text, token = pages[request.token]
        return Page([meta_of(key) for key in text], [], token)

    run = drive([], max_keys=3, draw=lambda count: 0, answer=answer)
    assert ["".join(m.key for m in page.objects) for page in run.pages()] == ["cab", "fed", "g"]
    assert [request.start_after for request in run.requests] == ["", "", ""]


def test_a_store_that_repeats_itself_is_refused():
    run = drive(
        [], draw=lambda count: 0, answer=lambda request: Page([meta_of("b"), meta_of("a")], [], "t")
    )
    with pytest.raises(UnexpectedReply, match="twice"):
        list(run.pages())


def test_pages_may_be_empty_in_the_middle():
    keys = [f"k{number:03d}" for number in range(60)]

    def answer(request):
        if request.token is not None and request.token.startswith("late "):
            request = type(request)(
                request.prefix, token=request.token[5:], max_keys=request.max_keys
            )
        elif request.token is not None:
            return Page([], [], "late " + request.token)
        return fold_page(keys, request, meta_of)

    run = drive(keys, draw=random.Random(1).randrange, answer=answer)
    assert sorted(meta.key for page in run.pages() for meta in page.objects) == keys


def rounds(keys, *, parallel=32, window=0, max_keys=100):
    """Round trips when every reply takes equally long."""
    ranges = Ranges("", delimiter="", max_keys=max_keys, parallel=parallel, window=window)
    order = [byte_order(key) for key in keys]
    count = 0
    while not ranges.is_over:
        count += 1
        for ask in ranges.ask((window or 1000) - ranges.kept):
            ranges.take(ask.stretch, page_of(keys, order, ask.request))
    return count


def page_of(keys, order, request):
    after = request.token or request.start_after
    start = bisect_right(order, byte_order(after)) if after else 0
    stop = start + request.max_keys
    objects = [meta_of(key) for key in keys[start:stop]]
    return Page(objects, [], keys[stop - 1] if stop < len(keys) else None)


SHAPES = {
    "numbers": [f"part-{number:06d}.csv" for number in range(20_000)],
    "folders of one page": [f"{n // 100:04d}/part-{n:07d}.bin" for n in range(20_000)],
    "unpadded": [f"img{number}.jpg" for number in range(20_000)],
    "hashes": [f"{random.Random(n).getrandbits(128):032x}" for n in range(20_000)],
    "dates": [
        f"logs/{year}/{month:02d}/{day:02d}/h{host:02d}.gz"
        for year, month, day, host in product(
            range(2019, 2022), range(1, 13), range(1, 29), range(20)
        )
    ],
    "skewed": [f"{c}/only" for c in "abcdxyz"] + [f"m/run/{n:06d}.bin" for n in range(20_000)],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_long_listings_take_few_round_trips(shape):
    keys = sorted(SHAPES[shape], key=byte_order)
    alone = len(keys) / 100
    assert rounds(keys) < alone / 8
    assert rounds(keys, window=64) < alone / 4


@given(st.lists(st.floats(0, 1000), max_size=10), st.integers(0, 50))
def test_shares_are_within_bounds(lengths, room):
    even = even_shares(lengths, room)
    near = near_shares(lengths, room)
    assert sum(even) <= room
    assert sum(near) <= room
    for length, count in zip(lengths, even, strict=True):
        assert count <= FAN
        assert not count or length >= LONG
    for length, count in zip(lengths, near, strict=True):
        assert not count or length >= LONG


def test_a_ruler_guesses_in_the_letters_of_its_neighbours():
    ruler = Ruler("part-000000", "part-000999", "part-200000", ["part-000123", "part-000456"])
    assert list(ruler.even(1)) == ["part-1"]
    assert ruler.pages == pytest.approx(199, rel=0.02)
    near = list(ruler.near(2, 2))
    assert near[0].startswith("part-0029")
    hexadecimal = Ruler("00a1", "0f3c", None, ["00a1", "03f7", "0b52"])
    assert next(hexadecimal.even(1))[0] in "78"


@given(words, words, st.none() | words, st.lists(words, max_size=5), st.integers(1, 9))
def test_a_ruler_takes_any_keys(first, after, until, samples, count):
    ruler = Ruler(first, after, until, samples)
    assert ruler.pages <= 1_000_000
    for guesses in (ruler.even(count), ruler.doubling(count), ruler.near(count, 2)):
        assert len(list(guesses)) == count
