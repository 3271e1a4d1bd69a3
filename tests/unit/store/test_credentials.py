"""Credentials are there at once, and renewed when they are old or refused."""

import pytest

from s3mount.errors import ConfigError, CredentialsMissing
from s3mount.store.credentials import Credentials
from s3mount.store.signing import AccessKey

NAMES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
)


@pytest.fixture
def credentials_file(monkeypatch, tmp_path):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return path


def write(path, access, secret="s", profile="default"):
    path.write_text(
        f"[{profile}]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
    )


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_environment(credentials_file, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "T")
    credentials = Credentials()
    assert credentials.current() == AccessKey("A", "S", "T")
    assert credentials.source == "environment variables"


def test_profile(credentials_file):
    write(credentials_file, "P", profile="other")
    credentials = Credentials("other")
    assert credentials.current() == AccessKey("P", "s")
    assert credentials.source == "shared credentials file"


def test_a_missing_profile(credentials_file):
    with pytest.raises(ConfigError, match="nobody"):
        Credentials("nobody")


def test_missing_credentials_may_turn_up(credentials_file):
    clock = Clock()
    credentials = Credentials(clock=clock)
    with pytest.raises(CredentialsMissing) as caught:
        credentials.current()
    assert "aws configure" in caught.value.hint
    write(credentials_file, "A")
    credentials.renew()
    with pytest.raises(CredentialsMissing):
        credentials.current()
    clock.now += 6
    credentials.renew()
    assert credentials.current().access_key == "A"


def test_refused_credentials_are_read_again(credentials_file):
    clock = Clock()
    write(credentials_file, "A")
    credentials = Credentials(clock=clock)
    old = credentials.current()
    write(credentials_file, "B")
    clock.now += 6
    credentials.renew()
    assert credentials.current() is old, "nobody refused them"
    credentials.refused(old)
    credentials.renew()
    assert credentials.current().access_key == "B"


def test_equal_credentials_stay_the_same_object(credentials_file):
    clock = Clock()
    write(credentials_file, "A")
    credentials = Credentials(clock=clock)
    old = credentials.current()
    credentials.refused(old)
    clock.now += 6
    credentials.renew()
    assert credentials.current() is old


def test_a_broken_file_keeps_what_was_read(credentials_file):
    clock = Clock()
    write(credentials_file, "A")
    credentials = Credentials(clock=clock)
    credentials.refused(credentials.current())
    credentials_file.write_text("[default\nrubbish")
    clock.now += 6
    credentials.renew()
    assert credentials.current().access_key == "A"
    assert credentials.problem


class FakeProvider:
    method = "sso"

    def __init__(self):
        self.answers = []

    def get_frozen_credentials(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeSession:
    def __init__(self, provider):
        self.provider = provider

    def get_credentials(self):
        return self.provider


def test_a_provider_that_fails_leaves_the_old_ones():
    provider = FakeProvider()
    provider.answers = [
        AccessKey("A", "S", "1"),
        RuntimeError("the SSO session has expired"),
        AccessKey("A", "S", "2"),
    ]
    credentials = Credentials(open_session=lambda profile: FakeSession(provider))
    assert credentials.source == "AWS SSO"
    credentials.renew()
    assert credentials.current().token == "1"
    assert "SSO session" in credentials.problem
    credentials.renew()
    assert credentials.current().token == "2"
    assert credentials.problem == ""


def test_why_there_are_none_is_said():
    provider = FakeProvider()
    provider.answers = [RuntimeError("the SSO session has expired")]
    credentials = Credentials(open_session=lambda profile: FakeSession(provider))
    with pytest.raises(CredentialsMissing, match="SSO session has expired"):
        credentials.current()
