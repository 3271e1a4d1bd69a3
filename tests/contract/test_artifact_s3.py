"""Artifacts in a bucket: what is stored under which key, and what the server refuses."""

import os

import pytest

from s3mount.artifact import s3
from s3mount.artifact.s3 import S3Backend
from s3mount.cli.main import run

pytestmark = pytest.mark.s3

ROOT = "artifacts/jobs/1"


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """A directory to work in, with two files in it."""
    for name in list(os.environ):
        if name.startswith(("SEMAPHORE_", "ARTIFACT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/a.html").write_bytes(b"<html>")
    (tmp_path / "tree/sub/b.tar.gz").write_bytes(b"\x1f\x8b")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(bucket, proxy, monkeypatch, capsys):
    """Runs ``s3mount artifact`` for job 1; its status and what it said."""
    monkeypatch.setenv("SEMAPHORE_JOB_ID", "1")
    monkeypatch.setenv("ARTIFACT_BACKEND", "s3")
    monkeypatch.setenv("ARTIFACT_S3_BUCKET", bucket.name)
    monkeypatch.setenv("ARTIFACT_S3_ENDPOINT", proxy.url)
    monkeypatch.setenv("ARTIFACT_S3_FORCE_PATH_STYLE", "true")

    def call(*args):
        status = run(["artifact", *args])
        return status, capsys.readouterr().err

    return call


def keys(bucket):
    reply = bucket.client.list_objects_v2(Bucket=bucket.name)
    return [each["Key"] for each in reply.get("Contents", [])]


@pytest.mark.parametrize(
    ("prefix", "base"),
    [("", ""), ("ci", "ci/"), ("ci/", "ci/"), ("a/../ci//x", "ci/x/"), ("/p", "/p/")],
)
def test_where_it_is_stored(bucket, call, monkeypatch, prefix, base):
    monkeypatch.setenv("ARTIFACT_S3_PREFIX", prefix)
    assert call("push", "job", "tree", "-d", "d")[0] == 0
    assert keys(bucket) == [f"{base}{ROOT}/d/a.html", f"{base}{ROOT}/d/sub/b.tar.gz"]
    assert call("pull", "job", "d/sub")[0] == 0
    assert call("yank", "job", "d/sub")[0] == 0
    assert keys(bucket) == [f"{base}{ROOT}/d/a.html"]


def test_what_is_stored_with_it(bucket, call, work):
    os.utime(work / "tree/a.html", ns=(0, 1_500_000_000_000_000_001))
    (work / "tree/a.html").chmod(0o640)
    assert call("push", "job", "tree")[0] == 0
    found = bucket.client.head_object(Bucket=bucket.name, Key=f"{ROOT}/tree/a.html")
    assert found["ContentType"] == "text/html"
    assert found["Metadata"] == {"mode": "0640", "mtime": "1500000000.000000001"}
    found = bucket.client.head_object(Bucket=bucket.name, Key=f"{ROOT}/tree/sub/b.tar.gz")
    assert "gzip" in found["ContentType"]


def test_what_another_tool_has_stored(bucket, call, work):
    bucket.put(f"{ROOT}/d/x", b"body")
    bucket.put(f"{ROOT}/d/", b"")
    bucket.put(f"{ROOT}/d/empty/", b"")
    assert call("pull", "job", "d")[0] == 0
    modified = bucket.client.head_object(Bucket=bucket.name, Key=f"{ROOT}/d/x")["LastModified"]
    assert (work / "d/x").stat().st_mtime == modified.timestamp()
    assert os.listdir(work / "d") == ["x"]
    assert call("exists", "job", "d/empty")[0] == 0
    assert call("yank", "job", "d")[0] == 0
    assert keys(bucket) == []


def test_a_file_wins_over_a_directory_of_its_name(bucket, call, work):
    bucket.put(f"{ROOT}/x", b"file")
    bucket.put(f"{ROOT}/x/y", b"below")
    assert call("pull", "job", "x")[0] == 0
    assert (work / "x").read_bytes() == b"file"
    status, said = call("pull", "job", ".", "-d", "all")
    assert status == 1
    assert "is both a file and a directory" in said
    assert not (work / "all").exists()
    assert call("yank", "job", "x")[0] == 0
    assert keys(bucket) == [f"{ROOT}/x/y"]


@pytest.mark.parametrize("name", ["../../../../evil", "a/../../evil"])
def test_no_key_leads_out_of_the_destination(bucket, call, work, name):
    bucket.put(f"{ROOT}/d/{name}", b"evil")
    status, said = call("pull", "job", "d", "-d", "deep/out")
    assert status == 1
    assert "leads out of the directory" in said
    assert not list(work.rglob("evil"))


def test_a_race_is_lost_and_nothing_overwritten(bucket, call, monkeypatch):
    bucket.put(f"{ROOT}/a.html", b"theirs")
    monkeypatch.setattr(S3Backend, "_taken", lambda *_: ())  # it came after the look
    status, said = call("push", "job", "tree/a.html")
    assert status == 1
    assert (
        "Error pushing artifact: artifact already exists: artifacts/jobs/1/a.html "
        "(use --force to overwrite)"
    ) in said
    found = bucket.client.get_object(Bucket=bucket.name, Key=f"{ROOT}/a.html")
    assert found["Body"].read() == b"theirs"


def test_all_are_looked_at_before_one_is_sent(bucket, call, proxy):
    bucket.put(f"{ROOT}/tree/sub/b.tar.gz", b"theirs")
    assert call("push", "job", "tree")[0] == 1
    assert proxy.counts["put"] == 0
    assert call("push", "job", "tree", "-f")[0] == 0


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (("push", "job", "tree/a.html"), "^HEAD"),
        (("push", "job", "tree"), "^(HEAD|GET)"),
        (("push", "job", "tree", "-f"), "put"),
        (("pull", "job", "x"), "list"),
        (("pull", "job", "x"), "^GET .*/x"),
        (("yank", "job", "x"), "list"),
        (("yank", "job", "x"), "^DELETE"),
    ],
)
def test_what_is_denied_is_said_so(bucket, call, proxy, work, args, match):
    bucket.put(f"{ROOT}/x", b"body")
    proxy.fault(match=match, times=None, status=403)
    status, said = call(*args)
    assert status == 1
    assert f"permission denied for {args[0]} on {ROOT}/" in said
    assert not (work / "x").exists()


def test_who_may_not_list_may_push(bucket, call, proxy):
    proxy.fault(match="list", times=None, status=403)
    assert call("push", "job", "tree")[0] == 0
    assert (proxy.counts["head"], proxy.counts["put"]) == (2, 2)
    bucket.client.delete_object(Bucket=bucket.name, Key=f"{ROOT}/tree/a.html")
    status, said = call("push", "job", "tree")
    assert status == 1
    assert f"artifact already exists: {ROOT}/tree/sub/b.tar.gz" in said
    assert proxy.counts["put"] == 2


def many_files(folder, count=50):
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:02}"
        path.write_bytes(b"%d" % number)
        path.chmod(0o600 + number % 8)
        os.utime(path, ns=(0, 1_500_000_000_000_000_000 + number))
    return folder


def assert_the_same(found, sent):
    assert sorted(os.listdir(found)) == sorted(os.listdir(sent))
    for path in sent.iterdir():
        one, other = (found / path.name).stat(), path.stat()
        assert (found / path.name).read_bytes() == path.read_bytes()
        assert (one.st_mode, one.st_mtime_ns) == (other.st_mode, other.st_mtime_ns)


def test_a_push_asks_once_and_a_pull_asks_once(bucket, call, proxy, work):
    sent = many_files(work / "many")
    bucket.put(f"{ROOT}/many2/00", b"a neighbour")
    bucket.put(f"{ROOT}/many-1", b"another")
    assert call("push", "job", "many")[0] == 0
    assert proxy.total == proxy.counts["list"] + proxy.counts["put"] == 1 + 50
    proxy.reset()
    assert call("pull", "job", "many", "-d", "out")[0] == 0
    assert proxy.total == proxy.counts["list"] + proxy.counts["get"] == 1 + 50
    assert_the_same(work / "out", sent)


def test_a_file_is_looked_at_and_sent(call, proxy):
    assert call("push", "job", "tree/a.html")[0] == 0
    assert proxy.total == proxy.counts["head"] + proxy.counts["put"] == 2
    proxy.reset()
    assert call("push", "job", "tree/a.html", "-f")[0] == 0
    assert proxy.total == proxy.counts["put"] == 1


def test_an_empty_file_and_one_in_the_cache_are_looked_at(bucket, call, proxy, work):
    sent = many_files(work / "many", 3)
    (sent / "01").write_bytes(b"")
    os.utime(sent / "01", ns=(0, 1_400_000_000_123_456_789))
    assert call("push", "job", "many")[0] == 0
    (sent / "00").chmod(0o750)
    assert call("push", "job", "many/00", "-d", "many/00", "-f")[0] == 0
    prefetch = ("prefetch", f"s3://{bucket.name}/{ROOT}/many/00", "--endpoint-url", proxy.url)
    assert run([*prefetch, "--addressing-style", "path"]) == 0
    proxy.reset()
    assert call("pull", "job", "many", "-d", "out")[0] == 0
    assert (proxy.counts["head"], proxy.counts["get"]) == (2, 1)
    assert_the_same(work / "out", sent)


def test_a_large_file_keeps_its_mode_and_time(call, proxy, work):
    path = work / "large"
    path.write_bytes(os.urandom(1 << 20) * 17)
    path.chmod(0o750)
    os.utime(path, ns=(0, 1_500_000_000_000_000_007))
    assert call("push", "job", "large")[0] == 0
    proxy.reset()
    assert call("pull", "job", "large", "-d", "back")[0] == 0
    assert proxy.total == proxy.counts["list"] + proxy.counts["ranged_get"] == 1 + 3
    found = (work / "back").stat()
    assert (found.st_mode & 0o777, found.st_mtime_ns) == (0o750, 1_500_000_000_000_000_007)
    assert (work / "back").read_bytes() == path.read_bytes()


def test_more_than_one_page_below_a_name(bucket, call, proxy, work, monkeypatch):
    monkeypatch.setattr(s3, "MOST_ENTRIES", 7)
    sent = many_files(work / "many", 20)
    for neighbour in ("many!", "many-1", "many.x", "many2", "manya/1"):
        bucket.put(f"{ROOT}/{neighbour}", b"a neighbour")
    assert call("push", "job", "many")[0] == 0
    assert call("pull", "job", "many", "-d", "out")[0] == 0
    assert_the_same(work / "out", sent)
    for number in range(8):
        bucket.put(f"{ROOT}/few-{number}", b"a neighbour")
    bucket.put(f"{ROOT}/few/1", b"wanted")
    assert call("pull", "job", "few")[0] == 0
    assert os.listdir(work / "few") == ["1"]
    assert call("yank", "job", "few")[0] == 0
    assert f"{ROOT}/few-7" in keys(bucket)


def test_what_cannot_be_told_is_not_no(bucket, call, proxy):
    assert call("exists", "job", "x")[0] == 1
    proxy.fault(match="list", times=None, status=403)
    status, said = call("exists", "job", "x")
    assert status == 2
    assert "permission denied for exists on artifacts/jobs/1/x" in said


def test_a_push_that_fails_on_the_way_says_how_far_it_came(bucket, call, proxy):
    proxy.fault(match="^PUT .*b.tar.gz", times=None, status=400)
    status, said = call("push", "job", "tree", "-f")
    assert status == 1
    assert "Error pushing artifact: " in said
    assert "Successfully" not in said


def test_a_body_that_breaks_off_leaves_no_file(bucket, call, proxy, work):
    bucket.put(f"{ROOT}/x", b"0123456789" * 1000)
    proxy.fault(match="^GET .*/x", times=1, truncate_after=100)
    assert call("pull", "job", "x", "-d", "out/x")[0] == 0
    assert (work / "out/x").read_bytes() == b"0123456789" * 1000


def test_a_bucket_that_is_not_there(call, monkeypatch):
    monkeypatch.setenv("ARTIFACT_S3_BUCKET", "no-such-bucket-anywhere")
    status, said = call("pull", "job", "x")
    assert status == 1
    assert "no-such-bucket-anywhere" in said


def test_the_bucket_of_the_file(bucket, call, monkeypatch, work):
    for name in ("BACKEND", "S3_BUCKET", "S3_ENDPOINT", "S3_FORCE_PATH_STYLE"):
        monkeypatch.delenv(f"ARTIFACT_{name}")
    (work / "c.yaml").write_text(
        f"backend: s3\ns3:\n  bucket: {bucket.name}\n  endpoint: {bucket.endpoint}\n"
        "  forcePathStyle: true\n  region: us-east-1\n  prefix: ci\n"
    )
    assert call("--config", "c.yaml", "push", "job", "tree/a.html")[0] == 0
    assert keys(bucket) == [f"ci/{ROOT}/a.html"]


def test_a_server_without_conditional_writes(rclone_bucket, call, monkeypatch):
    monkeypatch.setenv("ARTIFACT_S3_BUCKET", rclone_bucket.name)
    monkeypatch.setenv("ARTIFACT_S3_ENDPOINT", rclone_bucket.endpoint)
    status, said = call("push", "job", "tree")
    assert status == 0, said
    assert (rclone_bucket.folder / ROOT / "tree/a.html").read_bytes() == b"<html>"
    assert call("push", "job", "tree")[0] == 1
    assert call("pull", "job", "tree", "-d", "out")[0] == 0
    assert call("yank", "job", "tree")[0] == 0
