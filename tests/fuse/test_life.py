"""From the command to the unmount: "Life of a mount" in docs/semantics.md."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounts import answers, mount_points, unmount
from tests.support.proxy import ProxyServer
from tests.support.servers import free_port

pytestmark = pytest.mark.fuse

SECONDS = 10.0


@pytest.fixture(scope="module")
def bucket(new_bucket):
    made = new_bucket()
    made.put("file", b"content")
    made.put("deep/er/file", b"deeper")
    return made


@pytest.fixture
def place(world) -> Iterator[Path]:
    """A mount point, whose mount is taken away afterwards with its daemon."""
    path = world.place()
    try:
        yield path
    finally:
        pids = daemons(path)
        unmount(path)
        for pid in pids:
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)


def daemons(point: Path) -> list[int]:
    """The processes that serve a mount point, by their command lines: a mount that is dead cannot be asked."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"s3mount" in words and b"--foreground" in words and os.fsencode(point) in words:
                found.append(int(entry.name))
    return found


def gone(pid: int, seconds: float = SECONDS) -> bool:
    """Whether a process ends in time; one that only waits for init to notice has ended."""
    return soon(lambda: has_ended(pid), seconds)


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def soon(condition, seconds: float = SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(scope="module")
def running(world, bucket) -> Iterator[Path]:
    """A mount in the background that no test ends."""
    path = world.place()
    start(world, bucket, path)
    yield path
    assert world.run("unmount", str(path)).returncode == 0


def start(world, bucket, place: Path, *options: str) -> int:
    """Mount in the background; the daemon's pid."""
    done = world.run(bucket.name, str(place), *options, env=bucket.environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (pid,) = daemons(place)
    return pid


# Starting.


def test_the_command_returns_when_the_mount_answers(world, bucket, place):
    """`s3mount` returns when the mount answers, or says why not and exits with a status that is not 0."""
    pid = start(world, bucket, place)
    assert (place / "file").read_bytes() == b"content"
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert world.run("unmount", str(place)).returncode == 0
    assert has_ended(pid)
    assert list(place.iterdir()) == []


def test_the_foreground_stays_and_says_so(world, bucket):
    with world.mount(bucket.name, env=bucket.environment) as mount:
        assert mount.process.poll() is None
        assert f"s3://{bucket.name} is mounted on {mount.path}" in mount.log
        unmount(mount.path)
        assert mount.process.wait(SECONDS) == 0
        assert f"s3://{bucket.name} is unmounted from {mount.path}" in mount.log


def says_why(world, *arguments: str, env: dict[str, str]) -> str:
    """What a command says that must fail."""
    done = world.run("mount", *arguments, env=env)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("s3mount: ")
    assert 1 <= done.stderr.count("\n") <= 3
    assert "Traceback" not in done.stderr
    assert Path(arguments[-1]) not in mount_points(None)
    return done.stderr


def test_a_bucket_that_does_not_exist(world, bucket, place):
    """`s3mount` returns when the mount answers, or says why not and exits with a status that is not 0."""
    said = says_why(world, "no-such-bucket", str(place), env=bucket.environment)
    assert said == says_why(world, "-f", "no-such-bucket", str(place), env=bucket.environment)
    assert "there is no bucket 'no-such-bucket'" in said
    assert "bucket" in said.splitlines()[1]


def test_an_endpoint_where_nobody_listens(world, bucket, place):
    """`s3mount` returns when the mount answers, or says why not and exits with a status that is not 0."""
    url = f"http://127.0.0.1:{free_port()}"
    begun = time.monotonic()
    said = says_why(world, "--endpoint-url", url, bucket.name, str(place), env=bucket.environment)
    assert time.monotonic() - begun < 2 * SECONDS
    assert f"no connection to {url}" in said
    assert "--endpoint-url" in said


def test_no_credentials(world, bucket, place):
    """`s3mount` returns when the mount answers, or says why not and exits with a status that is not 0."""
    without = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""}
    said = says_why(world, bucket.name, str(place), env=bucket.environment | without)
    assert "no AWS credentials were found" in said
    assert "--no-sign-request" in said


def test_access_is_denied(world, bucket, place):
    """`s3mount` returns when the mount answers, or says why not and exits with a status that is not 0."""
    with ProxyServer(bucket.endpoint) as proxy:
        proxy.fault("list", times=None, status=403)
        env = bucket.environment | {"AWS_ENDPOINT_URL": proxy.url}
        said = says_why(world, bucket.name, str(place), env=env)
    assert "403 AccessDenied" in said
    assert "s3:ListBucket" in said


def test_a_mount_point_that_cannot_be_used(world, bucket, place):
    """`s3mount` returns when the mount answers, or says why not and exits with a status that is not 0."""
    (place / "mine").write_bytes(b"")
    cases = {
        place: "is not empty",
        place / "mine": "is not a directory",
        place / "missing": "No such file or directory",
    }
    for path, words in cases.items():
        said = says_why(world, bucket.name, str(path), env=bucket.environment)
        assert f"{path}" in said
        assert words in said
    assert "mkdir -p" in said
    assert not (place / "missing").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cache-size=lots", "bucket", "PLACE"], "cache-size"),
        (["-o", "no_such=1", "bucket", "PLACE"], "no_such"),
        (["http://host/bucket", "PLACE"], "--endpoint-url"),
        (["/srv/artifacts", "PLACE"], "file:///srv/artifacts"),
        (["file:///no/such/dir", "PLACE"], "there is no directory"),
        (["bucket"], "MOUNTPOINT"),
    ],
)
def test_what_is_asked_for_wrongly_exits_with_2(world, place, arguments, words):
    """`s3mount` returns when the mount answers, or says why not and exits with a status that is not 0."""
    done = world.run("mount", *(word.replace("PLACE", str(place)) for word in arguments))
    assert done.returncode == 2
    assert words in done.stderr
    assert place not in mount_points(None)


# What is in the way.


def test_a_second_mount_is_refused(world, bucket, running):
    """A second mount on the same directory is refused."""
    said = world.run(bucket.name, str(running), env=bucket.environment)
    assert said.returncode == 1
    assert f"{running} is already mounted: s3://{bucket.name}" in said.stderr
    assert f"s3mount unmount {running}" in said.stderr
    below = world.run(bucket.name, str(running / "deep"), env=bucket.environment)
    assert below.returncode == 1
    assert "lies inside the s3mount of" in below.stderr
    assert mount_points().count(running) == 1
    assert (running / "file").read_bytes() == b"content"


def test_a_dead_mount_is_cleared(world, bucket, place):
    """A dead mount in the way is cleared."""
    pid = start(world, bucket, place)
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert place in mount_points()
    assert not answers(place)
    status = world.run("status", str(place))
    assert status.returncode == 1
    assert "its daemon is gone" in status.stdout
    done = world.run(bucket.name, str(place), env=bucket.environment)
    assert done.returncode == 0
    assert f"cleared a dead mount of s3://{bucket.name} from {place}" in done.stderr
    assert (place / "file").read_bytes() == b"content"
    assert mount_points().count(place) == 1


def test_a_dead_mount_can_be_unmounted(world, bucket, place):
    """A dead mount in the way is cleared."""
    pid = start(world, bucket, place)
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert world.run("unmount", str(place)).returncode == 0
    assert place not in mount_points()


# Ending.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unmounts(world, bucket, place, number):
    """SIGTERM unmounts."""
    pid = start(world, bucket, place)
    os.kill(pid, number)
    assert gone(pid)
    assert place not in mount_points()
    assert list(place.iterdir()) == []


def test_sigterm_ends_the_foreground_with_status_0(world, bucket):
    """SIGTERM unmounts."""
    with world.mount(bucket.name, env=bucket.environment) as mount:
        mount.process.send_signal(signal.SIGTERM)
        assert mount.process.wait(SECONDS) == 0
        assert mount.path not in mount_points()
        assert "unmounting: SIGTERM" in mount.log


def test_sigterm_unmounts_while_a_file_is_open(world, bucket, place):
    """SIGTERM unmounts."""
    pid = start(world, bucket, place)
    file = os.open(place / "file", os.O_RDONLY)
    try:
        assert os.read(file, 1) == b"c"
        os.kill(pid, signal.SIGTERM)
        assert gone(pid)
        assert place not in mount_points()
    finally:
        with contextlib.suppress(OSError):  # there is nobody to tell
            os.close(file)


def test_sigterm_unmounts_while_a_request_waits(world, bucket, place):
    """SIGTERM unmounts."""
    with ProxyServer(bucket.endpoint) as proxy:
        options = [f"--endpoint-url={proxy.url}", "--request-timeout=2s"]
        pid = start(world, bucket, place, *options)
        rule = proxy.fault("list", times=None, hang=True)
        waiting = subprocess.Popen(["stat", place / "file"], stderr=subprocess.DEVNULL)
        try:
            assert soon(lambda: rule.hits > 0)
            os.kill(pid, signal.SIGTERM)
            assert gone(pid)
            assert waiting.wait(SECONDS) != 0
            assert place not in mount_points()
        finally:
            waiting.kill()
            waiting.wait()


@contextlib.contextmanager
def user_of(place: Path) -> Iterator[int]:
    """A process that works in a directory; its pid."""
    user = subprocess.Popen(["sleep", "60"], cwd=place)
    try:
        yield user.pid
    finally:
        user.terminate()
        user.wait()


def test_a_busy_mount_says_who_uses_it(world, running):
    with user_of(running / "deep") as user:
        done = world.run("unmount", str(running))
    assert done.returncode == 1
    assert f"{running} is in use by sleep (pid {user}: {running}/deep)" in done.stderr
    assert "--lazy" in done.stderr
    assert (running / "file").read_bytes() == b"content"


def test_a_lazy_unmount_waits_for_nobody(world, bucket, place):
    pid = start(world, bucket, place)
    with user_of(place / "deep") as user:
        done = world.run("unmount", "--lazy", str(place), seconds=3)
        assert done.returncode == 0
        assert f"pid {user}" in done.stderr
        assert place not in mount_points()
        assert not gone(pid, 0.2)
    assert gone(pid)


def test_force_ends_a_mount_in_use(world, bucket, place):
    pid = start(world, bucket, place)
    with (place / "file").open("rb") as file:
        assert world.run("unmount", "--force", str(place)).returncode == 0
        assert gone(pid)
        assert place not in mount_points()
        with contextlib.suppress(OSError):
            file.read()


def test_unmount_of_what_is_not_mounted(world, place):
    done = world.run("unmount", str(place))
    assert done.returncode == 1
    assert "is not mounted" in done.stderr


# Several mounts, and where options come from.


def test_two_mounts_share_a_cache(world, new_bucket):
    """Several mounts and commands share one cache at the same time."""
    bucket = new_bucket()
    for key in ("shared", "below/shared"):
        bucket.put(key, key.encode() * 50_000)
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(ProxyServer(bucket.endpoint))
        env = bucket.environment | {"AWS_ENDPOINT_URL": proxy.url}
        one, two, below = (
            stack.enter_context(world.mount(f"{bucket.name}{prefix}", env=env)).path
            for prefix in ("", "", "/below")
        )
        for path in (one / "shared", one / "below/shared"):
            path.read_bytes()
        for path in (two / "shared", two / "below/shared", below / "shared"):
            path.stat()
        proxy.reset()
        assert (two / "shared").read_bytes() == b"shared" * 50_000
        assert (two / "below/shared").read_bytes() == b"below/shared" * 50_000
        assert (below / "shared").read_bytes() == b"below/shared" * 50_000
        assert proxy.total == 0


def test_options_behind_o_in_the_environment_and_in_a_file(world, bucket, place):
    config = place.parent / f"{place.name}.toml"
    config.write_text('file-mode = "0440"\ndir-mode = "0550"\nuid = 11\n')
    env = bucket.environment | {"S3MOUNT_DIR_MODE": "0500", "S3MOUNT_UID": "12"}
    options = ["-o", "uid=13,gid=14,_netdev,ro", "--gid=15", "--config", str(config)]
    done = world.run(bucket.name, str(place), *options, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    file, directory = (place / "file").stat(), place.stat()
    assert file.st_mode & 0o777 == 0o440  # from the file
    assert directory.st_mode & 0o777 == 0o500  # from the environment
    assert file.st_uid == 13  # behind -o
    assert file.st_gid == 15  # a flag


def test_mount_8_finds_its_helper(world, bucket, place):
    helper = Path(sys.executable).with_name("mount.s3mount")
    arguments = [bucket.name, str(place), "-o", "rw,noauto,cache_size=1GiB,_netdev"]
    environment = os.environ | world.environment | bucket.environment
    done = subprocess.run(
        [helper, *arguments], env=environment, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (place / "file").read_bytes() == b"content"
    again = subprocess.run(
        [helper, *arguments], env=environment, capture_output=True, timeout=30, check=False
    )
    assert again.returncode == 32


def test_the_kernels_table_names_the_source(bucket, running):
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    (line,) = [line for line in table if f" {running} " in line]
    assert f" - fuse.s3mount s3://{bucket.name} ro," in line
    assert " ro,nosuid,nodev,noatime " in line


def test_the_daemon_logs_to_a_file(world, bucket, place):
    log = place.parent / f"{place.name}.log"
    pid = start(world, bucket, place, f"--log-file={log}")
    os.kill(pid, signal.SIGTERM)
    assert gone(pid)
    said = log.read_text()
    assert f"s3://{bucket.name} is mounted on {place}" in said
    assert f"s3://{bucket.name} is unmounted from {place}" in said
