"""`s3mount cache`: look at the cache directory, check it, make room in it, say what stays.

Every command works on the directory while mounts use it, and on nothing but what s3mount put there.
The work is done in the cache room; this file asks for it and prints.
"""

import contextlib
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from s3mount.cli import exits, human
from s3mount.cli.flags import GroupedCommand, Said, with_options
from s3mount.config import MountOptions, quantities
from s3mount.config.options import CACHE, WHERE
from s3mount.errors import CacheError, ConfigError

if TYPE_CHECKING:
    from s3mount.cache.admin import PinReport, PruneReport
    from s3mount.cache.pin_rows import PinInfo
    from s3mount.store.open import Source

T = TypeVar("T")

_SHOWN = 20  # damaged files; more of them is a broken disk

_EPILOG = """\b
Examples:
  s3mount cache info                       how much is kept, and of what
  s3mount cache verify --repair            read everything, drop what is damaged
  s3mount cache prune --to 2GiB            the least recently used goes first
  s3mount cache prune --older-than 7d
  s3mount cache clear
  s3mount cache pin nightly my-bucket/nightly
                                           what is cached of this now stays
  s3mount cache unpin nightly              ... as long as anything else again

What is dropped is fetched again when it is read; nothing in the bucket changes. All of these may
run while mounts use the cache: what is being read stays, and so does what is pinned."""

_PIN_EPILOG = """\b
Examples:
  s3mount cache pin nightly my-bucket/nightly
  s3mount cache pin models s3://my-bucket --endpoint-url http://minio:9000
  s3mount cache pins                       what is pinned, and how much of it is cached

Pinned are the versions that are cached now: a newer version of an object is not. A pin that is
there is added to. Pins count towards --cache-size; nothing else does so for good."""


@click.group(epilog=_EPILOG)
def cache() -> None:
    """Look at the cache on local disk, check it, make room, pin what stays."""


@cache.command(cls=GroupedCommand)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_options(CACHE)
def info(as_json: bool, said: Said) -> None:
    """Show how much is kept, and of which buckets."""
    from s3mount.cache import admin  # help must not wait for the cache

    options = said.resolve()
    found = _asking(lambda: admin.info(options.cache_dir))
    if as_json:
        fields = {
            "dir": str(found.root),
            "used_bytes": found.used,
            "reserved_bytes": found.reserved,
            "pinned_bytes": found.pinned,
            "max_bytes": options.cache_size,
            "free_bytes": found.free,
            "min_free_bytes": options.cache_min_free,
            "objects": found.objects,
            "stores": [each._asdict() for each in found.stores],
        }
        click.echo(json.dumps(fields, indent=2))
        return
    click.echo(human.name(str(found.root)))
    of = f"{human.size(found.used)} of {human.size(options.cache_size)}"
    pinned = f", {human.size(found.pinned)} pinned" if found.pinned else ""
    click.echo(f"  {of}, {human.count(found.objects, 'object')}{pinned}")
    kept = human.size(options.cache_min_free)
    click.echo(f"  disk has {human.size(found.free)} free (keeps {kept} free)")
    for each in sorted(found.stores, key=lambda store: -store.cached):
        what = f"{human.size(each.cached):>8}  {human.count(each.objects, 'object')}"
        click.echo(f"  {what}  {human.name(each.store)}")


@cache.command(cls=GroupedCommand)
@click.option("--repair", is_flag=True, help="Drop what is damaged; it is fetched again when read.")
@with_options(CACHE)
@click.pass_context
def verify(ctx: click.Context, repair: bool, said: Said) -> None:
    """Read everything that is kept and check every byte.

    Exit status 1 when something damaged was found and is still there.
    """
    from s3mount.cache.verify import verify as read_all

    root = said.resolve().cache_dir
    report = _asking(lambda: read_all(root, repair=repair))
    for bad in report.bad[:_SHOWN]:
        click.echo(f"damaged: {human.name(bad.path)}: {bad.reason}")
    if len(report.bad) > _SHOWN:
        click.echo(f"and {len(report.bad) - _SHOWN} more")
    looked = f"{human.count(report.extents, 'file')} read, {human.size(report.checked)}"
    ends = f", {report.removed} dropped" if repair and report.bad else ""
    used = f", {report.leased} in use and left" if report.leased else ""
    click.echo(f"{looked}: {len(report.bad)} damaged{ends}{used}")
    if len(report.bad) > report.removed:
        if not repair:
            click.echo("s3mount cache verify --repair drops them", err=True)
        ctx.exit(exits.FAILED)


@cache.command(cls=GroupedCommand)
@click.option(
    "--to", "to_size", metavar="SIZE", help="Drop the least recently used down to this size."
)
@click.option("--older-than", metavar="TIME", help="Drop what was not used for so long.")
@with_options(CACHE)
def prune(to_size: str | None, older_than: str | None, said: Said) -> None:
    """Make room: drop leftovers, and what is asked for."""
    from s3mount.cache import admin

    root = said.resolve().cache_dir
    to_bytes = None if to_size is None else _read("--to", to_size, quantities.read_size)
    age = (
        None if older_than is None else _read("--older-than", older_than, quantities.read_duration)
    )
    now = time.time()  # noqa: TID251 -- a command has a clock
    since = None if age is None else now - age
    report = _asking(lambda: admin.prune(root, to_bytes=to_bytes, older_than=since, orphans=True))
    _print_dropped(report)


@cache.command(cls=GroupedCommand)
@click.option("--pinned-too", is_flag=True, help="Drop what is pinned as well; the pins stay.")
@with_options(CACHE)
def clear(pinned_too: bool, said: Said) -> None:
    """Drop everything that is neither in use nor pinned."""
    from s3mount.cache import admin

    root = said.resolve().cache_dir
    report = _asking(lambda: admin.clear(root, pinned_too=pinned_too))
    _print_dropped(report)
    if report.pinned:
        click.echo("s3mount cache clear --pinned-too drops what is pinned", err=True)


@cache.command(cls=GroupedCommand, epilog=_PIN_EPILOG)
@click.argument("name")
@click.argument("source_text", metavar="SOURCE")
@with_options(WHERE, CACHE)
def pin(name: str, source_text: str, said: Said) -> None:
    """Keep what is cached below SOURCE now, under NAME: it is never dropped to make room."""
    from s3mount.cache import admin
    from s3mount.store.open import parse_source

    source = parse_source(source_text)
    options = said.resolve(source.bucket_or_dir if source.kind == "s3" else "")
    prefix = source.prefix + options.prefix.lstrip("/")
    store = _identity(source, options)
    report = _asking(lambda: admin.pin(options.cache_dir, name, store, prefix))
    cached = f"{human.count(report.objects, 'object')}, {human.size(report.cached_bytes)}"
    parts = f" of {human.size(report.wanted_bytes)}" if _in_part(report) else ""
    known = report.objects - report.added
    before = f"; {human.count(known, 'object')} were pinned before" if known else ""
    click.echo(f"{name}: {cached}{parts} pinned{before}")


@cache.command(cls=GroupedCommand)
@click.argument("name")
@with_options(CACHE)
def unpin(name: str, said: Said) -> None:
    """Forget the pin NAME; what it held is dropped when room is needed."""
    from s3mount.cache import admin

    root = said.resolve().cache_dir
    objects = _asking(lambda: admin.unpin(root, name))
    click.echo(f"{name}: {human.count(objects, 'object')} no longer pinned by it")


@cache.command(cls=GroupedCommand)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_options(CACHE)
def pins(as_json: bool, said: Said) -> None:
    """Show what is pinned, and how much of it is cached."""
    from s3mount.cache import admin

    root = said.resolve().cache_dir
    found = _asking(lambda: admin.all_pins(root))
    if as_json:
        click.echo(json.dumps([each._asdict() for each in found], indent=2))
        return
    if not found:
        click.echo("nothing is pinned")
    for each in found:
        parts = f" of {human.size(each.wanted_bytes)}" if _in_part(each) else ""
        click.echo(
            f"{each.name}  {human.count(each.objects, 'object')}, "
            f"{human.size(each.cached_bytes)}{parts} cached"
        )


def _in_part(pinned: "PinReport | PinInfo") -> bool:
    return pinned.cached_bytes < pinned.wanted_bytes


def _identity(source: "Source", options: MountOptions) -> str:
    """How the cache names the store; nothing is sent."""
    from s3mount.store.open import open_store, settings_of

    with contextlib.closing(open_store(source, settings_of(options))) as store:
        return store.identity


def _print_dropped(report: "PruneReport") -> None:
    dropped = f"{human.count(report.objects, 'object')} dropped, {human.size(report.freed)} freed"
    used = f"; {human.count(report.leased, 'object')} in use and left" if report.leased else ""
    pinned = f"; {human.count(report.pinned, 'object')} pinned and left" if report.pinned else ""
    orphans = f"; {human.count(report.orphans, 'leftover')} removed" if report.orphans else ""
    click.echo(f"{dropped}{used}{pinned}{orphans}")


def _read(flag: str, text: str, reader: Callable[[str], T]) -> T:
    try:
        return reader(text)
    except ValueError as error:
        hint = (
            "allowed: a size such as 2GiB"
            if flag == "--to"
            else "allowed: a time such as 7d or 12h"
        )
        raise ConfigError(f'{flag}: "{text}" {error}', hint=hint) from error


def _asking(work: Callable[[], T]) -> T:
    import sqlite3

    try:
        return work()
    except sqlite3.Error as error:
        raise CacheError(
            f"the index of the cache cannot be used: {error}",
            hint="try again; is a mount very busy?",
        ) from error
