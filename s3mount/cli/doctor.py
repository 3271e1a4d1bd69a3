"""`s3mount doctor`: what is missing on this machine, or between it and a bucket.

It gathers facts, by the same ways that a mount would use, and prints one line for each check; what
the facts mean is decided in `cli/checks.py`. It changes nothing.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from s3mount.cli import checks, detach, exits, human
from s3mount.cli.flags import GroupedCommand, Said, with_options
from s3mount.cli.mountinfo import mount_above, mount_at, read_mounts
from s3mount.config import MountOptions
from s3mount.config.options import CACHE, VIEW, WHERE
from s3mount.errors import S3MountError

_STYLES = {"ok": "green", "warn": "yellow", "FAIL": "red"}

_EPILOG = """\b
Examples:
  s3mount doctor                       this machine and the cache
  s3mount doctor my-bucket             credentials, endpoint and bucket too
  s3mount doctor builds --endpoint-url http://minio:9000

Give the same options as to the mount. Exit status 1 when a check fails."""


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.argument("source", required=False)
@with_options(WHERE, CACHE, VIEW)
@click.pass_context
def doctor(ctx: click.Context, source: str | None, said: Said) -> None:
    """Tell what a mount needs and whether it is there."""
    options = said.resolve(_bucket_of(source) if source else "")
    made = []
    for check in _checks(source, options):
        made.append(check)
        _print(check)
    if checks.has_failed(made):
        ctx.exit(exits.FAILED)


def _bucket_of(source: str) -> str:
    from s3mount.store.open import parse_source  # help must not wait for the store

    return parse_source(source).bucket_or_dir


def _print(check: checks.Check) -> None:
    level = click.style(f"{check.level:4}", fg=_STYLES[check.level])
    click.echo(f"{level}  {check.what:16} {check.found}")
    if check.advice:
        click.echo(f"{'':22} -> {check.advice}")


def _checks(source: str | None, options: MountOptions) -> Iterator[checks.Check]:
    is_root = os.getuid() == 0
    yield checks.fuse_device(_open_problem("/dev/fuse"))
    program = detach.find_program("fusermount3")
    is_setuid = program is not None and bool(Path(program).stat().st_mode & stat.S_ISUID)
    yield checks.fusermount(program, is_setuid=is_setuid, is_root=is_root)
    yield checks.kernel(os.uname().release)
    asked = checks.allow_other(_fuse_conf(), is_asked=options.allow_other, is_root=is_root)
    if asked:
        yield asked
    place = _place(options.cache_dir)
    yield checks.cache_directory(place, user=os.getuid())
    yield checks.cache_disk(place, most=options.cache_size, min_free=options.cache_min_free)
    if source:
        yield from _about_source(source, options)
    else:
        advice = "s3mount doctor BUCKET checks credentials, endpoint and bucket"
        yield checks.Check("bucket", "warn", "none was named", advice)


def _open_problem(path: str) -> str:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _fuse_conf() -> str:
    try:
        return Path("/etc/fuse.conf").read_text(errors="replace")
    except OSError:
        return ""


def _place(path: Path) -> checks.Place:
    there = path
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    disk = os.statvfs(there)
    mounts = read_mounts()
    real = Path(os.path.realpath(there))
    mount = mount_at(mounts, real) or mount_above(mounts, real)
    facts = there.stat()
    return checks.Place(
        path=str(path),
        problem=_write_problem(there, is_made=there == path),
        mode=stat.S_IMODE(facts.st_mode) if there == path else None,
        owner=facts.st_uid,
        fstype=mount.fstype if mount else "?",
        total=disk.f_blocks * disk.f_frsize,
        free=disk.f_bavail * disk.f_frsize,
    )


def _write_problem(there: Path, *, is_made: bool) -> str:
    if not there.is_dir():
        return f"{there} is not a directory"
    try:
        if is_made:
            tempfile.TemporaryFile(dir=there).close()
        elif not os.access(there, os.W_OK | os.X_OK):
            return f"{there} may not be written"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _about_source(source: str, options: MountOptions) -> Iterator[checks.Check]:
    from s3mount.store.interface import StoreSettings
    from s3mount.store.open import parse_source
    from s3mount.store.probe import probe

    parsed = parse_source(source)
    if parsed.kind == "file":
        yield _directory(parsed.bucket_or_dir)
        return
    if parsed.kind == "snapshot":
        yield _snapshot(parsed.bucket_or_dir, options)
        return
    settings = StoreSettings(
        endpoint_url=options.endpoint_url,
        region=options.region,
        profile=options.profile,
        no_sign_request=options.no_sign_request,
        requester_pays=options.requester_pays,
        addressing_style=options.addressing_style,
        ca_bundle=options.ca_bundle,
    )
    prefix = parsed.prefix + options.prefix
    try:
        found = probe(parsed.bucket_or_dir, prefix, settings)
    except S3MountError as error:
        yield from checks.bucket_failed(parsed.bucket_or_dir, error)
        return
    yield checks.Check("credentials", "ok", found.credential_source)
    yield checks.Check("endpoint", "ok", f"{found.endpoint_url} ({found.region})")
    where = human.name(f"{parsed.bucket_or_dir}/{prefix}" if prefix else parsed.bucket_or_dir)
    if found.is_empty:
        yield checks.Check(
            "bucket", "warn", f"{where} can be listed and is empty", "is the prefix right?"
        )
    else:
        yield checks.Check("bucket", "ok", f"{where} can be listed")


def _snapshot(name: str, options: MountOptions) -> checks.Check:
    from s3mount.store.snapshots import open_snapshot

    try:
        open_snapshot(options.cache_dir, name).close()
    except S3MountError as error:
        return checks.Check("snapshot", "FAIL", error.message, error.hint)
    return checks.Check("snapshot", "ok", f"{name} can be read")


def _directory(path: str) -> checks.Check:
    if Path(path).is_dir() and os.access(path, os.R_OK | os.X_OK):
        return checks.Check("directory", "ok", f"{human.name(path)} can be read")
    return checks.Check(
        "directory", "FAIL", f"{human.name(path)} cannot be read", "name a directory"
    )
