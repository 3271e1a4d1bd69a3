"""From the id of a run to a bucket and a prefix."""

import json

import pytest

from s3mount.builds.github import LookupFailed, workflow_run
from s3mount.builds.places import Place, place_of, place_of_run, readable
from s3mount.builds.runs import (
    WorkflowOutputRoot,
    bucket_of,
    is_fork_run,
    platform_in,
    root_of_run,
    run_id_in,
)
from s3mount.config import MountOptions
from s3mount.errors import ConfigError
from s3mount.store.open import Source
from tests.unit.builds.github_api import github


def root(environment=(), **options):
    found = root_of_run("1742", "linux", dict(environment), **options)
    return found.bucket, found.prefix


@pytest.mark.parametrize(
    ("release_type", "repository", "is_fork", "bucket"),
    [
        ("ci", "ROCm/TheRock", False, "therock-ci-artifacts"),
        ("ci", "ROCm/TheRock", True, "therock-ci-artifacts-external"),
        ("ci", "ROCm/rocm-libraries", False, "therock-ci-artifacts-external"),
        ("dev", "ROCm/TheRock", False, "therock-dev-artifacts"),
        ("dev-bkc", "ROCm/TheRock", False, "therock-dev-artifacts"),
        ("nightly", "other/repo", True, "therock-nightly-artifacts"),
        ("nightly-bkc", "ROCm/TheRock", False, "therock-nightly-artifacts"),
        ("prerelease", "ROCm/TheRock", False, "therock-prerelease-artifacts"),
    ],
)
def test_buckets(release_type, repository, is_fork, bucket):
    assert bucket_of(release_type, repository, is_fork=is_fork) == bucket


def test_a_prefix_names_the_repository_where_a_bucket_is_shared():
    assert root() == ("therock-ci-artifacts", "1742-linux")
    shared = "therock-ci-artifacts-external"
    assert root(is_fork=True) == (shared, "ROCm-TheRock/1742-linux")
    assert root(repository="a/b") == (shared, "a-b/1742-linux")
    assert root({"GITHUB_REPOSITORY": "a/b"}) == (shared, "a-b/1742-linux")
    assert root({"GITHUB_REPOSITORY": "a/b"}, repository="ROCm/TheRock") == root()
    assert root(repository="a/b", release_type="dev") == ("therock-dev-artifacts", "1742-linux")
    assert root({"RELEASE_TYPE": "dev"}) == ("therock-dev-artifacts", "1742-linux")
    assert root({"RELEASE_TYPE": "dev"}, release_type="ci") == root()


@pytest.mark.parametrize("run_id", ["", "..", "a/b", "1 2", ".x"])
def test_what_is_no_run_id(run_id):
    with pytest.raises(ConfigError, match="run id"):
        root_of_run(run_id, "linux", {})
    with pytest.raises(ConfigError, match="run id"):
        WorkflowOutputRoot.for_local(run_id, "linux")


def test_what_else_cannot_be():
    with pytest.raises(ConfigError, match="release type"):
        root(release_type="daily")
    with pytest.raises(ConfigError, match="repository"):
        root(repository="TheRock")


def test_the_environment_names_a_run():
    assert run_id_in({}) is None
    assert run_id_in({"GITHUB_RUN_ID": "2"}) == "2"
    assert run_id_in({"GITHUB_RUN_ID": "2", "THEROCK_RUN_ID": "1"}) == "1"
    assert platform_in({"THEROCK_PLATFORM": "windows"}) == "windows"
    assert platform_in({}) == "linux"


@pytest.mark.parametrize(
    ("is_fork", "prefix"), [(True, "ROCm-TheRock/1742-linux"), (False, "1742-linux")]
)
def test_the_event_of_a_workflow_tells_of_forks(tmp_path, is_fork, prefix):
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"head": {"repo": {"fork": is_fork}}}}))
    environment = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(event)}
    assert root(environment)[1] == prefix
    assert root(environment | {"GITHUB_EVENT_NAME": "push"})[1] == "1742-linux"
    assert root(environment, is_fork=False)[1] == "1742-linux"


def test_an_event_that_cannot_be_read(tmp_path):
    environment = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(tmp_path / "no")}
    with pytest.raises(ConfigError, match="GITHUB_EVENT_PATH"):
        root(environment)
    (tmp_path / "no").write_text("[]")
    with pytest.raises(ConfigError, match="GITHUB_EVENT_PATH"):
        root(environment)


def test_places():
    place = place_of_run(root_of_run("7", "linux", {}, is_fork=True))
    assert place.source == Source("s3", "therock-ci-artifacts-external")
    assert place.uri("f") == "s3://therock-ci-artifacts-external/ROCm-TheRock/7-linux/f"
    local = place_of_run(WorkflowOutputRoot.for_local("7", "linux"), "/staging")
    assert local == Place(Source("file", "/staging/7-linux"))
    assert local.base_uri == "file:///staging/7-linux"


def test_a_place_that_is_named():
    assert place_of("s3://bucket/p/q") == Place(Source("s3", "bucket"), "p/q/")
    assert place_of("s3://bucket/p/q/").base_uri == "s3://bucket/p/q"
    assert place_of("bucket").uri("f") == "s3://bucket/f"
    assert place_of("file:///d/") == Place(Source("file", "/d"))
    with pytest.raises(ConfigError):
        place_of("snapshot:x")


def test_without_credentials_requests_are_unsigned(monkeypatch):
    source = Source("s3", "bucket")
    assert readable(MountOptions(), source) == MountOptions()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert readable(MountOptions(), source).no_sign_request
    assert not readable(MountOptions(), Source("file", "/d")).no_sign_request


def test_a_shared_file_of_credentials_signs(monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "c").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "c"))
    assert not readable(MountOptions(), Source("s3", "bucket")).no_sign_request


# GitHub.


@pytest.fixture
def api():
    with github() as server:
        yield server


def test_github_is_asked_for_a_run(api):
    api.reply = (200, b'{"head_repository": {"full_name": "me/fork"}}')
    found = workflow_run("o/r", "7", api.environment | {"GITHUB_TOKEN": "secret"})
    assert is_fork_run(found, "o/r")
    assert not is_fork_run(found, "me/fork")
    assert api.asked == [("/repos/o/r/actions/runs/7", "Bearer secret")]


def test_a_fork_that_is_deleted_is_one():
    assert is_fork_run({"head_repository": None}, "o/r")


@pytest.mark.parametrize("reply", [(404, b"{}"), (200, b"no json"), (200, b"[]")])
def test_github_does_not_know(api, reply):
    api.reply = reply
    with pytest.raises(LookupFailed) as caught:
        workflow_run("o/r", "7", api.environment)
    assert "--run-github-repo" in caught.value.hint
    assert api.asked == [("/repos/o/r/actions/runs/7", None)]


def test_github_does_not_answer():
    with pytest.raises(LookupFailed):
        workflow_run("o/r", "7", {"GITHUB_API_URL": "http://127.0.0.1:1"})
