"""Where the artifacts of one run are: a store and a prefix, and what of them is there.

Only what stands directly below the prefix belongs to a run: neither a run whose id goes on (``12-linux2`` beside
``12-linux``) nor what is kept in directories of the run (``12-linux/python/``).
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from s3mount.builds.runs import WorkflowOutputRoot
from s3mount.config import MountOptions
from s3mount.errors import ConfigError, CredentialsMissing
from s3mount.listing.walk import pages_now
from s3mount.store.credentials import Credentials
from s3mount.store.interface import ObjectMeta
from s3mount.store.open import Source, parse_source
from s3mount.transfer.engine import Engine

STAGING = "THEROCK_LOCAL_STAGING_DIR"
"""The variable that names a directory in place of the buckets."""


class Place(NamedTuple):
    """Where the artifacts of a run are.

    Attributes:
        source: the store, without a prefix.
        prefix: of every key; empty or ending in ``/``.
    """

    source: Source
    prefix: str = ""

    @property
    def base_uri(self) -> str:
        """As a person writes it, without a slash at the end."""
        scheme = "file" if self.source.kind == "file" else "s3"
        return f"{scheme}://{self.source.bucket_or_dir}/{self.prefix}".rstrip("/")

    def uri(self, filename: str) -> str:
        """Of one file."""
        return f"{self.base_uri}/{filename}"


def place_of_run(root: WorkflowOutputRoot, staging: str | None = None) -> Place:
    """Where a run's artifacts are: in its bucket, or in a directory of it below ``staging``."""
    if staging:
        return Place(Source("file", str(Path(staging).resolve() / root.prefix)))
    return Place(Source("s3", root.bucket), f"{root.prefix}/")


def place_of(text: str) -> Place:
    """The place that a person names: ``s3://bucket/prefix`` or ``file:///directory``.

    Raises:
        ConfigError: it names none.
    """
    source = parse_source(text)
    if source.kind == "snapshot":
        raise ConfigError(f"{text}: a snapshot can only be mounted", hint="name its bucket")
    return Place(source._replace(prefix=""), source.prefix)


def listed(engine: Engine, prefix: str, start: str = "") -> dict[str, ObjectMeta]:
    """What stands directly below a prefix, by its name.

    Args:
        engine: sends the LISTs.
        prefix: empty or ending in ``/``.
        start: of all names that are wanted.

    Raises:
        StoreError: the listing failed.
    """
    found = {}
    with closing(pages_now(engine, prefix + start, parallel=1, delimiter="/")) as pages:
        for page in pages:
            found.update({meta.key[len(prefix) :]: meta for meta in page.objects})
    found.pop("", None)  # what stands for the directory itself
    return {name: meta for name, meta in found.items() if not name.endswith("/")}


def readable(options: MountOptions, source: Source) -> MountOptions:
    """The same options, for unsigned requests where there are no credentials: the buckets of builds are public.

    May block as reading credentials does.

    Raises:
        ConfigError: the profile does not exist.
    """
    if source.kind != "s3" or options.no_sign_request:
        return options
    try:
        Credentials(options.profile).current()
    except CredentialsMissing:
        return replace(options, no_sign_request=True)
    return options


def staging_in(environment: Mapping[str, str]) -> str | None:
    """The directory that stands for the buckets, None where there is none."""
    return environment.get(STAGING) or None
