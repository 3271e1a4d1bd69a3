"""`s3mount build fetch`: artifacts of a run into trees below a directory."""

import json
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from s3mount.cli import build_run, build_wanted, exits, human
from s3mount.cli.build_run import REACH, run_flags
from s3mount.cli.build_wanted import GreedyExclude, wanted_flags
from s3mount.cli.flags import Said, with_options
from s3mount.config.options import CACHE

if TYPE_CHECKING:
    from s3mount.builds.finishing import Fetched, Order, Way
    from s3mount.builds.places import Place
    from s3mount.builds.selecting import Chosen
    from s3mount.store.interface import ObjectMeta

OUTPUT = "build/artifacts"
JOBS_MAX = 1000

_EPILOG = """\b
Examples:
  s3mount build fetch --run-id 123456789 --artifact-group gfx94X-dcgpu
  s3mount build fetch --run-id 123456789 --amdgpu-targets gfx942 blas rand --exclude _dbg_
  s3mount build fetch --run-id 123456789 --dry-run
  s3mount build fetch --from s3://my-bucket/builds/1742 --flatten --output-dir rocm
  s3mount build fetch --from file:///srv/staging/1742-linux --no-extract

\b
Each artifact becomes a directory of its name, in the place of an older one, once all of it is
there. Archives are compared with the checksum beside them; those that are there and right are
not fetched again. --flatten merges all into one tree, later names over earlier ones.

\b
Exit status: 0 all of it is there; 1 something is not, stderr says what and why; 2 asked for
wrongly; 3 nothing is wanted; 130 stopped by Ctrl-C. What is whole stays, whatever the end."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the flags of this command say, as it was written."""

    output_dir: Path
    way: "Way"
    delete_after_extract: bool
    verify: bool
    download_concurrency: int
    extract_concurrency: int | None
    no_cache: bool
    dry_run: bool
    quiet: bool
    as_json: bool


@click.command(cls=GreedyExclude, epilog=_EPILOG)
@wanted_flags
@run_flags
@click.option("--from", "source", metavar="SOURCE", help="s3://bucket/prefix or file:///directory.")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=OUTPUT,
    metavar="DIR",
    help=f"Where all goes to; made where it is missing. [{OUTPUT}]",
)
@click.option("--extract", is_flag=True, help="Unpack each into a directory. This is the default.")
@click.option("--no-extract", is_flag=True, help="Leave archives as they are.")
@click.option("--flatten", is_flag=True, help="Merge all into one tree.")
@click.option(
    "--delete-after-extract/--no-delete-after-extract",
    default=True,
    help="Remove each archive once it is unpacked, or keep it. [remove]",
)
@click.option(
    "--download-concurrency",
    type=click.IntRange(1, JOBS_MAX),
    default=10,
    metavar="N",
    help="Downloads at once, at the most. [10]",
)
@click.option(
    "--extract-concurrency",
    type=click.IntRange(1, JOBS_MAX),
    metavar="N",
    help="Processes that unpack at once, at the most. [one for each core]",
)
@click.option("--verify/--no-verify", default=True, help="Compare with the checksums. [compare]")
@click.option("--dry-run/--no-dry-run", default=False, help="Write nothing; say what would be.")
@click.option(
    "--no-cache", is_flag=True, help="Take nothing from the cache, and keep nothing in it."
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one record a line.")
@with_options(*REACH, CACHE, "memory-limit", "request-timeout")
@click.pass_context
def fetch(
    ctx: click.Context,
    /,
    source: str | None,
    said: Said,
    extract: bool,
    no_extract: bool,
    flatten: bool,
    **asked: object,
) -> None:
    """Fetch the artifacts of a run in which one of INCLUDE is found, and unpack them."""
    run_wish, wanted = build_run.read_run(asked), build_wanted.read_wanted(asked)
    wish = Wish(way=_way(extract, no_extract, flatten), **asked)  # type: ignore[arg-type]
    place = build_run.place(run_wish, source)
    _refuse_own_source(place, wish)
    status = _run(place, source, wanted, wish, said)
    if status:
        ctx.exit(status)


def _way(extract: bool, no_extract: bool, flatten: bool) -> "Way":
    if extract + no_extract + flatten > 1:
        raise click.UsageError("--extract, --no-extract and --flatten exclude each other")
    if no_extract:
        return "leave"
    return "flatten" if flatten else "extract"


def _refuse_own_source(place: "Place", wish: Wish) -> None:
    """Where the archives are already, removing them would remove the only ones."""
    removes = wish.way != "leave" and wish.delete_after_extract
    source = Path(place.source.bucket_or_dir)
    if removes and place.source.kind == "file" and source.resolve() == wish.output_dir.resolve():
        raise click.UsageError(
            "the archives are in the output directory and would be removed: "
            "--no-delete-after-extract keeps them"
        )


def _run(
    place: "Place", source: str | None, wanted: build_wanted.Wanted, wish: Wish, said: Said
) -> int:
    from s3mount.builds.fetching import fetch as fetch_archives
    from s3mount.builds.names import preferred
    from s3mount.builds.places import listed, readable
    from s3mount.bulk.session import opened
    from s3mount.cli.ending import ends_cleanly

    options = readable(said.resolve(build_run.bucket_of(place)), place.source)
    jobs = wish.download_concurrency
    with (
        build_wanted.says_nothing_found(place, source),
        ends_cleanly(),
        opened(place.source, options, jobs=jobs) as session,
    ):
        found = listed(session.engine, place.prefix)
        chosen = build_wanted.choose(list(found), wanted, place, source)
        names = chosen.filenames if wish.way == "leave" else preferred(chosen.filenames)
        if wish.dry_run:
            _show_plan(place, names, found, wish)
            build_wanted.say_unmatched(chosen)
            return 0
        batches = fetch_archives(session, found, names, _order(wish))
        return _followed(batches, place, chosen, wish)


def _order(wish: Wish) -> "Order":
    from s3mount.builds.finishing import Order

    return Order(
        output=wish.output_dir,
        way=wish.way,
        deletes=wish.delete_after_extract,
        verifies=wish.verify,
        uses_cache=not wish.no_cache,
        downloads=wish.download_concurrency,
        processes=wish.extract_concurrency,
    )


def _followed(
    batches: "Generator[list[Fetched], None, None]", place: "Place", chosen: "Chosen", wish: Wish
) -> int:
    """Show a run to its end; the exit status."""
    count = 0
    failed = []
    with closing(batches):
        for batch in batches:
            for each in batch:
                count += 1
                if each.error is not None:
                    failed.append(each)
                _show(each, place, wish)
    build_wanted.say_unmatched(chosen)
    build_wanted.complain(((each.filename, each.error) for each in failed), count)
    return exits.FAILED if failed else 0


def _show_plan(
    place: "Place", names: list[str], found: "Mapping[str, ObjectMeta]", wish: Wish
) -> None:
    for name in names:
        if wish.as_json:
            record = {"artifact": name, "uri": place.uri(name), "size": found[name].size}
            click.echo(json.dumps(record | {"status": "listed"}))
        elif not wish.quiet:
            click.echo(human.name(place.uri(name)))


def _show(each: "Fetched", place: "Place", wish: Wish) -> None:
    if wish.as_json:
        record = {
            "artifact": each.filename,
            "uri": place.uri(each.filename),
            "size": each.size,
            "status": each.ending.value,
            "path": each.place or None,
            "error": None if each.error is None else exits.as_ours(each.error).message,
        }
        click.echo(json.dumps(record))
    elif each.error is None and not wish.quiet:
        click.echo(human.name(each.filename if wish.way == "flatten" else each.place))
