"""`s3mount prefetch` and mounts of the same cache: what was prefetched is read without a request."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from tests.support.proxy import ProxyServer

pytestmark = pytest.mark.fuse

MIB = 1 << 20
TREE = {
    "v3/model.bin": os.urandom(9 * MIB),
    "v3/labels.txt": b"noun\nverb\n",
    "v3/empty": b"",
    "v3/deep/er/part-1.log": b"line\n" * 3000,
    "v3/deep/er/part-2.log": b"line\n" * 3,
    "v3/old.tmp": b"nobody wants it",
    "other/file": b"not below the source",
}


@dataclass(frozen=True)
class Site:
    """A bucket behind a counting proxy: the address is a part of what cached bytes are called."""

    name: str
    proxy: ProxyServer
    environment: dict[str, str]


@pytest.fixture(scope="module")
def site(new_bucket):
    bucket = new_bucket()
    for key, body in TREE.items():
        bucket.put(key, body)
    with ProxyServer(bucket.endpoint) as proxy:
        yield Site(bucket.name, proxy, bucket.environment | {"AWS_ENDPOINT_URL": proxy.url})


@pytest.fixture
def cache(tmp_path):
    return "--cache-dir", str(tmp_path / "cache")


def read_tree(top):
    found = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, top)] = file.read()
    return found


def below(prefix):
    return {key.removeprefix(prefix): body for key, body in TREE.items() if key.startswith(prefix)}


def prefetched(world, site, prefix, *arguments):
    """The keys that `s3mount prefetch` shows."""
    done = world.run("prefetch", f"{site.name}/{prefix}", *arguments, env=site.environment)
    assert (done.returncode, done.stderr) == (0, "")
    site.proxy.reset()
    return sorted(done.stdout.splitlines())


def gets(site):
    counts = site.proxy.counts
    return counts["get"] + counts["ranged_get"]


def test_a_mount_after_a_prefetch_makes_no_request(world, site, cache):
    keys = prefetched(world, site, "v3", *cache)
    assert keys == sorted(key for key in TREE if key.startswith("v3/"))
    source = f"{site.name}/v3"
    with world.mount(source, *cache, "--metadata-ttl", "1h", env=site.environment) as mount:
        site.proxy.reset()  # the mount has looked whether there is such a bucket
        assert read_tree(mount.path) == below("v3/")
        assert site.proxy.total == 0
    done = world.run("prefetch", source, *cache, "-q", env=site.environment)
    assert done.returncode == 0
    assert (gets(site), site.proxy.counts["list"]) == (0, 1)


def test_a_mount_that_was_there_before_sees_it(world, site, cache):
    with world.mount(site.name, *cache, env=site.environment) as mount:
        prefetched(world, site, "", *cache)
        assert (mount.path / "v3/model.bin").read_bytes() == TREE["v3/model.bin"]
        assert gets(site) == 0


def test_what_was_not_wanted_is_seen_and_fetched_when_it_is_read(world, site, cache):
    assert "v3/old.tmp" not in prefetched(world, site, "v3", "--exclude", "*.tmp", *cache)
    options = (*cache, "--metadata-ttl", "1h")
    with world.mount(f"{site.name}/v3", *options, env=site.environment) as mount:
        site.proxy.reset()
        assert "old.tmp" in os.listdir(mount.path)
        assert site.proxy.total == 0
        assert (mount.path / "old.tmp").read_bytes() == TREE["v3/old.tmp"]
        assert (site.proxy.counts["list"], gets(site)) == (0, 1)


def test_what_a_mount_has_read_is_not_fetched_again(world, site, cache):
    with world.mount(site.name, *cache, env=site.environment) as mount:
        with (mount.path / "v3/model.bin").open("rb") as file:
            file.read(4096)
        (mount.path / "v3/labels.txt").read_bytes()
        done = world.run("prefetch", site.name, *cache, "--json", env=site.environment)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    by_key = {record["key"]: record for record in records if "key" in record}
    assert by_key["v3/labels.txt"]["ending"] == "present"
    model = by_key["v3/model.bin"]
    assert 0 < model["bytes_fetched"] < model["size"]


def test_a_snapshot_is_read_when_the_bucket_is_gone(world, site, cache):
    prefetched(world, site, "v3", "-q", "--snapshot", "monday", *cache)
    env = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with world.mount("snapshot:monday", *cache, env=env) as mount:
        assert read_tree(mount.path) == below("v3/")


def test_ctrl_c_ends_it_within_a_second_and_says_how_far_it_came(world, site, tmp_path):
    command = ["prefetch", site.name, "--cache-dir", str(tmp_path), "--max-bandwidth", "1MiB"]
    process = subprocess.Popen(
        [sys.executable, "-m", "s3mount", *command],
        env=os.environ | world.environment | site.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - began < 2
    assert "stopped" in errors
    assert "goes on where this one stopped" in errors
