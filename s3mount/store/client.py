"""What a boto3 client that a program brings says about the way to a store.

Only its address, region and credentials are taken; requests go our own way. Some of that botocore keeps in private
attributes, for which there is no public way; the tests hold us to what they are.
"""

from typing import Any, NamedTuple

from s3mount.store.aws_session import new_session
from s3mount.store.credentials import Credentials
from s3mount.store.endpoint import DEFAULT_REGION
from s3mount.store.interface import StoreSettings


class ClientWay(NamedTuple):
    """The way to a store, as a client has it.

    Attributes:
        endpoint_url: empty where the AWS configuration says the same, so that buckets are followed to their regions.
        region: the client's.
        no_sign_request: whether the client sends its requests unsigned.
        addressing_style: ``auto``, ``path`` or ``virtual``.
        ca_bundle: file of certificate authorities, empty where the client was given none.
        credentials: the client's, renewed when the client would renew them; None for unsigned requests.
    """

    endpoint_url: str
    region: str
    no_sign_request: bool
    addressing_style: str
    ca_bundle: str
    credentials: Credentials | None

    def apply_to(self, settings: StoreSettings) -> StoreSettings:
        """Settings with everything that the client says."""
        return settings._replace(
            endpoint_url=self.endpoint_url,
            region=self.region,
            profile="",
            no_sign_request=self.no_sign_request,
            addressing_style=self.addressing_style,
            ca_bundle=self.ca_bundle or settings.ca_bundle,
        )


def way_of(client: Any) -> ClientWay:  # noqa: ANN401 -- boto3's clients have no type
    """The way of a boto3 S3 client; sends nothing.

    Raises:
        AttributeError: it is no boto3 client.
        ConfigError: the AWS configuration cannot be read.
    """
    import botocore

    region = client.meta.region_name or DEFAULT_REGION
    unsigned = client.meta.config.signature_version is botocore.UNSIGNED
    verify = getattr(client._endpoint.http_session, "_verify", None)
    return ClientWay(
        endpoint_url=_endpoint_url(client.meta.endpoint_url, region),
        region=region,
        no_sign_request=unsigned,
        addressing_style=(client.meta.config.s3 or {}).get("addressing_style") or "auto",
        ca_bundle=verify if isinstance(verify, str) else "",
        credentials=None if unsigned else _credentials(client._request_signer._credentials),
    )


def _endpoint_url(url: str, region: str) -> str:
    configured = new_session("").create_client("s3", region_name=region).meta.endpoint_url
    return "" if url == configured else url


class _Holder:
    """In place of a session: it has the one provider that was given."""

    def __init__(self, provider: Any) -> None:  # noqa: ANN401 -- botocore's
        self._provider = provider

    def get_credentials(self) -> Any:  # noqa: ANN401
        return self._provider


def _credentials(provider: Any) -> Credentials:  # noqa: ANN401
    return Credentials(open_session=lambda _: _Holder(provider))
