"""Keys that are as unpleasant as they may be, and their pages."""

from itertools import islice

import hypothesis.strategies as st

from s3mount.store.interface import ListPage, ObjectMeta, Page
from s3mount.store.paging import byte_order, fold_page

PIECES = ["a", "b", "-", ".", "..", "/", "//", "\n", "é", "\udc80", ".s3object", "a/", "a.s3object"]
"""Few, so that keys meet; ``-`` and ``.`` sort before ``/``, the rest behind it."""

keys = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)
key_sets = st.lists(keys, min_size=1, max_size=14, unique=True).map(
    lambda drawn: sorted(drawn, key=byte_order)
)


def meta_of(key, number=0):
    return ObjectMeta(key, len(key), f"{number:032x}", number)


def pages_of(keys, prefix, max_keys):
    """The pages of a listing as S3 gives them."""
    request, token = ListPage(prefix, "/", max_keys=max_keys), None
    while True:
        page = fold_page(keys, request, meta_of)
        yield page
        token = page.next_token
        if token is None:
            return
        request = ListPage(prefix, "/", token, max_keys=max_keys)


def shuffled_pages(keys, prefix, max_keys, random):
    """The pages of a store that lists in no order; it says each prefix once a page."""
    (page,) = pages_of(keys, prefix, 10**9)
    entries = [*page.objects, *page.prefixes]
    random.shuffle(entries)
    rest = iter(entries)
    taken = list(islice(rest, max_keys))
    while True:
        following = list(islice(rest, max_keys))
        objects = [entry for entry in taken if isinstance(entry, ObjectMeta)]
        prefixes = [entry for entry in taken if isinstance(entry, str)]
        yield Page(objects, prefixes, "more" if following else None)
        if not following:
            return
        taken = following
