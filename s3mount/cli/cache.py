"""`s3mount cache`: look at the cache directory, check it, make room in it.

Every command works on the directory while mounts use it, and on nothing but what s3mount put there.
The work is done in the cache room; this file asks for it and prints.
"""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from s3mount.cli import exits, human
from s3mount.cli.flags import GroupedCommand, Said, with_options
from s3mount.config import quantities
from s3mount.config.options import CACHE
from s3mount.errors import CacheError, ConfigError

if TYPE_CHECKING:
    from s3mount.cache.admin import PruneReport

T = TypeVar("T")

_SHOWN = 20  # damaged files; more of them is a broken disk

_EPILOG = """\b
Examples:
  s3mount cache info                       how much is kept, and of what
  s3mount cache verify --repair            read everything, drop what is damaged
  s3mount cache prune --to 2GiB            the least recently used goes first
  s3mount cache prune --older-than 7d
  s3mount cache clear

What is dropped is fetched again when it is read; nothing in the bucket changes. All of these may
run while mounts use the cache: what is being read stays."""


@click.group(epilog=_EPILOG)
def cache() -> None:
    """Look at the cache on local disk, check it, make room."""


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
    click.echo(f"  {of}, {human.count(found.objects, 'object')}")
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
    from s3mount.cache import admin

    root = said.resolve().cache_dir
    report = _asking(lambda: admin.verify(root, repair=repair))
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
@with_options(CACHE)
def clear(said: Said) -> None:
    """Drop everything that is not in use."""
    from s3mount.cache import admin

    root = said.resolve().cache_dir
    _print_dropped(_asking(lambda: admin.clear(root)))


def _print_dropped(report: "PruneReport") -> None:
    dropped = f"{human.count(report.objects, 'object')} dropped, {human.size(report.freed)} freed"
    used = f"; {human.count(report.leased, 'object')} in use and left" if report.leased else ""
    orphans = f"; {human.count(report.orphans, 'leftover')} removed" if report.orphans else ""
    click.echo(f"{dropped}{used}{orphans}")


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
