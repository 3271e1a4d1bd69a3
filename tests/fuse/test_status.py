"""What a running mount tells of itself: `s3mount status` and `s3mount refresh`."""

import json
import os
import subprocess

import pytest

pytestmark = pytest.mark.fuse

FIELDS = {
    "mountpoint": str,
    "source": str,
    "version": str,
    "pid": int,
    "since": float,
    "cache": {
        "dir": str,
        "used_bytes": int,
        "max_bytes": int,
        "free_bytes": int,
        "min_free_bytes": int,
        "memory_bytes": int,
        "hit_bytes": int,
        "miss_bytes": int,
    },
    "requests": {"get": int, "list": int, "retries": int, "failed": int},
    "bytes": {"fetched": int, "read": int},
    "metadata": {"directories": int, "entries": int, "inodes": int, "pages_from_disk": int},
    "open_files": int,
    "errors": list,
    "conflicts": {"count": int, "names": list},
    "unspellable": {"count": int, "keys": list},
    "options": dict,
}
BODY = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def bucket(new_bucket):
    made = new_bucket()
    for key in ("a", "dir/b", "twin", "twin/below", "odd//key"):
        made.put(key, BODY)
    return made


def status_of(world, path) -> dict:
    done = world.run("status", "--json", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    (mount,) = json.loads(done.stdout)["mounts"]
    return mount


def shape(value, fields):
    """The types of a value where they are not as they should be."""
    if isinstance(fields, dict):
        return {name: shape(value.get(name), kind) for name, kind in fields.items()}
    return fields if isinstance(value, fields) else type(value)


def test_every_field_is_there(world, bucket, counted):
    with counted(world, bucket, "--cache-size=20MiB", "--cache-min-free=1MiB") as mount:
        status = status_of(world, mount.path)
        assert shape(status, FIELDS) == FIELDS
        assert set(status) == set(FIELDS)
        assert status["mountpoint"] == str(mount.path)
        assert status["source"] == f"s3://{bucket.name}"
        assert status["pid"] == mount.mount.pid
        assert status["cache"]["max_bytes"] == 20 << 20
        assert status["cache"]["min_free_bytes"] == 1 << 20
        assert status["options"]["cache_size"] == "20MiB"
        assert status["options"]["endpoint_url"] == ""
        assert mount.proxy.total == 0


def test_it_counts_as_the_server_does(world, bucket, counted):
    with counted(world, bucket, f"--cache-dir={world.place('cache')}") as mount:
        (mount.path / "a").read_bytes()
        (mount.path / "dir/b").read_bytes()
        os.listdir(mount.path / "twin")
        (mount.path / "a").read_bytes()
        with (mount.path / "a").open("rb"):
            status = status_of(world, mount.path)
        counts = mount.proxy.counts
        assert status["requests"] == {
            "get": counts["get"] + counts["ranged_get"],
            "list": counts["list"] + 1,  # the first look, before the proxy's counts were reset
            "retries": 0,
            "failed": 0,
        }
        assert (status["requests"]["get"], counts["list"]) == (2, 3)
        assert status["bytes"]["fetched"] > counts["bytes_down"] >= 2 * len(BODY)
        assert 2 * len(BODY) <= status["bytes"]["read"] <= 3 * len(BODY)  # pages stay in the kernel
        cache = status["cache"]
        assert cache["hit_bytes"] + cache["miss_bytes"] == status["bytes"]["read"]
        assert status["metadata"]["directories"] == 3
        assert status["metadata"]["entries"] == 5 + 1 + 1
        assert status["open_files"] == 1
        assert status_of(world, mount.path)["open_files"] == 0


def test_odd_names_are_named(world, bucket, counted):
    with counted(world, bucket) as mount:
        os.listdir(mount.path / "odd")
        status = status_of(world, mount.path)
        assert status["conflicts"] == {"count": 1, "names": ["twin"]}
        assert status["unspellable"] == {"count": 1, "keys": ["odd//"]}


def test_errors_have_their_request_ids(world, bucket, counted):
    with counted(world, bucket, expects=["injected fault", "refuses", "AccessDenied"]) as mount:
        os.listdir(mount.path)
        mount.proxy.fault("get", status=503)
        (mount.path / "a").read_bytes()
        denied = mount.proxy.fault("/twin|dir", times=None, status=403)
        with pytest.raises(PermissionError):
            (mount.path / "dir/b").read_bytes()
        assert denied.hits == 1
        status = status_of(world, mount.path)
        assert status["requests"]["retries"] == 1
        assert status["requests"]["failed"] == 1
        last = status["errors"][-1]
        assert last["request_id"].startswith("FAULT")
        assert last["key"] == "dir/"
        assert last["at"] >= status["since"]
        shown = world.run("status", str(mount.path)).stdout
        assert last["request_id"] in shown
        assert "dir/" in shown


def test_a_status_always_fits(world):
    """However long the odd keys are: an extended attribute holds 64 KiB."""
    source = world.place("source")
    for number in range(20):
        deep = source.joinpath(*(["\x01" * 200] * 15))  # a \x01 takes six letters in JSON
        deep.mkdir(parents=True, exist_ok=True)
        (deep / str(number)).write_bytes(b"")
    with world.mount(source.as_uri()) as mount:
        subprocess.run(["find", mount.path], capture_output=True, timeout=20, check=True)
        assert status_of(world, mount.path)["metadata"]["directories"] == 16


def test_a_path_below_tells_of_its_mount(world, bucket, counted):
    with counted(world, bucket) as mount:
        assert status_of(world, mount.path / "dir")["mountpoint"] == str(mount.path)


def test_all_mounts_are_shown(world, bucket, counted):
    with counted(world, bucket) as one, counted(world, bucket, prefix="dir") as two:
        done = world.run("status", "--json")
        shown = {each["mountpoint"]: each for each in json.loads(done.stdout)["mounts"]}
        assert shown[str(one.path)]["source"] == f"s3://{bucket.name}"
        assert shown[str(two.path)]["source"] == f"s3://{bucket.name}/dir"
        text = world.run("status").stdout
        assert f"s3://{bucket.name}/dir on {two.path}" in text


def test_what_is_not_mounted(world):
    done = world.run("status", str(world.folder))
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not in an s3mount" in done.stderr


def test_a_mount_that_is_idle_says_so(world, bucket, counted):
    with counted(world, bucket) as mount:
        assert "nothing was read yet" in world.run("status", str(mount.path)).stdout
