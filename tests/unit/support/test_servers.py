"""The fixtures that other tests rely on: real servers, fresh buckets, an environment without AWS."""

import contextlib
import logging
import os

import boto3
import pytest

from tests.support.buckets import Bucket, FolderBucket
from tests.support.checklogs import ExpectsLog
from tests.support.mounts import undeclared
from tests.support.proxy import ProxyServer


def test_a_bucket_is_fresh_and_takes_objects(bucket: Bucket, proxy: ProxyServer) -> None:
    assert "Contents" not in bucket.client.list_objects_v2(Bucket=bucket.name)
    etag = bucket.put("a/b c", b"hello")
    assert etag == "5d41402abc4b2a76b9719d911017c592"
    client = boto3.client("s3", endpoint_url=proxy.url)
    with contextlib.closing(client):
        reply = client.get_object(Bucket=bucket.name, Key="a/b c")
        assert reply["Body"].read() == b"hello"
    assert proxy.counts["get"] == 1
    assert proxy.requests[0].path == f"/{bucket.name}/a/b c"
    bucket.delete("a/b c")
    assert "Contents" not in bucket.client.list_objects_v2(Bucket=bucket.name)


def test_rclone_serves_a_folder_and_checks_signatures(rclone_bucket: FolderBucket) -> None:
    rclone_bucket.put("a/b", b"hello")
    client = boto3.client("s3", endpoint_url=rclone_bucket.endpoint)
    with contextlib.closing(client):
        reply = client.get_object(Bucket=rclone_bucket.name, Key="a/b")
        assert reply["Body"].read() == b"hello"
    client = boto3.client(
        "s3",
        endpoint_url=rclone_bucket.endpoint,
        aws_access_key_id="wrong",
        aws_secret_access_key="wrong",
    )
    with contextlib.closing(client), pytest.raises(client.exceptions.ClientError):
        client.get_object(Bucket=rclone_bucket.name, Key="a/b")


def test_no_credentials_of_this_machine_are_seen() -> None:
    assert not os.path.exists(os.environ["AWS_SHARED_CREDENTIALS_FILE"])
    assert os.environ["AWS_EC2_METADATA_DISABLED"] == "true"


def test_a_declared_warning_is_no_failure(expects_log: ExpectsLog) -> None:
    expects_log(r"ETag of .* changed")
    logging.getLogger("s3mount.cache").warning("the ETag of %s changed", "key")


def test_trouble_in_a_log_is_found() -> None:
    log = "12:00 INFO fine\n12:01 WARNING slow\n12:02 ERROR gone\nTraceback (most recent call last):\n"
    assert undeclared(log, [r"slow"]) == ["12:02 ERROR gone", "Traceback (most recent call last):"]
