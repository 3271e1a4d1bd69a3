"""Real mounts for the promises of docs/semantics.md; module-wide where tests only look.

The fixtures that isolate a test from this machine work per test; what lives longer gets its environment from `world`.
"""

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.buckets import Bucket, FolderBucket, s3_client
from tests.support.mounts import Mount, mounted
from tests.support.proxy import ProxyServer
from tests.support.servers import Server

numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class World:
    """A machine of its own for mounts and commands: cache, configuration, credentials.

    Attributes:
        folder: for mount points and sources.
        environment: what processes get; servers are named in it by who mounts.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def place(self, name: str = "mnt") -> Path:
        """A new empty directory."""
        path = self.folder / f"{name}-{next(numbers)}"
        path.mkdir()
        return path

    @contextlib.contextmanager
    def mount(self, source: str, *options: str, env: dict[str, str] | None = None, expects=()):
        """A mount of ``source`` in the foreground, as `mounted` makes it."""
        environment = self.environment | (env or {})
        with mounted(source, self.place(), *options, env=environment, expects=expects) as mount:
            yield mount

    def run(self, *arguments: str, env: dict[str, str] | None = None, seconds: float = 30.0):
        """``s3mount ARGUMENTS``, until it returns."""
        return subprocess.run(
            [sys.executable, "-m", "s3mount", *arguments],
            env=os.environ | self.environment | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """A mount of a bucket behind a counting proxy."""

    path: Path
    bucket: Bucket | FolderBucket
    proxy: ProxyServer
    mount: Mount

    @property
    def lists(self) -> list[str]:
        """The LISTs since the last reset, as query strings."""
        return [request.query for request in self.proxy.requests if request.kind == "list"]


def world_in(folder: Path) -> World:
    (folder / "mounts").mkdir()
    return World(
        folder / "mounts",
        {
            "AWS_CONFIG_FILE": str(folder / "no-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
        },
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One machine for the tests of a module."""
    return world_in(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def new_bucket(moto: Server) -> Iterator[Callable[[], Bucket]]:
    """``new_bucket()``: a fresh bucket on moto's server, whatever the scope."""
    client = s3_client(moto)

    def make() -> Bucket:
        name = f"semantics-{next(numbers)}"
        client.create_bucket(Bucket=name)
        return Bucket(name, moto.url, client, moto.environment)

    with contextlib.closing(client):
        yield make


@pytest.fixture(scope="session")
def counted() -> Callable[..., contextlib.AbstractContextManager[Counted]]:
    """``counted(world, bucket, *options)``: a mount whose requests are counted, from zero."""
    return mount_counted


@contextlib.contextmanager
def mount_counted(
    world: World, bucket: Bucket | FolderBucket, *options: str, prefix: str = "", expects=()
) -> Iterator[Counted]:
    with ProxyServer(bucket.endpoint) as proxy:
        env = bucket.environment | {"AWS_ENDPOINT_URL": proxy.url}
        source = f"{bucket.name}/{prefix}" if prefix else bucket.name
        with world.mount(source, *options, env=env, expects=expects) as mount:
            proxy.reset()
            yield Counted(mount.path, bucket, proxy, mount)
