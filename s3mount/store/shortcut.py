"""The way to a bucket where options, environment and simple files say all of it, so that botocore need not be loaded.

botocore takes a quarter of a second to load and to read its data, more than all else that a command does before its
first request. What it would answer in the plainest cases is written down here; in every other case, and wherever
something is set that is not known here, these functions answer None and botocore is asked. The tests hold both equal.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from s3mount.store.interface import StoreSettings
from s3mount.store.plain_files import Profile, default_profile

_HARMLESS = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_CA_BUNDLE",
        "AWS_CONFIG_FILE",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_EXECUTION_ENV",
        "AWS_PAGER",
        "AWS_SHARED_CREDENTIALS_FILE",
    }
)
"""Variables that change nothing but what is read of them here and where certificates are looked for; botocore does not
know AWS_REGION."""
_PLAIN_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_SPECIAL_ENDINGS = ("-s3alias", "--ol-s3", "--x-s3", "--table-s3")
_PLAIN_REGION = re.compile(
    r"(us|eu|ap|sa|ca|me|af|il|mx)-(north|south|east|west|central|northeast|southeast|northwest|southwest)-[1-9]"
)
"""Regions of the partition ``aws``, which S3 is in."""
_OLDEST_REGION = "us-east-1"
"""Its hosts have no region in their names."""


class PlainEndpoint(NamedTuple):
    """Where a bucket is.

    Attributes:
        url: of the bucket, without a trailing slash.
        region: the one to sign for.
        partition: of AWS.
    """

    url: str
    region: str
    partition: str


class PlainKeys(NamedTuple):
    """Long-term or session keys that were found, in the form that botocore gives credentials."""

    access_key: str
    secret_key: str
    token: str | None
    method: str

    def get_frozen_credentials(self) -> "PlainKeys":
        """Themselves: they do not change in the life of a process."""
        return self


class PlainSession(NamedTuple):
    """What `credentials` needs of a botocore session."""

    keys: PlainKeys

    def get_credentials(self) -> PlainKeys:
        """The keys."""
        return self.keys


def plain_endpoint(
    bucket: str,
    settings: StoreSettings,
    default_region: str,
    environment: Mapping[str, str] = os.environ,
) -> PlainEndpoint | None:
    """Where a bucket is when nothing else than these arguments can have a say in it.

    Args:
        bucket: its name.
        settings: how to reach it.
        default_region: where nobody says.
        environment: of the process.
    """
    profile = _all_that_is_said(settings.profile, environment)
    if profile is None or profile.addressing_style not in {"auto", settings.addressing_style}:
        return None
    said = settings.region or environment.get("AWS_DEFAULT_REGION") or profile.region
    region = said or default_region
    if not _PLAIN_REGION.fullmatch(region) or not _is_plain(bucket):
        return None
    endpoint = settings.endpoint_url or _endpoint_of(environment)
    if endpoint:
        is_path = settings.addressing_style == "path" or _is_address(endpoint, settings)
        base = endpoint.rstrip("/")
        plain = is_path and re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?", base)
        return PlainEndpoint(f"{base}/{bucket}", region, "aws") if plain else None
    if settings.addressing_style == "path":
        return None
    place = "s3" if region == _OLDEST_REGION else f"s3.{region}"
    return PlainEndpoint(f"https://{bucket}.{place}.amazonaws.com", region, "aws")


def plain_session(profile: str, environment: Mapping[str, str] = os.environ) -> PlainSession | None:
    """The keys of the environment, else of the files, where they are all that can be asked for.

    Args:
        profile: that the user named; its keys would come before those of the environment.
        environment: of the process.
    """
    access, secret = (
        environment.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    )
    files = _all_that_is_said(profile, environment)
    if files is None or bool(access) != bool(secret):
        return None
    if access and secret:
        token = environment.get("AWS_SESSION_TOKEN")
        return PlainSession(PlainKeys(access, secret, token or None, "env"))
    if files.keys is None:
        return None
    keys = files.keys
    return PlainSession(PlainKeys(keys.access, keys.secret, keys.token or None, keys.method))


def _all_that_is_said(profile: str, environment: Mapping[str, str]) -> Profile | None:
    """What the files say; None where a profile, or a variable or a line that is not known here, has a say."""
    if profile or any(name.startswith("AWS_") and name not in _HARMLESS for name in environment):
        return None
    return default_profile(environment)


def _is_plain(bucket: str) -> bool:
    return bool(_PLAIN_BUCKET.fullmatch(bucket)) and not bucket.endswith(_SPECIAL_ENDINGS)


def _endpoint_of(environment: Mapping[str, str]) -> str:
    """What the environment says: the variable of the service comes before that of all services."""
    return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""


def _is_address(endpoint: str, settings: StoreSettings) -> bool:
    """Whether the endpoint is a number, below which no bucket can have a name of its own."""
    if settings.addressing_style != "auto":
        return False
    try:
        ipaddress.ip_address(urlsplit(endpoint).hostname or "")
    except ValueError:
        return False
    return True
