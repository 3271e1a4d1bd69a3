"""Fixtures of every test: a machine without AWS, servers on loopback, buckets, proxies."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.buckets import Bucket, FolderBucket, await_bucket, s3_client
from tests.support.proxy import ProxyServer
from tests.support.servers import ACCESS_KEY, REGION, SECRET_KEY, Server, moto_server, rclone_server

pytest_plugins = ["tests.support.checklogs"]

# This machine may be busy with other tests: how long an example takes says nothing.
settings.register_profile("s3mount", deadline=None)
settings.load_profile("s3mount")

FAR = 0.030  # seconds of round trip: a bucket in another region
numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees this machine's credentials, configuration, cache or metadata service."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3MOUNT_", "BOTO_")):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    for name, value in {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(home / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_RUNTIME_DIR": str(home / "run"),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def moto() -> Iterator[Server]:
    """moto's server, one for the session."""
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def moto_endpoint(moto: Server) -> str:
    """URL of moto's server."""
    return moto.url


@pytest.fixture
def bucket(moto: Server) -> Iterator[Bucket]:
    """A fresh bucket on moto's server."""
    name = f"bucket-{next(numbers)}"
    client = s3_client(moto)
    client.create_bucket(Bucket=name)
    with contextlib.closing(client):
        yield Bucket(name, moto.url, client, moto.environment)


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """rclone's server, one for the session, and the folder that it serves."""
    folder = tmp_path_factory.mktemp("rclone")
    with rclone_server(folder) as server:
        yield server, folder


@pytest.fixture
def rclone_bucket(rclone: tuple[Server, Path]) -> FolderBucket:
    """A fresh bucket on rclone's server, which has seen it."""
    server, folder = rclone
    name = f"bucket-{next(numbers)}"
    (folder / name).mkdir()
    await_bucket(server, name)
    return FolderBucket(name, server.url, folder / name, server.environment)


@pytest.fixture
def proxy_to() -> Iterator[Callable[..., ProxyServer]]:
    """``proxy_to(url, delay=0.0)``: a counting, breaking proxy in front of any server."""
    with contextlib.ExitStack() as stack:
        yield lambda url, delay=0.0: stack.enter_context(ProxyServer(url, delay))


@pytest.fixture
def proxy(moto_endpoint: str, proxy_to: Callable[..., ProxyServer]) -> ProxyServer:
    """A proxy in front of moto's server, without delay."""
    return proxy_to(moto_endpoint)


@pytest.fixture
def far_proxy(moto_endpoint: str, proxy_to: Callable[..., ProxyServer]) -> ProxyServer:
    """A proxy in front of moto's server that adds 30 ms of round trip."""
    return proxy_to(moto_endpoint, FAR)
