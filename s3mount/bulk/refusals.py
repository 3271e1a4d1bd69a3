"""What a bulk command says of what it does not fetch: errors with their hints, plain functions."""

from typing import TypeVar

from s3mount.bulk.ledger import Ledger
from s3mount.bulk.progress import format_bytes
from s3mount.cache.limits import Limits
from s3mount.errors import CacheFull, NotFound, ObjectArchived, ObjectChanged
from s3mount.store.interface import ObjectMeta

AnyError = TypeVar("AnyError", bound=Exception)


def does_not_fit(ledger: Ledger, limits: Limits) -> CacheFull:
    """The error that says why a selection does not fit, and what to do."""
    least = "" if ledger.is_listed else "at least "
    room = max(0, ledger.room or 0)
    what = f"{least}{format_bytes(ledger.cost)} of disk for {ledger.objects:,} objects{_so_far(ledger)}"
    return CacheFull(
        f"the selection does not fit into the cache: it takes {what}, and there is room for {format_bytes(room)}",
        hint=f"{_cure(ledger, limits)}; or select less with --include, --smaller or --newer",
    )


def _so_far(ledger: Ledger) -> str:
    return "" if ledger.is_listed else " listed so far"


def _cure(ledger: Ledger, limits: Limits) -> str:
    if ledger.cost > limits.max_bytes:
        return f"raise --cache-size, which is {format_bytes(limits.max_bytes)}"
    return "make room: s3mount cache pins shows what is pinned, --cache-dir names a larger disk"


def with_hint(error: AnyError) -> AnyError:
    """The same error; one that the store gave for a version that is gone says what to do."""
    if isinstance(error, ObjectChanged | NotFound) and not error.hint:
        error.hint = "it changed in the bucket meanwhile: run the same command again"
    return error


def archived(meta: ObjectMeta) -> ObjectArchived:
    """A GET would be refused."""
    return ObjectArchived(
        f"{meta.key!r} is archived ({meta.storage_class})",
        key=meta.key,
        hint="restore it first, with aws s3api restore-object or in the console",
    )


def no_room(meta: ObjectMeta) -> CacheFull:
    """It was not even tried."""
    return CacheFull(
        f"{meta.key!r} was not asked for, because the cache had no room for those before",
        hint="raise --cache-size, lower --cache-min-free, or make room with s3mount cache prune",
    )
