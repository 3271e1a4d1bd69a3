"""Where the listing of a directory goes on after a first page that its neighbours are in as well."""

import pytest

from s3mount.artifact.s3 import last_listed
from s3mount.store.interface import ObjectMeta, Page


@pytest.mark.parametrize(
    ("keys", "after"),
    [
        ((), ""),
        (("log-1", "log-2"), ""),
        (("log-1", "log/a", "log/b"), "log/b"),
        (("log/a", "log/é"), "log/é"),
        (("log/b", "log/c", "log2"), ""),
        (("log/b", "log/a"), ""),
        (("log/b", "log-1", "log/c"), ""),
    ],
)
def test_only_an_ordered_page_says_how_far_a_listing_has_come(keys, after):
    metas = [ObjectMeta(key, 1, "e", 0) for key in keys]
    assert last_listed(Page(metas, (), "token"), "log/") == after
