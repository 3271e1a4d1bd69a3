"""`s3mount prefetch`: whole prefixes into the shared cache, before somebody reads them.

What is fetched, and how, is decided in `bulk/warm.py`; this file reads what was asked for, shows the run and turns its
end into an exit status.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import click

from s3mount.bulk.dividing import JOBS
from s3mount.cli import choosing, displays, exits, logs
from s3mount.cli import prefetch_texts as texts
from s3mount.cli import prefetch_wish as wishes
from s3mount.cli.choosing import choosing_flags
from s3mount.cli.flags import GroupedCommand, Said, with_options
from s3mount.cli.prefetch_wish import Wish
from s3mount.config import MountOptions
from s3mount.config.options import CACHE, LOGGING, WHERE

if TYPE_CHECKING:
    from collections.abc import Generator

    from s3mount.bulk.crew import Crew
    from s3mount.bulk.crew_member import Feed, Work
    from s3mount.bulk.dividing import Share
    from s3mount.bulk.keyfile import KeyPages
    from s3mount.bulk.ledger import Ledger
    from s3mount.bulk.outcome import Outcome
    from s3mount.bulk.selection import Selection
    from s3mount.bulk.session import Session
    from s3mount.store.open import Source
    from s3mount.store.snapshots import SnapshotWriter

    Outcomes = Generator[list[Outcome], None, None]

T = TypeVar("T")

_HELP = """Bring what is below SOURCE into the cache, so that reading it costs no request.

\b
SOURCE is  bucket  bucket/prefix  s3://bucket/prefix  or  file:///directory
or the whole name of one object.

Mounts and later runs on this machine find it there. Run again, it fetches what is new or missing.
"""

_EPILOG = """\b
Examples:
  s3mount prefetch my-bucket/nightly
  s3mount prefetch my-bucket/nightly --include '*.tar.gz' --newer 7d
  s3mount prefetch my-bucket --include 'models/**' --exclude '*.tmp' --smaller 2GiB
  s3mount prefetch my-bucket/builds --from-file keys.txt
  s3mount prefetch my-bucket/data --dry-run        how much, and does it fit
  s3mount prefetch my-bucket/nightly --pin nightly --max-bandwidth 50MiB
  s3mount prefetch my-bucket/nightly --snapshot monday   then: s3mount snapshot:monday DIR
  s3mount prefetch my-bucket/v3 -q && pytest       tests that read a mount of it

\b
Globs: one without / is held against the last part of a key, one with / against all of it below
SOURCE. * and ? stop at a /, ** does not, and dir/ means all below dir. Quote them for the shell.

\b
Exit status: 0 all of it is there; 1 something is not, stderr says what and why; 2 asked for
wrongly; 3 nothing matches; 130 stopped by Ctrl-C. What was fetched stays, whatever the end."""


@click.command(cls=GroupedCommand, help=_HELP, epilog=_EPILOG, options_metavar="[OPTIONS]")
@click.argument("source")
@choosing_flags
@click.option(
    "--from-file",
    type=click.File("rb"),
    metavar="FILE",
    help="Only these keys, one a line, as they are below SOURCE; - is stdin.",
)
@click.option("--head-bytes", metavar="SIZE", help="Only the beginning of each object.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 1024),
    default=JOBS,
    metavar="N",
    help=f"Requests at once, at the most. [{JOBS}]",
)
@click.option("--max-bandwidth", metavar="RATE", help="Bytes per second, such as 10MiB.")
@click.option("--dry-run", is_flag=True, help="Fetch nothing; say what would be, and if it fits.")
@click.option(
    "--pin", metavar="NAME", help="Keep it: nothing of it is evicted until it is unpinned."
)
@click.option("--snapshot", metavar="NAME", help="Keep what it is now: s3mount snapshot:NAME DIR.")
@click.option("--check", is_flag=True, help="Read and prove what is there already, too.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--progress", type=click.Choice(displays.MODES), help="What is shown meanwhile.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one record a line.")
@with_options(WHERE, CACHE, "memory-limit", "request-timeout", LOGGING)
@click.pass_context
def prefetch(ctx: click.Context, /, source: str, said: Said, **asked: object) -> None:
    """Bring what is below SOURCE into the cache."""
    wish = Wish(**asked)  # type: ignore[arg-type]
    _refuse_nonsense(wish)
    status = _run(source, wish, said)
    if status:
        ctx.exit(status)


def _refuse_nonsense(wish: Wish) -> None:
    """Say what contradicts itself, and names that cannot be, before anything is opened."""
    touching = {"--pin": wish.pin, "--snapshot": wish.snapshot, "--check": wish.check}
    for flag, value in touching.items():
        if wish.dry_run and value:
            raise click.UsageError(f"--dry-run touches nothing: leave out {flag}")
    if wish.snapshot is not None:
        from s3mount.store.snapshots import check_name

        check_name(wish.snapshot)


def _run(text: str, wish: Wish, said: Said) -> int:
    from s3mount.bulk.crew import hired
    from s3mount.bulk.ledger import Ledger
    from s3mount.bulk.session import opened
    from s3mount.store.open import parse_source

    source, file = wishes.one_file(parse_source(text))
    options = said.resolve(source.bucket_or_dir)
    prefix = wishes.below(source.prefix, options.prefix)
    selection = choosing.selection(wish, prefix)
    head_bytes, rate = wishes.head_bytes(wish), wishes.bandwidth(wish)
    _log(options, said)
    ledger = Ledger()
    work = _work(source, options, wish, head_bytes, rate)
    with (
        hired(work, 1 if wish.dry_run else wish.jobs) as crew,
        opened(source, options, jobs=wish.jobs, max_bandwidth=rate) as session,
    ):
        target = Target(
            prefix, selection, head_bytes, wishes.key_pages(session, prefix, wish, file)
        )
        batches = _kept(
            _outcomes(session, target, wish, ledger, crew), session, target, wish, options
        )
        with closing(batches), _told_to_go_on():
            failed = _show(batches, ledger, wish)
    return _conclude(text, ledger, failed, wish)


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted, read and checked."""

    prefix: str
    selection: "Selection"
    head_bytes: int | None
    pages: "KeyPages | None"


def _work(
    source: "Source", options: MountOptions, wish: Wish, head_bytes: int | None, rate: float
) -> "Work":
    """What a process of the crew does."""
    from s3mount.bulk.session import opened, share_of
    from s3mount.bulk.warm import warm_fed

    def work(share: "Share", feed: "Feed") -> "Outcomes":
        mine = share_of(options, share)
        with opened(source, mine, jobs=share.jobs, max_bandwidth=rate / share.of) as session:
            yield from warm_fed(
                session,
                feed.through(session.engine),
                head_bytes=head_bytes,
                check=wish.check,
                jobs=share.jobs,
            )

    return work


def _outcomes(
    session: "Session", target: Target, wish: Wish, ledger: "Ledger", crew: "Crew | None"
) -> "Outcomes":
    from s3mount.bulk.keyfile import with_missing
    from s3mount.bulk.warm import prefetch_objects

    batches = prefetch_objects(
        session,
        target.prefix,
        target.selection,
        pages=target.pages,
        head_bytes=target.head_bytes,
        check=wish.check,
        dry_run=wish.dry_run,
        jobs=wish.jobs,
        ledger=ledger,
        crew=crew,
    )
    return batches if target.pages is None else with_missing(batches, target.pages)


def _kept(
    batches: "Outcomes", session: "Session", target: Target, wish: Wish, options: MountOptions
) -> "Outcomes":
    """The same outcomes, pinned and written into a snapshot where that was asked for."""
    from s3mount.bulk.keeping import in_snapshot, pinned

    if wish.pin is not None:
        batches = pinned(batches, session.cache, session.store.identity, wish.pin)
    if wish.snapshot is not None:
        batches = in_snapshot(batches, _snapshot(session, target, wish.snapshot, options))
    return batches


def _snapshot(
    session: "Session", target: Target, name: str, options: MountOptions
) -> "Callable[[str], SnapshotWriter]":
    from s3mount.store import snapshots
    from s3mount.store.open import settings_of, snapshot_facts

    def begin(key: str) -> "SnapshotWriter":
        # An object that was named by its key is shown in its directory.
        within = target.prefix if key.startswith(target.prefix) else key[: key.rfind("/") + 1]
        now = time.time()  # noqa: TID251 -- a command has a clock
        settings = settings_of(options)
        facts = snapshot_facts(session.source, within, session.store, settings, now)
        return snapshots.writer(session.cache_dir, name, facts)

    return begin


def _show(batches: "Iterator[list[Outcome]]", ledger: "Ledger", wish: Wish) -> int:
    """Show a run to its end; how many objects failed."""
    with displays.open(
        cast(displays.Mode | None, wish.progress),
        json_lines=wish.as_json,
        quiet=wish.quiet,
        dry_run=wish.dry_run,
        noun="prefetched",
    ) as shown:
        choosing.show(batches, ledger, shown)
    return shown.tally.failed


@contextmanager
def _told_to_go_on() -> Iterator[None]:
    """Say to whoever presses Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        _say("what came stays in the cache; the same command goes on where this one stopped")
        raise


def _conclude(text: str, ledger: "Ledger", failed: int, wish: Wish) -> int:
    """Say what the display does not, and decide the exit status."""
    if failed:
        if wish.snapshot is not None:
            _say(f"the snapshot {wish.snapshot} was not made, because something is not there")
        return exits.FAILED
    if not ledger.objects:
        _say(choosing.nothing(text, ledger, "; s3mount ls -R shows them"))
        return exits.NOTHING_FOUND
    if wish.dry_run:
        click.echo(texts.plan(ledger, as_json=wish.as_json), err=wish.quiet)
        return 0 if ledger.fits else exits.FAILED
    return 0


def _say(text: str) -> None:
    click.echo(f"s3mount: {text}", err=True)


def _log(options: MountOptions, said: Said) -> None:
    """A command says on stderr what it has to say; the log is for who asks for it."""
    asked = said.flags.get("log_level") is not None
    if options.log_file or asked:
        logs.set_up(level=options.log_level, file=options.log_file, foreground=asked)
