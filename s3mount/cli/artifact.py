"""`s3mount artifact`: files of a job, a workflow or a project, kept for later.

What a path means is decided in `artifact/paths.py`, what is done with it in the backends; this file reads what was
asked for and says how it went, in the words that scripts know.
"""

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from s3mount.artifact.paths import (
    Level,
    Places,
    Scope,
    name_below,
    pull_places,
    push_places,
    remote_path,
)
from s3mount.cli import human
from s3mount.cli.artifact_flags import DESTINATION, EPILOG, Commands, common, global_flags
from s3mount.cli.artifact_log import say, size
from s3mount.cli.artifact_run import (
    Call,
    Totals,
    call_of,
    failing,
    progress,
    refusing_early,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from s3mount.artifact.backend import Artifact

UNKNOWN = 2
"""`exists` could not find out."""

_NANO = 1_000_000_000
_EXPIRES = """\
WARNING: the --expire-in flag is obsolete and has no effect.
How long artifacts are kept is a matter of the bucket's lifecycle rules, or of the hub's retention policies."""


@click.group(cls=Commands, epilog=EPILOG)
@global_flags
def artifact() -> None:
    """Keep files of a job, a workflow or a project, and fetch them again."""


@artifact.command()
@common()
@DESTINATION
@click.option("-f", "--force", is_flag=True, help="Overwrite what is stored.")
@click.option("-e", "--expire-in", metavar="TIME", help="Obsolete, without effect.")
@click.pass_context
def push(
    ctx: click.Context,
    /,
    level: Level,
    path: str,
    destination: str,
    force: bool,
    expire_in: str | None,
    **ids: str | None,
) -> None:
    """Store a file or a directory; - is what comes on standard input."""
    if expire_in:
        click.echo(f"{_EXPIRES}\n")
    with refusing_early(ctx):
        call = call_of(ctx, level, _by_level(ids))
        push_places(call.scope, path, destination)
    totals = Totals()
    with failing(ctx, "pushing artifact", totals=totals):
        places = _push(call, path, destination, totals, force=force)
    say(f"Successfully pushed artifact for current {level}.")
    say(f"* Local source: {human.name(places.local)}.")
    say(f"* Remote destination: {human.name(places.remote)}.")
    say(f"Pushed {totals}")


def _push(call: Call, path: str, destination: str, totals: Totals, *, force: bool) -> Places:
    from s3mount.artifact.choose import opened
    from s3mount.artifact.tree import STDIN, is_stream, local_files

    with ExitStack() as stack:
        kept = stack.enter_context(_spooled(path)) if is_stream(path) else None
        places = push_places(call.scope, kept if kept and path in STDIN else path, destination)
        if kept:
            places = places._replace(local=path)
        files = local_files(kept or places.local, places.remote)
        backend = stack.enter_context(opened(call.settings))
        told = stack.enter_context(progress(totals, "pushed"))
        try:
            backend.push(files, force=force, told=told)
        finally:
            if totals.files:
                is_file = files[0].remote == places.remote
                _show_in_mounts(call, _parent(places.remote) if is_file else places.remote)
    return places


def _spooled(path: str) -> "AbstractContextManager[str]":
    from s3mount.artifact.spool import spooled

    return spooled(path)


@artifact.command()
@common()
@DESTINATION
@click.option("-f", "--force", is_flag=True, help="Overwrite local files.")
@click.pass_context
def pull(
    ctx: click.Context, /, level: Level, path: str, destination: str, force: bool, **ids: str | None
) -> None:
    """Fetch a file or a directory."""
    with refusing_early(ctx):
        call = call_of(ctx, level, _by_level(ids))
        places = pull_places(call.scope, path, destination)
    totals = Totals()
    with failing(ctx, "pulling artifact", _advice("pull"), totals=totals), ExitStack() as stack:
        from s3mount.artifact.choose import opened

        backend = stack.enter_context(opened(call.settings))
        told = stack.enter_context(progress(totals, "pulled"))
        backend.pull(places.remote, places.local, force=force, told=told)
    say(f"Successfully pulled artifact for current {level}.")
    say(f"* Remote source: '{human.name(places.remote)}'.")
    say(f"* Local destination: '{human.name(places.local)}'.")
    say(f"Pulled {totals}")


@artifact.command()
@common()
@click.pass_context
def yank(ctx: click.Context, /, level: Level, path: str, **ids: str | None) -> None:
    """Delete a stored file or directory. Another name of it is delete."""
    call, remote = _remote(ctx, level, path, ids)
    with failing(ctx, "yanking artifact", _advice("yank")):
        from s3mount.artifact.choose import opened

        with opened(call.settings) as backend:
            try:
                backend.yank(remote)
            finally:
                _show_in_mounts(call, _parent(remote))
    say(f"Successfully yanked '{human.name(path)}' from current {level} artifacts.")


@artifact.command()
@common()
@click.pass_context
def exists(ctx: click.Context, /, level: Level, path: str, **ids: str | None) -> None:
    """Tell by the exit status whether something is stored: 0 yes, 1 no."""
    call, remote = _remote(ctx, level, path, ids, UNKNOWN)
    with failing(ctx, "looking for artifact", status=UNKNOWN):
        from s3mount.artifact.choose import opened

        with opened(call.settings) as backend:
            is_there = backend.exists(remote)
    say(f"'{human.name(path)}' {'exists' if is_there else 'does not exist'}.")
    if not is_there:
        ctx.exit(1)


@artifact.command(name="list")
@common(path=False)
@click.option("--json", "as_json", is_flag=True, help="For programs: one record a line.")
@click.pass_context
def list_(ctx: click.Context, /, level: Level, path: str, as_json: bool, **ids: str | None) -> None:
    """Show names, sizes and times of what is stored."""
    call, remote = _remote(ctx, level, path, ids)
    with failing(ctx, "listing artifacts"):
        from s3mount.artifact.choose import opened
        from s3mount.artifact.failures import not_found

        with opened(call.settings) as backend:
            found = backend.list(remote)
        if not found and remote != call.scope.root:
            raise not_found(remote)
    _print(found, call.scope, as_json=as_json)


def _remote(
    ctx: click.Context, level: Level, path: str, ids: dict[str, str | None], status: int = 1
) -> tuple[Call, str]:
    with refusing_early(ctx, status):
        call = call_of(ctx, level, _by_level(ids))
        return call, remote_path(call.scope, path)
    raise AssertionError  # the command has ended


def _by_level(ids: dict[str, str | None]) -> dict[str, str | None]:
    return {level: ids[f"{level}_id"] for level in Level}


def _advice(verb: str) -> str:
    return f"Please check if the artifact you are trying to {verb} exists."


def _parent(remote: str) -> str:
    return remote.rpartition("/")[0]


def _show_in_mounts(call: Call, directory: str) -> None:
    from s3mount.artifact.choose import shelf_of
    from s3mount.cli.artifact_mounts import refresh_mounts

    shelf = shelf_of(call.settings)
    if shelf is not None:
        refresh_mounts(shelf, directory)


def _print(found: "Sequence[Artifact]", scope: Scope, *, as_json: bool) -> None:
    for each in found:
        name, time = name_below(scope, each.remote), _time(each.mtime_ns)
        if as_json:
            click.echo(json.dumps({"name": name, "size": each.size, "mtime": time}))
        else:
            shown = "-" if each.size is None else size(each.size)
            click.echo(f"{shown:>9}  {time or '-':20}  {human.name(name)}")


def _time(mtime_ns: int | None) -> str | None:
    if mtime_ns is None:
        return None
    return datetime.fromtimestamp(mtime_ns // _NANO, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
