"""What archives must be: the checksums beside them, and whether a file that is there is right already."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from s3mount.builds.bodies import bodies
from s3mount.builds.names import SIDECAR
from s3mount.builds.sidecar import SIZE_MAX, digest_in, digest_of
from s3mount.bulk.wanted import same_time
from s3mount.errors import S3MountError, StoreError
from s3mount.store.interface import ObjectMeta
from s3mount.transfer.engine import Engine

Digests = Mapping[str, str | S3MountError]
"""What sidecars say, or why they say nothing, by the name of the archive; one without a sidecar is not in it."""
READERS = 4
"""Files that are hashed at once."""


def digests_of(engine: Engine, found: Mapping[str, ObjectMeta], wanted: Sequence[str]) -> Digests:
    """What the sidecars of some archives say.

    Args:
        engine: sends the GETs.
        found: everything that stands beside the archives, by name.
        wanted: names of archives among them.
    """
    metas = {name: found[name + SIDECAR] for name in wanted if name + SIDECAR in found}
    texts = bodies(engine, metas.values(), SIZE_MAX)
    return {name: _digest(texts[meta.key], name + SIDECAR) for name, meta in metas.items()}


def right_ones(
    directory: Path, metas: Mapping[str, ObjectMeta], digests: Mapping[str, str]
) -> set[str]:
    """The archives that are in a directory already: by their checksums or, where there is none, by size and time.

    Args:
        directory: where they would be.
        metas: of the archives, by name.
        digests: by name, of those that have one.
    """

    def is_right(name: str) -> bool:
        return _is_right(directory / name, metas[name], digests.get(name, ""))

    with ThreadPoolExecutor(READERS) as readers:
        return {n for n, right in zip(metas, readers.map(is_right, metas), strict=True) if right}


def _is_right(path: Path, meta: ObjectMeta, digest: str) -> bool:
    try:
        found = path.lstat()
        if path.is_symlink() or not path.is_file() or found.st_size != meta.size:
            return False
        if not digest:
            return same_time(found.st_mtime_ns, meta.mtime_ns)
        return digest_of(path) == digest
    except OSError:
        return False


def _digest(body: bytes | StoreError, name: str) -> str | S3MountError:
    if isinstance(body, StoreError):
        return body
    try:
        return digest_in(body, name)
    except S3MountError as error:
        return error
