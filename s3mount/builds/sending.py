"""Archives into a run, from files and from another run: the archive first, then its checksum.

Whoever reads in between finds a new archive beside an old checksum, which is an error, and never a wrong one beside its
own. Concurrency rule: everything belongs to the thread of the command.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from s3mount.builds.backend import missing
from s3mount.builds.names import SIDECAR, is_archive
from s3mount.builds.places import Place
from s3mount.builds.sidecar import body_of, check, digest_in, digest_of
from s3mount.bulk import sending
from s3mount.bulk.session import Session
from s3mount.errors import S3MountError
from s3mount.store.interface import ObjectMeta

CONTENT_TYPES = {".xz": "application/x-xz", ".zst": "application/zstd", SIDECAR: "text/plain"}


class Published(NamedTuple):
    """What became of one archive.

    Attributes:
        filename: of it.
        error: why it is not there; None when it is, and its checksum too.
    """

    filename: str
    error: Exception | None = None


class _Local(NamedTuple):
    path: Path
    stamp: tuple[int, int, int]
    digest: str


def archives_in(paths: Iterable[Path]) -> dict[str, Path]:
    """The archives that some paths name, by file name: themselves, or what stands directly in a directory.

    Raises:
        FileNotFoundError: there is no such path.
        S3MountError: a file is no archive, or two have the same name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for each in _archives_at(path):
            if found.setdefault(each.name, each) != each:
                raise S3MountError(f"{found[each.name]} and {each} have the same name")
    return dict(sorted(found.items()))


def push(
    session: Session, prefix: str, archives: Mapping[str, Path], *, jobs: int
) -> Generator[list[Published], None, None]:
    """Send archives, each with its checksum; each is given once, in batches. Leaving early sends no more.

    The checksum is that of the file; a sidecar beside it must say the same.

    Args:
        session: of the run's store.
        prefix: of the run; empty or ending in ``/``.
        archives: files, by the names that they get.
        jobs: requests at once at the most.
    """
    ready: dict[str, _Local] = {}
    refused: list[Published] = []

    def uploads() -> Iterator[sending.Upload]:
        for name, path in archives.items():
            try:
                ready[name] = _looked_at(path)
            except (OSError, S3MountError) as error:
                refused.append(Published(name, error))
            else:
                yield _upload(path, prefix + name, name)

    sent: list[str] = []
    with closing(sending.send(session, uploads(), jobs=jobs)) as batches:
        for batch in batches:
            ends = [Published(each.upload.key[len(prefix) :], each.error) for each in batch]
            ends = [_unchanged(ready[each.filename], each) for each in ends]
            sent += [each.filename for each in ends if each.error is None]
            yield [each for each in ends if each.error is not None]
    yield refused
    sidecars = (
        _upload(body_of(ready[name].digest), f"{prefix}{name}{SIDECAR}", SIDECAR) for name in sent
    )
    with closing(sending.send(session, sidecars, jobs=jobs)) as batches:
        for batch in batches:
            keys = ((each.upload.key, each.error) for each in batch)
            yield [Published(_owner(key, prefix), error) for key, error in keys]


def copy(
    session: Session,
    place: Place,
    source: Place,
    found: Mapping[str, ObjectMeta],
    wanted: Sequence[str],
    *,
    jobs: int,
) -> Generator[list[Published], None, None]:
    """Have archives of another run copied by the store's servers, each with its checksum; each is given once.

    Args:
        session: of the store that they come to.
        place: where they come to.
        source: where they are; a store of the same kind.
        found: everything that is there, by name.
        wanted: names of archives among it.
        jobs: requests at once at the most.
    """

    def copies(names: Iterable[str]) -> Iterator[sending.CopyOf]:
        for name in names:
            meta = found[name]
            yield sending.CopyOf(
                meta.key,
                place.prefix + name,
                meta.size,
                meta.etag,
                source.source.bucket_or_dir,
                _content_type(name),
            )

    sent: list[str] = []
    with closing(sending.copy(session, copies(wanted), jobs=jobs)) as batches:
        for batch in batches:
            ends = [Published(each.copy.key[len(place.prefix) :], each.error) for each in batch]
            done = [each.filename for each in ends if each.error is None]
            sent += [name for name in done if name + SIDECAR in found]
            yield [each for each in ends if each.error or each.filename + SIDECAR not in found]
    sidecars = copies(name + SIDECAR for name in sent)
    with closing(sending.copy(session, sidecars, jobs=jobs)) as batches:
        for batch in batches:
            keys = ((each.copy.key, each.error) for each in batch)
            yield [Published(_owner(key, place.prefix), error) for key, error in keys]


def _archives_at(path: Path) -> list[Path]:
    if path.is_dir():
        return [each for each in path.iterdir() if is_archive(each.name) and each.is_file()]
    if not path.is_file():
        raise missing(path)
    if not is_archive(path.name):
        raise S3MountError(f"{path} is neither .tar.zst nor .tar.xz")
    return [path]


def _looked_at(path: Path) -> _Local:
    stamp = _stamp(path)
    digest = digest_of(path)
    beside = path.with_name(path.name + SIDECAR)
    if beside.is_file():
        check(path.name, digest, digest_in(beside.read_bytes(), beside.name))
    return _Local(path, stamp, digest)


def _unchanged(local: _Local, end: Published) -> Published:
    """What was sent must be what the checksum was made of."""
    if end.error is None and _stamp(local.path) != local.stamp:
        return end._replace(error=S3MountError(f"{local.path} changed while it was sent"))
    return end


def _stamp(path: Path) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _upload(body: Path | bytes, key: str, name: str) -> sending.Upload:
    return sending.Upload(body, key, _content_type(name))


def _content_type(name: str) -> str:
    return next((kind for end, kind in CONTENT_TYPES.items() if name.endswith(end)), "")


def _owner(key: str, prefix: str) -> str:
    """The archive that a sidecar belongs to."""
    return key[len(prefix) :].removesuffix(SIDECAR)
