"""Where a bucket is: base URL, host and region, by botocore's own rules.

botocore's rule set knows regions, partitions, dual-stack, FIPS, acceleration, dotted bucket names and addressing
styles, and its configuration knows ``AWS_ENDPOINT_URL`` and profiles. An unsigned presigned URL is the public way to
have all that applied to one bucket, without a request being sent.
"""

import os
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from s3mount.errors import ConfigError
from s3mount.store.aws_session import new_session
from s3mount.store.ca_bundle import ca_bundle_path
from s3mount.store.interface import StoreSettings
from s3mount.store.shortcut import plain_endpoint

DEFAULT_REGION = "us-east-1"
"""Where S3 sends those who name no region; a bucket elsewhere answers with its own region."""

EXPRESS_SUFFIX = "--x-s3"
"""How the names of directory buckets (S3 Express One Zone) end; they have another way of signing."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PROBE_KEY = "k"
_AWS_SUFFIXES = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")


class Endpoint(NamedTuple):
    """How to reach one bucket.

    Attributes:
        origin: scheme, host and port; no trailing slash.
        host: as the Host header says it.
        path: what comes before ``/key``: empty, or ``/bucket`` in path style.
        region: the one to sign for.
        identity: the bucket's name among all endpoints; see `identity_of`.
    """

    origin: str
    host: str
    path: str
    region: str
    identity: str

    @property
    def url(self) -> str:
        """The bucket's address, for people."""
        return self.origin + self.path


class EndpointResolver:
    """Resolves one bucket, again when the store names another region."""

    def __init__(self, bucket: str, settings: StoreSettings) -> None:
        """Read the AWS configuration.

        Raises:
            ConfigError: the profile does not exist, or the configuration cannot be read.
        """
        self._bucket = bucket
        self._settings = settings
        self._plain = plain_endpoint(bucket, settings, DEFAULT_REGION)
        # Where something is wrong with the configuration it is told now.
        self._session = None if self._plain else new_session(settings.profile)

    def ca_path(self) -> str:
        """The certificates to trust: the option, else what the AWS configuration says, else the system's.

        Raises:
            ConfigError: the configured file does not exist.
        """
        configured = self._settings.ca_bundle
        if not configured and self._session is not None:
            configured = self._session.get_config_variable("ca_bundle") or ""
        return ca_bundle_path(configured or os.environ.get("AWS_CA_BUNDLE", ""))

    def resolve(self, region: str = "") -> Endpoint:
        """The bucket's endpoint, in ``region`` if given, else where the configuration says.

        Sends nothing; takes about 0.1 s the first time and 20 ms later, or no time in the plainest cases.

        Raises:
            ConfigError: the bucket's name, the region or the endpoint URL is not one.
        """
        if self._plain is not None and not region:
            url = f"{self._plain.url}/{_PROBE_KEY}"
            return endpoint_of(url, self._bucket, self._plain.region, self._plain.partition)
        import botocore.exceptions

        if self._bucket.endswith(EXPRESS_SUFFIX):
            # botocore would open a session with the bucket to presign for it.
            raise ConfigError(
                f"{self._bucket!r} is a directory bucket (S3 Express), which is not supported"
            )
        try:
            client = self._new_client(region)
            url = client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": _PROBE_KEY}
            )
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise ConfigError(
                f"no endpoint for bucket {self._bucket!r}: {error}",
                hint="check the bucket's name, --region and --endpoint-url",
            ) from error
        signing_region = region or client.meta.region_name or DEFAULT_REGION
        if signing_region == "aws-global":
            signing_region = DEFAULT_REGION
        return endpoint_of(url, self._bucket, signing_region, client.meta.partition)

    def _new_client(self, region: str) -> Any:  # noqa: ANN401
        import botocore
        from botocore.config import Config

        settings = self._settings
        options: dict[str, Any] = {"signature_version": botocore.UNSIGNED}
        if settings.addressing_style != "auto":
            options["s3"] = {"addressing_style": settings.addressing_style}
        session = self._session = self._session or new_session(settings.profile)
        region = region or settings.region or session.get_config_variable("region")
        client = session.create_client(
            "s3",
            region_name=region or DEFAULT_REGION,
            endpoint_url=settings.endpoint_url or None,
            config=Config(**options),
        )
        client.meta.events.register_first("before-endpoint-resolution.s3", _stay_in_region)
        return client


def _stay_in_region(context: dict[str, Any], **_: object) -> None:
    """For presigned URLs alone botocore would take the global endpoint; requests go to the region's."""
    context["use_global_endpoint"] = False


def endpoint_of(url: str, bucket: str, region: str, partition: str) -> Endpoint:
    """The endpoint behind the URL of the object ``k`` in a bucket.

    Raises:
        ConfigError: the URL has no host, or holds a user name or a query.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise ConfigError(f"the endpoint URL {url!r} is not an http or https address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.port is not None and parts.port != _DEFAULT_PORTS[parts.scheme]:
        host = f"{host}:{parts.port}"
    return Endpoint(
        origin=f"{parts.scheme}://{host}",
        host=host,
        path=parts.path.removesuffix(f"/{_PROBE_KEY}"),
        region=region,
        identity=identity_of(parts.scheme, host, parts.path, bucket, partition),
    )


def identity_of(scheme: str, host: str, path: str, bucket: str, partition: str) -> str:
    """One line for one bucket, whatever the way to it.

    AWS names a bucket once in a partition, so region, dual-stack, FIPS and style do not matter there. Elsewhere the
    endpoint's address without the bucket is the endpoint's name, so that path and virtual style agree.
    """
    if host.endswith(_AWS_SUFFIXES) and ".vpce." not in host:
        return f"s3.{partition}/{bucket}"
    base = path.removesuffix(f"/{_PROBE_KEY}")
    if host.startswith(f"{bucket.lower()}.") and not base.endswith(f"/{bucket}"):
        host = host[len(bucket) + 1 :]
    else:
        base = base.removesuffix(f"/{quote(bucket)}")
    return f"{scheme}://{host}{base}/{bucket}"
