"""`download` and `prefetch` for programs: the bulk commands as functions that block until all is there.

They run no event loop, touch no signal handler and leave no thread behind, however they end. Callbacks are called on
the caller's thread; an exception in one of them stops the run and leaves the function. So does Ctrl-C.
"""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from s3mount.bulk.dividing import JOBS
from s3mount.bulk.download import download_objects
from s3mount.bulk.keeping import pinned
from s3mount.bulk.keys import KeyMap, Unplaceable, split_source
from s3mount.bulk.ledger import Ledger
from s3mount.bulk.outcome import Outcome
from s3mount.bulk.progress import DownloadResult, ProgressProtocol
from s3mount.bulk.selection import Selection
from s3mount.bulk.session import Session, opened
from s3mount.bulk.telling import Result, Telling
from s3mount.bulk.warm import prefetch_objects
from s3mount.config import MountOptions, resolve
from s3mount.errors import ConfigError
from s3mount.store.client import way_of
from s3mount.store.open import Source, parse_source

_S3 = "s3://"


def download(  # noqa: PLR0913 -- what one run is told, by name
    s3_uri: str,
    download_dir: str | Path = ".",
    *,
    regex: str | None = None,
    threads: int | None = None,
    region: str = "us-east-1",
    delimiter: str = "/",
    dry_run: bool = False,
    client: Any = None,  # noqa: ANN401 -- boto3's clients have no type
    on_complete: Callable[[str], None] | None = None,
    progress_tracker: ProgressProtocol | None = None,
    skip_existing: bool = False,
    endpoint_url: str | None = None,
    profile: str | None = None,
    no_sign_request: bool = False,
    cache_dir: str | Path | None = None,
    on_result: Callable[[DownloadResult], None] | None = None,
) -> Result:
    """Write every object whose key begins with a prefix to a file below ``download_dir``.

    Files come whole or not at all, and replace those that are there. A key loses as many of its parts as the prefix
    has delimiters; keys that end with the delimiter are passed over. What is in the cache is copied from there.

    Args:
        s3_uri: ``s3://bucket/prefix``; the prefix is a text that may end in the middle of a name.
        download_dir: an existing directory.
        regex: searched for in whole keys.
        threads: requests at once at the most; there are as few threads as ever.
        region: of the bucket; a bucket elsewhere is followed there.
        delimiter: what separates the parts of keys.
        dry_run: write and fetch nothing; what would be downloaded counts as success.
        client: a boto3 S3 client; its address, region and credentials are used, and ``region``, ``endpoint_url``,
            ``profile`` and ``no_sign_request`` are not.
        on_complete: called with each key whose file is there, in the order in which they end.
        progress_tracker: told of what is found and what is there; a file that was there before counts no bytes.
        skip_existing: leave a file alone that has the object's size and time.
        endpoint_url: of a service other than AWS.
        profile: of the AWS configuration.
        no_sign_request: read a public bucket, unsigned.
        cache_dir: another directory of the cache than the configured one.
        on_result: called with what became of each object, failed ones as well, before ``on_complete``.

    Returns:
        How many files are there, and for each that is not its key and its error. ``(0, [])`` where nothing matches.

    Raises:
        ConfigError: an argument or an option is wrong, or ``download_dir`` is no directory.
        StoreError: the listing failed; files that are whole stay.
        S3MountError: the cache cannot be used, or the disk is full.
    """
    where, prefix = _where(s3_uri, delimiter)
    selection = Selection(regex or "")
    jobs = _jobs(threads, "threads")
    way = Way(region, endpoint_url, profile, no_sign_request, client, cache_dir, jobs)
    ledger = Ledger()
    telling = Telling(
        ledger,
        on_complete=on_complete,
        on_result=on_result,
        tracker=progress_tracker,
        place_of=_Places(prefix, delimiter, Path(download_dir)),
    )
    with way.opened(where) as session:
        return telling.hear(
            download_objects(
                session,
                prefix,
                os.fspath(download_dir),
                selection,
                delimiter=delimiter,
                skip_existing=skip_existing,
                dry_run=dry_run,
                jobs=jobs,
                ledger=ledger,
            )
        )


def prefetch(  # noqa: PLR0913 -- what one run is told, by name
    source: str,
    *,
    regex: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    jobs: int | None = None,
    pin: str | None = None,
    dry_run: bool = False,
    region: str | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
    no_sign_request: bool = False,
    client: Any = None,  # noqa: ANN401 -- boto3's clients have no type
    cache_dir: str | Path | None = None,
    on_complete: Callable[[str], None] | None = None,
    progress_tracker: ProgressProtocol | None = None,
) -> Result:
    """Bring what is below ``source`` into the cache that mounts and commands on this machine share.

    Options that are not given are those of the environment (``S3MOUNT_*``) and of the files of options.

    Args:
        source: ``bucket/prefix``, ``s3://bucket/prefix`` or ``file:///directory``; or one whole key.
        regex: searched for in whole keys.
        include: globs, one of which must match what a key is below ``source``.
        exclude: globs, none of which may match.
        jobs: requests at once at the most.
        pin: keep it under this name: nothing of it is evicted until it is unpinned.
        dry_run: fetch nothing; what would be fetched counts as success.
        region: of the bucket.
        endpoint_url: of a service other than AWS.
        profile: of the AWS configuration.
        no_sign_request: read a public bucket, unsigned.
        client: a boto3 S3 client; its address, region and credentials are used, and the four options above are not.
        cache_dir: another directory than the configured one.
        on_complete: called with each key that is there.
        progress_tracker: told of what is found and what is there.

    Returns:
        How many objects are in the cache now, and for each that is not its key and its error.

    Raises:
        ConfigError: an argument or an option is wrong.
        CacheError: the cache cannot be used, or (`CacheFull`) not all of it fits.
        StoreError: the listing failed; what was fetched stays.
    """
    where = parse_source(source)
    selection = Selection(regex or "", tuple(include), tuple(exclude), prefix=where.prefix)
    way = Way(
        region, endpoint_url, profile, no_sign_request, client, cache_dir, _jobs(jobs, "jobs")
    )
    ledger = Ledger()
    telling = Telling(ledger, on_complete=on_complete, tracker=progress_tracker)
    with way.opened(where) as session:
        batches = prefetch_objects(
            session,
            where.prefix,
            selection,
            dry_run=dry_run,
            jobs=way.jobs,
            ledger=ledger,
        )
        if pin is not None and not dry_run:
            batches = pinned(batches, session.cache, session.store.identity, pin)
        return telling.hear(batches)


class Way(NamedTuple):
    """How a program wants a source to be reached; the fields are arguments of `prefetch`."""

    region: str | None
    endpoint_url: str | None
    profile: str | None
    no_sign_request: bool
    client: Any
    cache_dir: str | Path | None
    jobs: int

    @contextmanager
    def opened(self, source: Source) -> Generator[Session, None, None]:
        """Open the source; everything is closed at the end of the block."""
        way = None if self.client is None else way_of(self.client)
        with opened(source, self._options(source), jobs=self.jobs, client=way) as session:
            yield session

    def _options(self, source: Source) -> MountOptions:
        flags = {
            "prefix": "",  # a program names all of its source itself
            "region": self.region,
            "endpoint_url": self.endpoint_url,
            "profile": self.profile,
            "no_sign_request": "yes" if self.no_sign_request else None,
            "cache_dir": None if self.cache_dir is None else os.fspath(self.cache_dir),
        }
        bucket = source.bucket_or_dir if source.kind == "s3" else ""
        return resolve(flags=flags, o_pairs={}, environment=os.environ, config=None, bucket=bucket)


class _Places:
    """Where the files of a download are, or would be."""

    def __init__(self, prefix: str, delimiter: str, directory: Path) -> None:
        self._keys = KeyMap(prefix, delimiter)
        self._directory = directory

    def __call__(self, outcome: Outcome) -> Path:
        if outcome.place:
            return Path(outcome.place)
        try:
            return self._directory / str(self._keys.path_of(outcome.meta.key))
        except Unplaceable:
            return self._directory


def _where(uri: str, delimiter: str) -> tuple[Source, str]:
    """The source and the prefix as a text; a `Source` alone would make a directory of the prefix."""
    if not delimiter:
        raise ConfigError("delimiter is empty", hint="name what separates the parts of keys")
    is_s3 = uri[: len(_S3)].lower() == _S3
    if not is_s3 and ":" in uri.partition("/")[0]:
        source = parse_source(uri)
        return source, source.prefix
    bucket, prefix = split_source(uri[len(_S3) :] if is_s3 else uri, delimiter)
    return parse_source(f"{_S3}{bucket}"), prefix


def _jobs(asked: int | None, name: str) -> int:
    if asked is None:
        return JOBS
    if asked < 1:
        raise ConfigError(f"{name} is {asked}", hint="allowed: a number from 1 on, or None")
    return asked
