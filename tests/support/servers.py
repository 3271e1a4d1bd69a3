"""Real S3 servers on loopback for tests: moto's (right errors, any key) and rclone's (real signatures, fast bytes).

Each is a process of its own on a free port, ended by its pid whatever happens. They are known to ``owned_pids`` so
that the check for leaked processes leaves them alone.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ACCESS_KEY = "AKIDTESTTESTTEST"
SECRET_KEY = "secretsecretsecret"
REGION = "us-east-1"
START_SECONDS = 30.0  # moto imports for two seconds on an idle machine

owned_pids: set[int] = set()


class ServerFailed(RuntimeError):
    """A test server ended or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it is and who may use it."""

    url: str
    pid: int
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION

    @property
    def environment(self) -> dict[str, str]:
        """The variables that give botocore these credentials and this endpoint."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.url,
        }


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str) -> str:
    """A command of this virtual environment."""
    return str(Path(sys.executable).parent / name)


@contextlib.contextmanager
def moto_server() -> Iterator[Server]:
    """moto's S3 server. It accepts every key name and credential, and forgets everything at its end."""
    port = free_port()
    command = [program("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with _serving(command, port) as server:
        yield server


@contextlib.contextmanager
def rclone_server(
    directory: Path, *options: str, hashes_in: Path | None = None
) -> Iterator[Server]:
    """``rclone serve s3`` over a folder: its folders are the buckets.

    It checks signatures, answers a range with status 200 and ignores If-Match; a file that is put in the folder
    behind its back is seen after a second. It computes the MD5 of a file for every reply that names its ETag, a
    second per 512 MiB: ``hashes_in`` is a folder in which they are kept, for whoever measures with large files.
    """
    port = free_port()
    source = str(directory)
    if hashes_in is not None:
        source = f":hasher,remote='{directory}',hashes=md5,max_age=off:"
        options = (*options, "--cache-dir", str(hashes_in))
    command = [
        *(program("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}"),
        *("--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", os.devnull),
        *("--vfs-cache-mode", "off", "--no-checksum", "--dir-cache-time", "1s"),
        *(*options, source),
    ]
    with _serving(command, port) as server:
        yield server


@contextlib.contextmanager
def versitygw_server(executable: Path, directory: Path) -> Iterator[Server]:
    """Versity's gateway over a folder, whose file system must have extended attributes: its folders are the buckets.

    It keeps ETags and checksums beside the files, so that it costs less than rclone's server.
    """
    port = free_port()
    command = [
        *(str(executable), "--keep-alive", "--quiet", "--port", f"127.0.0.1:{port}"),
        *("--access", ACCESS_KEY, "--secret", SECRET_KEY, "posix", str(directory)),
    ]
    with _serving(command, port) as server:
        yield server


@contextlib.contextmanager
def _serving(command: Sequence[str], port: int) -> Iterator[Server]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        command,
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    owned_pids.add(process.pid)
    try:
        url = f"http://127.0.0.1:{port}"
        _await_answer(process, url)
        yield Server(url, process.pid)
    finally:
        end_process(process)
        owned_pids.discard(process.pid)


def _await_answer(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerFailed(f"{process.args!r} ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except urllib.error.HTTPError as reply:  # an answer, if not a friendly one
            reply.close()
            return
        except OSError:
            time.sleep(0.02)
    raise ServerFailed(f"{process.args!r} did not answer within {START_SECONDS:.0f} s")


def end_process(process: subprocess.Popen[bytes], patience: float = 5.0) -> None:
    """Ask a process to end, then make it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
