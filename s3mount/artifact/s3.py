"""Artifacts in a bucket: the key is the remote path below a prefix, as other tools for such buckets have it."""

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress

from s3mount.artifact.attributes import metadata_of
from s3mount.artifact.backend import Artifact, Told
from s3mount.artifact.failures import already_exists, denied, exists_locally, not_found
from s3mount.artifact.settings import S3Settings
from s3mount.artifact.tree import LocalFile
from s3mount.bulk.session import Session, opened
from s3mount.bulk.wanted import Wanted
from s3mount.config import MountOptions, resolve
from s3mount.errors import AccessDenied, AlreadyExists, NotFound
from s3mount.listing.page_order import is_ordered
from s3mount.listing.walk import pages_now, walk_now
from s3mount.store.interface import MOST_ENTRIES, ObjectMeta, Page
from s3mount.store.open import Source, parse_source

JOBS = 64
"""Requests at once."""


@contextmanager
def opened_s3(settings: S3Settings, environment: Mapping[str, str]) -> Iterator["S3Backend"]:
    """Open a bucket.

    Args:
        settings: which one.
        environment: options of s3mount for what the settings leave open.

    Raises:
        ConfigError: the name cannot be a bucket's, or an option is wrong.
        CacheError: the cache cannot be used.
    """
    source = parse_source(f"s3://{settings.bucket}")
    with opened(source, _options(settings, source, environment), jobs=JOBS) as session:
        yield S3Backend(session, settings.base)


def _options(settings: S3Settings, source: Source, environment: Mapping[str, str]) -> MountOptions:
    flags = {
        "prefix": "",  # artifacts have one of their own
        "region": settings.region or None,
        "endpoint_url": settings.endpoint or None,
        "addressing_style": "path" if settings.path_style else None,
    }
    return resolve(
        flags=flags,
        o_pairs={},
        environment=environment,
        config=None,
        bucket=source.bucket_or_dir,
    )


class S3Backend:
    """The objects of a bucket; a `Backend`.

    Args:
        session: an open one; it must outlive this.
        base: what every key begins with; empty or ending in ``/``.
    """

    def __init__(self, session: Session, base: str) -> None:
        self._session = session
        self._base = base

    def push(self, files: Sequence[LocalFile], *, force: bool, told: Told) -> None:
        """See `Backend.push`; what comes there between the look and the writing is not replaced either."""
        from s3mount.bulk.sending import Upload, send  # a pull does not wait for it

        if not force:
            self._refuse_taken(files)
        uploads = (
            Upload(
                file.path,
                self._key(file.remote),
                metadata=metadata_of(file.mode, file.mtime_ns),
                if_absent=not force,
                looked=not force,
            )
            for file in files
        )
        with closing(send(self._session, uploads, jobs=JOBS)) as batches:
            for sent in (each for batch in batches for each in batch):
                remote = self._remote(sent.upload.key)
                if sent.error is not None or sent.meta is None:
                    raise _of_push(sent.error, remote)
                told(remote, sent.meta.size)

    def pull(self, remote: str, local: str, *, force: bool, told: Told) -> None:
        """See `Backend.pull`."""
        from s3mount.artifact.placing import Placing, made_directory, plan, refuse_clashes
        from s3mount.artifact.restoring import restored  # a push does not wait for it

        found = [meta for meta in self._found(remote, "pull") if not meta.key.endswith("/")]
        if not found:
            raise not_found(remote)
        planned = plan(remote, local, [self._remote(meta.key) for meta in found])
        refuse_clashes(planned, force=force)
        paths = {self._key(each): path for each, path in planned.paths.items()}

        def taken(wanted: Wanted) -> Exception:
            return exists_locally(planned.place(self._remote(wanted.key)))

        target = Placing(made_directory(planned.root), None if force else taken)
        with closing(restored(self._session, found, paths, target, JOBS)) as batches:
            for outcome in (each for batch in batches for each in batch):
                each = self._remote(outcome.meta.key)
                if isinstance(outcome.error, AccessDenied):
                    raise denied("pull", each, outcome.error)
                if outcome.error is not None:
                    raise outcome.error
                told(each, outcome.meta.size)

    def yank(self, remote: str) -> int:
        """See `Backend.yank`."""
        from s3mount.bulk.sending import remove

        found = [meta.key for meta in self._found(remote, "yank")]
        if not found:
            raise not_found(remote)
        with closing(remove(self._session, found)) as batches:
            for removed in (each for batch in batches for each in batch):
                if isinstance(removed.error, AccessDenied):
                    raise denied("yank", self._remote(removed.key), removed.error)
                if removed.error is not None:
                    raise removed.error
        return len(found)

    def exists(self, remote: str) -> bool:
        """See `Backend.exists`."""
        key = self._key(remote)
        try:
            return self._first(key) == key or bool(self._first(f"{key}/"))
        except AccessDenied as error:
            raise denied("exists", remote, error) from error

    def list(self, remote: str) -> Sequence[Artifact]:
        """See `Backend.list`."""
        found = self._found(remote, "list")
        return [
            Artifact(self._remote(meta.key), meta.size, meta.mtime_ns)
            for meta in found
            if not meta.key.endswith("/")
        ]

    def close(self) -> None:
        """See `Backend.close`; the session is its owner's."""

    def _key(self, remote: str) -> str:
        return f"{self._base}{remote}"

    def _remote(self, key: str) -> str:
        return key.removeprefix(self._base)

    def _found(self, remote: str, operation: str) -> Sequence[ObjectMeta]:
        """The object of this name or, when there is none, all below it; directory markers as well."""
        key = self._key(remote)
        try:
            # One request finds out both, and brings most directories whole.
            page = self._first_page(key, MOST_ENTRIES)
            exact = [meta for meta in page.objects if meta.key == key]
            return exact or self._rest_below(f"{key}/", page)
        except AccessDenied as error:
            raise denied(operation, remote, error) from error

    def _first(self, prefix: str) -> str:
        """The first key that begins with a prefix, which is the prefix itself if that is one; empty for none."""
        return next((meta.key for meta in self._first_page(prefix, 1).objects), "")

    def _first_page(self, prefix: str, most: int) -> Page:
        engine = self._session.engine
        with closing(pages_now(engine, prefix, parallel=1, ahead=1, max_keys=most)) as pages:
            return next(pages, Page((), (), None))

    def _rest_below(self, prefix: str, page: Page) -> Sequence[ObjectMeta]:
        """All objects below a directory, of which a page may have told already."""
        found = {meta.key: meta for meta in page.objects if meta.key.startswith(prefix)}
        if page.next_token is not None:
            after = last_listed(page, prefix)
            for objects in walk_now(self._session.engine, prefix, after=after):
                found.update((meta.key, meta) for meta in objects)
        return [found[key] for key in sorted(found)]

    def _refuse_taken(self, files: Sequence[LocalFile]) -> None:
        wanted = [file.remote for file in files]
        if not wanted:
            return
        try:
            taken = self._taken(wanted)
        except AccessDenied as error:
            raise denied("push", wanted[0], error) from error
        for remote in wanted:
            if remote in taken:
                raise already_exists(remote)

    def _taken(self, wanted: Sequence[str]) -> Container[str]:
        """Which names have an object: one is looked at, of many the directory is listed where that is allowed."""
        from s3mount.bulk.sending import look

        if len(wanted) == 1:
            try:
                look(self._session, self._key(wanted[0]))
            except NotFound:
                return ()
            return wanted
        directory = os.path.commonpath([os.path.dirname(each) for each in wanted])
        with suppress(AccessDenied):
            pages = walk_now(self._session.engine, f"{self._key(directory)}/")
            return {self._remote(meta.key) for page in pages for meta in page}
        return self._looked_at(wanted)

    def _looked_at(self, wanted: Sequence[str]) -> Container[str]:
        from s3mount.bulk.sending import look_at

        taken: set[str] = set()
        keys = (self._key(each) for each in wanted)
        with closing(look_at(self._session, keys, jobs=JOBS)) as batches:
            for looked in (each for batch in batches for each in batch):
                if looked.error is None:
                    taken.add(self._remote(looked.key))
                elif not isinstance(looked.error, NotFound):
                    raise looked.error
        return taken


def last_listed(page: Page, prefix: str) -> str:
    """The key behind which a prefix is still to be listed; empty where all of it is.

    Args:
        page: the first one of a listing that the prefix is a part of.
        prefix: of the keys that are wanted.
    """
    last = page.objects[-1].key if page.objects else ""
    return last if last.startswith(prefix) and is_ordered(page, "") else ""


def _of_push(error: Exception | None, remote: str) -> Exception:
    if isinstance(error, AlreadyExists):
        return already_exists(remote)
    if isinstance(error, AccessDenied):
        return denied("push", remote, error)
    assert error is not None
    return error
