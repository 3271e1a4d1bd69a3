"""Which backend keeps the artifacts and how it is reached: the environment first, then ``~/.artifact.yaml``.

`read_settings` is a plain function over both; `read_file` reads the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from s3mount.artifact.paths import join
from s3mount.errors import ConfigError

BACKENDS = ("hub", "s3", "local")
FILE = ".artifact.yaml"

_TRUE = "true"


class S3Settings(NamedTuple):
    """A bucket.

    Attributes:
        bucket: its name.
        region: empty for what the AWS configuration says.
        endpoint: URL of a service other than AWS; empty for AWS.
        path_style: whether the bucket's name is always part of the path.
        prefix: what stands before every remote path; may be empty.
    """

    bucket: str
    region: str = ""
    endpoint: str = ""
    path_style: bool = False
    prefix: str = ""

    @property
    def base(self) -> str:
        """What every key begins with: the prefix, cleaned as paths are; empty or ending in ``/``."""
        return join(self.prefix, "x")[:-1]


class LocalSettings(NamedTuple):
    """A directory of this machine."""

    directory: str


class HubSettings(NamedTuple):
    """A hub.

    Attributes:
        url: of the organization; its path is not used.
        token: sent as it is.
    """

    url: str
    token: str


Settings = S3Settings | LocalSettings | HubSettings


def config_file(asked: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The file to read: the one that was asked for, else the one at home if it is there."""
    if asked is not None:
        return asked
    home = environment.get("HOME", "")
    own = Path(home) / FILE
    return own if home and own.is_file() else None


def read_file(path: Path) -> dict[str, Any]:
    """The table in a YAML file; names in small letters, for case says nothing there.

    Raises:
        ConfigError: it cannot be read, or holds no table.
    """
    import yaml  # only who has such a file waits for it

    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", hint="name a YAML file with --config"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not YAML: {error}", hint="write lines such as backend: s3"
        ) from error
    return _table(document, str(path))


def read_settings(document: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """The backend that is configured.

    Args:
        document: as `read_file` gives it; empty when there is no file.
        environment: wins over the file where a variable is not empty.

    Raises:
        ConfigError: the backend is not known, or something that it needs is missing.
    """
    given = _Given(document, environment)
    backend = given.text("ARTIFACT_BACKEND", "backend") or "hub"
    if backend == "s3":
        return _s3(given)
    if backend == "local":
        return _local(given)
    if backend == "hub":
        return _hub(environment)
    raise ConfigError(
        f"{given.origin('ARTIFACT_BACKEND', 'backend')}: {backend!r} is no backend",
        hint=f"allowed: {', '.join(BACKENDS)}",
    )


class _Given(NamedTuple):
    document: Mapping[str, Any]
    environment: Mapping[str, str]

    def text(self, variable: str, *keys: str) -> str:
        """What the variable says, else the file; empty when neither does."""
        if said := self.environment.get(variable, ""):
            return said
        value: object = self.document
        for number, key in enumerate(keys):
            table = _table(value, ".".join(keys[:number]) or "the file")
            value = table.get(key)
        if value is None:
            return ""
        if isinstance(value, bool):
            return _TRUE if value else "false"
        if isinstance(value, str | int):
            return str(value)
        raise ConfigError(f"{'.'.join(keys)}: {value!r} is not a text", hint="put it in quotes")

    def origin(self, variable: str, *keys: str) -> str:
        """Where a value was written."""
        return variable if self.environment.get(variable) else ".".join(keys)


def _s3(given: _Given) -> S3Settings:
    bucket = given.text("ARTIFACT_S3_BUCKET", "s3", "bucket")
    if not bucket:
        raise ConfigError("S3 bucket not configured: set ARTIFACT_S3_BUCKET or s3.bucket in config")
    return S3Settings(
        bucket,
        given.text("ARTIFACT_S3_REGION", "s3", "region"),
        given.text("ARTIFACT_S3_ENDPOINT", "s3", "endpoint"),
        given.text("ARTIFACT_S3_FORCE_PATH_STYLE", "s3", "forcepathstyle") == _TRUE,
        given.text("ARTIFACT_S3_PREFIX", "s3", "prefix"),
    )


def _local(given: _Given) -> LocalSettings:
    directory = given.text("ARTIFACT_LOCAL_DIR", "local", "dir")
    if not directory:
        raise ConfigError(
            "local directory not configured: set ARTIFACT_LOCAL_DIR or local.dir in config"
        )
    return LocalSettings(directory)


def _hub(environment: Mapping[str, str]) -> HubSettings:
    token = environment.get("SEMAPHORE_ARTIFACT_TOKEN", "").strip()
    url = environment.get("SEMAPHORE_ORGANIZATION_URL", "")
    other = "ARTIFACT_BACKEND=s3 or ARTIFACT_BACKEND=local keeps artifacts without a hub"
    if not token:
        raise ConfigError("SEMAPHORE_ARTIFACT_TOKEN is not set", hint=other)
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(
            "SEMAPHORE_ARTIFACT_TOKEN holds what no token has", hint="is it all on one line?"
        )
    if not url:
        raise ConfigError("SEMAPHORE_ORGANIZATION_URL is not set", hint=other)
    return HubSettings(url, token)


def _table(value: object, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: {value!r} is not a table", hint="write s3: with lines below")
    return {str(name).lower(): each for name, each in value.items()}
