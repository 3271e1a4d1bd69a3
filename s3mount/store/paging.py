"""One page of a listing from keys in order: what S3 does at its side, for stores that have only names.

Plain functions over an iterable; they know nothing of where the keys come from.
"""

from collections.abc import Callable, Iterable

from s3mount.store.interface import ListPage, ObjectMeta, Page


def fold_page(
    keys: Iterable[str], request: ListPage, meta_of: Callable[[str], ObjectMeta | None]
) -> Page:
    """Fold keys into one page as ListObjectsV2 does.

    Args:
        keys: keys in byte order; those at or before the continuation may be left out or not.
        request: what was asked; ``token`` is the last key or common prefix of the page before.
        meta_of: the facts of one key, None when it vanished meanwhile.
    """
    objects: list[ObjectMeta] = []
    prefixes: list[str] = []
    after = request.token if request.token is not None else request.start_after
    skip = after if is_folded(after, request) and request.token is not None else None
    last = ""
    for key in keys:
        if not key.startswith(request.prefix) or not _is_after(key, after):
            continue
        if skip is not None and key.startswith(skip):
            continue
        folded = _common_prefix(key, request)
        if folded is not None and prefixes and prefixes[-1] == folded:
            continue
        if len(objects) + len(prefixes) == request.max_keys:
            return Page(objects, prefixes, last)
        if folded is not None:
            prefixes.append(folded)
            last = folded
            continue
        meta = meta_of(key)
        if meta is not None:
            objects.append(meta)
            last = key
    return Page(objects, prefixes, None)


def byte_order(key: str) -> bytes:
    """The sort key of S3: the bytes of the UTF-8 form."""
    return key.encode("utf-8", "surrogateescape")


def is_folded(entry: str, request: ListPage) -> bool:
    """Whether an entry of a page, the last one of a token, is a common prefix and no key."""
    return bool(request.delimiter) and entry.endswith(request.delimiter) and entry != request.prefix


def _is_after(key: str, after: str) -> bool:
    return not after or byte_order(key) > byte_order(after)


def _common_prefix(key: str, request: ListPage) -> str | None:
    if not request.delimiter:
        return None
    at = key.find(request.delimiter, len(request.prefix))
    return None if at < 0 else key[: at + len(request.delimiter)]
