"""`s3mount ls`: what is in a bucket, without a mount.

The listing runs with many requests at once and is printed as it comes, so a bucket of any size needs little memory.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import click

from s3mount.cli import exits, human
from s3mount.cli.flags import GroupedCommand, Said, with_options
from s3mount.config import MountOptions
from s3mount.config.options import WHERE

if TYPE_CHECKING:
    from s3mount.store.interface import ObjectMeta, Page
    from s3mount.store.open import Source
    from s3mount.transfer.engine import Engine

_NANO = 1_000_000_000
_CREDENTIALS_EVERY = 30.0

_HELP = """List what is in SOURCE, in the order of the keys.

\b
SOURCE is  bucket  bucket/prefix  s3://bucket/prefix  or  file:///directory,
or names one object. Whole keys are shown; those that end in / stand for all below.
"""

_EPILOG = """\b
Examples:
  s3mount ls my-bucket                      one level
  s3mount ls -lH my-bucket/nightly          with sizes and times
  s3mount ls -R my-bucket/nightly | wc -l   every object below
  s3mount ls -R --json my-bucket | jq -r 'select(.size > 1e9) | .key'

Exit status 3 when nothing is there."""


class Style(NamedTuple):
    """How an entry is written.

    Attributes:
        is_long: with size, time, and storage class when it is not STANDARD.
        is_human: sizes for people.
        is_json: one JSON record a line instead.
        is_escaped: letters that a terminal would act on come out as escapes.
    """

    is_long: bool = False
    is_human: bool = False
    is_json: bool = False
    is_escaped: bool = False


@click.command(cls=GroupedCommand, help=_HELP, epilog=_EPILOG)
@click.argument("source")
@click.option("-R", "--recursive", is_flag=True, help="Every object below, not one level.")
@click.option("-l", "--long", "is_long", is_flag=True, help="Size, time and storage class too.")
@click.option("-H", "--human", "is_human", is_flag=True, help="Sizes such as 1.5 MiB; with -l.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one record a line.")
@with_options(WHERE)
@click.pass_context
def ls(
    ctx: click.Context,
    source: str,
    said: Said,
    *,
    recursive: bool,
    is_long: bool,
    is_human: bool,
    as_json: bool,
) -> None:
    """List what is in SOURCE."""
    from s3mount.store.open import parse_source  # help must not wait for the store

    parsed = parse_source(source)
    options = said.resolve(parsed.bucket_or_dir)
    style = Style(is_long, is_human, as_json, is_escaped=sys.stdout.isatty() and not as_json)
    try:
        found = _list(parsed, options, style, recursive=recursive)
    except BrokenPipeError:  # `s3mount ls | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if not found:
        click.echo(f"s3mount: {human.name(source)}: nothing is there", err=True)
        ctx.exit(exits.NOTHING_FOUND)


def _list(source: "Source", options: MountOptions, style: Style, *, recursive: bool) -> bool:
    """Print everything; whether there was anything."""
    prefix = source.prefix + options.prefix.lstrip("/")
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    found = False
    with _engine_of(source, options) as engine:
        for page in _pages(engine, source, options, prefix, recursive=recursive):
            found = True
            click.echo("".join(lines(page, style)).encode("utf-8", "surrogateescape"), nl=False)
    return found


def _pages(
    engine: "Engine", source: "Source", options: MountOptions, prefix: str, *, recursive: bool
) -> "Iterator[Page]":
    """What is below a prefix, or the one object that is called so."""
    from s3mount.listing.walk import PARALLEL, pages_now

    # A directory on disk is read by one thread, and sorted anew for each place to begin.
    parallel = 1 if source.kind == "file" else min(PARALLEL, options.concurrency)
    delimiter = "" if recursive else "/"
    found = False
    with closing(
        pages_now(engine, prefix, parallel=parallel, ordered=True, delimiter=delimiter)
    ) as pages:
        for page in pages:
            found = True
            yield page
    key = prefix.removesuffix("/")
    if found or not key:
        return
    # Of all keys that begin with the object's, its own is the first.
    with closing(pages_now(engine, key, parallel=1, max_keys=1)) as pages:
        first = next(pages, None)
    if first is not None and [meta.key for meta in first.objects] == [key]:
        yield first


@contextmanager
def _engine_of(source: "Source", options: MountOptions) -> "Iterator[Engine]":
    from s3mount.listing.walk import PARALLEL
    from s3mount.store.open import open_store, settings_of
    from s3mount.transfer.engine import Engine, EngineSettings
    from s3mount.transfer.housekeeping import Chore, Housekeeper
    from s3mount.transfer.retry import RetryPolicy

    store = open_store(source, settings_of(options)._replace(connections=PARALLEL))
    settings = EngineSettings(PARALLEL, RetryPolicy(patience=options.request_timeout))
    with ExitStack() as stack:
        chore = Chore("credentials", _CREDENTIALS_EVERY, store.renew)
        housekeeper = stack.enter_context(Housekeeper([chore]))
        engine = Engine(store, settings, on_expired=lambda: housekeeper.hurry(chore.name))
        yield stack.enter_context(engine)


def lines(page: "Page", style: Style) -> Iterator[str]:
    """The entries of a page in the order of their keys, each with its newline.

    Args:
        page: objects and common prefixes.
        style: how they are written.
    """
    from s3mount.store.paging import byte_order

    if not page.prefixes:
        yield from (_object_line(meta, style) for meta in page.objects)
        return
    written = [(meta.key, _object_line(meta, style)) for meta in page.objects]
    written += [(prefix, _prefix_line(prefix, style)) for prefix in page.prefixes]
    yield from (line for _, line in sorted(written, key=lambda entry: byte_order(entry[0])))


def _object_line(meta: "ObjectMeta", style: Style) -> str:
    if style.is_json:
        record = {
            "key": meta.key,
            "size": meta.size,
            "mtime": _time(meta.mtime_ns),
            "etag": meta.etag,
            "storage_class": meta.storage_class,
        }
        return json.dumps(record) + "\n"
    key = human.name(meta.key) if style.is_escaped else meta.key
    if not style.is_long:
        return f"{key}\n"
    size = human.size(meta.size) if style.is_human else str(meta.size)
    special = "" if meta.storage_class == "STANDARD" else f"{meta.storage_class}  "
    return f"{size:>14}  {_time(meta.mtime_ns)}  {special}{key}\n"


def _prefix_line(prefix: str, style: Style) -> str:
    if style.is_json:
        return json.dumps({"prefix": prefix}) + "\n"
    key = human.name(prefix) if style.is_escaped else prefix
    return f"{'-':>14}  {'-':20}  {key}\n" if style.is_long else f"{key}\n"


def _time(mtime_ns: int) -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(mtime_ns // _NANO, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
