"""`s3mount download`: whole prefixes into plain files.

What is fetched, and how it is written, is decided in `bulk/download.py`; this file reads what was asked for, shows the
run and turns its end into an exit status.
"""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from s3mount.bulk.dividing import JOBS
from s3mount.cli import choosing, displays, exits, logs
from s3mount.cli.choosing import choosing_flags
from s3mount.cli.ending import ends_cleanly
from s3mount.cli.flags import GroupedCommand, Said, with_options
from s3mount.config import MountOptions
from s3mount.config.options import CACHE, WHERE

if TYPE_CHECKING:
    from s3mount.bulk.crew_member import Feed, Work
    from s3mount.bulk.dividing import Share
    from s3mount.bulk.folders import Run
    from s3mount.bulk.ledger import Ledger
    from s3mount.bulk.outcome import Outcome
    from s3mount.store.open import Source

JOBS_MAX = 10_000
MANY_JOBS = 1000
"""From here on a store answers that it is too much."""

_HELP = """Write every object whose key begins with SOURCE to a file.

\b
SOURCE is  s3://bucket/prefix  bucket/prefix  or  file:///directory

The prefix is a text: data/2026 takes data/2026-01/a and data/2026.txt. Files are called as the
rest of the key from the last / of the prefix on, appear when they are whole, have the time of
their object, and replace those that are there.
"""

_EPILOG = """\b
Examples:
  s3mount download s3://my-bucket/nightly/
  s3mount download my-bucket/nightly/ --download-dir ~/nightly --skip-existing
  s3mount download my-bucket/logs/2026 -r '\\.log$' --dry-run
  s3mount download my-bucket --include '*.tar.gz' --exclude 'old/**' --smaller 2GiB
  s3mount download my-bucket/data/ -c 16 --json > done.jsonl

\b
What was broken off goes on with --skip-existing: whole files are left alone, the others begin
again. No part of a file is ever left behind by Ctrl-C or an error.

\b
Exit status: 0 all of it is there; 1 something is not, stderr says what and why; 2 asked for
wrongly; 3 nothing matches; 130 stopped by Ctrl-C. What is whole stays, whatever the end."""


@dataclass(frozen=True, slots=True)
class Wish(choosing.Choice):
    """What the flags of this command say, as it was written."""

    download_dir: str
    concurrent_downloads: int | None
    threads: int | None
    delimiter: str
    dry_run: bool
    skip_existing: bool
    no_cache: bool
    quiet: bool
    progress: str | None
    as_json: bool
    debug: bool


@click.command(cls=GroupedCommand, help=_HELP, epilog=_EPILOG, options_metavar="[OPTIONS]")
@click.argument("source")
@click.option(
    "--download-dir",
    type=click.Path(exists=True, file_okay=False),
    default=".",
    metavar="DIR",
    help="Where the files go; must exist. [the current directory]",
)
@choosing_flags
@click.option(
    "-c",
    "--concurrent-downloads",
    type=click.IntRange(1, JOBS_MAX),
    metavar="N",
    help=f"Requests at once, at the most. [{JOBS}]",
)
@click.option(
    "-t",
    "--threads",
    type=click.IntRange(1, JOBS_MAX),
    metavar="N",
    help="Deprecated: use --concurrent-downloads.",
)
@click.option("--skip-existing", is_flag=True, help="Leave files of the right size and time alone.")
@click.option("--dry-run", "--list-only", is_flag=True, help="Write nothing; say what would be.")
@click.option(
    "--delimiter", default="/", metavar="CHAR", help="What separates the parts of keys. [/]"
)
@click.option("--no-cache", is_flag=True, help="Fetch what the cache has, too.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option(
    "--progress",
    type=click.Choice(displays.MODES, case_sensitive=False),
    help="What is shown meanwhile.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one record a line.")
@click.option("-d", "--debug", is_flag=True, help="Log everything to stderr.")
@with_options(WHERE, CACHE, "memory-limit", "request-timeout")
@click.pass_context
def download(ctx: click.Context, /, source: str, said: Said, **asked: object) -> None:
    """Write every object whose key begins with SOURCE to a file."""
    wish = Wish(**asked)  # type: ignore[arg-type]
    _refuse_nonsense(wish)
    if wish.debug:
        logs.set_up(level="debug", file=None, foreground=True)
    status = _run(source, wish, said)
    if status:
        ctx.exit(status)


def _refuse_nonsense(wish: Wish) -> None:
    if wish.threads is not None:
        if wish.concurrent_downloads is not None:
            raise click.UsageError(
                "cannot use --threads (deprecated) and --concurrent-downloads together."
            )
        _warn("--threads is deprecated, use --concurrent-downloads instead.")
    if wish.quiet and wish.progress is not None:
        raise click.UsageError("--quiet and --progress cannot be used together.")
    if not wish.delimiter or "\0" in wish.delimiter:
        raise click.UsageError("--delimiter: give a character, such as / or :")
    if _jobs(wish) > MANY_JOBS:
        _warn(f"{_jobs(wish)} requests at once may be more than the store allows.")


def _jobs(wish: Wish) -> int:
    return wish.concurrent_downloads or wish.threads or JOBS


def _run(text: str, wish: Wish, said: Said) -> int:
    from s3mount.bulk.crew import hired
    from s3mount.bulk.download import download_objects
    from s3mount.bulk.folders import new_run
    from s3mount.bulk.ledger import Ledger
    from s3mount.bulk.session import opened

    source, prefix = _where(text, wish.delimiter)
    with ends_cleanly(), _options(said, source, wish) as options:
        prefix = _below(prefix, options.prefix)
        selection = choosing.selection(wish, prefix[: prefix.rfind("/") + 1])
        ledger = Ledger()
        run = new_run()
        work = _work(source, options, prefix, wish, run)
        jobs = 1 if wish.dry_run else _jobs(wish)
        with (
            hired(work, jobs) as crew,
            opened(source, options, jobs=_jobs(wish)) as session,
        ):
            batches = download_objects(
                session,
                prefix,
                wish.download_dir,
                selection,
                delimiter=wish.delimiter,
                skip_existing=wish.skip_existing,
                use_cache=not wish.no_cache,
                dry_run=wish.dry_run,
                jobs=_jobs(wish),
                ledger=ledger,
                crew=crew,
                run=run,
            )
            failed = _show(batches, ledger, wish)
    if failed:
        return exits.FAILED
    if not ledger.objects:
        click.echo(f"s3mount: {choosing.nothing(text, ledger)}", err=True)
        return exits.NOTHING_FOUND
    return 0


def _work(source: "Source", options: MountOptions, prefix: str, wish: Wish, run: "Run") -> "Work":
    """What a process of the crew does."""
    from s3mount.bulk.download import save_fed
    from s3mount.bulk.session import opened, share_of

    def work(share: "Share", feed: "Feed") -> "Generator[list[Outcome], None, None]":
        mine = share_of(options, share)
        with opened(source, mine, jobs=share.jobs) as session:
            yield from save_fed(
                session,
                feed.through(session.engine),
                prefix,
                wish.download_dir,
                delimiter=wish.delimiter,
                skip_existing=wish.skip_existing,
                use_cache=not wish.no_cache,
                jobs=share.jobs,
                run=run._replace(number=share.number),
            )

    return work


@contextmanager
def _options(said: Said, source: "Source", wish: Wish) -> Iterator[MountOptions]:
    """The options; without the cache, those of an empty one that is gone afterwards."""
    options = said.resolve(source.bucket_or_dir if source.kind == "s3" else "")
    if not wish.no_cache:
        yield options
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="s3mount-") as empty:
        yield replace(options, cache_dir=Path(empty))


def _show(batches: "Generator[list[Outcome], None, None]", ledger: "Ledger", wish: Wish) -> int:
    """Show a run to its end; how many objects failed."""
    with (
        displays.open(
            cast(displays.Mode | None, wish.progress),
            json_lines=wish.as_json,
            quiet=wish.quiet,
            dry_run=wish.dry_run,
        ) as shown,
        closing(batches),
    ):
        choosing.show(batches, ledger, shown)
    return shown.tally.failed


def _warn(text: str) -> None:
    click.echo(f"Warning: {text}", err=True)


# What was asked for, read.


def _where(text: str, delimiter: str) -> "tuple[Source, str]":
    """The store, and the prefix as it was written."""
    from s3mount.bulk.keys import split_source
    from s3mount.store.open import parse_source

    scheme, marks, rest = text.partition("://")
    if marks and scheme.lower() != "s3":
        return parse_source(text), ""
    bucket, prefix = split_source(rest if marks else text, delimiter)
    # What names no bucket is refused in whole, by the words for that.
    return parse_source((f"s3://{bucket}" if marks else bucket) if bucket else text), prefix


def _below(prefix: str, more: str) -> str:
    """The prefix of SOURCE with that of the options, which begins behind a slash."""
    if not more:
        return prefix
    return f"{prefix}{'' if not prefix or prefix.endswith('/') else '/'}{more.lstrip('/')}"
