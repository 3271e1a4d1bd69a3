"""The way to a bucket without botocore: the same as with it, or none."""

import os

import pytest

from s3mount.store.credentials import Credentials
from s3mount.store.endpoint import DEFAULT_REGION, EndpointResolver
from s3mount.store.interface import StoreSettings
from s3mount.store.shortcut import plain_endpoint, plain_session

UNKNOWN = "AWS_SDK_UA_APP_ID"
"""A variable that changes nothing, but is not known to change nothing: with it botocore is asked."""

BUCKETS = ["bucket", "0-numbers-" + 53 * "a"]
PLAIN = [
    StoreSettings(region="eu-west-1"),
    StoreSettings(),
    StoreSettings(region="us-east-1", addressing_style="virtual"),
    StoreSettings(region="ap-southeast-2", no_sign_request=True),
    StoreSettings(endpoint_url="http://127.0.0.1:9000", region="us-east-1"),
    StoreSettings(endpoint_url="http://127.0.0.1:9000/", addressing_style="path"),
    StoreSettings(endpoint_url="https://10.0.0.7", region="eu-central-1"),
    StoreSettings(endpoint_url="http://minio.lan:9000", addressing_style="path"),
    StoreSettings(endpoint_url="https://s3.example.com", addressing_style="path"),
]
ASKED = [
    ("bucket.with.dots", StoreSettings()),
    ("bucket--x-s3", StoreSettings()),
    ("an-alias-s3alias", StoreSettings()),
    ("Capitals", StoreSettings()),
    ("bucket", StoreSettings(region="cn-north-1")),
    ("bucket", StoreSettings(region="us-gov-west-1")),
    ("bucket", StoreSettings(region="aws-global")),
    ("bucket", StoreSettings(profile="work")),
    ("bucket", StoreSettings(addressing_style="path")),
    ("bucket", StoreSettings(endpoint_url="http://minio.lan:9000")),
    ("bucket", StoreSettings(endpoint_url="http://127.0.0.1:9000/below", addressing_style="path")),
    ("bucket", StoreSettings(endpoint_url="http://user@127.0.0.1", addressing_style="path")),
    ("bucket", StoreSettings(endpoint_url="http://127.0.0.1", addressing_style="virtual")),
]


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch, tmp_path):
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("settings", PLAIN)
def test_the_short_way_leads_where_botocore_leads(bucket, settings, monkeypatch):
    assert plain_endpoint(bucket, settings, DEFAULT_REGION) is not None
    short = EndpointResolver(bucket, settings).resolve()
    monkeypatch.setenv(UNKNOWN, "x")
    assert plain_endpoint(bucket, settings, DEFAULT_REGION) is None
    assert short == EndpointResolver(bucket, settings).resolve()


def test_the_region_of_the_environment_counts_as_it_does_for_botocore(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_REGION", "sa-east-1")
    short = EndpointResolver("bucket", StoreSettings()).resolve()
    monkeypatch.setenv(UNKNOWN, "x")
    assert short == EndpointResolver("bucket", StoreSettings()).resolve()


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"},
        {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000/"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3": "https://10.0.0.7"},
    ],
)
@pytest.mark.parametrize("option", ["", "http://127.0.0.2:9000"])
def test_endpoints_of_the_environment_count_as_they_do_for_botocore(variables, option, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = StoreSettings(region="eu-west-1", endpoint_url=option)
    assert plain_endpoint("bucket", settings, DEFAULT_REGION) is not None
    short = EndpointResolver("bucket", settings).resolve()
    monkeypatch.setenv(UNKNOWN, "x")
    assert short == EndpointResolver("bucket", settings).resolve()


@pytest.mark.parametrize(("bucket", "settings"), ASKED)
def test_what_is_not_plain_is_asked_of_botocore(bucket, settings):
    assert plain_endpoint(bucket, settings, DEFAULT_REGION) is None


PLAIN_FILES = [
    {"config": "[default]\nregion = eu-west-3\noutput = json\n"},
    {"config": "[default]\ns3 =\n  max_concurrent_requests = 64\n  addressing_style = auto\n"},
    {"config": "[profile other]\nsso_session = x\nrole_arn = y\n"},
    {"config": "", "credentials": "[other]\naws_access_key_id = x\n"},
    {"credentials": "[default]\naws_access_key_id = f\naws_secret_access_key = s\n"},
    {
        "config": "[default]\naws_access_key_id = c\naws_secret_access_key = t\nregion=sa-east-1",
        "credentials": "[default]\naws_access_key_id=f\naws_secret_access_key = a%(b)s\n"
        "aws_session_token = t=\n",
    },
    {"config": "[default]\naws_access_key_id = c\naws_secret_access_key = t\n"},
]
OTHER_FILES = [
    {"config": "[default]\nrole_arn = x\nsource_profile = y\n"},
    {"config": "[default]\nendpoint_url = http://x\n"},
    {"config": "[default]\nca_bundle = /x\n"},
    {"config": "[default]\ns3 =\n  use_accelerate_endpoint = true\n"},
    {"config": "[default]\ns3 = nonsense\n"},
    {"config": "[default]\ns3 =\n  addressing_style = path\n"},
    {"config": "[profile default]\nregion = eu-west-1\n"},
    {"config": "no section\n"},
    {"config": "[default]\nregion = a\nregion = b\n"},
    {"credentials": "[default]\ncredential_process = x\n"},
    {"credentials": "[default]\naws_access_key_id = f\n"},
    {"credentials": "[default]\naws_access_key_id = f\naws_secret_access_key =\n"},
]


@pytest.fixture(params=["home", "named"])
def write(request, tmp_path, monkeypatch):
    """Write the AWS files, where they are looked for by themselves or where variables say."""

    def files(texts):
        folder = tmp_path / (".aws" if request.param == "home" else "elsewhere")
        folder.mkdir()
        for name, text in texts.items():
            (folder / name).write_text(text)
        if request.param == "named":
            monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "~/elsewhere/credentials")

    return files


@pytest.mark.parametrize("texts", PLAIN_FILES)
def test_plain_files_are_read_as_botocore_reads_them(texts, write, monkeypatch):
    write(texts)
    assert plain_endpoint("bucket", StoreSettings(), DEFAULT_REGION) is not None
    short = EndpointResolver("bucket", StoreSettings()).resolve()
    has_keys = "[default]\naws_" in "".join(texts.values())
    assert (plain_session("") is not None) == has_keys
    found = Credentials() if has_keys else None
    monkeypatch.setenv(UNKNOWN, "x")
    assert short == EndpointResolver("bucket", StoreSettings()).resolve()
    if found is not None:
        asked = Credentials()
        assert (found.current(), found.source) == (asked.current(), asked.source)


@pytest.mark.parametrize("texts", OTHER_FILES)
def test_files_that_say_more_are_asked_of_botocore(texts, write):
    write(texts)
    assert plain_endpoint("bucket", StoreSettings(), DEFAULT_REGION) is None
    if "addressing_style" not in str(texts):
        assert plain_session("") is None


def test_a_style_that_the_option_says_too_is_plain(write):
    write({"config": "[default]\ns3 =\n  addressing_style = path\n"})
    settings = StoreSettings(endpoint_url="http://minio.lan:9000", addressing_style="path")
    assert plain_endpoint("bucket", settings, DEFAULT_REGION) is not None


def test_keys_of_the_environment_come_before_those_of_a_file(write, monkeypatch):
    write({"credentials": "[default]\naws_access_key_id = f\naws_secret_access_key = s\n"})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "e")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "t")
    assert Credentials().source == "environment variables"
    assert plain_session("").keys.access_key == "e"


@pytest.mark.parametrize(
    "more",
    [
        {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
        {"AWS_PROFILE": "p"},
        {"AWS_CREDENTIAL_EXPIRATION": "2027"},
    ],
)
def test_other_variables_are_asked_of_botocore(more):
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", **more}
    assert plain_endpoint("bucket", StoreSettings(), DEFAULT_REGION, keys) is None
    assert plain_session("", keys) is None


@pytest.mark.parametrize("token", ["", "a-token"])
def test_keys_of_the_environment_are_those_that_botocore_finds(token, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    assert plain_session("") is not None
    short = Credentials()
    monkeypatch.setenv(UNKNOWN, "x")
    asked = Credentials()
    assert short.current() == asked.current()
    assert short.source == asked.source == "environment variables"


def test_half_a_pair_of_keys_is_no_pair():
    assert plain_session("", {"AWS_ACCESS_KEY_ID": "a"}) is None
