"""`download` and `prefetch` as functions, against real servers."""

import os
import signal
import subprocess
import sys
import threading
import time

import boto3
import botocore
import pytest
from botocore.config import Config

import s3mount
from s3mount.errors import AccessDenied, CredentialsMissing, NoSuchBucket, StoreError
from tests.support.buckets import s3_client
from tests.support.servers import Server

pytestmark = pytest.mark.s3


@pytest.fixture
def filled(bucket):
    for number in range(12):
        bucket.put(f"my/{number}.txt", b"x" * number)
    bucket.put("my/marker/")
    bucket.put("mystery/file", b"other")
    return bucket


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.fixture
def _no_credentials(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


def names_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_download(filled, target):
    tracker = s3mount.ProgressTracker()
    done = s3mount.download(
        f"s3://{filled.name}/my/",
        target,
        endpoint_url=filled.endpoint,
        progress_tracker=tracker,
        threads=3,
    )
    assert done == (12, [])
    assert names_below(target) == {f"{number}.txt" for number in range(12)}
    stats = tracker.get_stats()
    assert (stats["objects_found"], stats["bytes_downloaded"]) == (12, sum(range(12)))


def test_a_prefix_may_end_within_a_name(filled, target):
    options = {"endpoint_url": filled.endpoint, "regex": r"(file|1)(\.txt)?$"}
    assert s3mount.download(f"s3://{filled.name}/my", target, **options) == (3, [])
    assert names_below(target) == {"my/1.txt", "my/11.txt", "mystery/file"}


@pytest.mark.usefixtures("_no_credentials")
def test_a_client_is_all_that_is_needed(filled, target):
    done = s3mount.download(f"s3://{filled.name}/my/", target, client=filled.client)
    assert done == (12, [])
    assert s3mount.prefetch(f"{filled.name}/my", client=filled.client) == (12, [])


@pytest.mark.usefixtures("_no_credentials")
def test_the_signature_of_a_client_is_right(rclone, rclone_bucket, target):
    server, _ = rclone
    rclone_bucket.put("a", b"body")
    good = s3_client(server)
    assert s3mount.download(f"s3://{rclone_bucket.name}", target, client=good) == (1, [])
    assert (target / "a").read_bytes() == b"body"
    wrong = s3_client(Server(server.url, server.pid, secret_key="another"))
    with pytest.raises(AccessDenied):
        s3mount.download(f"s3://{rclone_bucket.name}", target, client=wrong)
    good.close()
    wrong.close()


@pytest.mark.usefixtures("_no_credentials")
def test_an_unsigned_client_stays_unsigned(filled, proxy, target):
    config = Config(signature_version=botocore.UNSIGNED, s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=proxy.url, region_name="us-east-1", config=config)
    filled.client.put_bucket_acl(Bucket=filled.name, ACL="public-read")
    for number in range(12):
        filled.client.put_object_acl(Bucket=filled.name, Key=f"my/{number}.txt", ACL="public-read")
    assert s3mount.download(f"s3://{filled.name}/my/", target, client=client) == (12, [])
    assert proxy.total == 12
    client.close()


@pytest.mark.usefixtures("_no_credentials")
def test_no_credentials_are_told(filled, target):
    with pytest.raises(CredentialsMissing):
        s3mount.download(f"s3://{filled.name}", target, endpoint_url=filled.endpoint)


def test_one_key_that_fails_is_told_and_the_others_are_there(filled, proxy, target):
    proxy.fault(r"^GET /[^?]*/my/7\.txt", times=None, status=403)
    keys, results, tracker = [], [], s3mount.ProgressTracker()
    count, failures = s3mount.download(
        f"s3://{filled.name}/my/",
        target,
        endpoint_url=proxy.url,
        on_complete=keys.append,
        on_result=results.append,
        progress_tracker=tracker,
    )
    assert count == 11
    [(key, error)] = failures
    assert key == "my/7.txt"
    assert isinstance(error, AccessDenied)
    assert set(keys) == {f"my/{n}.txt" for n in range(12)} - {key}
    assert len(keys) == 11
    [failed] = [result for result in results if not result.success]
    assert (failed.key, failed.error, failed.file_size) == (key, error, 0)
    assert failed.dest_filename == target / "7.txt"
    assert names_below(target) == {f"{n}.txt" for n in range(12)} - {"7.txt"}
    stats = tracker.get_stats()
    assert (stats["objects_found"], stats["objects_downloaded"]) == (12, 11)


def test_keys_come_in_the_order_in_which_they_end(filled, proxy, target):
    proxy.fault(r"^GET /[^?]*/my/5\.txt", delay=1.0)
    keys = []
    s3mount.download(
        f"s3://{filled.name}/my/", target, endpoint_url=proxy.url, on_complete=keys.append
    )
    assert keys[-1] == "my/5.txt"
    assert len(keys) == 12


@pytest.mark.parametrize("run", [s3mount.download, s3mount.prefetch])
def test_a_bucket_that_is_not_there_is_told(run, moto_endpoint):
    with pytest.raises(NoSuchBucket):
        run("s3://no-such-bucket/p", endpoint_url=moto_endpoint)
    assert not [t for t in threading.enumerate() if t.name.startswith("s3mount")]


@pytest.mark.parametrize("run", [s3mount.download, s3mount.prefetch])
def test_a_listing_that_is_refused_is_told(run, filled, proxy):
    proxy.fault("list", times=None, status=403)
    with pytest.raises(StoreError) as caught:
        run(f"s3://{filled.name}/my/", endpoint_url=proxy.url)
    assert isinstance(caught.value, AccessDenied)


def test_prefetch_then_no_request(filled, proxy, target):
    source = f"s3://{filled.name}/my/"
    keys = []
    where = {"endpoint_url": proxy.url}
    assert s3mount.prefetch(source, pin="kept", on_complete=keys.append, **where) == (12, [])
    assert set(keys) == {f"my/{number}.txt" for number in range(12)}
    proxy.reset()
    assert s3mount.prefetch(source, **where) == (12, [])
    assert s3mount.download(source, target, **where) == (12, [])
    assert proxy.counts["get"] == proxy.counts["ranged_get"] == 0
    assert (target / "11.txt").read_bytes() == b"x" * 11


INTERRUPTED = """
import sys, threading, time, s3mount
try:
    s3mount.{run}
except KeyboardInterrupt:
    print(time.monotonic(), [t.name for t in threading.enumerate()])
"""


@pytest.mark.parametrize("name", ["download", "prefetch"])
def test_ctrl_c_comes_out_and_leaves_nothing(name, filled, proxy, target):
    proxy.fault(r"^GET /[^?]*/my/", times=None, hang=True)
    place = f", {str(target)!r}" if name == "download" else ""
    run = f"{name}('s3://{filled.name}/my/'{place}, endpoint_url={proxy.url!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(run=run)],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while proxy.counts["get"] + proxy.counts["ranged_get"] < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    when, _, threads = said.partition(" ")
    assert float(when) - asked < 2
    assert threads.strip() == "['MainThread']"
    assert process.returncode == 0
    assert names_below(target) <= {"0.txt"}  # an empty object needs no request
