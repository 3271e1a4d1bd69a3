"""`s3mount build` and the backends against moto, `rclone serve s3`, and a proxy that breaks things."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from s3mount.builds.runs import WorkflowOutputRoot
from s3mount.builds.s3_backend import S3Backend
from s3mount.builds.sidecar import ChecksumMismatch
from s3mount.cli.main import run
from tests.unit.builds.archives import artifact

pytestmark = pytest.mark.s3

NAME = "blas_lib_generic.tar.zst"


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run a command in a directory of its own; its status, stdout and stderr."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(endpoint, *args):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        status = run(["build", *map(str, args)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def make(tmp_path):
    """An archive on disk."""
    (tmp_path / "made").mkdir()

    def make(name=NAME, **options):
        path = tmp_path / "made" / name
        artifact(path, **options)
        return path

    return make


@pytest.fixture
def put(bucket, make):
    """An archive and its checksum in the bucket."""

    def put(key, *, sidecar=True, **options):
        body = make(key.rpartition("/")[2], **options).read_bytes()
        bucket.put(key, body)
        if sidecar:
            bucket.put(f"{key}.sha256sum", hashlib.sha256(body).hexdigest().encode())
        return body

    return put


def names(path):
    return sorted(each.name for each in path.iterdir())


def keys(bucket):
    return [e["Key"] for e in bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]]


def test_a_run_never_takes_in_its_siblings(bucket, put, call, tmp_path):
    put(f"12-linux/{NAME}")
    for key in ("12-linux2", "12-linux/python", "112-linux", "12-windows"):
        put(f"{key}/rand_lib_generic.tar.xz")
    args = ["--run-id", "12", "--platform", "linux", "--bucket", bucket.name]
    status, said, err = call(bucket.endpoint, "list", *args)
    assert (status, said, err) == (0, f"s3://{bucket.name}/12-linux/{NAME}\n", "")
    assert call(bucket.endpoint, "fetch", *args) == (0, "build/artifacts/blas_lib_generic\n", "")
    assert names(tmp_path / "here" / "build" / "artifacts") == ["blas_lib_generic"]


def test_a_run_of_a_fork_by_the_rules(bucket, put, call):
    put(f"me-fork/12-linux/{NAME}")
    args = ["--run-id", "12", "--platform", "linux", "--run-github-repo", "me/fork"]
    said = call(bucket.endpoint, "list", *args, "--bucket", bucket.name)[1]
    assert said == f"s3://{bucket.name}/me-fork/12-linux/{NAME}\n"


def test_without_credentials_requests_are_unsigned(bucket, put, proxy, call, monkeypatch):
    put(f"7/{NAME}")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    bucket.client.put_bucket_acl(Bucket=bucket.name, ACL="public-read")
    for key in keys(bucket):
        bucket.client.put_object_acl(Bucket=bucket.name, Key=key, ACL="public-read")
    source = f"s3://{bucket.name}/7"
    assert call(proxy.url, "list", "--from", source) == (0, f"{source}/{NAME}\n", "")
    assert call(proxy.url, "fetch", "--from", source)[0] == 0
    backend = S3Backend(WorkflowOutputRoot(bucket.name, "", "7", "linux"))
    assert backend.list_artifacts() == []


def test_rclone_serves_a_run(rclone_bucket, call, make, tmp_path):
    rclone_bucket.put(f"7-linux/{NAME}", make().read_bytes())
    source = f"s3://{rclone_bucket.name}/7-linux"
    assert call(rclone_bucket.endpoint, "fetch", "--from", source, "--flatten")[0] == 0
    assert (tmp_path / "here" / "build" / "artifacts" / "lib" / "libblas.so").is_file()


def test_a_missing_archive_is_asked_for_once_and_fails(bucket, put, proxy, call):
    put(f"7/{NAME}", sidecar=False)
    put("7/rand_lib_generic.tar.xz")
    proxy.fault(match=rf"GET /{bucket.name}/7/blas", times=None, status=404)
    started = time.monotonic()
    status, said, err = call(proxy.url, "fetch", "--from", f"s3://{bucket.name}/7")
    assert status == 1
    assert said == "build/artifacts/rand_lib_generic\n"
    assert f"1 of 2 artifacts failed:\n  {NAME}: " in err
    assert len([each for each in proxy.requests if "/7/blas" in each.line]) == 1
    assert time.monotonic() - started < 60


def test_a_store_that_is_busy_is_asked_again(bucket, put, proxy, call):
    put(f"7/{NAME}")
    for status in (503, 500):
        proxy.fault(match=rf"GET /{bucket.name}/7/", times=2, status=status)
    assert call(proxy.url, "fetch", "--from", f"s3://{bucket.name}/7")[0] == 0


def test_bytes_that_break_off_are_asked_for_again(bucket, put, proxy, call, tmp_path):
    body = put(f"7/{NAME}", files=[("f", os.urandom(300_000))])
    proxy.fault(match=rf"GET /{bucket.name}/7/{NAME}($|\?)", times=2, reset_after=100_000)
    source = f"s3://{bucket.name}/7"
    assert call(proxy.url, "fetch", "--from", source, "--no-extract")[0] == 0
    assert (tmp_path / "here/build/artifacts" / NAME).read_bytes() == body


def test_what_is_there_is_not_fetched_again(bucket, put, proxy, call):
    put(f"7/{NAME}")
    args = ["fetch", "--from", f"s3://{bucket.name}/7", "--no-extract"]
    assert call(proxy.url, *args)[0] == 0
    proxy.reset()
    assert '"present"' in call(proxy.url, *args, "--json")[1]
    assert not [each for each in proxy.requests if each.line.endswith(f"/7/{NAME}")]


def test_a_bucket_that_is_not_there(bucket, call):
    status, said, err = call(bucket.endpoint, "list", "--from", "s3://no-such-bucket-here/7")
    assert (status, said) == (1, "")
    assert "no-such-bucket-here" in err


# Sending.


def test_push_and_fetch(bucket, call, make, tmp_path):
    for name in (NAME, "rand_test_gfx942:xnack+.tar.xz"):
        make(name)
    place = f"s3://{bucket.name}/12-linux"
    status, said, err = call(bucket.endpoint, "push", tmp_path / "made", "--to", place)
    assert (status, err) == (0, "")
    assert sorted(said.split()) == [f"{place}/{NAME}", f"{place}/rand_test_gfx942:xnack+.tar.xz"]
    kinds = {
        key: bucket.client.head_object(Bucket=bucket.name, Key=key)["ContentType"]
        for key in keys(bucket)
    }
    assert kinds == {
        f"12-linux/{NAME}": "application/zstd",
        f"12-linux/{NAME}.sha256sum": "text/plain",
        "12-linux/rand_test_gfx942:xnack+.tar.xz": "application/x-xz",
        "12-linux/rand_test_gfx942:xnack+.tar.xz.sha256sum": "text/plain",
    }
    digest = hashlib.sha256((tmp_path / "made" / NAME).read_bytes()).hexdigest()
    reply = bucket.client.get_object(Bucket=bucket.name, Key=f"12-linux/{NAME}.sha256sum")
    assert reply["Body"].read() == f"{digest}\n".encode()
    assert call(bucket.endpoint, "fetch", "--from", place)[0] == 0
    assert names(tmp_path / "here/build/artifacts") == [
        *("blas_lib_generic", "rand_test_gfx942:xnack+"),
    ]


def test_uploads_that_fail(bucket, proxy, call, make, tmp_path):
    make()
    make("rand_lib_generic.tar.xz")
    proxy.fault(match=rf"PUT /{bucket.name}/7/rand", times=None, status=403)
    place = f"s3://{bucket.name}/7"
    status, said, err = call(proxy.url, "push", tmp_path / "made", "--to", place)
    assert (status, said) == (1, f"{place}/{NAME}\n")
    assert "1 of 2 artifacts failed" in err
    assert keys(bucket) == [f"7/{NAME}", f"7/{NAME}.sha256sum"]
    proxy.heal()
    proxy.fault(match=rf"PUT /{bucket.name}/8/.*sha256sum", times=None, status=403)
    status, said, err = call(proxy.url, "push", make(), "--to", f"s3://{bucket.name}/8")
    assert (status, said) == (1, "")


@pytest.mark.parametrize("across", [False, True])
def test_copy(bucket, put, call, across):
    put(f"12-linux/{NAME}")
    put("12-linux/rand_lib_gfx942.tar.xz", sidecar=False)
    put("12-linux/rand_lib_gfx1100.tar.xz")
    to = bucket.name
    if across:
        to = f"{bucket.name}-other"
        bucket.client.create_bucket(Bucket=to)
    args = ["copy", "--from", f"s3://{bucket.name}/12-linux", "--to", f"s3://{to}/13-linux"]
    status, said, err = call(bucket.endpoint, *args, "--amdgpu-targets", "gfx942")
    assert (status, err) == (0, "")
    place = f"s3://{to}/13-linux"
    assert sorted(said.split()) == [f"{place}/{NAME}", f"{place}/rand_lib_gfx942.tar.xz"]
    listed = bucket.client.list_objects_v2(Bucket=to, Prefix="13-linux/")["Contents"]
    assert [each["Key"].rpartition("/")[2] for each in listed] == [
        *(NAME, f"{NAME}.sha256sum", "rand_lib_gfx942.tar.xz"),
    ]


def test_copies_that_fail(bucket, put, proxy, call):
    put(f"12-linux/{NAME}")
    put("12-linux/rand_lib_generic.tar.xz")
    proxy.fault(match=rf"PUT /{bucket.name}/13-linux/rand", times=None, status=403)
    args = ["--source-run-id", "12", "--run-id", "13", "--platform", "linux"]
    source = ["--from", f"s3://{bucket.name}/12-linux"]
    assert call(proxy.url, "copy", *args, *source)[0] == 2
    status, said, err = call(*(proxy.url, "copy", *args[2:], "--bucket", bucket.name, *source))
    assert status == 1
    assert said == f"s3://{bucket.name}/13-linux/{NAME}\n"
    assert "1 of 2 artifacts failed" in err


# Ended from outside.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_who_is_ended_leaves_no_half_tree(bucket, put, proxy, tmp_path, number):
    put(f"7/{NAME}")
    put("7/rand_lib_generic.tar.xz")
    proxy.fault(match=rf"GET /{bucket.name}/7/rand.*xz($|\?)", times=None, hang=True)
    command = [sys.executable, "-m", "s3mount", "build", "fetch", "--output-dir", "out"]
    out = tmp_path / "out"
    environment = os.environ | bucket.environment | {"AWS_ENDPOINT_URL": proxy.url}
    with subprocess.Popen(
        [*command, "--from", f"s3://{bucket.name}/7"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "out/blas_lib_generic\n"
        process.send_signal(number)
        status = process.wait(60)
    assert status == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[number]
    found = names(out)
    if number == signal.SIGKILL:
        found = [name for name in found if not name.startswith(".s3mount-")]
    assert found == ["blas_lib_generic"]


# The backend.


@pytest.fixture
def backend(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
    with S3Backend(WorkflowOutputRoot(bucket.name, "", "12", "linux")) as backend:
        yield backend


def test_the_backend_lists(bucket, put, backend):
    assert backend.base_uri == f"s3://{bucket.name}/12-linux"
    assert backend.list_artifacts() == []
    for key in (f"12-linux/{NAME}", "12-linux/rand_lib_x.tar.xz", "12-linux2/a_lib_x.tar.xz"):
        put(key)
    put("12-linux/python/a_lib_x.tar.xz")
    assert backend.list_artifacts() == [NAME, "rand_lib_x.tar.xz"]
    assert backend.list_artifacts("rand") == ["rand_lib_x.tar.xz"]
    assert backend.artifact_exists(NAME)
    assert not backend.artifact_exists("blas_lib_generic.tar")


def test_the_backend_downloads_and_uploads(bucket, backend, make, tmp_path):
    source = make()
    backend.upload_artifact(source, "other_lib_generic.tar.zst")
    target = tmp_path / "deep" / "er" / "x"
    backend.download_artifact("other_lib_generic.tar.zst", target)
    assert target.read_bytes() == source.read_bytes()
    assert names(target.parent) == ["other_lib_generic.tar.zst.sha256sum", "x"]
    # Without a block as well; and without a checksum.
    alone = S3Backend(backend.output_root)
    bucket.delete("12-linux/other_lib_generic.tar.zst.sha256sum")
    alone.download_artifact("other_lib_generic.tar.zst", target)
    assert names(target.parent) == ["x"]


def test_what_is_missing(backend, tmp_path):
    other = S3Backend(WorkflowOutputRoot(backend.bucket, "", "13", "linux"))
    for call in (
        lambda: backend.download_artifact(NAME, tmp_path / "out" / NAME),
        lambda: backend.upload_artifact(tmp_path / "missing", NAME),
        lambda: backend.copy_artifact(NAME, other),
    ):
        with pytest.raises(FileNotFoundError):
            call()
    assert names(tmp_path / "out") == []


def test_a_wrong_checksum(bucket, put, backend, make, tmp_path):
    put(f"12-linux/{NAME}", sidecar=False)
    bucket.put(f"12-linux/{NAME}.sha256sum", b"0" * 64)
    with pytest.raises(ChecksumMismatch):
        backend.download_artifact(NAME, tmp_path / "out" / NAME)
    assert names(tmp_path / "out") == []
    source = make("c_lib_generic.tar.xz")
    source.with_name(f"{source.name}.sha256sum").write_text("0" * 64)
    with pytest.raises(ChecksumMismatch):
        backend.upload_artifact(source, source.name)
    assert not backend.artifact_exists(source.name)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("sidecar", [False, True])
def test_the_backend_copies(bucket, put, backend, across, sidecar):
    put(f"12-linux/{NAME}", sidecar=sidecar)
    to = bucket.name
    if across:
        to = f"{bucket.name}-other"
        bucket.client.create_bucket(Bucket=to)
    other = S3Backend(WorkflowOutputRoot(to, "", "13", "linux"))
    other.copy_artifact(NAME, backend)
    assert other.list_artifacts() == [NAME]
    listed = bucket.client.list_objects_v2(Bucket=to, Prefix="13-linux/")["Contents"]
    assert len(listed) == 1 + sidecar
