"""Flags from the table of options, and what was written behind them.

`with_options` gives a click command the flags of some groups, and hands it a `Said` that turns into
`MountOptions` once the bucket is known. Values stay texts until then, so that every place has one
reader and one sort of error message.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from s3mount.cli import mount_words
from s3mount.config import OPTIONS, MountOptions, Option, resolve
from s3mount.config.sources import opposite

P = ParamSpec("P")
T = TypeVar("T")

GENERAL = "General"

_SHORT = 30  # letters; a longer default is left to docs/configuration.md


@dataclass(frozen=True, slots=True)
class Said:
    """What the command line says about options."""

    flags: Mapping[str, str | None]
    o: tuple[str, ...] = ()
    config: Path | None = None

    def resolve(
        self, bucket: str = "", *, environment: Mapping[str, str] = os.environ
    ) -> MountOptions:
        """Read everything, with what the files say about ``bucket``."""
        words = mount_words.sort_out(self.o)
        config = self.config or (Path(words.config) if words.config else None)
        return resolve(
            flags=self.flags,
            o_pairs=words.options,
            environment=environment,
            config=config,
            bucket=bucket,
        )


class GroupedFlag(click.Option):
    """A flag that knows under which heading it is shown."""

    def __init__(self, *args: Any, heading: str, **kwargs: Any) -> None:  # noqa: ANN401 -- click's
        super().__init__(*args, **kwargs)
        self.heading = heading


class GroupedCommand(click.Command):
    """A command whose help shows its flags under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per heading, the general one first."""
        sections: dict[str, list[tuple[str, str]]] = {GENERAL: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                heading = parameter.heading if isinstance(parameter, GroupedFlag) else GENERAL
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records, col_max=26)


def with_options(*groups: str) -> Callable[[Callable[P, T]], Callable[..., T]]:
    """Give a command some flags, ``-o`` and ``--config``; it is called with ``said=Said``.

    Args:
        groups: of options; a single option is named as it is spelled behind ``--``.
    """
    chosen = [option for option in OPTIONS if option.group in groups or option.name in groups]

    def decorate(command: Callable[P, T]) -> Callable[..., T]:
        @wraps(command)
        def gather(*args: P.args, **kwargs: P.kwargs) -> T:
            flags = {each.attribute: _text(kwargs.pop(each.attribute)) for each in chosen}
            o, config = kwargs.pop("o"), kwargs.pop("config")
            kwargs["said"] = Said(flags, o, config)  # type: ignore[arg-type]
            return command(*args, **kwargs)

        wrapped: Callable[..., T] = gather
        for option in reversed(chosen):
            wrapped = _flag(option)(wrapped)
        wrapped = _O(wrapped)
        return _CONFIG(wrapped)

    return decorate


_O = click.option(
    "-o",
    "o",
    multiple=True,
    metavar="NAME[=VALUE],...",
    help="Options as in fstab, such as allow_other.",
)
_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="TOML file of options."
)


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value is None else str(value)


def _flag(option: Option) -> Callable[[Callable[P, T]], Callable[P, T]]:
    default = "" if option.is_switch or len(option.default_text) > _SHORT else option.default_text
    return click.option(
        f"--{option.name}/--{opposite(option)}" if option.is_switch else f"--{option.name}",
        option.attribute,
        cls=GroupedFlag,
        heading=option.group,
        default=None,
        metavar=option.metavar or None,
        help=f"{option.summary} [{default}]" if default else option.summary,
    )
