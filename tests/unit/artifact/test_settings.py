"""Which backend is configured."""

from pathlib import Path

import pytest

from s3mount.artifact.settings import (
    HubSettings,
    LocalSettings,
    S3Settings,
    config_file,
    read_file,
    read_settings,
)
from s3mount.errors import ConfigError

HUB = {"SEMAPHORE_ORGANIZATION_URL": "https://o.example", "SEMAPHORE_ARTIFACT_TOKEN": "t"}
YAML = """\
backend: s3
s3:
  bucket: from-file
  region: eu-west-1
  endpoint: http://minio:9000
  forcePathStyle: true
  prefix: ci
JobArtifactsExpire: never
"""


@pytest.fixture
def document(tmp_path):
    (tmp_path / "c.yaml").write_text(YAML)
    return read_file(tmp_path / "c.yaml")


def test_a_hub_unless_something_else_is_said():
    assert read_settings({}, HUB) == HubSettings("https://o.example", "t")
    assert read_settings({}, HUB | {"ARTIFACT_BACKEND": "hub"}) == HubSettings(
        "https://o.example", "t"
    )


@pytest.mark.parametrize("missing", list(HUB))
def test_what_a_hub_needs(missing):
    with pytest.raises(ConfigError, match=f"^{missing} is not set$"):
        read_settings({}, {name: value for name, value in HUB.items() if name != missing})


@pytest.mark.parametrize("token", ["a\nb", "\u00e4"])
def test_a_token_that_is_none(token):
    with pytest.raises(ConfigError, match="holds what no token has"):
        read_settings({}, HUB | {"SEMAPHORE_ARTIFACT_TOKEN": token})


def test_everything_from_the_file(document):
    expected = S3Settings("from-file", "eu-west-1", "http://minio:9000", True, "ci")
    assert read_settings(document, {}) == expected


def test_the_environment_wins(document):
    environment = {
        "ARTIFACT_S3_BUCKET": "b",
        "ARTIFACT_S3_REGION": "r",
        "ARTIFACT_S3_ENDPOINT": "http://e",
        "ARTIFACT_S3_FORCE_PATH_STYLE": "false",
        "ARTIFACT_S3_PREFIX": "p",
    }
    assert read_settings(document, environment) == S3Settings("b", "r", "http://e", False, "p")
    assert read_settings(document, HUB | {"ARTIFACT_BACKEND": "hub"}) == HubSettings(
        "https://o.example", "t"
    )


def test_an_empty_variable_says_nothing(document):
    environment = {"ARTIFACT_BACKEND": "", "ARTIFACT_S3_BUCKET": ""}
    assert read_settings(document, environment).bucket == "from-file"


@pytest.mark.parametrize(("text", "is_on"), [("true", True), ("True", False), ("1", False)])
def test_only_true_forces_the_path_style(text, is_on):
    environment = {
        "ARTIFACT_BACKEND": "s3",
        "ARTIFACT_S3_BUCKET": "b",
        "ARTIFACT_S3_FORCE_PATH_STYLE": text,
    }
    assert read_settings({}, environment).path_style is is_on


def test_a_bucket_is_needed():
    with pytest.raises(ConfigError) as caught:
        read_settings({}, {"ARTIFACT_BACKEND": "s3"})
    assert caught.value.message == (
        "S3 bucket not configured: set ARTIFACT_S3_BUCKET or s3.bucket in config"
    )


def test_a_directory():
    environment = {"ARTIFACT_BACKEND": "local", "ARTIFACT_LOCAL_DIR": "/d"}
    assert read_settings({}, environment) == LocalSettings("/d")
    document = {"backend": "local", "local": {"dir": "/e"}}
    assert read_settings(document, {}) == LocalSettings("/e")
    with pytest.raises(ConfigError, match="set ARTIFACT_LOCAL_DIR"):
        read_settings({"backend": "local"}, {})


@pytest.mark.parametrize("written", ["S3", "gcs", "s3 "])
def test_an_unknown_backend_is_an_error(written):
    with pytest.raises(ConfigError) as caught:
        read_settings({}, HUB | {"ARTIFACT_BACKEND": written})
    assert "ARTIFACT_BACKEND" in caught.value.message
    assert caught.value.hint == "allowed: hub, s3, local"
    with pytest.raises(ConfigError, match=r"^backend: "):
        read_settings({"backend": written}, HUB)


def test_a_plain_variable_backend_says_nothing():
    assert isinstance(read_settings({}, HUB | {"BACKEND": "s3"}), HubSettings)


def test_the_file_at_home_is_read_when_it_is_there(tmp_path):
    environment = {"HOME": str(tmp_path)}
    assert config_file(None, environment) is None
    (tmp_path / ".artifact.yaml").write_text("")
    assert config_file(None, environment) == tmp_path / ".artifact.yaml"
    assert config_file(Path("/other"), environment) == Path("/other")
    assert config_file(None, {}) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is not YAML"),
        ("- a", "is not a table"),
        ("s3: text", None),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, text, says):
    (tmp_path / "c.yaml").write_text(text)
    if says:
        with pytest.raises(ConfigError, match=says):
            read_file(tmp_path / "c.yaml")
    else:
        with pytest.raises(ConfigError, match="s3: 'text' is not a table"):
            read_settings(read_file(tmp_path / "c.yaml") | {"backend": "s3"}, {})


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_file(tmp_path / "none")


def test_an_empty_file_says_nothing(tmp_path):
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert read_file(tmp_path / "c.yaml") == {}


def test_a_value_that_is_no_text():
    with pytest.raises(ConfigError, match=r"s3\.bucket"):
        read_settings({"backend": "s3", "s3": {"bucket": ["b"]}}, {})


@pytest.mark.parametrize(
    ("prefix", "base"),
    [
        ("", ""),
        (".", ""),
        ("/", "/"),
        ("ci", "ci/"),
        ("ci/", "ci/"),
        ("a/../ci//x", "ci/x/"),
        ("/p", "/p/"),
    ],
)
def test_what_keys_begin_with(prefix, base):
    assert S3Settings("b", prefix=prefix).base == base
