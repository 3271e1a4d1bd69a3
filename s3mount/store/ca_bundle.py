"""Which certificate authorities to trust.

The wheels of pycurl carry their own OpenSSL, whose built-in path exists on few machines, so a path is always named.
"""

import importlib.util
import os

from s3mount.errors import ConfigError

_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Debian and Alpine, Fedora and RHEL, SUSE, BSD and macOS."""


def ca_bundle_path(configured: str) -> str:
    """The file or directory of certificates to trust.

    Args:
        configured: what an option, ``AWS_CA_BUNDLE`` or the profile says; empty when nothing does.

    Raises:
        ConfigError: the configured path does not exist.
    """
    if configured:
        path = os.path.expanduser(configured)
        if not os.path.exists(path):
            raise ConfigError(
                f"the CA bundle {configured!r} does not exist",
                hint="check --ca-bundle, AWS_CA_BUNDLE and ca_bundle in the AWS config file",
            )
        return path
    for place in (os.environ.get("SSL_CERT_FILE"), *_SYSTEM_BUNDLES):
        if place and os.path.exists(place):
            return place
    return _bundle_of_python() or _packaged_bundle()


def _bundle_of_python() -> str:
    """Where Python's own OpenSSL looks; empty when nothing is there."""
    import ssl  # loading it takes longer than all of the above

    return ssl.get_default_verify_paths().cafile or ""


def _packaged_bundle() -> str:
    """The bundle of certifi, else the one that botocore carries; empty when neither is there."""
    for package, name in (("certifi", "cacert.pem"), ("botocore", "cacert.pem")):
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            path = os.path.join(os.path.dirname(found.origin), name)
            if os.path.exists(path):
                return path
    return ""
