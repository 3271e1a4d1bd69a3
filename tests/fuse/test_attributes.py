"""What stat, df and getfattr say: "Attributes" in docs/semantics.md."""

import contextlib
import errno
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.mounts import Mount

pytestmark = pytest.mark.fuse

BODIES = {"empty": b"", "one": b"1", "block": b"b" * 512, "more": b"m" * 513, "dir/file": b"file"}


@pytest.fixture(scope="module")
def bucket(new_bucket):
    made = new_bucket()
    versioning = {"Status": "Enabled"}
    made.client.put_bucket_versioning(Bucket=made.name, VersioningConfiguration=versioning)
    for key, body in BODIES.items():
        made.put(key, body)
    made.put("cold", b"cold", StorageClass="STANDARD_IA")
    return made


@pytest.fixture(scope="module")
def shown(world, bucket, counted):
    with counted(world, bucket) as mount:
        yield mount


@pytest.fixture(scope="module")
def fickle(world) -> Iterator[tuple[Path, Mount]]:
    """A source on disk and a mount of it that believes nothing."""
    source = world.place("source")
    with world.mount(source.as_uri(), "--metadata-ttl=0", "--negative-ttl=0") as mount:
        yield source, mount


def soon(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def xattrs_of(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def test_size_and_times_are_the_objects(shown):
    """A file has the object's size and, as its times, the object's LastModified."""
    for key, body in BODIES.items():
        status = (shown.path / key).stat()
        head = shown.bucket.client.head_object(Bucket=shown.bucket.name, Key=key)
        assert status.st_size == len(body) == head["ContentLength"]
        # HEAD tells whole seconds, a listing thousandths.
        assert int(status.st_mtime) == int(head["LastModified"].timestamp())
        assert status.st_mtime_ns == status.st_ctime_ns == status.st_atime_ns


def test_reading_changes_no_time(shown):
    """A file has the object's size and, as its times, the object's LastModified."""
    before = (shown.path / "one").stat()
    (shown.path / "one").read_bytes()
    after = (shown.path / "one").stat()
    assert (after.st_atime_ns, after.st_mtime_ns) == (before.st_atime_ns, before.st_mtime_ns)


def test_a_directorys_times_are_those_of_the_mount(world):
    """A directory's times are the time of the mount."""
    source = world.place("source")
    (source / "sub").mkdir()
    os.utime(source / "sub", (1e9, 1e9))
    before = time.time()  # noqa: TID251 - held against the times that the mount shows
    with world.mount(source.as_uri()) as mount:
        after = time.time()  # noqa: TID251
        for path in (mount.path, mount.path / "sub"):
            status = path.stat()
            assert before <= status.st_mtime <= after
            assert status.st_mtime_ns == status.st_ctime_ns == status.st_atime_ns


def test_owner_and_modes_are_the_users_by_default(shown):
    """Owner, group and modes are those of the mount's options, by default the user who mounts, 0444 and 0555."""
    for path, mode in (("one", stat.S_IFREG | 0o444), ("dir", stat.S_IFDIR | 0o555)):
        status = (shown.path / path).stat()
        assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
        assert status.st_mode == mode
    assert shown.path.stat().st_mode == stat.S_IFDIR | 0o555


def test_owner_and_modes_follow_the_options(world):
    """Owner, group and modes are those of the mount's options, by default the user who mounts, 0444 and 0555."""
    source = world.place("source")
    (source / "sub").mkdir()
    (source / "tool").write_text("#!/bin/sh\necho it ran\n")
    options = ["--uid=12", "--gid=34", "--file-mode=0555", "--dir-mode=0750"]
    with world.mount(source.as_uri(), *options) as mount:
        tool = (mount.path / "tool").stat()
        assert (tool.st_uid, tool.st_gid, stat.S_IMODE(tool.st_mode)) == (12, 34, 0o555)
        for directory in (mount.path, mount.path / "sub"):
            status = directory.stat()
            assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12, 34, 0o750)
        said = subprocess.run([mount.path / "tool"], capture_output=True, timeout=10, check=True)
        assert said.stdout == b"it ran\n"


def test_links_and_blocks(shown):
    """A file has one link, and as many 512-byte blocks as its size fills."""
    found = {key: (shown.path / key).stat() for key in BODIES}
    assert {status.st_nlink for status in found.values()} == {1}
    blocks = {key: status.st_blocks for key, status in found.items()}
    assert blocks == {"empty": 0, "one": 1, "block": 1, "more": 2, "dir/file": 1}


def test_du_sums_up(shown):
    """A file has one link, and as many 512-byte blocks as its size fills."""
    sizes = subprocess.run(
        ["du", "-sb", shown.path], capture_output=True, timeout=10, text=True, check=True
    )
    assert int(sizes.stdout.split()[0]) == sum(map(len, BODIES.values())) + len(b"cold")


def test_an_inode_is_one_version(fickle):
    """An inode number stands for one version of one name and stays as long as the kernel knows it."""
    source, mount = fickle
    (source / "a").write_bytes(b"old")
    with (mount.path / "a").open("rb") as old:
        first = os.fstat(old.fileno())
        for _ in range(3):
            assert (mount.path / "a").stat().st_ino == first.st_ino
        (source / "a").write_bytes(b"newer")
        changed = (mount.path / "a").stat()
        assert changed.st_ino != first.st_ino
        assert changed.st_size == len(b"newer")
        kept = os.fstat(old.fileno())
        assert (kept.st_ino, kept.st_size) == (first.st_ino, 3)
        assert old.read() == b"old"
    assert (mount.path / "a").read_bytes() == b"newer"


def test_a_name_that_becomes_something_else_is_another_inode(fickle):
    """An inode number stands for one version of one name and stays as long as the kernel knows it."""
    source, mount = fickle
    (source / "b").mkdir()
    (source / "b/in").write_bytes(b"in")
    directory = (mount.path / "b").stat()
    (source / "b/in").rename(source / "in")
    (source / "b").rmdir()
    (source / "in").rename(source / "b")
    file = (mount.path / "b").stat()
    assert stat.S_ISDIR(directory.st_mode)
    assert stat.S_ISREG(file.st_mode)
    assert file.st_ino != directory.st_ino
    assert (mount.path / "b").read_bytes() == b"in"


def test_unchanged_files_keep_their_inodes_when_the_directory_is_listed_again(fickle):
    """An inode number stands for one version of one name and stays as long as the kernel knows it."""
    source, mount = fickle
    (source / "many").mkdir()
    for number in range(600):
        (source / f"many/{number:03}").write_bytes(b"old")

    def numbers() -> dict[str, int]:
        with os.scandir(mount.path / "many") as entries:
            return {entry.name: entry.inode() for entry in entries}

    with contextlib.ExitStack() as stack:
        first = numbers()
        held = [f"{number:03}" for number in range(0, 600, 20)]
        for name in held:
            stack.enter_context((mount.path / "many" / name).open("rb"))
        for change in ("300-", "000-"):
            (source / "many" / change).write_bytes(b"new")
            (source / "many/020").write_bytes(f"newer for {change}".encode())
            again = numbers()
            assert {name for name in held if again[name] != first[name]} == {"020"}
            assert again[change] not in first.values()
        assert len(again) == 602
        assert len(set(again.values())) == 602


def test_readdir_and_stat_agree_on_the_inode(shown):
    """An inode number stands for one version of one name and stays as long as the kernel knows it."""
    with os.scandir(shown.path) as entries:
        for entry in entries:
            assert entry.inode() == os.stat(entry.path).st_ino


def test_df_costs_nothing(shown):
    """`df` answers without a request and shows free space."""
    shown.proxy.reset()
    said = subprocess.run(["df", "-Pk", shown.path], capture_output=True, timeout=10, check=True)
    sizes = os.statvfs(shown.path)
    assert shown.proxy.total == 0
    assert sizes.f_bavail * sizes.f_frsize > 1 << 40
    assert b" 0% " in said.stdout
    assert sizes.f_namemax == 255


def test_extended_attributes_tell_of_the_object(shown, bucket):
    """Extended attributes tell of the object: `user.s3.key`, `user.s3.etag`, `user.s3.storage-class`,
    `user.s3.last-modified`, `user.s3.version-id` of an open file once a request for its bytes has learned it, and
    `user.s3mount.cached`, the bytes of it on local disk.
    """
    path = shown.path / "cold"
    head = bucket.client.head_object(Bucket=bucket.name, Key="cold")
    found = xattrs_of(path)
    modified = datetime.fromisoformat(found.pop("user.s3.last-modified").decode())
    assert modified.replace(microsecond=0) == head["LastModified"]
    assert found == {
        "user.s3.key": b"cold",
        "user.s3.etag": head["ETag"].strip('"').encode(),
        "user.s3.storage-class": b"STANDARD_IA",
        "user.s3mount.cached": b"0",
    }
    with path.open("rb") as file:
        file.read()
        assert os.getxattr(path, "user.s3.version-id") == head["VersionId"].encode()
    # The disk is written behind the reader's back.
    assert soon(lambda: os.getxattr(path, "user.s3mount.cached") == b"4")


def test_extended_attributes_of_directories(shown):
    """Extended attributes tell of the object: `user.s3.key`, `user.s3.etag`, `user.s3.storage-class`,
    `user.s3.last-modified`, `user.s3.version-id` of an open file once a request for its bytes has learned it, and
    `user.s3mount.cached`, the bytes of it on local disk.
    """
    assert xattrs_of(shown.path / "dir") == {"user.s3.key": b"dir/"}
    assert xattrs_of(shown.path) == {"user.s3.key": b""}
    with pytest.raises(OSError, match=r"No data") as caught:
        os.getxattr(shown.path / "one", "user.s3.nonsense")
    assert caught.value.errno == errno.ENODATA
    # Told that there is nothing of the kind, `ls -l` asks once for a mount instead of twice for each file.
    for foreign in ("security.selinux", "security.capability", "system.posix_acl_access"):
        with pytest.raises(OSError, match=r"not supported") as caught:
            os.getxattr(shown.path / "one", foreign)
        assert caught.value.errno == errno.EOPNOTSUPP


def test_extended_attributes_cost_no_request(shown):
    """Extended attributes tell of the object: `user.s3.key`, `user.s3.etag`, `user.s3.storage-class`,
    `user.s3.last-modified`, `user.s3.version-id` of an open file once a request for its bytes has learned it, and
    `user.s3mount.cached`, the bytes of it on local disk.
    """
    (shown.path / "more").stat()
    shown.proxy.reset()
    assert xattrs_of(shown.path / "more")["user.s3mount.cached"] == b"0"
    assert shown.proxy.total == 0


def opened(flags: int):
    def attempt(path: Path) -> None:
        os.close(os.open(path, flags, 0o600))

    return attempt


ATTEMPTS = {
    "write": ("one", opened(os.O_WRONLY)),
    "read and write": ("one", opened(os.O_RDWR)),
    "append": ("one", opened(os.O_WRONLY | os.O_APPEND)),
    "empty": ("one", opened(os.O_WRONLY | os.O_TRUNC)),
    "create": ("new", opened(os.O_WRONLY | os.O_CREAT)),
    "create anew": ("new", opened(os.O_WRONLY | os.O_CREAT | os.O_EXCL)),
    "a nameless file": ("dir", opened(os.O_WRONLY | os.O_TMPFILE)),
    "truncate": ("one", lambda path: os.truncate(path, 0)),
    "mkdir": ("new", os.mkdir),
    "mknod": ("new", os.mknod),
    "mkfifo": ("new", os.mkfifo),
    "unlink": ("one", os.unlink),
    "rmdir": ("dir", os.rmdir),
    "rename": ("one", lambda path: path.rename(path.with_name("new"))),
    "replace": ("one", lambda path: path.replace(path.with_name("block"))),
    "link": ("one", lambda path: path.with_name("new").hardlink_to(path)),
    "symlink": ("new", lambda path: path.symlink_to("one")),
    "chmod": ("one", lambda path: path.chmod(0o644)),
    "chmod a directory": ("dir", lambda path: path.chmod(0o755)),
    "chown": ("one", lambda path: os.chown(path, 1, 1)),
    "touch": ("one", os.utime),
    "set an attribute": ("one", lambda path: os.setxattr(path, "user.mine", b"1")),
    "set ours": ("one", lambda path: os.setxattr(path, "user.s3mount.refresh", b"1")),
    "remove an attribute": ("one", lambda path: os.removexattr(path, "user.s3.key")),
}


@pytest.mark.parametrize("what", ATTEMPTS)
def test_nothing_can_be_written(shown, what):
    """Nothing can be written: every attempt fails with EROFS."""
    name, attempt = ATTEMPTS[what]
    with pytest.raises(OSError, match="Read-only file system") as caught:
        attempt(shown.path / name)
    assert caught.value.errno == errno.EROFS
    assert (shown.path / "one").read_bytes() == b"1"
    assert not (shown.path / "new").exists()
