"""docs/semantics.md, "The cache": what is pinned, and who comes first."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from s3mount.bulk.session import opened
from s3mount.config import MountOptions
from s3mount.store.open import parse_source
from tests.support.buckets import Bucket
from tests.support.mounts import mounted
from tests.support.proxy import ProxyServer

pytestmark = pytest.mark.fuse

MIB = 1024 * 1024


def command(bucket: Bucket, cache: Path, *words: str) -> str:
    """What `s3mount cache` says."""
    done = subprocess.run(
        [sys.executable, "-m", "s3mount", "cache", *words, "--cache-dir", str(cache)],
        env=bucket.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pinned_objects_stay_under_a_live_mount(
    bucket: Bucket, proxy: ProxyServer, tmp_path: Path
) -> None:
    """What was pinned with `s3mount cache pin` is not evicted, whatever is read."""
    for number in range(3):
        bucket.put(f"keep/{number}", bytes([number]) * 500_000)
    for number in range(30):
        bucket.put(f"other/{number}", bytes([number]) * 500_000)
    cache = tmp_path / "cache"
    flags = ("--endpoint-url", proxy.url, "--cache-dir", str(cache), "--cache-min-free", "0")
    with mounted(
        bucket.name, tmp_path / "mount", *flags, "--cache-size", "4MiB", env=bucket.environment
    ) as mount:
        for number in range(3):
            (mount.path / f"keep/{number}").read_bytes()
        said = command(
            bucket, cache, "pin", "keep", f"{bucket.name}/keep", "--endpoint-url", proxy.url
        )
        assert said == "keep: 3 objects, 1.4 MiB pinned\n"
        for number in range(30):
            (mount.path / f"other/{number}").read_bytes()
        proxy.reset()
        assert command(bucket, cache, "pins") == "keep  3 objects, 1.4 MiB cached\n"
        assert command(bucket, cache, "unpin", "keep") == "keep: 3 objects no longer pinned by it\n"


def test_bulk_work_hears_of_a_reader(
    bucket: Bucket,
    moto_endpoint: str,
    proxy_to: Callable[..., ProxyServer],
    tmp_path: Path,
) -> None:
    """While a program waits for a mount, bulk commands on the same cache make way."""
    bucket.put("x", bytes(2 * MIB))
    slow = proxy_to(moto_endpoint, 0.1)
    cache = tmp_path / "cache"
    flags = ("--endpoint-url", slow.url, "--cache-dir", str(cache))
    options = MountOptions(endpoint_url=moto_endpoint, region="us-east-1", cache_dir=cache)
    with ExitStack() as stack:
        session = stack.enter_context(opened(parse_source(bucket.name), options, jobs=32))
        mount = stack.enter_context(
            mounted(bucket.name, tmp_path / "mount", *flags, env=bucket.environment)
        )
        (mount.path / "x").read_bytes()
        waited = session.cache.demand.seconds_since()
        assert waited < 5
        time.sleep(0.3)
        assert session.cache.demand.seconds_since() > waited
        assert not session.cache.demand.is_recent()
