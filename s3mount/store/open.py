"""From what a person types to a store: a bucket and prefix, a directory, or a snapshot."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from s3mount.config import MountOptions
from s3mount.errors import ConfigError
from s3mount.store.credentials import Credentials
from s3mount.store.endpoint import EXPRESS_SUFFIX
from s3mount.store.interface import Store, StoreSettings
from s3mount.store.s3 import S3Store

if TYPE_CHECKING:
    from s3mount.store.snapshot import SnapshotStore

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
"""Wider than today's rules of S3: old buckets and other servers have capitals, underscores and up to 255 letters."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_FORMS = "give BUCKET, BUCKET/PREFIX, s3://BUCKET/PREFIX, file:///DIRECTORY or snapshot:NAME"
_SNAPSHOT = "snapshot:"


class Source(NamedTuple):
    """What to mount.

    Attributes:
        kind: which store.
        bucket_or_dir: the bucket's name, the directory's absolute path, or the snapshot's name.
        prefix: empty or ending in ``/``; always empty for a directory. Of a snapshot: below what was recorded.
    """

    kind: Literal["s3", "file", "snapshot"]
    bucket_or_dir: str
    prefix: str = ""


def parse_source(text: str) -> Source:
    """What a person means by ``text``; looks at nothing but the text.

    Raises:
        ConfigError: it names neither a bucket nor a directory.
    """
    if not text.strip():
        raise ConfigError("no bucket was named", hint=_FORMS)
    scheme = _SCHEME.match(text)
    if text.startswith("file:"):
        return Source("file", _directory_of(text))
    if text.startswith(_SNAPSHOT):
        return _snapshot_source(text)
    if scheme is None:
        return _bucket_source(text, text)
    if scheme[1].lower() == "s3" and text[len("s3:") :].startswith("//"):
        return _bucket_source(text[len("s3://") :], text)
    if scheme[1].lower() in {"http", "https"}:
        hint = "name the bucket here and the server with --endpoint-url"
        raise ConfigError(f"{text!r} is an address, not a bucket", hint=hint)
    raise ConfigError(f"{text!r}: {scheme[1]} stores are not known", hint=_FORMS)


def settings_of(options: MountOptions) -> StoreSettings:
    """What the options say about how to reach a store."""
    return StoreSettings(
        endpoint_url=options.endpoint_url,
        region=options.region,
        profile=options.profile,
        no_sign_request=options.no_sign_request,
        requester_pays=options.requester_pays,
        addressing_style=options.addressing_style,
        ca_bundle=str(options.ca_bundle or ""),
        connections=options.concurrency,
        connect_timeout=min(5.0, options.request_timeout / 2),
        stall_timeout=min(15.0, options.request_timeout / 2),
    )


def open_store(
    source: Source, settings: StoreSettings, credentials: Credentials | None = None
) -> Store:
    """The store that a source names; nothing is sent yet.

    Args:
        source: see `parse_source`.
        settings: how to reach it.
        credentials: to use for a bucket instead of those of ``settings.profile``.

    Raises:
        ConfigError: the directory is not there, or the AWS configuration is wrong.
    """
    if source.kind == "snapshot":
        raise ConfigError(
            f"{_SNAPSHOT}{source.bucket_or_dir} can only be mounted",
            hint="s3mount snapshots show NAME says what is in it",
        )
    if source.kind == "file":
        if not os.path.isdir(source.bucket_or_dir):
            raise _no_directory(source.bucket_or_dir)
        from s3mount.store.directory import DirectoryStore

        return DirectoryStore(Path(source.bucket_or_dir))
    return S3Store(source.bucket_or_dir, settings, credentials)


def open_snapshot_store(name: str, settings: StoreSettings, cache_dir: Path) -> "SnapshotStore":
    """The store that a snapshot shows; the one that it was made of is opened when bytes are needed.

    Args:
        name: of the snapshot.
        settings: how to reach the store that it was made of; what is not said here was recorded.
        cache_dir: where the snapshot is.

    Raises:
        ConfigError: there is no such snapshot.
        BadManifest: it is damaged.
    """
    from s3mount.store import snapshots
    from s3mount.store.snapshot import SnapshotStore

    manifest = snapshots.open_snapshot(cache_dir, name)
    return SnapshotStore(manifest, lambda: _open_recorded(manifest.facts, settings))


def snapshot_facts(
    source: Source, prefix: str, store: Store, settings: StoreSettings, created: float
) -> dict[str, str]:
    """What a snapshot must know to open the same store again, on any machine; no credentials and no profile.

    Args:
        source: what was prefetched; no snapshot.
        prefix: of all keys in it, what a mount of the snapshot shows: empty or ending in ``/``.
        store: as it was opened.
        settings: with which it was opened.
        created: seconds since the epoch.
    """
    place = source.bucket_or_dir
    shown = f"s3://{place}/{prefix}" if source.kind == "s3" else store.description
    endpoint_url = region = ""
    if isinstance(store, S3Store):
        region = store.endpoint.region
        # Of AWS the region says enough; elsewhere the address without the bucket is part of the identity.
        if "://" in store.identity:
            endpoint_url = store.identity.removesuffix(f"/{place}")
    return {
        "identity": store.identity,
        "prefix": prefix,
        "source": shown.rstrip("/"),
        "kind": source.kind,
        "place": place,
        "created": repr(float(created)),
        "endpoint_url": endpoint_url,
        "region": region,
        "addressing_style": settings.addressing_style,
        "no_sign_request": "yes" if settings.no_sign_request else "",
        "requester_pays": "yes" if settings.requester_pays else "",
    }


def _open_recorded(facts: Mapping[str, str], settings: StoreSettings) -> Store:
    """The store that a snapshot was made of."""
    if facts["kind"] == "file":
        return open_store(Source("file", facts["place"]), settings)
    style = settings.addressing_style
    chosen = settings._replace(
        endpoint_url=settings.endpoint_url or facts["endpoint_url"],
        region=settings.region or facts["region"],
        addressing_style=facts["addressing_style"] if style == "auto" else style,
        no_sign_request=settings.no_sign_request or bool(facts["no_sign_request"]),
        requester_pays=settings.requester_pays or bool(facts["requester_pays"]),
    )
    return open_store(Source("s3", facts["place"]), chosen)


def _no_directory(path: str) -> ConfigError:
    if os.path.exists(path):
        hint = "name the directory that it is in"
        return ConfigError(f"{path!r} is not a directory", hint=hint)
    return ConfigError(f"there is no directory {path!r}", hint="check the spelling")


def _snapshot_source(text: str) -> Source:
    name, _, prefix = text.removeprefix(_SNAPSHOT).partition("/")
    from s3mount.store.snapshots import check_name

    check_name(name)
    return Source("snapshot", name, prefix if not prefix or prefix.endswith("/") else prefix + "/")


def _bucket_source(rest: str, text: str) -> Source:
    bucket, _, prefix = rest.partition("/")
    if not bucket and rest.startswith("/") and text == rest:
        raise ConfigError(
            f"{text!r} is a path, not a bucket", hint=f"for a directory: file://{text}"
        )
    if text == rest and bucket in {".", "..", "~"}:
        hint = "for a directory: file:// and its whole path"
        raise ConfigError(f"{text!r} is a path, not a bucket", hint=hint)
    if not bucket:
        raise ConfigError(f"{text!r} names no bucket", hint=_FORMS)
    if bucket.startswith("arn:"):
        hint = "use the alias of the access point, which is a bucket's name"
        raise ConfigError(f"{text!r}: ARNs are not understood", hint=hint)
    if not _BUCKET.fullmatch(bucket):
        message = f"{bucket!r} cannot be a bucket's name"
        raise ConfigError(message, hint="3 or more letters, digits, dots, dashes or underscores")
    if bucket.endswith(EXPRESS_SUFFIX):
        raise ConfigError(f"{bucket!r} is a directory bucket (S3 Express), which is not supported")
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    return Source("s3", bucket, prefix)


def _directory_of(text: str) -> str:
    parts = urlsplit(text)
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc not in {"", "localhost"} or not path.startswith("/"):
        hint = "write three slashes and the whole path: file:///srv/artifacts"
        raise ConfigError(f"{text!r} is not an absolute file URL", hint=hint)
    if parts.query or parts.fragment:
        raise ConfigError(f"{text!r}: write ? as %3F and # as %23 in a file URL")
    if "\0" in path:
        raise ConfigError(f"{text!r} holds a NUL")
    return os.path.normpath(path)
