"""`s3mount build push` and `s3mount build copy`: artifacts into a run, from files and from another run."""

import json
import os
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from s3mount.cli import build_run, build_wanted, exits, human
from s3mount.cli.build_run import REACH, run_flags
from s3mount.cli.build_wanted import GreedyExclude, wanted_flags
from s3mount.cli.flags import GroupedCommand, Said, with_options
from s3mount.config.options import CACHE

if TYPE_CHECKING:
    from s3mount.builds.places import Place
    from s3mount.builds.sending import Published

JOBS = 10
JOBS_MAX = 1000

_PUSH_EPILOG = """\b
Examples:
  s3mount build push build/artifacts --run-id 123456789 --bucket my-builds
  s3mount build push blas_lib_generic.tar.zst --to s3://my-bucket/builds/1742
  s3mount build push build/artifacts --to file:///srv/staging/1742-linux --dry-run

\b
Each archive is followed by its checksum, NAME.sha256sum; one that is beside the file must be
right. Of a directory the archives that stand directly in it are sent.

\b
Exit status: 0 all of it is there; 1 something is not, stderr says what and why; 2 asked for
wrongly; 3 there is nothing to send."""

_COPY_EPILOG = """\b
Examples:
  s3mount build copy --source-run-id 123456789 --run-id 123456790 --amdgpu-targets gfx942
  s3mount build copy --from s3://builds/1742 --to s3://releases/7.1 --exclude _test_ _dbg_
  s3mount build copy --source-run-id 123456789 --to s3://my-bucket/1742 '^blas_' --dry-run

\b
The servers copy: no byte comes here, of whatever size, also from bucket to bucket. Checksums are
copied behind their archives.

\b
Exit status: 0 all of it is there; 1 something is not, stderr says what and why; 2 asked for
wrongly; 3 nothing is wanted."""


@click.command(cls=GroupedCommand, epilog=_PUSH_EPILOG)
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@run_flags
@click.option("--to", "target", metavar="PLACE", help="s3://bucket/prefix or file:///directory.")
@click.option(
    "--upload-concurrency",
    type=click.IntRange(1, JOBS_MAX),
    default=JOBS,
    metavar="N",
    help=f"Requests at once, at the most. [{JOBS}]",
)
@click.option("--dry-run", is_flag=True, help="Send nothing; say what would be.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one record a line.")
@with_options(*REACH, CACHE, "memory-limit", "request-timeout")
@click.pass_context
def push(
    ctx: click.Context,
    /,
    paths: tuple[Path, ...],
    target: str | None,
    upload_concurrency: int,
    said: Said,
    **asked: object,
) -> None:
    """Send archives, from files and directories, to a run."""
    from s3mount.builds.sending import archives_in
    from s3mount.builds.sending import push as push_archives
    from s3mount.bulk.session import opened

    place = build_run.place(build_run.read_run(asked), target, "--to")
    shown = _Shown(place, **asked)  # type: ignore[arg-type]
    archives = archives_in(paths)
    if not archives:
        click.echo(f"s3mount: there are no archives in {', '.join(map(str, paths))}", err=True)
        ctx.exit(exits.NOTHING_FOUND)
    if shown.is_dry:
        shown.plan(archives)
        return
    options = said.resolve(build_run.bucket_of(place))
    _make(place)
    with opened(place.source, options, jobs=upload_concurrency) as session:
        ends = push_archives(session, place.prefix, archives, jobs=upload_concurrency)
        status = shown.followed(ends)
    if status:
        ctx.exit(status)


@click.command(cls=GreedyExclude, epilog=_COPY_EPILOG)
@wanted_flags
@click.option("--source-run-id", metavar="ID", help="The run that is copied from.")
@click.option("--source-repository", metavar="OWNER/NAME", help="Of that run. [as of the other]")
@click.option("--from", "source", metavar="SOURCE", help="s3://bucket/prefix or file:///directory.")
@run_flags
@click.option("--to", "target", metavar="PLACE", help="The same, of what is copied to.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, JOBS_MAX),
    default=JOBS,
    metavar="N",
    help=f"Requests at once, at the most. [{JOBS}]",
)
@click.option("--dry-run", is_flag=True, help="Copy nothing; say what would be.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one record a line.")
@with_options(*REACH, CACHE, "memory-limit", "request-timeout")
@click.pass_context
def copy(
    ctx: click.Context,
    /,
    source_run_id: str | None,
    source_repository: str | None,
    source: str | None,
    target: str | None,
    said: Said,
    **asked: object,
) -> None:
    """Copy the artifacts of another run in which one of INCLUDE is found."""
    from s3mount.builds.places import listed
    from s3mount.builds.sending import copy as copy_archives
    from s3mount.bulk.session import opened

    wish, wanted = build_run.read_run(asked), build_wanted.read_wanted(asked)
    theirs = _source(wish, source_run_id, source_repository, source)
    place = build_run.place(wish, target, "--to")
    jobs: int = asked.pop("concurrency")  # type: ignore[assignment]
    shown = _Shown(place, **asked)  # type: ignore[arg-type]
    _refuse_nonsense(theirs, place)
    options = said.resolve(build_run.bucket_of(theirs))
    with build_wanted.says_nothing_found(theirs, source):
        with opened(theirs.source, options, jobs=1) as session:
            found = listed(session.engine, theirs.prefix)
        chosen = build_wanted.choose(list(found), wanted, theirs, source)
    status = 0
    if shown.is_dry:
        shown.plan(chosen.filenames)
    else:
        _make(place)
        options = said.resolve(build_run.bucket_of(place))
        with opened(place.source, options, jobs=jobs) as session:
            ends = copy_archives(session, place, theirs, found, chosen.filenames, jobs=jobs)
            status = shown.followed(ends)
    build_wanted.say_unmatched(chosen)
    if status:
        ctx.exit(status)


class _Shown:
    """What people see of a run.

    Attributes:
        is_dry: whether nothing is to be done.
    """

    def __init__(self, place: "Place", *, dry_run: bool, as_json: bool, quiet: bool) -> None:
        self.is_dry = dry_run
        self._place = place
        self._as_json = as_json
        self._quiet = quiet

    def plan(self, filenames: Iterable[str]) -> None:
        """Say what would be there."""
        for name in filenames:
            self._line(name, "listed", None)

    def followed(self, batches: "Generator[list[Published], None, None]") -> int:
        """Show a run to its end; the exit status."""
        failed: list[Published] = []
        count = 0
        with closing(batches):
            for batch in batches:
                for each in batch:
                    count += 1
                    failed += [each] if each.error is not None else []
                    self._line(each.filename, "sent", each.error)
        build_wanted.complain(((each.filename, each.error) for each in failed), count)
        return exits.FAILED if failed else 0

    def _line(self, name: str, status: str, error: Exception | None) -> None:
        uri = self._place.uri(name)
        if self._as_json:
            why = None if error is None else exits.as_ours(error).message
            status = status if error is None else "failed"
            click.echo(json.dumps({"artifact": name, "uri": uri, "status": status, "error": why}))
        elif error is None and not self._quiet:
            click.echo(human.name(uri))


def _source(
    wish: build_run.RunWish, run_id: str | None, repository: str | None, source: str | None
) -> "Place":
    """Where the artifacts are copied from."""
    if (run_id is None) == (source is None):
        raise click.UsageError("from where? give either --source-run-id or --from")
    if source is not None:
        return build_run.place(build_run.RunWish(), source, "--from")
    theirs = replace(
        wish, run_id=run_id, run_github_repo=repository or wish.run_github_repo, bucket=None
    )
    return build_run.place(theirs, None, "--from")


def _refuse_nonsense(source: "Place", target: "Place") -> None:
    if source == target:
        raise click.UsageError(f"{source.base_uri} would be copied onto itself")
    if source.source.kind != target.source.kind:
        raise click.UsageError(
            "servers copy from bucket to bucket, or from directory to directory:\n"
            "  s3mount build fetch --no-extract, then s3mount build push"
        )


def _make(place: "Place") -> None:
    """A directory may have no runs yet."""
    if place.source.kind == "file":
        os.makedirs(place.source.bucket_or_dir, exist_ok=True)
