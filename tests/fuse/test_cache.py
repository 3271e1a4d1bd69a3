"""docs/semantics.md, "The cache": what survives, what is noticed, what is shared, and how much it takes."""

import json
import mmap
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3mount.fuse import mounting
from s3mount.fuse.connection import greet
from s3mount.fuse.protocol import Init
from tests.support.buckets import Bucket
from tests.support.mounts import Mount, MountFailed, mounted
from tests.support.proxy import ProxyServer

pytestmark = pytest.mark.fuse

KIB = 1024
MIB = 1024 * 1024
NO_PLACE_HELD = ("--cache-min-free", "0")


@dataclass(slots=True)
class Site:
    """A bucket, the wire to it, and a cache on local disk that mounts come and go with."""

    bucket: Bucket
    proxy: ProxyServer
    folder: Path
    cache: Path
    mounts: int = 0

    @contextmanager
    def mounted(self, *options: str, expects: Sequence[str] = ()) -> Iterator[Mount]:
        """A mount of the bucket with this cache."""
        self.mounts += 1
        fixed = ("--endpoint-url", self.proxy.url, "--cache-dir", str(self.cache))
        with mounted(
            self.bucket.name,
            self.folder / f"mount-{self.mounts}",
            *(*fixed, *options),
            env=self.bucket.environment,
            expects=expects,
        ) as mount:
            yield mount

    @property
    def gets(self) -> int:
        """GETs since the last reset."""
        counts = self.proxy.counts
        return counts["get"] + counts["ranged_get"]

    def extents(self) -> list[Path]:
        """The files that hold bytes of objects."""
        return [path for path in (self.cache / "v2/objects").rglob("*") if path.is_file()]


@pytest.fixture
def site(bucket: Bucket, proxy: ProxyServer, tmp_path: Path) -> Site:
    return Site(bucket, proxy, tmp_path, tmp_path / "cache")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of some size in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    path = tmp_path / "disk"

    def make(size: str) -> Path:
        path.mkdir()
        options = f"size={size},mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
        return path

    yield make
    if path.is_dir():
        subprocess.run(["umount", "-l", path], check=False, timeout=10)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def used(folder: Path) -> int:
    """Bytes of disk that a tree takes. Files may go while it is counted."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def direct(path: Path, offset: int, size: int) -> bytes:
    """Read past the kernel's pages."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, size) as aligned:
            count = os.preadv(descriptor, [aligned], offset)
            return aligned[:count]
    finally:
        os.close(descriptor)


def settles(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# What survives


def test_it_survives_an_unmount(site: Site) -> None:
    """What is cached survives an unmount, a crash and a power cut."""
    bodies = {"small": noise(9 * KIB, 1), "one": noise(MIB, 2), "large": noise(7 * MIB + 5, 3)}
    for name, body in bodies.items():
        site.bucket.put(f"dir/{name}", body)
    with site.mounted() as mount:
        for name, body in bodies.items():
            assert (mount.path / "dir" / name).read_bytes() == body
    site.proxy.reset()
    with site.mounted() as mount:
        for name, body in bodies.items():
            assert (mount.path / "dir" / name).read_bytes() == body
        assert site.gets == 0
        assert site.proxy.counts["list"] == site.proxy.total <= 3


def test_it_survives_a_crash(site: Site) -> None:
    """What is cached survives an unmount, a crash and a power cut."""
    body, late = noise(5 * MIB, 1), noise(6 * MIB, 2)
    site.bucket.put("file", body)
    site.bucket.put("late", late)
    with site.mounted() as mount:
        assert (mount.path / "file").read_bytes() == body
        site.proxy.fault(
            lambda request: "late" in request.path and bool(request.range), stall_after=1
        )
        reader = subprocess.Popen(["cat", mount.path / "late"], stdout=subprocess.DEVNULL)
        time.sleep(0.2)  # now a part of it is on its way
        os.kill(mount.pid, signal.SIGKILL)
        mount.process.wait(10)
        assert reader.wait(10)
        with pytest.raises(OSError, match="not connected"):
            (mount.path / "file").read_bytes()
    site.proxy.reset()
    with site.mounted() as mount:
        assert (mount.path / "file").read_bytes() == body
        assert site.gets == 0
        assert (mount.path / "late").read_bytes() == late


def test_it_survives_the_loss_of_its_index(site: Site) -> None:
    """What is cached survives an unmount, a crash and a power cut."""
    body = noise(2 * MIB)
    site.bucket.put("file", body)
    with site.mounted() as mount:
        assert (mount.path / "file").read_bytes() == body
    site.proxy.reset()
    for remains in (b"", bytes(8192), b"not a database" * 1000):
        for path in (site.cache / "v2").glob("index.sqlite*"):
            path.unlink()
        if remains:
            (site.cache / "v2/index.sqlite").write_bytes(remains)
        with site.mounted() as mount:
            assert (mount.path / "file").read_bytes() == body
            assert site.gets == 0


# What is noticed


def cut_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip_first(path: Path) -> None:
    with path.open("r+b") as file:
        byte = file.read(1)[0]
        file.seek(0)
        file.write(bytes([byte ^ 0x10]))


def flip_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def zero_all(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def drop_trailer(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 9)


def add_bytes(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


DAMAGES = [cut_half, empty, flip_first, flip_middle, zero_all, drop_trailer, add_bytes, os.unlink]


def test_damage_is_noticed_and_mended(site: Site) -> None:
    """Bytes on disk that are torn or altered are noticed when they are read and fetched again, never served."""
    bodies = {
        f"{damage.__name__}-{size}": noise(size, number)
        for number, damage in enumerate(DAMAGES)
        for size in (50 * KIB, 3 * MIB)
    }
    for name, body in bodies.items():
        site.bucket.put(name, body)
    extents: dict[str, list[Path]] = {}
    with site.mounted() as mount:
        for name, body in bodies.items():
            before = set(site.extents())
            assert (mount.path / name).read_bytes() == body
            assert settles(lambda name=name, body=body: cached(mount, name) == len(body))
            extents[name] = sorted(set(site.extents()) - before)
    for damage in DAMAGES:
        for name in bodies:
            if name.startswith(damage.__name__ + "-"):
                for extent in extents[name]:
                    damage(extent)
    site.proxy.reset()
    with site.mounted() as mount:
        for name, body in bodies.items():
            assert (mount.path / name).read_bytes() == body, name
        assert site.gets >= len(bodies)
        assert settles(lambda: all(cached(mount, name) == len(bodies[name]) for name in bodies))
    site.proxy.reset()
    with site.mounted() as mount:
        for name, body in bodies.items():
            assert (mount.path / name).read_bytes() == body, name
        assert site.gets == 0


def cached(mount: Mount, name: str) -> int:
    return int(os.getxattr(mount.path / name, "user.s3mount.cached"))


def test_damage_under_an_open_file_is_noticed(site: Site) -> None:
    """Bytes on disk that are torn or altered are noticed when they are read and fetched again, never served."""
    body = noise(3 * MIB)
    site.bucket.put("file", body)
    with site.mounted() as mount:
        direct(mount.path / "file", 0, MIB)
    with site.mounted() as mount, (mount.path / "file").open("rb", buffering=0) as file:
        file.read(1)
        for extent in site.extents():
            cut_half(extent)
        assert direct(mount.path / "file", 0, 4 * MIB) == body


@pytest.fixture(scope="module")
def passing_kernel(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A kernel that can read files by itself: not before Linux 6.9, and not everywhere since."""
    place = tmp_path_factory.mktemp("probe")
    descriptor = mounting.mount(mounting.MountRequest(place, "probe", False))
    try:
        can_pass = bool(greet(descriptor).flags & Init.PASSTHROUGH)
    finally:
        mounting.unmount(descriptor, place)
    if not can_pass:
        pytest.skip("this kernel cannot pass files through")


def is_passed_through(mount: Mount, path: Path) -> bool:
    """Whether reads of an open file stay in the kernel; status counts those that do not."""
    before = read_bytes(mount)
    direct(path, 0, 4 * MIB)
    return read_bytes(mount) == before


def read_bytes(mount: Mount) -> int:
    return json.loads(os.getxattr(mount.path, "user.s3mount.status"))["bytes"]["read"]


@pytest.mark.usefixtures("passing_kernel")
def test_a_whole_file_is_read_by_the_kernel_itself(site: Site) -> None:
    """A large file that is whole in the cache is read by the kernel itself, at the speed of the disk."""
    body = noise(3 * MIB)
    site.bucket.put("file", body)
    with site.mounted() as mount:
        path = mount.path / "file"
        assert not is_passed_through(mount, path)
        assert path.read_bytes() == body
        assert settles(lambda: is_passed_through(mount, path))
    site.proxy.reset()
    with site.mounted() as mount:
        path = mount.path / "file"
        assert is_passed_through(mount, path)
        assert path.read_bytes() == body
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[:] == body
    assert site.gets == 0


@pytest.mark.usefixtures("passing_kernel")
def test_a_file_that_was_altered_is_not_passed_through(site: Site) -> None:
    """Bytes on disk that are torn or altered are noticed when they are read and fetched again, never served."""
    body = noise(3 * MIB)
    site.bucket.put("file", body)
    with site.mounted() as mount:
        path = mount.path / "file"
        assert path.read_bytes() == body
        assert settles(lambda: is_passed_through(mount, path))
        for data in site.cache.glob("v2/objects/*/*/data"):
            flip_middle(data)
        assert direct(path, 0, 4 * MIB) == body
        assert settles(lambda: is_passed_through(mount, path))
        assert path.read_bytes() == body


@pytest.mark.usefixtures("passing_kernel")
def test_a_file_that_is_open_is_read_in_one_way(site: Site) -> None:
    """A large file that is whole in the cache is read by the kernel itself, at the speed of the disk."""
    body = noise(3 * MIB)
    site.bucket.put("file", body)
    with site.mounted() as mount:
        path = mount.path / "file"
        with path.open("rb") as first:
            assert first.read() == body
            time.sleep(0.5)
            assert not is_passed_through(mount, path)
        assert settles(lambda: is_passed_through(mount, path))
        with path.open("rb") as first, path.open("rb") as second:
            assert first.read() == second.read() == body
            assert is_passed_through(mount, path)


# Who shares it


def test_mounts_share_it(site: Site) -> None:
    """Several mounts and commands share one cache at the same time."""
    bodies = {f"file-{number}": noise(700 * KIB, number) for number in range(12)}
    bodies["large"] = noise(8 * MIB, 99)
    for name, body in bodies.items():
        site.bucket.put(name, body)

    def read(mount: Mount, name: str) -> bool:
        return (mount.path / name).read_bytes() == bodies[name]

    with site.mounted() as one, site.mounted() as other:
        assert all(read(one, name) for name in bodies)
        site.proxy.reset()
        assert all(read(other, name) for name in bodies)
        assert site.gets == 0

        command = [
            sys.executable,
            "-m",
            "s3mount",
            "cache",
            "clear",
            "--cache-dir",
            str(site.cache),
        ]
        commands = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)]
        with ThreadPoolExecutor(8) as pool:
            done = [pool.submit(read, mount, name) for name in bodies for mount in (one, other)]
            assert all(future.result() for future in done)
        for process in commands:
            process.communicate(timeout=20)


def test_two_mounts_fill_it_together(site: Site) -> None:
    """Several mounts and commands share one cache at the same time."""
    bodies = {f"file-{number}": noise(300 * KIB, number) for number in range(20)}
    bodies |= {f"large-{number}": noise(4 * MIB, 50 + number) for number in range(3)}
    for name, body in bodies.items():
        site.bucket.put(name, body)
    with site.mounted() as one, site.mounted() as other, ThreadPoolExecutor(8) as pool:
        paths = [mount.path / name for name in bodies for mount in (one, other)]
        contents = pool.map(Path.read_bytes, paths)
        assert all(
            content == bodies[path.name] for path, content in zip(paths, contents, strict=True)
        )
    site.proxy.reset()
    with site.mounted() as mount:
        assert all((mount.path / name).read_bytes() == body for name, body in bodies.items())
        assert site.gets == 0


# How much it takes


@contextmanager
def watched(measure: Callable[[], int]) -> Iterator[list[int]]:
    """What ``measure`` said, again and again."""
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            seen.append(measure())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A directory to mount, where only bytes matter: 60 files of 1 MiB and one of 40."""
    folder = tmp_path / "origin"
    folder.mkdir()
    for number in range(60):
        (folder / f"file-{number}").write_bytes(noise(MIB, number))
    (folder / "large").write_bytes(noise(40 * MIB, 99))
    return folder


LIMIT = 16 * MIB
BOOKS = 512 * KIB
"""What the index and its log take beside the objects, at the most in these tests."""


def test_many_files_stay_within_the_limit(origin: Path, tmp_path: Path) -> None:
    """The cache stays within `--cache-size`, and leaves `--cache-min-free` to others."""
    cache = tmp_path / "cache"
    options = ("--cache-dir", str(cache), "--cache-size", "16MiB")
    with (
        mounted(origin.as_uri(), tmp_path / "view", *options) as mount,
        watched(lambda: used(cache / "v2/objects") + used(cache / "v2/tmp")) as seen,
    ):
        for _ in range(2):
            for number in range(60):
                body = (mount.path / f"file-{number}").read_bytes()
                assert body == (origin / f"file-{number}").read_bytes()
    assert LIMIT // 4 < max(seen) <= LIMIT + BOOKS


def test_one_file_stays_within_the_limit(origin: Path, tmp_path: Path) -> None:
    """The cache stays within `--cache-size`, and leaves `--cache-min-free` to others."""
    cache = tmp_path / "cache"
    options = ("--cache-dir", str(cache), "--cache-size", "16MiB")
    with (
        mounted(origin.as_uri(), tmp_path / "view", *options) as mount,
        watched(lambda: used(cache / "v2/objects") + used(cache / "v2/tmp")) as seen,
    ):
        assert (mount.path / "large").read_bytes() == (origin / "large").read_bytes()
    assert LIMIT // 4 < max(seen) <= LIMIT + BOOKS


def test_others_keep_their_free_space(
    origin: Path, tmp_path: Path, small_disk: Callable[[str], Path]
) -> None:
    """The cache stays within `--cache-size`, and leaves `--cache-min-free` to others."""
    disk = small_disk("48m")
    options = ("--cache-dir", str(disk), "--cache-size", "1GiB", "--cache-min-free", "24MiB")

    def free() -> int:
        system = os.statvfs(disk)
        return system.f_bavail * system.f_frsize

    with (
        mounted(origin.as_uri(), tmp_path / "view", *options) as mount,
        watched(free) as seen,
    ):
        for number in range(60):
            body = (mount.path / f"file-{number}").read_bytes()
            assert body == (origin / f"file-{number}").read_bytes()
        assert (mount.path / "large").read_bytes() == (origin / "large").read_bytes()
    assert 24 * MIB - BOOKS <= min(seen) < 40 * MIB


def test_an_open_file_is_not_evicted(origin: Path, tmp_path: Path) -> None:
    """What an open file has cached is not evicted."""
    options = ("--cache-dir", str(tmp_path / "cache"), "--cache-size", "16MiB")
    with mounted(origin.as_uri(), tmp_path / "view", *options) as mount:
        held = (mount.path / "file-0").open("rb")
        with held:
            held.read()
            (mount.path / "file-1").read_bytes()

            def is_gone() -> bool:
                # To look is a use as well, so each look comes after more than fits has been read.
                for number in range(2, 60):
                    direct(mount.path / f"file-{number}", 0, MIB)
                return cached(mount, "file-1") == 0

            assert settles(is_gone, 30.0)
            assert cached(mount, "file-0") == MIB
            assert direct(mount.path / "file-0", 0, MIB) == (origin / "file-0").read_bytes()


def test_a_full_disk_is_read_past(
    origin: Path, tmp_path: Path, small_disk: Callable[[str], Path]
) -> None:
    """When the disk is full, reads succeed all the same."""
    disk = small_disk("8m")
    options = ("--cache-dir", str(disk), *NO_PLACE_HELD)
    with mounted(origin.as_uri(), tmp_path / "view", *options) as mount:
        (disk / "ballast").write_bytes(bytes(5 * MIB))  # behind the cache's back
        assert (mount.path / "large").read_bytes() == (origin / "large").read_bytes()
        with pytest.raises(OSError, match="No space"):
            (disk / "more").write_bytes(bytes(8 * MIB))
        with ThreadPoolExecutor(4) as pool:
            names = [f"file-{number}" for number in range(20)]
            bodies = pool.map(lambda name: (mount.path / name).read_bytes(), names)
            assert all(
                body == (origin / name).read_bytes()
                for name, body in zip(names, bodies, strict=True)
            )


def test_a_disk_without_room_is_read_past(
    origin: Path, tmp_path: Path, small_disk: Callable[[str], Path]
) -> None:
    """When the disk is full, reads succeed all the same."""
    disk = small_disk("8m")  # less than the 1 GiB that is left to others
    with mounted(origin.as_uri(), tmp_path / "view", "--cache-dir", str(disk)) as mount:
        assert (mount.path / "large").read_bytes() == (origin / "large").read_bytes()
        assert direct(mount.path / "large", 20 * MIB, MIB) == noise_at(origin, 20 * MIB, MIB)
    assert used(disk / "v2/objects") < MIB


def noise_at(origin: Path, offset: int, size: int) -> bytes:
    with (origin / "large").open("rb") as file:
        file.seek(offset)
        return file.read(size)


# Who may see it


def test_only_its_owner_can_read_it(origin: Path, tmp_path: Path) -> None:
    """The cache is readable for its owner only, and a cache directory that others can write to is refused."""
    cache = tmp_path / "some" / "cache"
    with mounted(origin.as_uri(), tmp_path / "view", "--cache-dir", str(cache)) as mount:
        (mount.path / "file-0").read_bytes()
        (mount.path / "large").read_bytes()
        found = [cache, *(path for path in cache.rglob("*") if path.exists())]
        assert len(found) > 10
        assert [path for path in found if path.lstat().st_mode & 0o077] == []


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_directory_open_to_others_is_refused(origin: Path, tmp_path: Path, mode: int) -> None:
    """The cache is readable for its owner only, and a cache directory that others can write to is refused."""
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)
    with (
        pytest.raises(MountFailed, match=f"status 1.*open to other users.*chmod 700 {cache}"),
        mounted(origin.as_uri(), tmp_path / "view", "--cache-dir", str(cache)),
    ):
        pass
    assert list(cache.iterdir()) == []
    assert stat.S_IMODE(cache.stat().st_mode) == mode


def test_a_directory_of_somebody_else_is_refused(origin: Path, tmp_path: Path) -> None:
    """The cache is readable for its owner only, and a cache directory that others can write to is refused."""
    if os.geteuid() != 0:
        pytest.skip("only root may give a directory away")
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    os.chown(cache, 4711, 4711)
    with ExitStack() as stack, pytest.raises(MountFailed, match="belongs to user 4711"):
        stack.enter_context(mounted(origin.as_uri(), tmp_path / "view", "--cache-dir", str(cache)))
