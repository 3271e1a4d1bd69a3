"""The archives of a run in a directory, and which backend the environment means."""

import os

import pytest

from s3mount.builds.backend import ArtifactBackend, ArtifactLocation
from s3mount.builds.backends import create_backend_from_env
from s3mount.builds.local_backend import LocalDirectoryBackend
from s3mount.builds.runs import WorkflowOutputRoot
from s3mount.builds.s3_backend import S3Backend
from s3mount.builds.sidecar import ChecksumMismatch
from s3mount.errors import ConfigError
from tests.unit.builds.archives import artifact

NAME = "blas_lib_generic.tar.zst"


@pytest.fixture
def backend(tmp_path):
    return LocalDirectoryBackend(tmp_path / "staging", WorkflowOutputRoot.for_local("7", "linux"))


@pytest.fixture
def other(tmp_path):
    return LocalDirectoryBackend(tmp_path / "staging", WorkflowOutputRoot.for_local("8", "linux"))


def made(path, *, digest=None):
    """An archive and, unless ``digest`` is empty, its checksum."""
    found = artifact(path)
    if digest != "":
        path.with_name(f"{path.name}.sha256sum").write_text(f"{digest or found}\n")
    return path


def names(path):
    return sorted(each.name for each in path.iterdir())


def test_the_directory_is_made_at_once(tmp_path, backend):
    assert backend.base_path == tmp_path / "staging" / "7-linux"
    assert backend.base_path.is_dir()
    assert backend.base_uri == str(backend.base_path)
    location = backend.location(NAME)
    assert location == ArtifactLocation(NAME, f"{backend.base_uri}/{NAME}")


def test_listing(backend):
    assert backend.list_artifacts() == []
    for name in ("b_lib_x.tar.xz", "a_lib_x.tar.zst", "a_lib_x.tar.zst.sha256sum", "index.html"):
        (backend.base_path / name).write_text("")
    (backend.base_path / "deep").mkdir()
    (backend.base_path / "deep" / "c_lib_x.tar.xz").write_text("")
    (backend.base_path / "d_lib_x.tar.xz").mkdir()
    assert backend.list_artifacts() == ["a_lib_x.tar.zst", "b_lib_x.tar.xz"]
    assert backend.list_artifacts("b") == ["b_lib_x.tar.xz"]
    assert backend.list_artifacts("lib") == []


@pytest.mark.parametrize("name", [NAME, "blas_lib_generic.tar.xz"])
def test_up_and_down(tmp_path, backend, name):
    source = made(tmp_path / name)
    os.utime(source, (1, 1))
    assert not backend.artifact_exists(name)
    backend.upload_artifact(source, name)
    assert backend.artifact_exists(name)
    backend.download_artifact(name, tmp_path / "deep" / "er" / "another")
    assert (tmp_path / "deep" / "er" / "another").read_bytes() == source.read_bytes()
    assert names(tmp_path / "deep" / "er") == ["another", f"{name}.sha256sum"]
    assert (tmp_path / "deep" / "er" / "another").stat().st_mtime == 1


def test_without_a_checksum(tmp_path, backend):
    backend.upload_artifact(made(tmp_path / NAME), NAME)
    backend.upload_artifact(made(tmp_path / "d.tar.zst", digest=""), NAME)
    assert names(backend.base_path) == [NAME]  # that of the older archive is gone
    backend.download_artifact(NAME, tmp_path / "out" / NAME)
    assert names(tmp_path / "out") == [NAME]


def test_what_is_missing(tmp_path, backend, other):
    for call in (
        lambda: backend.download_artifact(NAME, tmp_path / "out"),
        lambda: backend.upload_artifact(tmp_path / "missing", NAME),
        lambda: backend.copy_artifact(NAME, other),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            call()
        assert caught.value.filename
    assert not (tmp_path / "out").exists()
    assert not backend.artifact_exists(NAME)


def test_a_wrong_checksum_replaces_nothing(tmp_path, backend):
    (backend.base_path / NAME).write_text("old")
    with pytest.raises(ChecksumMismatch):
        backend.upload_artifact(made(tmp_path / NAME, digest="0" * 64), NAME)
    assert names(backend.base_path) == [NAME]
    assert (backend.base_path / NAME).read_text() == "old"
    made(backend.base_path / NAME, digest="0" * 64)
    with pytest.raises(ChecksumMismatch):
        backend.download_artifact(NAME, tmp_path / "out" / NAME)
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("digest", [None, ""])
def test_copies(tmp_path, backend, other, digest):
    made(other.base_path / NAME, digest=digest)
    backend.copy_artifact(NAME, other)
    assert names(backend.base_path) == names(other.base_path)
    assert (backend.base_path / NAME).read_bytes() == (other.base_path / NAME).read_bytes()


def test_only_from_the_same_kind(backend):
    bucket = S3Backend(WorkflowOutputRoot("bucket", "", "7", "linux"))
    with pytest.raises(TypeError, match="LocalDirectoryBackend cannot copy from a S3Backend"):
        backend.copy_artifact(NAME, bucket)
    with pytest.raises(TypeError):
        bucket.copy_artifact(NAME, backend)


@pytest.mark.parametrize("key", ["", "..", "a/b", "/a", "a\0"])
def test_a_key_is_a_file_name(tmp_path, backend, key):
    for call in (
        lambda: backend.download_artifact(key, tmp_path / "out"),
        lambda: backend.upload_artifact(made(tmp_path / NAME), key),
        lambda: backend.artifact_exists(key),
        lambda: backend.location(key),
    ):
        with pytest.raises(ConfigError):
            call()


# The environment.


def test_a_directory_where_the_environment_names_one(tmp_path):
    environment = {"THEROCK_LOCAL_STAGING_DIR": str(tmp_path), "GITHUB_REPOSITORY": "a/b"}
    backend = create_backend_from_env(environment=environment, platform="linux")
    assert backend.base_uri == f"{tmp_path}/local-linux"
    assert isinstance(backend, LocalDirectoryBackend)
    more = environment | {"THEROCK_RUN_ID": "1", "THEROCK_PLATFORM": "windows"}
    assert create_backend_from_env(environment=more).base_uri == f"{tmp_path}/1-windows"
    given = create_backend_from_env("2", "c/d", "linux", more)
    assert given.base_uri == f"{tmp_path}/2-linux"


def test_a_bucket_where_it_does_not():
    backend = create_backend_from_env("7", platform="linux", environment={})
    assert isinstance(backend, S3Backend)
    assert isinstance(backend, ArtifactBackend)
    assert backend.base_uri == "s3://therock-ci-artifacts/7-linux"
    assert (backend.bucket, backend.s3_prefix) == ("therock-ci-artifacts", "7-linux")
    environment = {"GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "9"}
    backend = create_backend_from_env(platform="linux", environment=environment)
    assert backend.base_uri == "s3://therock-ci-artifacts-external/a-b/9-linux"
    backend = create_backend_from_env(None, "ROCm/TheRock", "linux", environment)
    assert backend.base_uri == "s3://therock-ci-artifacts/9-linux"
