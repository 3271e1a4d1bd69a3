"""`s3mount snapshots`: look at what `prefetch --snapshot` recorded, and carry it to other machines.

A snapshot is one file in the cache directory; the work is done in the store room, this file asks for it and prints.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

import click

from s3mount.cli import human
from s3mount.cli.flags import GroupedCommand, Said, with_options
from s3mount.config.options import CACHE
from s3mount.errors import CacheError, ConfigError, S3MountError

if TYPE_CHECKING:
    from s3mount.store.manifest import Manifest
    from s3mount.store.snapshots import SnapshotInfo

T = TypeVar("T")

_EPILOG = """\b
Examples:
  s3mount prefetch my-bucket/nightly --snapshot nightly-0412
  s3mount mount snapshot:nightly-0412 ~/nightly    the tree as it was, offline too
  s3mount snapshots                                what there is, and how much of it is cached
  s3mount snapshots show nightly-0412              its keys
  s3mount snapshots export nightly-0412 - | ssh box s3mount snapshots import - --name nightly
  s3mount snapshots remove nightly-0412            cached bytes stay

A snapshot says which objects there were, in which version and where; it holds no bytes of them and
no credentials. What is not cached is fetched when it is read, in that version or not at all."""


class Cached(NamedTuple):
    """How much of a snapshot needs no request: whole objects and their bytes."""

    objects: int
    size: int


class _Group(click.Group):
    """A group that lists when it is told nothing else."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``list`` in front of what begins with no command."""
        if not args or (args[0].startswith("-") and args[0] not in {"-h", "--help"}):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group, epilog=_EPILOG)
def snapshots() -> None:
    """Look at snapshots, carry them to other machines; without a command, list them."""


@snapshots.command("list", cls=GroupedCommand)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_options(CACHE)
def list_(as_json: bool, said: Said) -> None:
    """Show what there is, and how much of it is cached."""
    from s3mount.store import snapshots as kept  # help must not wait for the store

    cache_dir = said.resolve().cache_dir
    names = kept.names(cache_dir)
    if as_json:
        records = [_record(*_looked_at(cache_dir, name)) for name in names]
        click.echo(json.dumps(records, indent=2))
        return
    now = time.time()  # noqa: TID251 -- a command has a clock
    for name in names:
        for line in _lines(*_looked_at(cache_dir, name), now):
            click.echo(line)
    if not names:
        click.echo(
            "there are no snapshots: s3mount prefetch SOURCE --snapshot NAME makes one", err=True
        )


@snapshots.command(cls=GroupedCommand)
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON record a line.")
@with_options(CACHE)
def show(name: str, as_json: bool, said: Said) -> None:
    """Show the keys in a snapshot."""
    from s3mount.store import snapshots as kept

    cache_dir = said.resolve().cache_dir
    with contextlib.closing(kept.open_snapshot(cache_dir, name)) as manifest:
        try:
            _print_objects(manifest, as_json=as_json)
        except BrokenPipeError:  # `s3mount snapshots show NAME | head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@snapshots.command(cls=GroupedCommand)
@click.argument("name")
@click.argument("file")
@with_options(CACHE)
def export(name: str, file: str, said: Said) -> None:
    """Write a snapshot to FILE, - for stdout."""
    from s3mount.store import snapshots as kept

    cache_dir = said.resolve().cache_dir
    if file == "-":
        if sys.stdout.isatty():
            raise ConfigError(
                "a snapshot is no text for a terminal", hint="name a file, or pipe it"
            )
        kept.send(cache_dir, name, sys.stdout.buffer)
        return
    with _replacing(Path(file)) as target:
        kept.send(cache_dir, name, target)


@snapshots.command("import", cls=GroupedCommand)
@click.argument("file")
@click.option("--name", help="What it is called here; otherwise as the file is.")
@click.option("--replace", is_flag=True, help="Take the place of a snapshot of that name.")
@with_options(CACHE)
def import_(file: str, name: str | None, replace: bool, said: Said) -> None:
    """Take a snapshot from FILE, - for stdin.

    The file may come from anywhere: every row of it is checked, and nothing in it is run. Its objects are asked of the
    endpoint that it names, with your credentials; this command says which that is.
    """
    from s3mount.cache.layout import Layout
    from s3mount.store import snapshots as kept

    if name is None:
        if file == "-":
            raise ConfigError("what comes from stdin has no name", hint="give it one with --name")
        name = Path(file).name.removesuffix(kept.SUFFIX)
    cache_dir = said.resolve().cache_dir
    kept.check_name(name)
    Layout(cache_dir).prepare()
    with _as_file(file) as path:
        found = _asking(lambda: kept.bring_in(cache_dir, path, name, replace=replace))
    what = f"{human.count(found.objects, 'object')}, {human.size(found.size)}"
    click.echo(f"{found.name}: {what} of {human.name(found.source)} ({human.name(found.identity)})")


@snapshots.command(cls=GroupedCommand)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@with_options(CACHE)
def remove(names: tuple[str, ...], said: Said) -> None:
    """Remove snapshots. Cached bytes stay, and so do mounts that show them."""
    from s3mount.store import snapshots as kept

    cache_dir = said.resolve().cache_dir
    for name in names:
        kept.remove(cache_dir, name)
        click.echo(f"{name} removed")


def _print_objects(manifest: "Manifest", *, as_json: bool) -> None:
    is_escaped = sys.stdout.isatty()
    write = sys.stdout.buffer.write
    for meta, version_id in manifest.objects():
        if as_json:
            text = json.dumps({**meta._asdict(), "version_id": version_id})
        else:
            text = human.name(meta.key) if is_escaped else meta.key
        write(text.encode("utf-8", "surrogateescape") + b"\n")
    sys.stdout.flush()


def _looked_at(cache_dir: Path, name: str) -> "tuple[str, SnapshotInfo | None, Cached]":
    """What there is to say of a snapshot; None when it is damaged or was removed meanwhile."""
    from s3mount.store import snapshots as kept

    try:
        with contextlib.closing(kept.open_snapshot(cache_dir, name)) as manifest:
            return name, kept.info(manifest), _cached(cache_dir, manifest)
    except (CacheError, ConfigError):
        return name, None, Cached(0, 0)


def _cached(cache_dir: Path, manifest: "Manifest") -> Cached:
    from s3mount.cache.layout import Layout, ObjectId
    from s3mount.cache.whole import is_whole

    layout, store = Layout(cache_dir), manifest.identity
    objects = size = 0
    for meta, _ in manifest.objects():
        oid = ObjectId(store, meta.key, meta.etag, meta.size)
        if is_whole(layout, oid, oid.digest()):
            objects += 1
            size += meta.size
    return Cached(objects, size)


def _record(name: str, found: "SnapshotInfo | None", cached: Cached) -> dict[str, object]:
    if found is None:
        return {"name": name, "damaged": True}
    return {
        "name": name,
        "source": found.source,
        "store": found.identity,
        "created": found.created,
        "objects": found.objects,
        "bytes": found.size,
        "cached_objects": cached.objects,
        "cached_bytes": cached.size,
    }


def _lines(name: str, found: "SnapshotInfo | None", cached: Cached, now: float) -> Iterator[str]:
    yield name
    if found is None:
        yield "  damaged: remove it, or record it again"
        return
    share = human.share(cached.objects, found.objects)
    yield f"  {human.name(found.source)}, {human.ago(found.created, now)}"
    yield (
        f"  {human.count(found.objects, 'object')}, {human.size(found.size)};"
        f" {share} of them cached, {human.size(cached.size)}"
    )


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when it is whole."""
    if not path.parent.is_dir():
        # The error of the system would name a temporary file that nobody has heard of.
        raise S3MountError(
            f"{path}: there is no directory {path.parent}", hint=f"mkdir -p {path.parent}"
        )
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name[:100]}.", delete=False
    ) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _as_file(name: str) -> Iterator[Path]:
    """A file by its name, or what comes from stdin as one."""
    if name != "-":
        if not Path(name).exists():
            raise S3MountError(
                f"there is no file {name!r}", hint="s3mount snapshots export NAME FILE writes one"
            )
        yield Path(name)
        return
    with tempfile.NamedTemporaryFile(prefix="s3mount-snapshot-") as file:
        while chunk := sys.stdin.buffer.read(1 << 20):
            file.write(chunk)
        file.flush()
        yield Path(file.name)


def _asking(work: Callable[[], T]) -> T:
    import sqlite3

    try:
        return work()
    except sqlite3.Error as error:
        raise CacheError(f"the snapshot cannot be written: {error}") from error
