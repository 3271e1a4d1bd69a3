"""Endpoints come from botocore's rules; the identity is the same on every way to a bucket."""

import pytest

from s3mount.errors import ConfigError
from s3mount.store.ca_bundle import ca_bundle_path
from s3mount.store.endpoint import EndpointResolver, identity_of
from s3mount.store.interface import StoreSettings


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch, tmp_path):
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.write_text(
        "[profile ours]\nregion = eu-west-3\nca_bundle = /nowhere.pem\n"
        "s3 =\n  addressing_style = path\n"
        "[profile lab]\nendpoint_url = http://lab:9000\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def resolve(bucket="bucket", **fields):
    return EndpointResolver(bucket, StoreSettings(**fields)).resolve()


@pytest.mark.parametrize(
    ("fields", "url", "region"),
    [
        ({"region": "eu-west-1"}, "https://bucket.s3.eu-west-1.amazonaws.com", "eu-west-1"),
        (
            {"region": "eu-west-1", "addressing_style": "path"},
            "https://s3.eu-west-1.amazonaws.com/bucket",
            "eu-west-1",
        ),
        ({"profile": "ours"}, "https://s3.eu-west-3.amazonaws.com/bucket", "eu-west-3"),
        ({"profile": "lab"}, "http://lab:9000/bucket", "us-east-1"),
        ({"endpoint_url": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000/bucket", "us-east-1"),
        ({"endpoint_url": "http://Lab:80/base/"}, "http://lab/base/bucket", "us-east-1"),
        (
            {"endpoint_url": "https://lab.test", "addressing_style": "virtual"},
            "https://bucket.lab.test",
            "us-east-1",
        ),
    ],
)
def test_urls(fields, url, region):
    endpoint = resolve(**fields)
    assert (endpoint.url, endpoint.region) == (url, region)


def test_no_region_is_us_east_1():
    endpoint = resolve()
    assert endpoint.region == "us-east-1"
    assert endpoint.host.endswith(".amazonaws.com")


def test_dotted_buckets_use_path_style():
    endpoint = resolve("a.dotted.bucket", region="eu-west-1")
    assert endpoint.url == "https://s3.eu-west-1.amazonaws.com/a.dotted.bucket"


def test_environment_variables(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://10.0.0.1:9000")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    endpoint = resolve()
    assert (endpoint.url, endpoint.region) == ("http://10.0.0.1:9000/bucket", "eu-north-1")


def test_dual_stack_and_fips(monkeypatch):
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    assert "dualstack.eu-west-1" in resolve(region="eu-west-1").host
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    assert "s3-fips.dualstack.us-west-2" in resolve(region="us-west-2").host


def test_identity_does_not_depend_on_the_way():
    ways = [
        {"region": "eu-west-1"},
        {"region": "us-west-2", "addressing_style": "path"},
        {},
    ]
    assert {resolve(**way).identity for way in ways} == {"s3.aws/bucket"}
    lab = [
        {"endpoint_url": "https://lab.test", "addressing_style": "virtual"},
        {"endpoint_url": "https://lab.test:443/", "region": "eu-west-1"},
    ]
    assert {resolve(**way).identity for way in lab} == {"https://lab.test/bucket"}


def test_identity_tells_endpoints_partitions_and_ports_apart():
    identities = [
        resolve(region="eu-west-1").identity,
        resolve(region="us-gov-west-1").identity,
        resolve(region="cn-north-1").identity,
        resolve(endpoint_url="http://lab.test").identity,
        resolve(endpoint_url="https://lab.test").identity,
        resolve(endpoint_url="http://lab.test:81").identity,
        resolve("other", endpoint_url="http://lab.test").identity,
    ]
    assert len(set(identities)) == len(identities)


def test_identity_of_a_host_that_begins_like_the_bucket():
    assert identity_of("http", "lab.test", "/lab/k", "lab", "aws") == "http://lab.test/lab"
    assert identity_of("http", "lab.lab.test", "/k", "lab", "aws") == "http://lab.test/lab"


@pytest.mark.parametrize(
    "fields",
    [
        {"profile": "none"},
        {"endpoint_url": "lab:9000"},
        {"endpoint_url": "ftp://lab"},
        {"region": "not a region"},
        {"endpoint_url": "http://user:secret@lab"},
    ],
)
def test_wrong_settings(fields):
    with pytest.raises(ConfigError):
        resolve(**fields)


def test_a_wrong_bucket_name():
    with pytest.raises(ConfigError):
        resolve("no/bucket")


def test_ca_bundles(monkeypatch, tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.write_text("")
    assert ca_bundle_path(str(bundle)) == str(bundle)
    assert ca_bundle_path("")
    with pytest.raises(ConfigError, match="nowhere"):
        EndpointResolver("bucket", StoreSettings(profile="ours")).ca_path()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    assert EndpointResolver("bucket", StoreSettings()).ca_path() == str(bundle)
