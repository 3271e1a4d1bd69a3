"""Five minutes of s3mount in one command: an S3 server on this machine, a bucket of artifacts, a mount.

The server is moto's, on loopback, in a process of its own; nothing leaves the machine. Everything that was started is
ended, and everything that was made is removed, however the demo ends.
"""

import argparse
import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

BUCKET = "artifacts"
MODEL = "models/tagger/v3/model.safetensors"
BUILD = "builds/website/1842/site.tar.gz"
PATIENCE = 30.0  # seconds for the server to start: it imports much


def main() -> int:
    """Start, fill, mount, show, wait, clean up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="do not wait for Ctrl-C")
    once = parser.parse_args().once or not sys.stdin.isatty()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3mount-demo-")))
        url = stack.enter_context(served())
        isolate(url, work)
        fill(url)
        mountpoint = work / BUCKET
        mountpoint.mkdir()
        stack.callback(unmount, mountpoint)
        title(f"A bucket '{BUCKET}' is served on {url}. Mount it:")
        shell("s3mount", BUCKET, str(mountpoint))
        look(mountpoint)
        if not once:
            wait(mountpoint)
    return 0


def look(mountpoint: Path) -> None:
    """What a person would type first, and what it cost in requests."""
    title("The bucket is a directory. Nothing was downloaded for this:")
    shell("ls", "-lR", str(mountpoint), lines=24)
    shell("cat", str(mountpoint / "manifest.json"), lines=12)
    title("Any program reads it:")
    shell("sh", "-c", f"grep -rc ERROR {shlex.quote(str(mountpoint / 'logs'))} | sort")
    shell("tar", "tzf", str(mountpoint / BUILD))
    title("The first read fetches, the second is served from the cache on local disk:")
    for _ in range(2):
        before = requests(mountpoint)
        shell("sha256sum", str(mountpoint / MODEL))
        after = requests(mountpoint)
        print(f"    requests to S3: {spent(before, after)}")
    title("A prefetch brings a whole prefix at once; after it nothing has to be asked for:")
    shell("s3mount", "prefetch", f"{BUCKET}/builds", "--progress", "detailed", lines=12)
    before = requests(mountpoint)
    shell("sh", "-c", f"cat {shlex.quote(str(mountpoint / 'builds'))}/*/*/* | wc -c")
    print(f"    requests to S3: {spent(before, requests(mountpoint))}")


def wait(mountpoint: Path) -> None:
    """Leave it mounted for a look around."""
    title("Still mounted. In another terminal:")
    print(f"    ls {mountpoint}\n    s3mount status\n\nCtrl-C unmounts it and removes everything.")
    while True:
        time.sleep(3600)


# What is shown.


def title(text: str) -> None:
    """A line that says what comes."""
    print(f"\n{text}", flush=True)


def shell(*command: str, lines: int = 40) -> None:
    """Run a command as a person would type it; the demo ends when it fails."""
    typed = command[2] if command[:2] == ("sh", "-c") else shlex.join(command)
    print(f"  $ {typed}", flush=True)
    place = Path(sys.executable).parent
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}"},
    )
    shown = done.stdout.splitlines()
    for line in shown[:lines]:
        print(f"    {line}")
    if len(shown) > lines:
        print(f"    ... and {len(shown) - lines} more lines")
    if done.returncode:
        raise SystemExit(f"demo: '{typed}' ended with status {done.returncode}")


def requests(mountpoint: Path) -> dict[str, int]:
    """Requests by kind so far, as ``s3mount status --json`` tells them."""
    done = subprocess.run(
        [sys.executable, "-m", "s3mount", "status", "--json", str(mountpoint)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=30,
    )
    mounts: list[dict[str, Any]] = json.loads(done.stdout)["mounts"]
    return dict(mounts[0]["requests"])


def spent(before: dict[str, int], after: dict[str, int]) -> str:
    """The difference of two counts in words."""
    more = {kind: after[kind] - before.get(kind, 0) for kind in after}
    return ", ".join(f"{amount} {kind}" for kind, amount in more.items() if amount) or "none"


# What is started, and ended again.


@contextlib.contextmanager
def served() -> Iterator[str]:
    """Moto's S3 server on a free port of loopback; yields its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    program = Path(sys.executable).parent / "moto_server"
    process = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is ours: the mount goes first, then the server
    )
    try:
        await_answer(url)
        yield url
    finally:
        process.terminate()
        process.wait()


def await_answer(url: str) -> None:
    """Wait until the server answers anything."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError as reply:  # an answer as well
            reply.close()
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"demo: no S3 server at {url}") from None
            time.sleep(0.05)
            continue
        return


def isolate(url: str, work: Path) -> None:
    """Use the demo's server, credentials and cache, whatever this machine is configured for."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3MOUNT_")):
            del os.environ[name]
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "S3MOUNT_CACHE_DIR": str(work / "cache"),
    }


def unmount(mountpoint: Path) -> None:
    """Unmount in order, lazily when somebody is still inside, and wait for it."""
    own = [sys.executable, "-m", "s3mount", "unmount", str(mountpoint)]
    attempts = (
        own,
        ["fusermount3", "-u", "-z", str(mountpoint)],
        ["umount", "-l", str(mountpoint)],
    )
    for attempt in attempts:
        if not is_mounted(mountpoint):
            return
        if attempt is own:
            title("Unmounting.")
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(attempt, capture_output=True, check=False, timeout=20)


def is_mounted(mountpoint: Path) -> bool:
    """Whether the kernel lists it; asking the mount itself could hang."""
    return f" {mountpoint.resolve()} " in Path("/proc/self/mountinfo").read_text()


# What is in the bucket.


def fill(url: str) -> None:
    """A small history of builds: archives that unpack, logs, a model, a manifest of it all."""
    client = boto3.client("s3", endpoint_url=url)
    with contextlib.closing(client):
        client.create_bucket(Bucket=BUCKET)
        objects = dict(contents())
        objects["manifest.json"] = manifest(objects)
        for key, body in objects.items():
            client.put_object(Bucket=BUCKET, Key=key, Body=body)


def contents() -> Iterator[tuple[str, bytes]]:
    """Keys and bodies."""
    chooser = random.Random(1842)
    for number in (1840, 1841, 1842):
        yield f"builds/website/{number}/site.tar.gz", archive(number)
        yield f"builds/website/{number}/NOTES.txt", f"website build {number}\n".encode()
        for step in ("compile", "test", "deploy"):
            yield f"logs/website/{number}/{step}.log", log(chooser, step)
    yield MODEL, model(chooser)
    yield "models/tagger/v3/labels.txt", b"noun\nverb\nadjective\nadverb\n"
    yield "models/tagger/README.md", b"# tagger\n\nOne label for each word. Version 3 is in use.\n"


def archive(number: int) -> bytes:
    """A .tar.gz of a small web site."""
    files = {
        "site/index.html": f"<!doctype html><title>build {number}</title><h1>Hello</h1>\n",
        "site/style.css": "body { font-family: sans-serif; margin: 3em auto; max-width: 40em }\n",
        "site/version.txt": f"{number}\n",
    }
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(text), 1_700_000_000, 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(tape.getvalue(), mtime=0)


def log(chooser: random.Random, step: str) -> bytes:
    """What a build step says."""
    levels = chooser.choices(("INFO", "WARN", "ERROR"), (90, 8, 2), k=200)
    lines = (
        f"2026-01-05T10:{i // 60:02}:{i % 60:02}Z {level} {step} task {chooser.randrange(50)}"
        for i, level in enumerate(levels)
    )
    return ("\n".join(lines) + "\n").encode()


def model(chooser: random.Random) -> bytes:
    """8 MiB of weights in the safetensors format."""
    size = 8 << 20
    tensor = {"dtype": "F32", "shape": [2048, 1024], "data_offsets": [0, size]}
    header = json.dumps({"embedding.weight": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + chooser.randbytes(size)


def manifest(objects: dict[str, bytes]) -> bytes:
    """Size and checksum of every object."""
    entries = [
        {"key": key, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        for key, body in sorted(objects.items())
    ]
    return (json.dumps({"version": 1, "objects": entries}, indent=1) + "\n").encode()


if __name__ == "__main__":
    sys.exit(main())
