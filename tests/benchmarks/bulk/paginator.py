"""Lists a prefix with boto3's paginator, a key a line: ``python paginator.py ENDPOINT BUCKET PREFIX``."""

import sys

import boto3
from botocore.config import Config


def main(endpoint: str, bucket: str, prefix: str) -> None:
    """Print every key."""
    config = Config(s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=endpoint, config=config)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            print(entry["Key"])


if __name__ == "__main__":
    main(*sys.argv[1:])
