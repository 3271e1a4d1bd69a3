"""What the tests of the command line share."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kernel_mount():
    """Mounts without a daemon; a module, loaded by its path because test folders are no packages."""
    path = Path(__file__).with_name("kernel_mount.py")
    spec = importlib.util.spec_from_file_location("kernel_mount", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path, monkeypatch):
    """No test reads or writes what the person who runs it has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("S3MOUNT_CONFIG", "/dev/null")
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NOTIFY_SOCKET", "S3MOUNT_READY_FD"):
        monkeypatch.delenv(name, raising=False)
