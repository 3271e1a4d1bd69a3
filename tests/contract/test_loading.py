"""Commands load what they use: each is a process of its own that has done its work over HTTP."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from s3mount.cli.main import run
status = run(sys.argv[2:])
print(sorted(set(sys.argv[1].split()) & sys.modules.keys()), file=sys.stderr)
sys.exit(status)
"""
NEVER = {"boto3", "botocore", "trio", "rich", "email.utils", "http.client"}
CACHE = {"s3mount.cache.cache", "s3mount.cache.index", "sqlite3"}
WRITES = {"s3mount.store.writing", "s3mount.store.write_exchange"}
COMMANDS = {
    "push": (["artifact", "push", "project", "file", "-d", "new"], NEVER | CACHE),
    "pull": (["artifact", "pull", "project", "old", "-d", "got"], NEVER | CACHE | WRITES),
    "exists": (["artifact", "exists", "project", "old"], NEVER | CACHE | WRITES),
    "download": (["download", "BUCKET", "--download-dir", "."], NEVER | CACHE | WRITES),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_load_what_they_use(name, bucket, tmp_path):
    bucket.put("artifacts/projects/1/old", b"old")
    (tmp_path / "file").write_bytes(b"new")
    arguments, unwanted = COMMANDS[name]
    environment = {
        **os.environ,
        **bucket.environment,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "SEMAPHORE_PROJECT_ID": "1",
        "ARTIFACT_BACKEND": "s3",
        "ARTIFACT_S3_BUCKET": bucket.name,
        "ARTIFACT_S3_ENDPOINT": bucket.endpoint,
        "ARTIFACT_S3_FORCE_PATH_STYLE": "true",
        "S3MOUNT_ENDPOINT_URL": bucket.endpoint,
    }
    words = [bucket.name if each == "BUCKET" else each for each in arguments]
    command = [sys.executable, "-c", SCRIPT, " ".join(sorted(unwanted)), *words]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
