"""From what people wrote in five places to one `MountOptions`.

Precedence: command line, then ``-o``, then the environment, then files (the user's before the
machine's, a bucket's table before the top level), then defaults. Each text keeps where it came from
until it has been read, so that an error can point there; what mount(8) and the cli do with the
result is unknown here. Plain functions; only `read_layers` and `disk_size` touch the disk.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from s3mount.config.kinds import Value
from s3mount.config.options import BY_ATTRIBUTE, OPTIONS, Environment, MountOptions, Option
from s3mount.config.quantities import Share
from s3mount.errors import ConfigError

SYSTEM_FILE = Path("/etc/s3mount.toml")
FILE_VARIABLE = "S3MOUNT_CONFIG"

_NEAR = 0.85  # likeness from which a stranger in the environment is taken for a slip of the pen


class Given(NamedTuple):
    """A value as it was written, and where: ``--cache-size``, ``cache-size in /etc/s3mount.toml``."""

    text: str
    origin: str


Layer = Mapping[str, Given]
"""What one place says, by attribute."""


def from_flags(flags: Mapping[str, str | None]) -> Layer:
    """What the command line says: attribute to text, None where a flag was not used."""
    return {
        attribute: Given(text, f"--{BY_ATTRIBUTE[attribute].name}")
        for attribute, text in flags.items()
        if text is not None
    }


def split_o(text: str) -> dict[str, str | None]:
    """Split ``a,b=c`` as mount(8) does; a backslash keeps a comma. None where there is no value."""
    parts = text.replace("\\,", "\0").split(",")
    pairs = (part.replace("\0", ",").partition("=") for part in parts if part.strip())
    return {name.strip(): value if equals else None for name, equals, value in pairs}


def from_o(pairs: Mapping[str, str | None]) -> Layer:
    """What ``-o`` says, in either spelling of the names; a bare name switches on."""
    layer = {}
    for name, text in pairs.items():
        option = _option_named(name, f"-o {name}")
        if text is None and not option.is_switch:
            raise ConfigError(
                f"-o {name} needs a value", hint=f"write {name}=... : {option.allowed}"
            )
        layer[option.attribute] = Given("yes" if text is None else text, f"-o {name}")
    return layer


def from_environment(environment: Environment) -> Layer:
    """What ``S3MOUNT_*`` say; empty ones say nothing.

    Strangers are let pass unless they look like a slip of the pen: Kubernetes puts ``S3MOUNT_SERVICE_HOST`` and the
    like there, and other commands have variables of their own.
    """
    known = {option.variable: option.attribute for option in OPTIONS}
    layer = {}
    for variable, text in environment.items():
        if variable in known and text:
            layer[known[variable]] = Given(text, variable)
        elif variable.startswith("S3MOUNT_") and variable not in known:
            import difflib

            near = difflib.get_close_matches(variable, [*known, FILE_VARIABLE], 1, _NEAR)
            if near and near != [variable]:
                raise ConfigError(f"{variable}: no such option", hint=f"did you mean {near[0]}?")
    return layer


def from_document(document: Mapping[str, Any], where: str, bucket: str) -> list[Layer]:
    """What a file says: the bucket's own table, then the top level."""
    document = dict(document)
    tables = document.pop("bucket", {})
    if not isinstance(tables, dict) or not all(isinstance(each, dict) for each in tables.values()):
        raise ConfigError(f'"bucket" in {where} is not a table', hint='write [bucket."name"]')
    layers = {
        name: _from_table(each, f'[bucket."{name}"] of {where}') for name, each in tables.items()
    }
    return [layers.get(bucket, {}), _from_table(document, where)]


def _from_table(table: Mapping[str, Any], where: str) -> Layer:
    layer = {}
    for name, value in table.items():
        option = _option_named(name, f"{name} in {where}")
        layer[option.attribute] = Given(
            _toml_text(option, value, f"{name} in {where}"), f"{name} in {where}"
        )
    return layer


def _toml_text(option: Option, value: object, origin: str) -> str:
    if isinstance(value, bool) and option.is_switch:
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and option.metavar != "MODE":
        return str(value)
    # TOML reads 0o444 as 292 and 444 as 444: a bare mode would be a guess.
    hint = f"write {option.allowed}, in quotes"
    raise ConfigError(f"{origin}: {value!r} is not a text", hint=hint)


def _option_named(name: str, origin: str) -> Option:
    attribute = name.replace("-", "_")
    if attribute in BY_ATTRIBUTE:
        return BY_ATTRIBUTE[attribute]
    import difflib

    near = difflib.get_close_matches(attribute, BY_ATTRIBUTE, 1)
    hint = f"did you mean {near[0].replace('_', '-')}?" if near else "see s3mount mount --help"
    raise ConfigError(f"{origin}: no such option", hint=hint)


def config_files(asked: Path | None, environment: Environment) -> list[Path]:
    """Which files to read, the strongest first: the one asked for, else those that exist."""
    if asked:
        return [asked]
    if environment.get(FILE_VARIABLE):
        return [Path(environment[FILE_VARIABLE])]
    home = environment.get("HOME", "")
    above = environment.get("XDG_CONFIG_HOME", "") or (f"{home}/.config" if home else "")
    own = [Path(above) / "s3mount" / "config.toml"] if above.startswith("/") else []
    return [path for path in [*own, SYSTEM_FILE] if os.path.exists(path)]


def read_layers(path: Path, bucket: str) -> list[Layer]:
    """Read one TOML file."""
    import tomllib  # most machines have none

    try:
        document = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", hint="name a TOML file with --config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not TOML: {error}", hint='write lines such as cache-size = "50GiB"'
        ) from error
    return from_document(document, str(path), bucket)


def disk_size(path: Path) -> int:
    """Bytes of the file system that holds ``path``, or will hold it."""
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    facts = os.statvfs(path)
    return facts.f_blocks * facts.f_frsize


def combine(
    layers: Sequence[Layer],
    environment: Environment,
    disk: Callable[[Path], int] = disk_size,
) -> MountOptions:
    """Read what each option's strongest layer says, and take defaults for the rest.

    Args:
        layers: the strongest first.
        environment: what defaults depend on.
        disk: bytes of the disk under a directory, for sizes given as a share.

    Raises:
        ConfigError: names the option as it was written, the value, and what is allowed.
    """
    values = {}
    for option in OPTIONS:
        given = next(
            (layer[option.attribute] for layer in layers if option.attribute in layer), None
        )
        values[option.attribute] = _value(option, given) if given else option.default(environment)
    shares = {name: value for name, value in values.items() if isinstance(value, Share)}
    if shares:
        total = disk(values["cache_dir"])
        values |= {name: share.of(total) for name, share in shares.items()}
    return MountOptions(**values)


def _value(option: Option, given: Given) -> Value:
    try:
        return option.parse(given.text)
    except ValueError as error:
        message = f'{given.origin}: "{given.text}" {error}'
        raise ConfigError(message, hint=f"allowed: {option.allowed}") from error


def resolve(
    *,
    flags: Mapping[str, str | None],
    o_pairs: Mapping[str, str | None],
    environment: Environment,
    config: Path | None,
    bucket: str,
) -> MountOptions:
    """Gather all five places and combine them; ``bucket`` chooses the table in the files."""
    in_files = [
        layer for path in config_files(config, environment) for layer in read_layers(path, bucket)
    ]
    layers = [from_flags(flags), from_o(o_pairs), from_environment(environment), *in_files]
    return combine(layers, environment)


def as_flags(options: MountOptions, environment: Environment) -> list[str]:
    """Flags that say ``options`` to a process with this environment, no ``S3MOUNT_*`` and no file."""
    flags = []
    for option in OPTIONS:
        value = getattr(options, option.attribute)
        if value == option.default(environment):
            continue
        if option.is_switch:
            flags.append(f"--{option.name}" if value else f"--{opposite(option)}")
        else:
            flags.append(f"--{option.name}={option.write(value)}")
    return flags


def opposite(option: Option) -> str:
    """The name that switches an option off."""
    return option.name.removeprefix("no-") if option.name.startswith("no-") else f"no-{option.name}"
