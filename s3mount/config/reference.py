"""The page of all options, for `docs/configuration.md`.

It turns the table of options into Markdown and knows nothing of how values are found. It is run by
hand, ``python -m s3mount.config.reference > docs/configuration.md``, and a test holds the page
equal to it. Plain functions.
"""

import sys

from s3mount.config.options import GROUPS, OPTIONS, Option

_INTRODUCTION = """\
# Configuration

Every option can be given in five places. The first that says something wins:

1. on the command line: `--cache-size 50GiB`
2. behind `-o`, so in fstab too: `-o cache_size=50GiB` (`cache-size` is the same)
3. in the environment: `S3MOUNT_CACHE_SIZE=50GiB` (an empty variable says nothing)
4. in a TOML file: `cache-size = "50GiB"` (`cache_size` is the same)
5. the default in the tables below

A switch is given bare (`--allow-other`, `-o allow_other`), with its opposite (`--no-allow-other`), or with yes or no
(`-o allow_other=no`, `S3MOUNT_ALLOW_OTHER=yes`, `allow-other = true`).

## The file

`--config FILE` names it (`-o config=FILE` in fstab), else `S3MOUNT_CONFIG`. Otherwise both
`~/.config/s3mount/config.toml` and `/etc/s3mount.toml` are read, where they exist; the user's is the stronger. Keys at
the top are for every bucket; a table is for one bucket, and stronger than the top:

```toml
cache-size = "20%"
region = "eu-central-1"

[bucket."build-artifacts"]
endpoint-url = "https://minio.example.org:9000"
addressing-style = "path"
metadata-ttl = "5m"
```

## How values are written

- **Sizes**: `1048576`, `512M`, `10G`, `10GiB` count in powers of 1024; `10GB` in powers of 1000. The two limits of the
  cache may also be a share of the disk that holds it: `20%`.
- **Times**: `60s`, `5m`, `1h30m`, `250ms`; a bare number is seconds.
- **Modes**: octal, `0444`; in a TOML file in quotes.
- **Owners**: a name or a number.

A wrong value stops the command with exit status 2; the message names the place, the value and what is allowed.
Where the endpoint, region or profile are not given, AWS's own variables and files decide (`AWS_REGION`,
`~/.aws/config`).
Credentials are no options: they come from where every AWS tool takes them (see `s3mount doctor`).
"""


def page() -> str:
    """The whole of ``docs/configuration.md``."""
    sections = [_INTRODUCTION]
    for group in GROUPS:
        rows = [_row(option) for option in OPTIONS if option.group == group]
        head = "| option | default | allowed | |\n|---|---|---|---|"
        sections.append("\n".join([f"## {group}\n", head, *rows]) + "\n")
    return "\n".join(sections)


def _row(option: Option) -> str:
    default = f"`{option.default_text}`" if option.derive is None and option.default_text else ""
    default = default or option.default_text or "none"
    return f"| `--{option.name}` | {default} | {option.allowed} | {option.summary} |"


if __name__ == "__main__":
    sys.stdout.write(page())
