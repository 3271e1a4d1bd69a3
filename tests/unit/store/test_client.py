"""What is taken from a boto3 client that a program brings."""

import boto3
import botocore
import pytest
from botocore.config import Config

from s3mount.store.client import way_of
from s3mount.store.interface import StoreSettings


@pytest.fixture
def client_of():
    made = []

    def make(**options):
        # A session of its own: the one that boto3 shares remembers the credentials of other tests.
        made.append(boto3.Session().client("s3", **({"region_name": "us-east-1"} | options)))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_a_client_of_aws_names_no_endpoint_so_that_buckets_are_followed(client_of):
    way = way_of(client_of(region_name="eu-west-1"))
    assert (way.endpoint_url, way.region) == ("", "eu-west-1")
    assert way.credentials.current().access_key == "AKIDTESTTESTTEST"


def test_a_client_of_another_service(client_of):
    client = client_of(
        endpoint_url="http://127.0.0.1:9000",
        aws_access_key_id="one",
        aws_secret_access_key="two",
        aws_session_token="three",
        config=Config(s3={"addressing_style": "path"}),
    )
    way = way_of(client)
    assert way.endpoint_url == "http://127.0.0.1:9000"
    assert way.addressing_style == "path"
    assert way.credentials.current() == ("one", "two", "three")


def test_the_environment_does_not_lead_a_client_elsewhere(client_of, monkeypatch):
    client = client_of()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    assert way_of(client).endpoint_url == "https://s3.amazonaws.com"
    assert way_of(client_of()).endpoint_url == ""


def test_an_unsigned_client(client_of):
    way = way_of(client_of(config=Config(signature_version=botocore.UNSIGNED)))
    assert way.no_sign_request
    assert way.credentials is None


def test_a_client_wins_over_settings(client_of):
    client = client_of(endpoint_url="http://127.0.0.1:9000", verify="/some/ca.pem")
    asked = StoreSettings(
        endpoint_url="http://other", profile="other", no_sign_request=True, requester_pays=True
    )
    settings = way_of(client).apply_to(asked)
    assert settings.endpoint_url == "http://127.0.0.1:9000"
    assert (settings.profile, settings.no_sign_request) == ("", False)
    assert settings.ca_bundle == "/some/ca.pem"
    assert settings.requester_pays


def test_a_client_without_credentials_of_its_own_has_none(client_of, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    client = client_of()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "later")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "later")
    assert way_of(client).credentials.source == ""


@pytest.mark.parametrize("thing", [None, object(), "s3"])
def test_what_is_no_client(thing):
    with pytest.raises(AttributeError):
        way_of(thing)
