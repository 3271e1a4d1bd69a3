"""One request that tells whether a bucket can be read: before a mount goes to the background, and for ``doctor``."""

import time
from typing import NamedTuple

from s3mount.errors import NoSuchBucket, StoreError, StoreTimeout
from s3mount.store.interface import Head, ListPage, Page, StoreSettings
from s3mount.store.s3 import S3Store
from s3mount.store.writing import Answer

_LIMIT = 10.0
"""Seconds: a person waits for this; longer than one connect timeout, shorter than patience."""


class Probe(NamedTuple):
    """What a probe that went well has learned.

    Attributes:
        endpoint_url: the bucket's address, after following it to its region.
        region: the one that requests are signed for.
        credential_source: for people; ``unsigned`` when requests are not signed.
        is_empty: whether there is no key under the prefix.
    """

    endpoint_url: str
    region: str
    credential_source: str
    is_empty: bool


def probe(bucket: str, prefix: str, settings: StoreSettings, *, limit: float = _LIMIT) -> Probe:
    """List one key under ``prefix``; blocks for ``limit`` seconds at the most once credentials are read.

    Raises:
        ConfigError: the profile, the endpoint or the bucket's name is wrong.
        StoreError: the class that says why the bucket cannot be listed.
    """
    store = S3Store(bucket, settings)
    try:
        return ask(store, bucket, prefix, limit=limit)
    finally:
        store.close()


def ask(store: S3Store, bucket: str, prefix: str, *, limit: float = _LIMIT) -> Probe:
    """The same with a store that nothing else polls yet.

    Raises:
        StoreError: the class that says why the bucket cannot be listed.
    """
    try:
        page = _list_once(store, ListPage(prefix=prefix, max_keys=1), limit)
    except NoSuchBucket as error:
        error.message = f"there is no bucket {bucket!r} at {store.endpoint.origin}"
        error.args = (error.message,)
        raise
    source = "unsigned" if store.credentials is None else store.credentials.source
    is_empty = not page.objects and not page.prefixes
    return Probe(store.endpoint.url, store.endpoint.region, source, is_empty)


class _Answer:
    """A receiver that keeps what it is told."""

    def __init__(self) -> None:
        self.is_over = False
        self.error: StoreError | None = None
        self.listed = Page((), (), None)

    def head(self, head: Head) -> None:
        """A listing has none."""

    def data(self, chunk: bytes) -> None:
        """A listing has none."""

    def page(self, page: Page) -> None:
        self.listed = page

    def answer(self, answer: Answer) -> None:
        """A listing has none."""

    def done(self, error: StoreError | None) -> None:
        self.is_over = True
        self.error = error


def _list_once(store: S3Store, request: ListPage, limit: float) -> Page:
    answer = _Answer()
    deadline = time.monotonic() + limit
    store.submit(request, answer)
    while not answer.is_over:
        left = deadline - time.monotonic()
        if left <= 0:
            message = f"{store.endpoint.url} did not answer within {limit:g} seconds"
            raise StoreTimeout(
                message, hint="check --endpoint-url, the network and the proxy settings"
            )
        store.poll(left)
    if answer.error is not None:
        raise answer.error
    return answer.listed
