"""Whole commands with several processes: every file once, collisions seen, and no process or part of a file left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COUNT = 6000
needs_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core has one process"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A directory of many small files."""
    root = tmp_path_factory.mktemp("source")
    for number in range(COUNT):
        path = root / f"d{number % 7}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"%d" % number)
    return root


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def start(command, source, cache, *args, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "s3mount", command, str(source), "--cache-dir", str(cache), *args],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def download(source, out, *args, **environment):
    where = source if isinstance(source, str) else source.as_uri()
    cache = out.parent / "cache"
    return start("download", where, cache, "--download-dir", str(out), *args, **environment)


def children(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def under_way(running, out):
    """Wait for the first files; the processes of the crew."""
    deadline = time.monotonic() + 20
    while not next(out.glob("*/f*"), None):
        assert running.poll() is None
        assert time.monotonic() < deadline
    return children(running.pid)


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def await_end(pids):
    deadline = time.monotonic() + 5
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_whole(source, out):
    for path in source.glob("*/f*"):
        assert (out / path.relative_to(source)).read_bytes() == path.read_bytes()


def parts(out):
    return list(out.rglob(".s3mount-*"))


def test_download_brings_every_file(source, out):
    with download(source, out, "--json") as running:
        said, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    keys = [json.loads(line).get("key") for line in said.splitlines()]
    assert len({each for each in keys if each}) == COUNT
    assert_whole(source, out)
    assert not parts(out)
    with download(source, out, "--skip-existing", "-q") as running:
        assert running.communicate(timeout=60) == ("", "")
    assert running.returncode == 0


def test_prefetch_pins_all_that_the_crew_brings(source, tmp_path):
    cache = tmp_path / "cache"
    with start("prefetch", source.as_uri(), cache, "--pin", "all", "-q", "--check") as running:
        assert running.communicate(timeout=60) == ("", "")
    assert running.returncode == 0
    with start("prefetch", source.as_uri(), cache, "--json") as running:
        said, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert json.loads(said.splitlines()[-1])["summary"]["present"] == COUNT
    (pin,) = (cache / "v1" / "pins").iterdir()
    assert pin.name.startswith("all")


@needs_cores
def test_a_process_that_is_killed_fails_its_objects(source, out):
    with download(source, out, "-q") as running:
        crew = under_way(running, out)
        os.kill(crew[0], signal.SIGKILL)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "was killed" in err
    await_end(crew)
    with download(source, out, "-q", "--skip-existing") as running:
        running.communicate(timeout=60)
    assert running.returncode == 0
    assert_whole(source, out)
    assert not parts(out)


@needs_cores
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_all_processes_leaves_nothing(source, out, number):
    with download(source, out, "-q") as running:
        crew = under_way(running, out)
        assert len(crew) > 1
        os.killpg(running.pid, number)
        running.communicate(timeout=10)
    assert running.returncode == (130 if number == signal.SIGINT else 128 + number)
    assert not any(map(is_alive, crew))
    assert not parts(out)


@needs_cores
def test_processes_whose_command_is_killed_end_and_leave_nothing(source, out):
    with download(source, out, "-q") as running:
        crew = under_way(running, out)
        running.kill()
        running.wait()
        await_end(crew)
    assert not parts(out)


@pytest.mark.s3
def test_two_keys_with_one_path_are_seen(bucket, out):
    for number in range(1100):
        bucket.put(f"p/d/f{number}", b"plain")
    bucket.put("p/d//f5", b"odd")
    where = f"s3://{bucket.name}/p/"
    with download(where, out, "-q", **bucket.environment) as running:
        _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "has the same path" in err
    assert len(list(out.glob("d/f*"))) == 1100
    assert not parts(out)
