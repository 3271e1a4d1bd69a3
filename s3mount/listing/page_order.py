"""The order within a page of a listing, and cutting pages at a key: that of the bytes of the keys, as in S3."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice, pairwise
from operator import lt

from s3mount.store.interface import ObjectMeta, Page
from s3mount.store.paging import byte_order


def ends(page: Page) -> tuple[str, str]:
    """The first and the last entry of a page that has any."""
    firsts = [*(meta.key for meta in page.objects[:1]), *page.prefixes[:1]]
    lasts = [*(meta.key for meta in page.objects[-1:]), *page.prefixes[-1:]]
    return min(firsts, key=byte_order), max(lasts, key=byte_order)


def is_ordered(page: Page, after: str) -> bool:
    """Whether a page is strictly in order and lies behind a key."""
    if not page.objects and not page.prefixes:
        return True
    keys = [meta.key for meta in page.objects]
    if not _ascends(keys) or not _ascends(page.prefixes):
        return False
    return not after or byte_order(ends(page)[0]) > byte_order(after)


def _ascends(keys: Sequence[str]) -> bool:
    try:
        "".join(keys).encode()
    except UnicodeEncodeError:  # a key that is not UTF-8: its letters sort otherwise than its bytes
        return all(earlier < later for earlier, later in pairwise(map(byte_order, keys)))
    # Without a step of Python for each key: this runs on the engine's thread, over every listing.
    return all(map(lt, keys, islice(keys, 1, None)))


def up_to(page: Page, until: str | None) -> Page:
    """The page itself when all of it lies before or at a key, else the part that does."""
    if until is None or not (page.objects or page.prefixes):
        return page
    end = byte_order(until)
    if byte_order(ends(page)[1]) <= end:
        return page
    objects, prefixes = _places(page, end)
    return page._replace(objects=page.objects[:objects], prefixes=page.prefixes[:prefixes])


def behind(page: Page, after: str) -> Page:
    """The part of a page that lies behind a key."""
    objects, prefixes = _places(page, byte_order(after))
    return page._replace(objects=page.objects[objects:], prefixes=page.prefixes[prefixes:])


def _places(page: Page, end: bytes) -> tuple[int, int]:
    """How many objects and how many prefixes lie before or at a key."""
    return (
        bisect_right(page.objects, end, key=_object_order),
        bisect_right(page.prefixes, end, key=byte_order),
    )


def _object_order(meta: ObjectMeta) -> bytes:
    return byte_order(meta.key)
