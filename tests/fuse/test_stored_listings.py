"""Mounts that list what another process has listed: "Listing and freshness" in docs/semantics.md."""

import os
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from s3mount.store.interface import ListPage, StoreSettings
from s3mount.store.open import open_store, parse_source
from s3mount.store.remembering import record_listing
from tests.support.proxy import ProxyServer
from tests.unit.store.builders import Told

pytestmark = pytest.mark.fuse

KEYS = ["top", "d/a", "d/e/1", "d/e/2", "long/x"]


@pytest.fixture
def served(new_bucket):
    """A bucket and a proxy in front of it."""
    bucket = new_bucket()
    for key in KEYS:
        bucket.put(key, key.encode())
    with ProxyServer(bucket.endpoint) as proxy:
        yield bucket, proxy


def cache_of(world):
    return Path(world.environment["XDG_CACHE_HOME"]) / "s3mount"


def record(world, bucket, proxy, *, age=0.0, keys=None):
    """Keep a listing of the bucket as it is now, or with some of its keys, as if it were older."""
    identity = f"{proxy.url}/{bucket.name}"
    writer = record_listing(
        cache_of(world), identity, "", time.clock_gettime(time.CLOCK_REALTIME) - age
    )
    writer.add([meta for meta in metas_of(bucket) if keys is None or meta.key in keys])
    writer.commit()


def metas_of(bucket):
    """The objects of a bucket, listed past the proxy."""
    settings = StoreSettings(endpoint_url=bucket.endpoint, addressing_style="path")
    with closing(open_store(parse_source(bucket.name), settings)) as store:
        told = Told()
        store.submit(ListPage(""), told)
        while not told.is_done:
            store.poll(1)
    return told.pages[0].objects


def mount(world, bucket, proxy, *options, expects=()):
    env = bucket.environment | {"AWS_ENDPOINT_URL": proxy.url}
    return world.mount(bucket.name, *options, env=env, expects=expects)


def found(path):
    done = subprocess.run(
        ["find", ".", "-type", "f", "-printf", "%P\n"],
        cwd=path,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    return sorted(done.stdout.split())


def lists(proxy):
    return proxy.counts["list"]


def test_find_over_a_stored_listing_makes_no_list(world, served):
    """**A listing that a command has made is kept, and every mount on the machine answers from it without a request
    for as long as it believes a listing.**
    """
    bucket, proxy = served
    record(world, bucket, proxy)
    with mount(world, bucket, proxy) as mounted:
        proxy.reset()
        assert found(mounted.path) == sorted(KEYS)
        assert (mounted.path / "d/e/1").read_bytes() == b"d/e/1"
        assert not (mounted.path / "d/none").exists()
        assert proxy.counts["list"] == 0
        assert proxy.counts["get"] == 1


def test_prefetch_leaves_a_listing_for_a_mount_that_runs(world, served):
    """A listing that a command has made is kept, and every mount on the machine answers from it without a request
    for as long as it believes a listing.
    """
    bucket, proxy = served
    with mount(world, bucket, proxy) as mounted:
        env = bucket.environment | {"AWS_ENDPOINT_URL": proxy.url}
        done = world.run("prefetch", "-q", bucket.name, env=env)
        assert done.returncode == 0, done.stderr
        proxy.reset()
        assert found(mounted.path) == sorted(KEYS)
        for key in KEYS:
            assert (mounted.path / key).read_bytes() == key.encode()
        assert proxy.total == 0


def test_that_a_name_does_not_exist_is_believed_no_longer_from_a_stored_listing(world, served):
    """A listing is believed for `--metadata-ttl`, and that a name does not exist for `--negative-ttl`."""
    bucket, proxy = served
    record(world, bucket, proxy, age=20)
    bucket.put("d/new", b"new")
    with mount(world, bucket, proxy, "--negative-ttl=10") as mounted:
        proxy.reset()
        assert (mounted.path / "d/a").exists()
        assert lists(proxy) == 0
        assert (mounted.path / "d/new").read_bytes() == b"new"
        assert lists(proxy) == 1


def test_a_listing_that_is_too_old_is_not_used(world, served):
    """A listing is believed for `--metadata-ttl`, and that a name does not exist for `--negative-ttl`."""
    bucket, proxy = served
    record(world, bucket, proxy, age=30, keys=["top"])
    with mount(world, bucket, proxy, "--metadata-ttl=29") as mounted:
        proxy.reset()
        assert found(mounted.path) == sorted(KEYS)
        assert lists(proxy) == 4


def test_without_ttl_no_stored_listing_is_used(world, served):
    """With both at 0, a change in the bucket shows at the next lookup."""
    bucket, proxy = served
    record(world, bucket, proxy, keys=["top"])
    with mount(world, bucket, proxy, "--metadata-ttl=0", "--negative-ttl=0") as mounted:
        assert found(mounted.path) == sorted(KEYS)


def test_refresh_goes_to_the_store(world, served):
    """**What was refreshed, or seen to be out of date, is not answered from a listing that was made before.**"""
    bucket, proxy = served
    record(world, bucket, proxy)
    with mount(world, bucket, proxy) as mounted:
        assert found(mounted.path) == sorted(KEYS)
        bucket.put("d/e/3", b"3")
        bucket.delete("d/a")
        assert world.run("refresh", str(mounted.path / "d")).returncode == 0
        proxy.reset()
        assert sorted(os.listdir(mounted.path / "d")) == ["e"]
        assert sorted(os.listdir(mounted.path / "d/e")) == ["1", "2", "3"]
        assert lists(proxy) == 2
        assert os.listdir(mounted.path / "long") == ["x"]
        assert lists(proxy) == 2, "what was not refreshed is believed still"


def test_a_version_that_is_gone_is_looked_up_at_the_store(world, served):
    """What was refreshed, or seen to be out of date, is not answered from a listing that was made before."""
    bucket, proxy = served
    record(world, bucket, proxy)
    # The kernel tries such an open again by itself.
    with mount(world, bucket, proxy, expects=["open of 'd/a'.*ESTALE"]) as mounted:
        assert "a" in os.listdir(mounted.path / "d")
        bucket.put("d/a", b"another")
        assert (mounted.path / "d/a").read_bytes() == b"another"


def test_a_mount_whose_own_listing_is_too_old_takes_a_newer_one(world, served):
    """A listing that a command has made is kept, and every mount on the machine answers from it without a request
    for as long as it believes a listing.
    """
    bucket, proxy = served
    with mount(world, bucket, proxy, "--metadata-ttl=1") as mounted:
        assert sorted(os.listdir(mounted.path)) == ["d", "long", "top"]
        time.sleep(1.1)
        record(world, bucket, proxy)
        proxy.reset()
        assert sorted(os.listdir(mounted.path)) == ["d", "long", "top"]
        assert lists(proxy) == 0
        time.sleep(1.1)
        assert sorted(os.listdir(mounted.path)) == ["d", "long", "top"]
        assert lists(proxy) == 1


def test_a_long_directory_is_listed_from_disk(world, served):
    """A listing that a command has made is kept, and every mount on the machine answers from it without a request
    for as long as it believes a listing.
    """
    bucket, proxy = served
    metas = [meta for meta in metas_of(bucket) if meta.key == "long/x"]
    writer = record_listing(
        cache_of(world),
        f"{proxy.url}/{bucket.name}",
        "long/",
        time.clock_gettime(time.CLOCK_REALTIME),
    )
    writer.add([metas[0]._replace(key=f"long/{number:05}") for number in range(3500)])
    writer.commit()
    with mount(world, bucket, proxy) as mounted:
        assert os.listdir(mounted.path) != []
        proxy.reset()
        assert (mounted.path / "long/03400").exists()
        assert len(os.listdir(mounted.path / "long")) == 3500
        assert not (mounted.path / "long/99999").exists()
        assert lists(proxy) == 0
