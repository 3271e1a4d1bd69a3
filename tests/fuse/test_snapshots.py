"""Mounts that stand still: "Snapshots" in docs/semantics.md."""

import errno
import os
import time
from pathlib import Path

import pytest

from s3mount.store import snapshots
from s3mount.store.interface import ObjectMeta, StoreSettings
from s3mount.store.open import open_store, parse_source, snapshot_facts
from tests.support.proxy import ProxyServer

pytestmark = pytest.mark.fuse

BODIES = {f"n/{name}": name.encode() * 7 for name in ("a", "d/b", "d/c")}
NOBODY = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_ENDPOINT_URL": ""}


@pytest.fixture
def served(new_bucket):
    """A bucket with a few objects, and a proxy in front of it."""
    bucket = new_bucket()
    with ProxyServer(bucket.endpoint) as proxy:
        yield bucket, proxy


def cache_of(world):
    return Path(world.environment["XDG_CACHE_HOME"]) / "s3mount"


def record(world, bucket, proxy, name, *, prefix="n/", versions=None):
    """A snapshot of all objects, as prefetch writes it; nothing is cached."""
    settings = StoreSettings(endpoint_url=proxy.url, addressing_style="path")
    source = parse_source(f"{bucket.name}/{prefix}")
    store = open_store(source, settings)
    facts = snapshot_facts(source, prefix, store, settings, time.clock_gettime(time.CLOCK_REALTIME))
    store.close()
    writer = snapshots.writer(cache_of(world), name, facts)
    for key, body in BODIES.items():
        etag = bucket.put(key, body)
        version = (versions or {}).get(key, "")
        writer.add([(ObjectMeta(key, len(body), etag, 10**18), version)])
    writer.commit()


def mount(world, bucket, name, *options, env=None, expects=()):
    chosen = bucket.environment | {"AWS_ENDPOINT_URL": ""} if env is None else env
    return world.mount(f"snapshot:{name}", *options, env=chosen, expects=expects)


def errno_of_reading(path):
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno
    return 0


def contents(path):
    files = (each for each in Path(path).rglob("*") if each.is_file())
    return {str(each.relative_to(path)): each.read_bytes() for each in files}


def test_a_snapshot_shows_what_was_recorded_and_never_lists(world, served):
    """**A mount of `snapshot:NAME` shows exactly the objects that were prefetched, in those versions, and makes no
    LIST.**
    """
    bucket, proxy = served
    record(world, bucket, proxy, "one")
    bucket.put("n/new")
    with mount(world, bucket, "one") as mounted:
        assert contents(mounted.path) == {key[2:]: body for key, body in BODIES.items()}
        assert not (mounted.path / "new").exists()
        assert world.run("refresh", str(mounted.path)).returncode == 0
        assert sorted(os.listdir(mounted.path)) == ["a", "d"]
        assert proxy.counts["list"] == 0
        assert proxy.counts["get"] == 3
    with mount(world, bucket, "one/d") as mounted:
        assert sorted(os.listdir(mounted.path)) == ["b", "c"]
    assert proxy.total == 3, "the cache is that of the bucket"


def test_what_changed_and_is_not_cached_is_stale(world, served):
    """**Bytes of another version are never shown: what is neither cached nor in the bucket any more fails with
    ESTALE.**
    """
    bucket, proxy = served
    record(world, bucket, proxy, "changed")
    with mount(world, bucket, "changed", expects=[r"\(ESTALE\)$"]) as mounted:
        assert (mounted.path / "a").read_bytes() == BODIES["n/a"]
        bucket.put("n/a", b"other")
        bucket.put("n/d/b", b"other")
        bucket.delete("n/d/c")
        assert (mounted.path / "a").read_bytes() == BODIES["n/a"]
        for name in ("d/b", "d/c", "d/b", "d/c"):
            assert errno_of_reading(mounted.path / name) == errno.ESTALE
        assert sorted(os.listdir(mounted.path / "d")) == ["b", "c"]


def test_an_older_version_is_asked_for_by_its_id(world, served):
    """**Where the bucket keeps versions and the version id was recorded, an object that has changed since then is
    read as it was.**
    """
    bucket, proxy = served
    bucket.client.put_bucket_versioning(
        Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"}
    )
    versions = {}
    for key, body in BODIES.items():
        reply = bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body)
        versions[key] = reply["VersionId"]
    record(world, bucket, proxy, "versions", versions=versions)
    bucket.put("n/a", b"other")
    bucket.delete("n/d/b")
    with mount(world, bucket, "versions") as mounted:
        assert contents(mounted.path) == {key[2:]: body for key, body in BODIES.items()}


@pytest.mark.parametrize("failure", ["ENOKEY", "EHOSTUNREACH"])
def test_offline_with_the_server_gone(world, new_bucket, failure):
    """**What is cached of a snapshot is readable without a network and without credentials; the rest fails with the
    error of the endpoint.**
    """
    bucket = new_bucket()
    with ProxyServer(bucket.endpoint) as proxy:
        record(world, bucket, proxy, "offline")
        with mount(world, bucket, "offline") as mounted:
            (mounted.path / "a").read_bytes()
            (mounted.path / "d/b").read_bytes()
    env = NOBODY if failure == "ENOKEY" else None
    quick = "--request-timeout=1s"
    with mount(world, bucket, "offline", quick, env=env, expects=[rf"\({failure}\)"]) as mounted:
        tree = sorted(str(path.relative_to(mounted.path)) for path in mounted.path.rglob("*"))
        assert tree == ["a", "d", "d/b", "d/c"]
        assert (mounted.path / "a").read_bytes() == BODIES["n/a"]
        assert (mounted.path / "d/b").read_bytes() == BODIES["n/d/b"]
        assert errno_of_reading(mounted.path / "d/c") == getattr(errno, failure)
        assert (mounted.path / "a").read_bytes() == BODIES["n/a"]


def test_another_endpoint_is_refused(world, served):
    """Bytes of another version are never shown: what is neither cached nor in the bucket any more fails with ESTALE."""
    bucket, proxy = served
    record(world, bucket, proxy, "elsewhere")
    option = f"--endpoint-url={bucket.endpoint}"
    expects = ["the objects are those of"]
    with mount(world, bucket, "elsewhere", option, expects=expects) as mounted:
        assert errno_of_reading(mounted.path / "a") == errno.EIO
    assert proxy.total == 0


def test_prefetch_export_import_and_mount_elsewhere(world, served, tmp_path):
    """A mount of `snapshot:NAME` shows exactly the objects that were prefetched, in those versions, and makes no
    LIST.
    """
    bucket, proxy = served
    for key, body in BODIES.items():
        bucket.put(key, body)
    env = bucket.environment | {"AWS_ENDPOINT_URL": proxy.url}
    done = world.run("prefetch", "-q", f"{bucket.name}/n", "--snapshot", "made", env=env)
    assert done.returncode == 0, done.stderr
    with mount(world, bucket, "made", env=NOBODY) as mounted:
        proxy.reset()
        assert contents(mounted.path) == {key[2:]: body for key, body in BODIES.items()}
        assert proxy.total == 0
    file = tmp_path / "made.s3snapshot"
    assert world.run("snapshots", "export", "made", str(file)).returncode == 0
    elsewhere = [f"--cache-dir={tmp_path}/cache"]
    done = world.run("snapshots", "import", str(file), "--name=other", *elsewhere)
    assert done.returncode == 0, done.stderr
    with mount(world, bucket, "other", *elsewhere) as mounted:
        assert contents(mounted.path) == {key[2:]: body for key, body in BODIES.items()}
        assert proxy.counts["list"] == 0


def test_no_such_snapshot(world):
    """`s3mount` returns when the mount answers, or says why not and exits with a status that is not 0."""
    done = world.run("mount", "snapshot:none", str(world.place()))
    assert done.returncode == 2
    assert "no snapshot 'none'" in done.stderr
