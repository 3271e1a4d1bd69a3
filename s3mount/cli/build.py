"""`s3mount build`: what a run of a build made, by the id of the run."""

import json
from typing import TYPE_CHECKING

import click

from s3mount.cli import build_run, build_wanted, human
from s3mount.cli.build_fetch import fetch
from s3mount.cli.build_run import REACH, run_flags
from s3mount.cli.build_send import copy, push
from s3mount.cli.build_wanted import GreedyExclude, wanted_flags
from s3mount.cli.flags import Said, with_options
from s3mount.config.options import CACHE

if TYPE_CHECKING:
    from s3mount.store.interface import ObjectMeta

_EPILOG = """\b
Examples:
  s3mount build list --run-id 123456789
  s3mount build fetch --run-id 123456789 --artifact-group gfx94X-dcgpu
  s3mount build fetch --from s3://my-bucket/builds/1742 --flatten --output-dir rocm

\b
Artifacts are called NAME_COMPONENT_TARGET.tar.zst or .tar.xz, and stand below the prefix of
their run: RUN-PLATFORM in the bucket of the repository and the release type. --from names the
place whole. Public buckets are read unsigned where there are no credentials."""

_LIST_EPILOG = """\b
Examples:
  s3mount build list --run-id 123456789
  s3mount build list --run-id 123456789 --artifact-group gfx94X-dcgpu --amdgpu-targets gfx942
  s3mount build list --from file:///srv/staging/1742-linux '^blas_' --exclude _dbg_ _test_
  s3mount build list --run-id 123456789 --fork --platform windows -l

Exit status 3 when nothing is there."""


class _InOrder(click.Group):
    """Commands as they were added, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group.list_commands`."""
        return list(self.commands)


@click.group(cls=_InOrder, epilog=_EPILOG)
def build() -> None:
    """List, fetch, publish and copy the artifacts of a build, by the id of its run."""


@build.command("list", cls=GreedyExclude, epilog=_LIST_EPILOG)
@wanted_flags
@run_flags
@click.option("--from", "source", metavar="SOURCE", help="s3://bucket/prefix or file:///directory.")
@click.option("-l", "--long", "is_long", is_flag=True, help="Sizes too.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one record a line.")
@with_options(*REACH, CACHE, "memory-limit", "request-timeout")
def list_artifacts(
    source: str | None,
    is_long: bool,
    as_json: bool,
    said: Said,
    **asked: object,
) -> None:
    """List the artifacts of a run in which one of INCLUDE is found."""
    from s3mount.builds.places import listed, readable
    from s3mount.bulk.session import opened

    wish, wanted = build_run.read_run(asked), build_wanted.read_wanted(asked)
    place = build_run.place(wish, source)
    options = readable(said.resolve(build_run.bucket_of(place)), place.source)
    with build_wanted.says_nothing_found(place, source):
        with opened(place.source, options, jobs=1) as session:
            found = listed(session.engine, place.prefix)
        chosen = build_wanted.choose(list(found), wanted, place, source)
    for name in chosen.filenames:
        click.echo(_line(place.uri(name), found[name], name, is_long=is_long, as_json=as_json))
    build_wanted.say_unmatched(chosen)


build.add_command(fetch)
build.add_command(push)
build.add_command(copy)


def _line(uri: str, meta: "ObjectMeta", filename: str, *, is_long: bool, as_json: bool) -> str:
    from s3mount.builds.names import ArtifactName

    if not as_json:
        return f"{meta.size:>14}  {human.name(uri)}" if is_long else human.name(uri)
    name = ArtifactName.from_filename(filename)
    return json.dumps(
        {
            "artifact": filename,
            "uri": uri,
            "size": meta.size,
            "etag": meta.etag,
            "name": name and name.name,
            "component": name and name.component,
            "target_family": name and name.target_family,
        }
    )
