"""What was pushed or yanked shows at once in the mounts of the same bucket on this machine."""

import os

import pytest

pytestmark = pytest.mark.fuse


@pytest.fixture
def bucket(new_bucket):
    """A bucket with another job's artifact in it."""
    bucket = new_bucket()
    bucket.put("artifacts/jobs/2/other", b"other")
    bucket.put("unrelated", b"unrelated")
    return bucket


@pytest.fixture
def artifact(world, bucket, tmp_path):
    """Runs ``s3mount artifact`` for job 1 on that bucket; asserts that it went well."""
    home = tmp_path / "home"
    home.mkdir()

    def artifact(*args, prefix=""):
        env = bucket.environment | {
            "HOME": str(home),
            "SEMAPHORE_JOB_ID": "1",
            "ARTIFACT_BACKEND": "s3",
            "ARTIFACT_S3_BUCKET": bucket.name,
            "ARTIFACT_S3_ENDPOINT": bucket.endpoint,
            "ARTIFACT_S3_FORCE_PATH_STYLE": "true",
            "ARTIFACT_S3_PREFIX": prefix,
        }
        done = world.run("artifact", *args, env=env)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return artifact


@pytest.fixture
def tree(tmp_path):
    """A directory to push."""
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/a").write_bytes(b"a")
    (tmp_path / "tree/deep/b").write_bytes(b"b")
    return tmp_path / "tree"


def names(path):
    """All names below a directory, through the kernel."""
    return sorted(
        os.path.relpath(os.path.join(where, name), path)
        for where, _, found in os.walk(path)
        for name in found
    )


# So long that nothing shows by itself while a test runs.
BELIEVES = ("--metadata-ttl=1h", "--negative-ttl=1h")


def test_a_push_shows_in_a_mount_that_has_listed_everything(world, bucket, artifact, tree):
    with world.mount(bucket.name, *BELIEVES, env=bucket.environment) as mount:
        assert names(mount.path) == ["artifacts/jobs/2/other", "unrelated"]
        assert not (mount.path / "artifacts/jobs/1/tree").exists()
        artifact("push", "job", str(tree))
        jobs = mount.path / "artifacts/jobs"
        assert (jobs / "1/tree/deep/b").read_bytes() == b"b"
        assert names(jobs) == ["1/tree/a", "1/tree/deep/b", "2/other"]


def test_a_file_that_is_replaced_shows_its_new_bytes(world, bucket, artifact, tree):
    artifact("push", "job", str(tree))
    with world.mount(bucket.name, *BELIEVES, env=bucket.environment) as mount:
        place = mount.path / "artifacts/jobs/1/tree/deep/b"
        assert place.read_bytes() == b"b"
        (tree / "deep/b").write_bytes(b"another")
        artifact("push", "job", str(tree / "deep/b"), "-d", "tree/deep/b", "-f")
        assert place.read_bytes() == b"another"
        assert place.stat().st_size == 7


def test_what_is_yanked_is_gone_with_the_directories_that_held_it(world, bucket, artifact, tree):
    artifact("push", "job", str(tree))
    with world.mount(bucket.name, *BELIEVES, env=bucket.environment) as mount:
        jobs = mount.path / "artifacts/jobs"
        assert names(jobs) == ["1/tree/a", "1/tree/deep/b", "2/other"]
        artifact("yank", "job", "tree/deep")
        assert names(jobs) == ["1/tree/a", "2/other"]
        assert os.listdir(jobs / "1/tree") == ["a"]
        artifact("yank", "job", "tree")
        assert os.listdir(jobs) == ["2"]
        assert not (jobs / "1").exists()


@pytest.mark.parametrize(
    ("mounted", "shown"),
    [("ci/artifacts", "jobs/1/tree/a"), ("ci/artifacts/jobs/1/tree", "a")],
)
def test_a_mount_of_a_part_of_the_bucket(world, bucket, artifact, tree, mounted, shown):
    bucket.put("ci/artifacts/jobs/1/tree/before", b"before")
    source = f"{bucket.name}/{mounted}"
    with world.mount(source, *BELIEVES, env=bucket.environment) as mount:
        assert not (mount.path / shown).exists()
        assert len(names(mount.path)) == 1
        artifact("push", "job", str(tree), prefix="ci")
        assert (mount.path / shown).read_bytes() == b"a"


def test_what_is_not_shown_is_not_refreshed(world, bucket, artifact, tree, counted):
    with counted(world, bucket, *BELIEVES, prefix="artifacts/jobs/2") as mounted:
        assert names(mounted.path) == ["other"]
        mounted.proxy.reset()
        artifact("push", "job", str(tree))
        assert names(mounted.path) == ["other"]
        assert mounted.lists == []


def test_a_directory_store_is_shown_as_well(world, tmp_path, tree):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "x").write_bytes(b"x")
    env = {
        "HOME": str(tmp_path),
        "SEMAPHORE_JOB_ID": "1",
        "ARTIFACT_BACKEND": "local",
        "ARTIFACT_LOCAL_DIR": str(kept),
    }
    with world.mount(f"file://{kept}", *BELIEVES) as mount:
        assert names(mount.path) == ["x"]
        assert world.run("artifact", "push", "job", str(tree), env=env).returncode == 0
        assert names(mount.path) == [
            "artifacts/jobs/1/tree/a",
            "artifacts/jobs/1/tree/deep/b",
            "x",
        ]
