"""What the AWS files say where they say little: the region and the keys of the default profile.

Whatever else stands there (roles, SSO, processes, services) is for botocore to understand: then `default_profile` gives
None. Sections of other profiles are not looked at, as botocore does not where nobody names them.
"""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_UNUSED = frozenset({"output", "cli_pager", "cli_auto_prompt", "cli_timestamp_format"})
_UNUSED_OF_S3 = frozenset(
    {
        "max_concurrent_requests",
        "max_queue_size",
        "multipart_threshold",
        "multipart_chunksize",
        "max_bandwidth",
    }
)
"""Settings of the transfers of the AWS command line."""
_NESTED = re.compile(r"\s*([a-z_]+)\s*=\s*(\S+)\s*")


class Keys(NamedTuple):
    """Long-term or session keys.

    Attributes:
        access: access key id.
        secret: secret access key.
        token: session token; empty for long-term keys.
        method: where they were found, as botocore calls it.
    """

    access: str
    secret: str
    token: str
    method: str


class Profile(NamedTuple):
    """The default profile.

    Attributes:
        region: empty where it says none.
        addressing_style: of S3, ``auto`` where it says none.
        keys: None where it has none.
    """

    region: str = ""
    addressing_style: str = "auto"
    keys: Keys | None = None


def default_profile(environment: Mapping[str, str]) -> Profile | None:
    """What both files say of the default profile; None where they say more than is understood here."""
    home = os.path.join(os.path.expanduser("~"), ".aws")
    config = _read(environment.get("AWS_CONFIG_FILE") or os.path.join(home, "config"))
    shared = _read(
        environment.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.join(home, "credentials")
    )
    if config is None or shared is None or set(shared) - set(_KEYS):
        return None
    style = _addressing_style(config.pop("s3", ""))
    if style is None or set(config) - {"region", *_KEYS} - _UNUSED:
        return None
    try:
        keys = _keys(shared, "shared-credentials-file") or _keys(config, "config-file")
    except KeyError:
        return None
    return Profile(config.get("region", ""), style, keys)


def _read(path: str) -> dict[str, str] | None:
    """The default section of a file, empty where there is none; None where botocore should read it."""
    path = os.path.expanduser(os.path.expandvars(path))
    if not os.path.isfile(path):
        return {}
    import configparser  # only where there is a file

    parser = configparser.RawConfigParser(default_section="")
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except (OSError, UnicodeError, configparser.Error):
        return None
    if any(re.fullmatch(r"profile\s+\W*default\W*", name) for name in parser.sections()):
        return None
    return dict(parser["default"]) if parser.has_section("default") else {}


def _keys(section: Mapping[str, str], method: str) -> Keys | None:
    """The keys of a section; None where it has none.

    Raises:
        KeyError: there is half a pair.
    """
    if not any(section.get(name) for name in _KEYS):
        return None
    access, secret = section[_KEYS[0]], section[_KEYS[1]]
    if not access or not secret:
        raise KeyError(method)
    return Keys(access, secret, section.get(_KEYS[2], ""), method)


def _addressing_style(nested: str) -> str | None:
    """What the settings of S3 say of it; None where they say what is not known here."""
    style = "auto"
    for line in filter(None, nested.split("\n")):
        found = _NESTED.fullmatch(line)
        if found is None:
            return None
        if found[1] == "addressing_style":
            style = found[2]
        elif found[1] not in _UNUSED_OF_S3:
            return None
    return style
