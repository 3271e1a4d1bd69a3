"""A bucket for one test: short words for what a test does to the store behind s3mount's back."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.support.servers import Server


@dataclass(frozen=True, slots=True)
class Bucket:
    """A fresh bucket on a real server.

    Attributes:
        name: of the bucket.
        endpoint: URL of its server.
        client: boto3's, for whatever the short words do not cover.
        environment: variables that let another process reach the server.
    """

    name: str
    endpoint: str
    client: Any
    environment: dict[str, str]

    def put(self, key: str, body: bytes = b"", **options: object) -> str:
        """Put an object; its ETag without quotes."""
        reply = self.client.put_object(Bucket=self.name, Key=key, Body=body, **options)
        return str(reply["ETag"]).strip('"')

    def delete(self, key: str) -> None:
        """Delete an object, whether it is there or not."""
        self.client.delete_object(Bucket=self.name, Key=key)


@dataclass(frozen=True, slots=True)
class FolderBucket:
    """A bucket of rclone's server: a folder, filled with files.

    Attributes:
        name: of the bucket.
        endpoint: URL of its server.
        folder: what the server serves under this name.
        environment: variables that let another process reach the server.
    """

    name: str
    endpoint: str
    folder: Path
    environment: dict[str, str]

    def put(self, key: str, body: bytes = b"") -> None:
        """Put a file. The server sees it after a second when it knew the directory before."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def delete(self, key: str) -> None:
        """Delete a file, whether it is there or not."""
        (self.folder / key).unlink(missing_ok=True)


def await_bucket(server: Server, name: str) -> None:
    """Wait until a server has seen a folder that was made behind its back, which may take it a second."""
    with contextlib.closing(s3_client(server)) as client:
        client.get_waiter("bucket_exists").wait(
            Bucket=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 50}
        )


def s3_client(server: Server) -> Any:
    """A boto3 client for a server on loopback. Close it."""
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )
