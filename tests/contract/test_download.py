"""`s3mount download` as people call it: against moto, `rclone serve s3`, and a proxy that breaks things."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from s3mount.cli.main import run

pytestmark = pytest.mark.s3

SPECIAL = [f"special/file{mark}name.txt" for mark in "-_ @+.,;'\"%&()[]{}=!"]
EDGES = [
    *("edge/empty", f"edge/{'n' * 200}", "edge/файл.txt", "edge/文件.txt", "edge/🚀.txt"),
    *("edge/UPPER.TXT", "edge/many.dots.in.name", "edge/a,b", "edge/a  b   c", "edge/dot."),
    *("edge/%20literal", "edge/back\\slash", "edge/?#&=", "edge/..."),
]
BIG = bytes(range(256)) * (20 * 4096)  # 20 MiB


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def call(capsys, monkeypatch, out):
    """Run the command; its status, stdout and stderr."""

    def call(endpoint, *args):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        status = run(["download", "--download-dir", str(out), *args])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def files(root):
    return {
        str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if each.is_file()
    }


@pytest.fixture
def tree(bucket):
    """Some objects; bodies by key."""
    bodies = {key: key.encode() for key in ("p/a", "p/b.json", "p/d/c", "px", "q")}
    for key, body in bodies.items():
        bucket.put(key, body)
    bucket.put("p/marker/")
    return bodies


@pytest.mark.parametrize("form", ["s3://{}/p/", "{}/p/"])
def test_a_prefix(bucket, tree, call, out, form):
    status, said, err = call(bucket.endpoint, form.format(bucket.name))
    assert (status, err) == (0, "")
    assert sorted(said.split()) == ["p/a", "p/b.json", "p/d/c"]
    assert files(out) == {"a": b"p/a", "b.json": b"p/b.json", "d/c": b"p/d/c"}


def test_a_prefix_is_a_text_and_a_bucket_is_one_too(bucket, tree, call, out):
    assert call(bucket.endpoint, f"s3://{bucket.name}/p", "-q") == (0, "", "")
    assert set(files(out)) == {"p/a", "p/b.json", "p/d/c", "px"}
    assert call(bucket.endpoint, f"s3://{bucket.name}", "-q") == (0, "", "")
    assert files(out) == tree


def test_one_key(bucket, tree, call, out):
    assert call(bucket.endpoint, f"s3://{bucket.name}/p/d/c")[0] == 0
    assert files(out) == {"c": b"p/d/c"}


def test_names_of_all_sorts(bucket, call, out):
    bodies = {key: b"" if key == "edge/empty" else key.encode() for key in (*SPECIAL, *EDGES)}
    for key, body in bodies.items():
        bucket.put(key, body)
    assert call(bucket.endpoint, bucket.name, "-q") == (0, "", "")
    assert files(out) == bodies


def test_another_delimiter(bucket, call, out):
    bucket.put("my:test:f", b"body")
    bucket.put("my:test:", b"")
    assert call(bucket.endpoint, f"s3://{bucket.name}:my:", "--delimiter", ":")[0] == 0
    assert files(out) == {"test/f": b"body"}


def test_filters(bucket, tree, call, out):
    assert call(bucket.endpoint, bucket.name, "-r", r"\.json$")[1] == "p/b.json\n"
    assert call(bucket.endpoint, bucket.name, "--include", "p/**", "--exclude", "*.json")[0] == 0
    assert set(files(out)) == {"p/a", "p/b.json", "p/d/c"}


def test_a_dry_run(bucket, tree, call, out):
    for flag in ("--dry-run", "--list-only"):
        status, said, _ = call(bucket.endpoint, f"{bucket.name}/p/", flag)
        assert status == 0
        assert sorted(said.split()) == ["p/a", "p/b.json", "p/d/c"]
    assert list(out.iterdir()) == []


def test_times_are_kept_and_files_are_skipped(bucket, tree, proxy, call, out):
    assert call(proxy.url, bucket.name, "-q")[0] == 0
    modified = bucket.client.head_object(Bucket=bucket.name, Key="p/a")["LastModified"]
    assert (out / "p/a").stat().st_mtime == modified.timestamp()
    proxy.reset()
    status, said, _ = call(proxy.url, bucket.name, "--skip-existing", "--progress", "detailed")
    assert status == 0
    assert "Objects already present: 5" in said
    assert proxy.counts["get"] == proxy.counts["ranged_get"] == 0
    (out / "p/a").write_bytes(b"mine")
    assert call(proxy.url, bucket.name, "-q")[0] == 0
    assert files(out) == tree


def test_records(bucket, tree, call, out):
    bucket.put("../evil", b"body")
    status, said, err = call(bucket.endpoint, bucket.name, "--json")
    *records, last = map(json.loads, said.splitlines())
    assert status == 1
    assert {each["key"] for each in records if each["ending"] == "fetched"} == set(tree)
    assert {each["path"] for each in records if each["path"]} == {str(out / key) for key in tree}
    (failed,) = [each for each in records if each["ending"] == "failed"]
    assert failed["key"] == "../evil"
    assert "leads out of the directory" in failed["error"]
    assert last["summary"]["failed"] == 1
    assert "1 of 6 objects failed" in err


def test_large_objects_come_in_parts(bucket, proxy, call, out):
    bucket.put("big", BIG)
    assert call(proxy.url, bucket.name, "-q")[0] == 0
    assert files(out) == {"big": BIG}
    parts = [request for request in proxy.requests if request.range]
    assert len(parts) == 3
    assert all(request.if_match for request in parts)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503},
        {"reset_after": 0},
        {"reset_after": 100_000},
        {"truncate_after": 1000},
        {"truncate_after": 300_000},
    ],
)
def test_what_breaks_is_tried_again(bucket, proxy, call, out, fault):
    bodies = {"small": BIG[:5000], "middle": BIG[:400_000], "big": BIG}
    for key, body in bodies.items():
        bucket.put(key, body)
    proxy.fault("get", 2, **fault)
    proxy.fault("ranged_get", 2, **fault)
    proxy.fault("list", 1, status=500)
    assert call(proxy.url, bucket.name, "-q")[0] == 0
    assert files(out) == bodies


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("into_files", [True, False])
def test_pages_that_cannot_be_moved(bucket, call, out, monkeypatch, number, into_files):
    """Where the kernel moves none, bytes are read and written; what it says of the disk or the connection is told."""
    bucket.put("big", BIG)
    bucket.put("middle", BIG[:400_000])
    real, failed = os.splice, []

    def splice(source, goal, count, **ways):
        if into_files != (ways.get("offset_dst") is not None) or len(failed) == 100:
            return real(source, goal, count, **ways)
        failed.append(count)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "splice", splice)
    status, _, err = call(bucket.endpoint, bucket.name, "-q")
    assert failed
    if number == errno.EINVAL:
        assert (status, err) == (0, "")
        assert files(out) == {"big": BIG, "middle": BIG[:400_000]}
    elif into_files:
        assert status == 1
        assert ("disk is full" if number == errno.ENOSPC else os.strerror(number)) in err
        assert files(out) == {}
    else:
        assert status in {0, 1}
        assert all(BIG[: len(body)] == body for body in files(out).values())
        assert set(map(len, files(out).values())) <= {len(BIG), 400_000}


def test_bad_objects_fail_the_run_and_the_others_are_there(bucket, proxy, call, out):
    for number in range(30):
        bucket.put(f"bad/{number}", b"body")
    bucket.put("good", b"good")
    proxy.fault(r"/bad/\d", None, status=403)
    status, said, err = call(proxy.url, bucket.name)
    assert (status, said) == (1, "good\n")
    assert files(out) == {"good": b"good"}
    assert err.count("bad/") == 20
    assert "and 10 more" in err
    assert "30 of 31 objects failed" in err


def test_an_object_that_changes_under_way_is_never_half(bucket, proxy, call, out):
    bucket.put("k", BIG)
    proxy.fault("ranged_get", 1, status=412)
    status, _, err = call(proxy.url, bucket.name)
    assert status == 1
    assert "run the same command again" in err
    assert files(out) == {}


def test_no_such_bucket(bucket, call, out):
    status, said, err = call(bucket.endpoint, "s3://no-such-bucket-here/p")
    assert (status, said) == (1, "")
    assert "NoSuchBucket" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_a_listing_that_is_refused_ends_the_run(bucket, tree, proxy, call, code):
    proxy.fault("list", None, status=403, code=code)
    began = time.monotonic()
    status, said, err = call(proxy.url, bucket.name)
    assert (status, said) == (1, "")
    assert "s3mount: " in err
    assert time.monotonic() - began < 10


def test_nothing_found(bucket, tree, call):
    status, said, err = call(bucket.endpoint, f"{bucket.name}/none/")
    assert (status, said) == (3, "")
    assert "there is nothing below" in err
    status, said, err = call(bucket.endpoint, bucket.name, "-r", "nothing-like-this")
    assert (status, said) == (3, "")
    assert "none of the 6 objects" in err


def test_what_is_prefetched_is_copied(bucket, tree, proxy, call, out, monkeypatch):
    proxy_url = proxy.url
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy_url)
    assert run(["prefetch", bucket.name, "-q"]) == 0
    proxy.reset()
    status, said, _ = call(proxy_url, bucket.name, "--progress", "detailed")
    assert status == 0
    assert "Objects copied from the cache: 5" in said
    assert proxy.counts["get"] == 0
    assert files(out) == tree
    assert call(proxy_url, bucket.name, "--no-cache", "-q")[0] == 0
    assert proxy.counts["get"] == 5


def test_rclone(rclone_bucket, call, out):
    bodies = {"d/small": b"body", "d/empty": b"", "big": BIG}
    for key, body in bodies.items():
        rclone_bucket.put(key, body)
    assert call(rclone_bucket.endpoint, rclone_bucket.name, "-q")[0] == 0
    assert files(out) == bodies
    said = call(rclone_bucket.endpoint, rclone_bucket.name, "--skip-existing", "--json")[1]
    assert json.loads(said.splitlines()[-1])["summary"]["present"] == 3


def test_a_process_that_may_have_few_files_open(bucket, out):
    body = BIG[: 300 * 1024]
    for number in range(200):
        bucket.put(f"{number:03}", body)
    command = [sys.executable, "-m", "s3mount", "download", bucket.name]
    done = subprocess.run(
        [*command, "--download-dir", str(out), "-q"],
        env=os.environ | bucket.environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (170, 170)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert files(out) == {f"{number:03}": body for number in range(200)}


def start(bucket, out, *args):
    command = [sys.executable, "-m", "s3mount", "download", bucket.name, "--download-dir", str(out)]
    environment = os.environ | bucket.environment
    return subprocess.Popen(
        [*command, *args],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_files(out, enough):
    deadline = time.monotonic() + 20
    while not enough(names := {str(each.relative_to(out)) for each in out.rglob("*")}):
        assert time.monotonic() < deadline, names
        time.sleep(0.02)


def is_temporary(name):
    return ".s3mount-" in name


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_ctrl_c(bucket, proxy, out, number, status):
    bucket.put("a", b"whole")
    bucket.put("big", BIG)
    proxy.fault("ranged_get", None, stall_after=2_000_000)
    environment = bucket.environment | {"AWS_ENDPOINT_URL": proxy.url}
    process = start(_At(bucket.name, environment), out)
    assert process.stdout.readline() == "a\n"
    await_files(out, lambda names: "a" in names and any(map(is_temporary, names)))
    began = time.monotonic()
    process.send_signal(number)
    said, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 1.5
    assert process.returncode == status
    assert said == ""
    assert "stopped: 1 downloaded of 2 objects" in err
    assert "Traceback" not in err
    assert files(out) == {"a": b"whole"}


def test_what_a_killed_run_leaves_is_removed_by_the_next(bucket, proxy, call, out):
    bucket.put("d/big", BIG)
    fault = proxy.fault("ranged_get", None, stall_after=2_000_000)
    environment = bucket.environment | {"AWS_ENDPOINT_URL": proxy.url}
    process = start(_At(bucket.name, environment), out)
    await_files(out, lambda names: any(map(is_temporary, names)))
    process.kill()
    process.communicate(timeout=20)
    assert any(map(is_temporary, files(out)))
    assert fault.hits
    proxy.heal()
    assert call(proxy.url, bucket.name, "--skip-existing", "-q")[0] == 0
    assert files(out) == {"d/big": BIG}


class _At:
    def __init__(self, name, environment):
        self.name, self.environment = name, environment
