"""Snapshots by name: exactly what was prefetched, kept as one file each in the cache directory.

    <cache_dir>/v1/snapshots/NAME.s3snapshot    a manifest; see `store/manifest.py`

A snapshot says what the objects were and where they came from, never who may read them. `writer` begins one,
`open_snapshot` reads one, `bring_in` takes one from elsewhere. All of these block.
"""

import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, Final, NamedTuple

from s3mount.errors import ConfigError
from s3mount.store.interface import ObjectMeta
from s3mount.store.manifest import BadManifest, Manifest, Versioned
from s3mount.store.manifest_writer import ManifestWriter
from s3mount.store.paging import byte_order

SUFFIX: Final = ".s3snapshot"
FACTS: Final = (
    *("identity", "prefix", "source", "kind", "place", "created"),
    *("endpoint_url", "region", "addressing_style", "no_sign_request", "requester_pays"),
)
"""What a snapshot says of itself; `store.open.snapshot_facts` makes it."""

BATCH = 1000
LONGEST_KEY = 4096
"""Bytes: more than S3's 1,024, for directories."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class SnapshotInfo(NamedTuple):
    """One snapshot as it is listed.

    Attributes:
        source: what was prefetched, as a person writes it.
        identity: of the store.
        objects: how many.
        size: their bytes.
        created: seconds since the epoch.
    """

    name: str
    source: str
    identity: str
    objects: int
    size: int
    created: float


class SnapshotWriter:
    """A snapshot that is being written. One thread at a time.

    Args:
        manifest: where to.
    """

    def __init__(self, manifest: ManifestWriter) -> None:
        self._manifest = manifest

    def add(self, objects: Iterable[tuple[ObjectMeta, str]]) -> None:
        """Write some objects as they were fetched, each with its version id, empty where there is none."""
        self._manifest.add_versions(Versioned(meta, version_id) for meta, version_id in objects)

    def commit(self) -> None:
        """Everything is there: the snapshot appears under its name."""
        self._manifest.commit()

    def abandon(self) -> None:
        """Forget what was written; a snapshot of that name stays as it was."""
        self._manifest.abandon()


def writer(cache_dir: Path, name: str, facts: Mapping[str, str]) -> SnapshotWriter:
    """Begin a snapshot: `add` objects, in any order; `commit` when everything is there; otherwise `abandon`.

    Nobody sees it before `commit`; a snapshot of that name is replaced then.

    Args:
        cache_dir: the option of that name.
        name: letters, digits, dots, dashes and underscores.
        facts: from `store.open.snapshot_facts`.

    Raises:
        ConfigError: the name cannot be one.
        CacheError: the directory is open to others.
        OSError: it cannot be written.
        sqlite3.Error: the same.
    """
    chosen = {fact: facts[fact] for fact in FACTS}
    return SnapshotWriter(ManifestWriter(path_of(cache_dir, name), chosen))


def open_snapshot(cache_dir: Path, name: str) -> Manifest:
    """Read a snapshot.

    Raises:
        ConfigError: there is none of this name.
        BadManifest: it is damaged.
    """
    path = path_of(cache_dir, name)
    try:
        return _checked(Manifest(path))
    except FileNotFoundError as error:
        raise _missing(cache_dir, name) from error


def names(cache_dir: Path) -> list[str]:
    """The snapshots that exist, sorted."""
    found = directory(cache_dir).glob(f"*{SUFFIX}")
    return sorted(path.stem for path in found if _NAME.fullmatch(path.stem))


def info(manifest: Manifest) -> SnapshotInfo:
    """What there is to say of an open snapshot.

    Raises:
        BadManifest: it is damaged.
    """
    facts, (objects, size) = manifest.facts, manifest.totals()
    name = manifest.path.name.removesuffix(SUFFIX)
    created = float(facts["created"])
    return SnapshotInfo(name, facts["source"], facts["identity"], objects, size, created)


def remove(cache_dir: Path, name: str) -> None:
    """Remove a snapshot. Cached bytes stay, and so do mounts that show it.

    Raises:
        ConfigError: there is none of this name.
    """
    try:
        path_of(cache_dir, name).unlink()
    except FileNotFoundError as error:
        raise _missing(cache_dir, name) from error


def send(cache_dir: Path, name: str, target: IO[bytes]) -> None:
    """Write a snapshot to a file that another machine can bring in.

    Raises:
        ConfigError: there is none of this name.
        BadManifest: it is damaged.
        OSError: it cannot be written.
    """
    open_snapshot(cache_dir, name).close()
    with path_of(cache_dir, name).open("rb") as source:
        shutil.copyfileobj(source, target)


def bring_in(cache_dir: Path, file: Path, name: str, *, replace: bool = False) -> SnapshotInfo:
    """Take a snapshot from a file that may come from anywhere.

    Its rows are read, checked one by one and written to a new file; nothing in it is run, and nothing else of it kept.

    Args:
        cache_dir: the option of that name.
        file: not changed.
        name: what it is called here.
        replace: whether it may take the place of another one.

    Raises:
        ConfigError: the name is taken, or cannot be one.
        BadManifest: the file is no snapshot, or says what cannot be.
        OSError: it cannot be read or written.
    """
    path = path_of(cache_dir, name)
    if path.exists() and not replace:
        raise ConfigError(
            f"there is a snapshot {name!r} already",
            hint="give another name with --name, or --replace",
        )
    with closing(_checked(Manifest(file))) as manifest:
        copy = writer(cache_dir, name, manifest.facts)
        try:
            _copy(manifest, copy)
            copy.commit()
        except BaseException:
            copy.abandon()
            raise
    with closing(open_snapshot(cache_dir, name)) as copied:
        return info(copied)


def directory(cache_dir: Path) -> Path:
    """Where the snapshots are."""
    return cache_dir / "v1" / "snapshots"


def path_of(cache_dir: Path, name: str) -> Path:
    """The file of a snapshot.

    Raises:
        ConfigError: the name cannot be one.
    """
    check_name(name)
    return directory(cache_dir) / (name + SUFFIX)


def check_name(name: str) -> None:
    """Refuse what cannot be a snapshot's name.

    Raises:
        ConfigError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be a snapshot's name",
            hint="up to 100 letters, digits, dots, dashes and underscores; a letter or digit first",
        )


def _missing(cache_dir: Path, name: str) -> ConfigError:
    known = names(cache_dir)
    hint = (
        "there are: " + ", ".join(known) if known else "s3mount prefetch --snapshot NAME makes one"
    )
    return ConfigError(f"there is no snapshot {name!r} in {cache_dir}", hint=hint)


def _checked(manifest: Manifest) -> Manifest:
    """The same, when it says everything that a snapshot says."""
    facts = manifest.facts
    try:
        wrong = [fact for fact in FACTS if fact not in facts]
        wrong += [fact for fact in FACTS if "\n" in facts.get(fact, "")]
        float(facts.get("created", ""))
    except ValueError:
        wrong = ["created"]
    if facts.get("kind") not in {"s3", "file"}:
        wrong.append("kind")
    if facts.get("prefix", "") and not facts["prefix"].endswith("/"):
        wrong.append("prefix")
    if wrong:
        manifest.close()
        named = ", ".join(dict.fromkeys(wrong))
        raise BadManifest(
            f"{manifest.path} is no snapshot: it does not say what it should: {named}"
        )
    return manifest


def _copy(manifest: Manifest, target: SnapshotWriter) -> None:
    batch: list[Versioned] = []
    before, count = b"", 0
    for each in manifest.objects():
        key = byte_order(each.meta.key)
        if not _is_sane(each, key) or key <= before:
            raise BadManifest(f"{manifest.path} says what cannot be of the key {each.meta.key!r}")
        before, count = key, count + 1
        batch.append(each)
        if len(batch) == BATCH:
            target.add(batch)
            batch = []
    target.add(batch)
    if count != manifest.totals()[0]:  # a key that is no bytes sorts before all that are
        raise BadManifest(f"{manifest.path} holds keys that cannot be")


def _is_sane(each: Versioned, key: bytes) -> bool:
    """Whether the values have the types and sizes that they should; a file from elsewhere may hold any."""
    meta, version_id = each
    texts: tuple[object, ...] = (meta.etag, meta.storage_class, version_id)
    size: object = meta.size
    return (
        0 < len(key) <= LONGEST_KEY
        and all(isinstance(text, str) and _is_word(text) for text in texts)
        and isinstance(size, int)
        and size >= 0
        and isinstance(meta.mtime_ns, int)
    )


def _is_word(text: str) -> bool:
    return len(text) <= LONGEST_KEY and text.isascii() and text.isprintable()
